"""Many ways to solve the source, and then an obstacle on one of them.

Kumar et al. (NeurIPS 2020, arXiv 2010.14484) learn five skills that all solve the task, each in its
own way, and give a changed task as many tries: the best of five still solves it where one policy,
which knows one way, does not. Their returns are figures that were never tabulated.

Ours are a point mass with a wall across the straight way, and a half-cheetah with a dead motor, or
against a wind. SAC has as many steps of the source; it is run as it is, and fine-tuned on as many
episodes as SMERL tries. Settings were chosen on seed 0.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.named import find
from headstart.result import Result, estimate
from headstart.studies import ROBOT, Arm, Claim, above, collected

FIRST, TRIES = 10, 5
DETOUR = replace(find("detour"), name="smerl-detour", access=Access(shots=(0, TRIES)))
PAST = 22.0
"""A return that only those have who got past the wall: before it there is 18.5 to be had."""
LONG = {"steps": 160_000}
SKILLED = LONG | {"skills": 5, "from_optimum": True, "diversity": {"weight": 1.0}}


def _cheetah(name: str, **changed: Any) -> TransferProblem:
    return TransferProblem(
        name=f"smerl-{name}",
        source=Domain("half-cheetah"),
        target=Domain("half-cheetah", **changed),
        access=Access(shots=(0, TRIES)),
        episodes=8,
        learner=ROBOT,
        methods={"source-only": LONG, "finetune": LONG, "smerl": SKILLED},
    )


WALL, MOTOR, WIND = "wall", "dead motor", "wind"
PROBLEMS = {
    WALL: DETOUR,
    MOTOR: _cheetah("motor", disabled_joint=0),
    WIND: _cheetah("wind", wind=-40.0),
}
SEEDS = {WALL: 10, MOTOR: 5, WIND: 5}
SAC, TUNED, SMERL = "SAC", "SAC, fine-tuned on five episodes", "SMERL, best of five"
LABELS = {SAC: "source-only", TUNED: "finetune", SMERL: "smerl"}


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {
        f"{change}: {name}": Arm(problem, label, SEEDS[change], FIRST)
        for change, problem in PROBLEMS.items()
        for name, label in LABELS.items()
    }


def collect(out: Path) -> dict[str, Any]:
    """Returns on the target and in the source by arm and seed, and what each skill had."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "returns": [round(run.shots[-1].score, 1) for run in results],
            "at_home": [round(run.shots[0].source_score, 1) for run in results],
            "episodes": [run.target["episodes"] for run in results],
        }

    skills = {
        name.split(": ")[0]: [
            [round(found[number], 1) for number in sorted(found, key=int)]
            for found in arm.logged(out, "skill_returns")
        ]
        for name, arm in arms().items()
        if arm.label == LABELS[SMERL]
    }
    return collected(arms(), out, of) | {"skills": skills}


def shown(table: dict[str, Any]) -> str:
    """Returns on the target and in the source, one arm a line, and each seed's skills."""
    lines = ["".ljust(48) + "on the target [95 %]".ljust(26) + "in the source [95 %]"]
    for name, arm in table["arms"].items():
        there, home = estimate(arm["returns"]), estimate(arm["at_home"])
        lines.append(
            name.ljust(48) + f"{there.value:.1f} {there.interval}".ljust(26)
            + f"{home.value:.1f} {home.interval}"
        )  # fmt: skip
    for change, skills in table["skills"].items():
        tries = ("   ".join(f"{score:.1f}" for score in sorted(tried)) for tried in skills)
        lines += ["", f"{change}: what the five skills returned when tried, a seed a line", *tries]
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against the numbers."""
    returns = {name: arm["returns"] for name, arm in table["arms"].items()}
    past = {n: sum(score > PAST for score in returns[f"{WALL}: {n}"]) for n in LABELS}
    seeds = len(returns[f"{WALL}: {SMERL}"])
    found = [
        Claim(
            "the best of five skills gets past the wall on every seed, SAC's policy on none",
            past[SMERL] == seeds and not past[SAC],
            f"on {past[SMERL]} of {seeds}, and on {past[SAC]}",
        )
    ]
    for change in PROBLEMS:
        best, one, tuned = (returns[f"{change}: {name}"] for name in (SMERL, SAC, TUNED))
        found += [
            above(f"{change}: the best of five skills is above SAC's policy", best, one, digits=1),
            above(f"{change}: it is above SAC's policy fine-tuned on as many episodes", best,
                  tuned, digits=1),
        ]  # fmt: skip
    return found


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns on the target by arm and change, with intervals over seeds, every seed a dot; and
    every skill's, a cross."""
    from headstart.report.figures import bar, colour, figure, save

    fig, axes = figure(columns=len(PROBLEMS), width=11.0, height=2.8)
    for axis, (change, skills) in zip(axes, table["skills"].items(), strict=True):
        for row, name in enumerate(reversed(LABELS)):
            bar(axis, row, table["arms"][f"{change}: {name}"]["returns"], int(name == SMERL))
        tried = [score for seed in skills for score in seed]
        axis.plot(tried, [-0.7] * len(tried), "x", color=colour(1), markersize=4)
        axis.set_title(change)
        axis.set_xlabel("return on the target")
    rows = [*reversed(LABELS), "every skill, tried once"]
    axes[0].set_yticks([*range(len(LABELS)), -0.7], rows)
    save(fig, path)
