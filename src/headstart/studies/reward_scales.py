"""Tasks whose rewards differ by four orders of magnitude, learned together.

Hessel et al. (AAAI 2019, arXiv 1809.04474) learn games together whose scores differ that much:
without PopArt by task, those that pay little are not learned (their median over 57 games is near 0
without it and above 100 % of human with it). Here three directions are run in, for 0.01, 1 and 100
a step; the best that there is, full speed, is 47.5 times that. Settings were chosen on seed 0.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem.named import PROBLEMS
from headstart.problem.named.tasks import BOTH_TRICKS, HEADS, POPART
from headstart.result import Result, estimate, iqm
from headstart.studies import Arm, Claim, beyond, collected

SEEDS, FIRST = 5, 10
PAYS, BEST = (0.01, 1.0, 100.0), 47.5
PROBLEM = PROBLEMS["reward-scales"]
LABELS = {
    "one network": "multi-task",
    "a head for each task": HEADS,
    "PopArt, for all tasks as one": POPART,
    "PopArt by task, with heads": BOTH_TRICKS,
}


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """Returns by arm, seed and task, as shares of the best that there is."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "shares": [
                [
                    round(float(np.mean(row["zero_shot"])) / pay / BEST, 4)
                    for row, pay in zip(run.sweep, PAYS, strict=True)
                ]
                for run in results
            ]
        }

    return collected(arms(), out, of)


def shown(table: dict[str, Any]) -> str:
    """Interquartile mean shares over seeds, one arm a line."""
    lines = ["share of the best, paid".ljust(32) + "".join(f"{pay:>8g}" for pay in PAYS)]
    for name, arm in table["arms"].items():
        columns = zip(*arm["shares"], strict=True)
        lines.append(f"{name:<32}" + "".join(f"{iqm(column):>8.2f}" for column in columns))
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is published, held against the task that fares worst, on every seed."""
    *without, both = (
        (name, [min(run) for run in arm["shares"]]) for name, arm in table["arms"].items()
    )
    return [
        beyond(f"{both[0]}: the worst task is above 0.8 of its best", both[1], 0.8),
        *(
            beyond(f"{name}: the worst task is below 0.3 of its best", worst, 0.3, below=True)
            for name, worst in without
        ),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """A group of bars for each arm, one for each task."""
    from headstart.report.figures import colour, figure, legend, save

    fig, (axis,) = figure(height=3.8)
    for task, pay in enumerate(PAYS):
        found = [estimate([run[task] for run in arm["shares"]]) for arm in table["arms"].values()]
        at = np.arange(len(found)) + 0.25 * (task - 1)
        axis.bar(at, [one.value for one in found], 0.22, color=colour(task), label=f"paid {pay:g}")
    axis.set_xticks(range(len(LABELS)), list(LABELS))
    axis.set_ylabel("share of the best return")
    legend(fig, axis)
    save(fig, path)
