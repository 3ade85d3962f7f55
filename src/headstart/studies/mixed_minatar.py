"""One policy for five games of MinAtar (Young and Tian, 2019, arXiv 1903.03176), the mixed games.

PPO learns them together, told which by one-hot and with a head for each, and each alone with as
many steps as its share. Then four of them, and what was learned is gone on with in the fifth,
against who begins there. A game's score is that of actions as they are drawn, and normalised: 0 is
random actions', 1 is that of the policies that have learned it alone. The step size was chosen on
seed 0, for three of the games alone.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.named import PROBLEMS
from headstart.problem.named.tasks import A_GAME, GAMES, PLAYER, games
from headstart.result import Result, estimate, iqm
from headstart.studies import Arm, Claim, above, beyond, collected

SEEDS, FIRST = 5, 10
EPISODES = 64
RANDOM = {
    "asterix": 0.59, "breakout": 0.50, "freeway": 0.17, "seaquest": 0.13, "space-invaders": 2.38,
}  # fmt: skip
"""Scores of random actions, from the environments' pages."""
# What a person is told of it may change without another result.
HELD_OUT = replace(PROBLEMS["minatar-held-out"], description="")
HELD = GAMES[-1]
SHOTS = HELD_OUT.access.shots
TOGETHER, FEATURES, AFRESH = "five together", "from four others", "from scratch"


def arms() -> dict[str, Arm]:
    """What is compared."""
    five = TransferProblem(
        name="minatar-together", source=games(*GAMES), target=games(GAMES[0]),
        access=Access(shots=(0,)), episodes=EPISODES, learner={**PLAYER, "heads": True},
        methods={"multi-task": {"steps": A_GAME * len(GAMES), "curriculum": "even"}},
    )  # fmt: skip
    found = {TOGETHER: Arm(five, "multi-task", SEEDS, FIRST)}
    for game in GAMES:
        domain = Domain(f"minatar-{game}")
        alone = TransferProblem(
            name=f"minatar-alone-{game}", source=domain, target=domain, access=Access(shots=(0,)),
            episodes=EPISODES, learner=PLAYER, methods={"source-only": {"steps": A_GAME}},
        )  # fmt: skip
        found[f"{game} alone"] = Arm(alone, "source-only", SEEDS, FIRST)
    return found | {
        FEATURES: Arm(HELD_OUT, "multi-task", SEEDS, FIRST),
        AFRESH: Arm(HELD_OUT, "scratch", SEEDS, FIRST),
    }


def collect(out: Path) -> dict[str, Any]:
    """Scores by arm and seed: by game where it is five, and else by shots; and steps a second."""
    from headstart.knowledge import Knowledge
    from headstart.policies.policy import policy_from
    from headstart.runs.evaluation import explore

    def by_game(folder: Path, seed: int) -> list[float]:
        policy = policy_from(Knowledge.load(folder / "zero_shot"))
        played = [explore(games(game), policy, EPISODES, seed)[0] for game in GAMES]
        return [round(float(returns.mean()), 3) for returns in played]

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        if arm.problem.name == "minatar-together":
            pairs = zip(arm.folders(out), arm.numbers, strict=True)
            scores = [by_game(folder, seed) for folder, seed in pairs]
        else:
            scores = [
                [round(float(np.mean(shot.sampled)), 3) for shot in run.shots] for run in results
            ]
        steps = [run.source["steps"] / max(run.seconds["pretrain"], 1e-9) for run in results]
        return {"scores": scores, "steps_per_second": [round(x) for x in steps]}

    return collected(arms(), out, of)


def scores(table: dict[str, Any], game: str) -> tuple[list[float], list[float]]:
    """Of one game, seed by seed: of the policy of five, and of its own."""
    together = [run[GAMES.index(game)] for run in table["arms"][TOGETHER]["scores"]]
    return together, [run[0] for run in table["arms"][f"{game} alone"]["scores"]]


def _gains(table: dict[str, Any], game: str) -> tuple[list[float], list[float]]:
    """The same over random actions."""
    together, alone = ([score - RANDOM[game] for score in of] for of in scores(table, game))
    return together, alone


def normalised(table: dict[str, Any], game: str) -> list[float]:
    """Scores of the policy of five: 0 is random, and 1 the mean of those that learned it alone."""
    together, alone = _gains(table, game)
    return [gain / float(np.mean(alone)) for gain in together]


def _means(table: dict[str, Any]) -> list[float]:
    """Over the games, seed by seed."""
    return np.mean([normalised(table, game) for game in GAMES], axis=0).tolist()


def shown(table: dict[str, Any]) -> str:
    """Interquartile mean scores over seeds: game by game, and the held-out game by episodes."""
    lines = ["score".ljust(24) + "  random   alone    five    normalised"]
    for game in GAMES:
        together, alone = scores(table, game)
        numbers = f"{RANDOM[game]:>8.2f}{iqm(alone):>8.1f}{iqm(together):>8.1f}"
        lines.append(f"{game:<24}{numbers}{iqm(normalised(table, game)):>14.2f}")
    lines.append(f"{'mean of the games':<48}{iqm(_means(table)):>14.2f}")
    lines += ["", f"{HELD}, episodes".ljust(24) + "".join(f"{n:>8}" for n in SHOTS)]
    for name in (FEATURES, AFRESH):
        columns = zip(*table["arms"][name]["scores"], strict=True)
        lines.append(f"{name:<24}" + "".join(f"{iqm(column):>8.1f}" for column in columns))
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is hoped of one policy for all, held against every seed's scores."""
    features, afresh = (
        np.array(table["arms"][name]["scores"])[:, 1:].mean(1).tolist()
        for name in (FEATURES, AFRESH)
    )
    mean = "one policy for five games: the mean normalised score is above 0.5"
    own = "{}: over random actions, the policy of five gains more than half of what its own does"
    held = f"{HELD}: who comes from four other games is ahead of who begins there"
    return [
        beyond(mean, _means(table), 0.5),
        *(above(own.format(game), *_gains(table, game), 0.5, digits=1) for game in GAMES),
        above(held, features, afresh, digits=1),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """Games by normalised score, and the held-out game by episodes."""
    from headstart.report.figures import band, dots, figure, legend, save

    fig, (left, right) = figure(2, share=False)
    dots(left, [normalised(table, game) for game in GAMES])
    left.axhline(1, color="0.7", linestyle="--", linewidth=1)
    left.set_xticks(range(len(GAMES)), GAMES, rotation=30)
    left.set_ylabel("score (0: random, 1: alone)")
    for index, name in enumerate((FEATURES, AFRESH)):
        columns = zip(*table["arms"][name]["scores"], strict=True)
        band(right, list(SHOTS), [estimate(column) for column in columns], name, index)
    right.set_xlabel(f"episodes of {HELD}")
    right.set_ylabel("score")
    legend(fig, right)
    save(fig, path)
