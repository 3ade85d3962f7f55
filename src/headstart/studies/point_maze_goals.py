"""Goals all over a winding maze: as they come, at the frontier, or where they fail.

Florensa et al. (ICML 2018, arXiv 1705.06366) find that goals of middling difficulty are learned
from sooner than goals drawn at random. Here a point mass learns with hindsight (SAC) to get to any
place behind two walls, its goals drawn uniformly or by a curriculum. The settings were chosen on
seeds 0 to 2, for uniform goals.
"""

from pathlib import Path
from typing import Any

from headstart.problem.named import PROBLEMS
from headstart.problem.named.goals import FAILURES, FRONTIER
from headstart.result import Result, iqm
from headstart.studies import Arm, Claim, above, collected

SEEDS, FIRST = 5, 10
PROBLEM = PROBLEMS["point-maze-goals"]
UNIFORM = "hindsight, goals as they come"
LABELS = {
    UNIFORM: "her",
    "hindsight, goals at the frontier": FRONTIER,
    "hindsight, goals that fail": FAILURES,
}


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """Success rates by arm and seed."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {"success": [round(run.shots[0].success_rate, 4) for run in results]}

    return collected(arms(), out, of)


def shown(table: dict[str, Any]) -> str:
    """Interquartile mean success over seeds, one arm a line."""
    lines = ["success, of uniform goals".ljust(36) + "  mean   worst seed"]
    for name, arm in table["arms"].items():
        lines.append(f"{name:<36}{iqm(arm['success']):>6.2f}{min(arm['success']):>12.2f}")
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is published, held against every seed's success."""
    uniform, frontier, failures = (table["arms"][name]["success"] for name in LABELS)
    return [
        above("goals at the frontier are ahead of goals as they come", frontier, uniform, digits=2),
        above("goals that fail are ahead of goals as they come", failures, uniform, digits=2),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """A dot for each seed, and a bar for their mean."""
    from headstart.report.figures import dots, figure, save

    fig, (axis,) = figure(height=3.2)
    dots(axis, [arm["success"] for arm in table["arms"].values()])
    axis.set_xticks(range(len(LABELS)), [name.replace(", ", ",\n") for name in LABELS])
    axis.set_ylabel("success")
    axis.set_ylim(-0.05, 1.05)
    save(fig, path)
