"""A policy of goals, and a task that is no goal: reach the green, avoid the red.

Not every task is a goal: what is wanted here depends on the way, and no place that could be told
says so. A policy learns to go wherever it is told in an empty room; on the target it is told each
of a fine grid of places, the green among them. Settings were chosen on seeds below 10, and again
after a first try on seeds 10 to 14, which do not report: 20,000 steps were too few for either
policy.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.envs.green_red import GREEN, RED, green_red
from headstart.problem.named import PROBLEMS
from headstart.result import Result, iqm
from headstart.studies import Arm, Claim, above, beyond, collected

SEEDS, FIRST = 5, 20
PROBLEM = PROBLEMS["reach-avoid"]
GOALS, ORACLE = "goals", "oracle"
LABELS = {GOALS: "her", ORACLE: "oracle"}
AXIS = np.linspace(0.3, 5.7, 19).round(1)
"""Of the grid of places that are told, in metres, from the walls to the walls."""


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """By arm and seed: the return for each place that is told, one or all of them, and what became
    of who was told the green."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        told, held = [green_red.goal], "adapted"
        if arm.label == LABELS[GOALS]:
            told, held = [(float(x), float(y)) for x in AXIS for y in AXIS], "knowledge"
        columns = [_played(folder / held, told) for folder in arm.folders(out)]
        tuned = [round(float(np.mean(run.shots[-1].returns)), 1) for run in results]
        return {name: [run[name] for run in columns] for name in columns[0]} | {"tuned": tuned}

    return collected(arms(), out, of)


def _played(folder: Path, told: list[tuple[float, float]]) -> dict[str, Any]:
    """What a policy that was kept does, in an episode for each goal that it is told."""
    from headstart import envs
    from headstart.envs.goals import ACHIEVED
    from headstart.experience.unroll import episodes
    from headstart.knowledge import Knowledge
    from headstart.policies.policy import policy_from

    x, y = green_red.goal
    domain = PROBLEM.target.with_parameters(goal_x=x, goal_y=y)
    running = envs.start(domain, len(told), FIRST)
    running.pin(np.array(told))
    steps = episodes(policy_from(Knowledge.load(folder)), running).steps
    returns = np.float64(steps.reward).reshape(len(told), -1).sum(1).round(1)
    places = np.float64(steps.next_obs[ACHIEVED]).reshape(len(told), -1, 2) * green_red.metres
    red, green = green_red.in_red(places).sum(1), green_red.in_green(places[:, -1])
    at = told.index(green_red.goal)
    return {
        "returns": returns.tolist(),
        "return": float(returns[at]),
        "red": int(red[at]),
        "green": int(green[at]),
        "way": places[at].round(2).tolist(),
        "clean": int((green & (red == 0)).sum()),
    }


def best_place(table: dict[str, Any]) -> list[float]:
    """The return for the place that is best to be told, seed by seed."""
    return [max(run) for run in table["arms"][GOALS]["returns"]]


def shown(table: dict[str, Any]) -> str:
    """Interquartile means over seeds, one way to act a line."""
    told, oracle = (table["arms"][name] for name in (GOALS, ORACLE))
    rows = {
        "told the green": told["return"],
        "told the place that is best": best_place(table),
        "fine-tuned, 80 episodes": told["tuned"],
        "oracle": oracle["return"],
    }
    return "\n".join(f"{name:<28}{iqm(found):>8.1f}" for name, found in rows.items())


def claims(table: dict[str, Any]) -> list[Claim]:
    """Held against the numbers."""
    told, oracle = (table["arms"][name] for name in (GOALS, ORACLE))
    clean = told["clean"]
    return [
        _on_every_seed("told the green, it ends there", told["green"]),
        beyond("but more than 10 of its steps are in the red", told["red"], 10),
        beyond("and it returns less than who stays at the start", told["return"], 0, below=True),
        Claim(
            f"none of {len(AXIS) ** 2} places that are told leads to the green without a step in "
            "the red, on any seed",
            not any(clean),
            f"{', '.join(map(str, clean))} do, seed by seed",
        ),
        above(
            "the oracle returns more than twice what the best of these places does",
            oracle["return"], best_place(table), factor=2, digits=1,
        ),
        _on_every_seed("the oracle ends in the green", oracle["green"]),
        beyond("and less than one of its steps is in the red", oracle["red"], 1, below=True),
    ]  # fmt: skip


def _on_every_seed(text: str, found: list[int]) -> Claim:
    """What either is or is not, of which no interval says anything."""
    return Claim(f"{text}, on every seed", all(found), f"on {sum(found)} of {len(found)}")


def draw(table: dict[str, Any], path: Path) -> None:
    """The ways of both, and what each place that is told returns."""
    from headstart.report.figures import colour, figure, save

    fig, (room, told) = figure(columns=2, width=9.5, height=4.4, share=False)
    _room(room)
    labels = {GOALS: "told the green", ORACLE: "oracle"}
    for index, (name, label) in enumerate(labels.items()):
        for number, way in enumerate(table["arms"][name]["way"]):
            whole = np.array([green_red.start_at, *way])
            room.plot(*whole.T, color=colour(index), linewidth=1.2, label=None if number else label)
    room.legend(frameon=False, fontsize=8, loc="upper left")
    returns = np.mean(table["arms"][GOALS]["returns"], axis=0).reshape(len(AXIS), -1).T
    step = AXIS[1] - AXIS[0]
    low, high = AXIS[0] - step / 2, AXIS[-1] + step / 2
    best = iqm(table["arms"][ORACLE]["return"])
    drawn = told.imshow(
        returns, origin="lower", extent=(low, high, low, high), cmap="RdYlGn", vmin=-best, vmax=best
    )
    told.set_title("return by the place that is told", fontsize=10)
    told.set_xlabel("metres")
    told.grid(visible=False)
    fig.colorbar(drawn, ax=told, extend="min", shrink=0.8)
    save(fig, path)


def _room(axis: Any) -> None:
    """The room from above, with the green and the red."""
    from matplotlib.patches import Circle, Rectangle

    left, right, bottom, top = green_red.bounds
    west, south, width, height = green_red.red
    red, green = (tuple(c / 255 for c in shade) for shade in (RED, GREEN))
    axis.add_patch(Rectangle((west, south), width, height, color=red, alpha=0.5, linewidth=0))
    axis.add_patch(Circle(green_red.goal, green_red.near, color=green, alpha=0.6, linewidth=0))
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    axis.set_aspect("equal")
    axis.set_xlabel("metres")
    axis.grid(visible=False)
    axis.set_title("the ways from the start, five seeds of each", fontsize=10)
