"""Many ways to solve the source, and then a wall on one of them.

Kumar et al. (NeurIPS 2020, arXiv 2010.14484) learn five skills that all solve the task, each in its
own way, and give a changed task as many tries: the best of five still solves it where one policy,
which knows one way, does not. Their returns are figures that were never tabulated.

Ours is a point mass, and the change a wall across the straight way. SAC has as many steps of the
source; it is run as it is, and fine-tuned on as many episodes as SMERL tries. Settings were chosen
on seed 0.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.problem import Access
from headstart.problem.named import find
from headstart.result import estimate
from headstart.studies import Arm, Claim, above

SEEDS, FIRST, TRIES = 10, 10, 5
PROBLEM = replace(find("detour"), name="smerl-detour", access=Access(shots=(0, TRIES)))
PAST = 22.0
"""A return that only those have who got past the wall: before it there is 18.5 to be had."""
SAC, TUNED, SMERL = "SAC", "SAC, fine-tuned on five episodes", "SMERL, best of five"
LABELS = {SAC: "source-only", TUNED: "finetune", SMERL: "smerl"}


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """Returns on the target and in the source by arm and seed, and what each skill had."""
    table: dict[str, Any] = {"arms": {}}
    for name, arm in arms().items():
        results = arm.results(out)
        table["versions"] = results[0].versions
        table["arms"][name] = {
            "returns": [round(run.shots[-1].score, 1) for run in results],
            "at_home": [round(run.shots[0].source_score, 1) for run in results],
            "source_steps": [run.source["steps"] for run in results],
            "episodes": [run.target["episodes"] for run in results],
        }
    table["skills"] = [_tried(folder) for folder in arms()[SMERL].folders(out)]
    return table


def _tried(folder: Path) -> list[float]:
    """What each skill returned when it was tried, by number."""
    from headstart.runs.logger import rows

    found = next(row["skill_returns"] for row in rows(folder) if "skill_returns" in row)
    return [round(found[number], 1) for number in sorted(found, key=int)]


def shown(table: dict[str, Any]) -> str:
    """Returns on the target and in the source, one arm a line, and each seed's skills."""
    lines = ["".ljust(36) + "on the target [95 %]".ljust(26) + "in the source [95 %]"]
    for name, arm in table["arms"].items():
        there, home = estimate(arm["returns"]), estimate(arm["at_home"])
        lines.append(
            name.ljust(36) + f"{there.value:.1f} {there.interval}".ljust(26)
            + f"{home.value:.1f} {home.interval}"
        )  # fmt: skip
    tries = ("   ".join(f"{score:.1f}" for score in sorted(tried)) for tried in table["skills"])
    return "\n".join(
        [*lines, "", "what the five skills returned when tried, a seed a line", *tries]
    )


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against the numbers."""
    returns = {name: arm["returns"] for name, arm in table["arms"].items()}
    past = {name: sum(score > PAST for score in scores) for name, scores in returns.items()}
    seeds = len(returns[SMERL])
    return [
        Claim(
            "the best of five skills gets past the wall on every seed, SAC's policy on none",
            past[SMERL] == seeds and not past[SAC],
            f"on {past[SMERL]} of {seeds}, and on {past[SAC]}",
        ),
        above("the best of five skills is above SAC's policy", returns[SMERL], returns[SAC],
              digits=1),
        above("it is above SAC's policy fine-tuned on as many episodes", returns[SMERL],
              returns[TUNED], digits=1),
    ]  # fmt: skip


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns on the target by arm, with intervals over seeds, every seed a dot; and every skill's,
    seed by seed."""
    from headstart.report.figures import bar, colour, figure, save

    fig, (left, right) = figure(columns=2, width=10.0, height=3.0, share=False)
    for row, name in enumerate(reversed(LABELS)):
        bar(left, row, table["arms"][name]["returns"], int(name == SMERL))
    left.set_yticks(range(len(LABELS)), list(reversed(LABELS)))
    left.set_title("return on the target")
    for seed, tried in enumerate(table["skills"]):
        right.plot([FIRST + seed] * len(tried), tried, "o", color=colour(1), markersize=4)
    right.axhline(PAST, color="#5b6875", linewidth=0.8, linestyle=":")
    right.set_title("each skill, tried once; dotted: past the wall")
    right.set_xlabel("seed")
    right.set_xticks(range(FIRST, FIRST + len(table["skills"])))
    save(fig, path)
