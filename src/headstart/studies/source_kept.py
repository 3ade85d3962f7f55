"""What fine-tuning forgets of the source, and what keeps it: backward transfer.

Wołczyk et al. (ICML 2024, arXiv 2402.02868) find that fine-tuning in reinforcement learning loses
what was known of states that the target does not show at first, and that cloning the source's
behaviour in its own states keeps it; kickstarting (Schmitt et al., 2018, arXiv 1803.03835), elastic
weight consolidation (Kirkpatrick et al., 2017, arXiv 1612.00796), replay of the source, and
progressive networks (Rusu et al., 2016, arXiv 1606.04671), which forget nothing by construction,
are held beside it.

Ours is a point mass that was taught one goal and is then taught another; it is told which. Weights
were chosen on seed 0, among one or two values each, by both returns.
"""

from pathlib import Path
from typing import Any

from headstart.problem.named import find
from headstart.problem.named.skills import CLONE, EWC, KICKSTART, REPLAY
from headstart.result import Result, estimate
from headstart.studies import Arm, Claim, above, collected

SEEDS, FIRST = 10, 10
PROBLEM = find("other-goal")
NAIVE, CLONED, COLUMNS = "naive", "cloning in the source's states", "progressive"
KEEPERS = {
    CLONED: CLONE,
    "kickstarting": KICKSTART,
    "elastic weights": EWC,
    "half a batch from the source": REPLAY,
}
LABELS = {
    "scratch": "scratch",
    "oracle": "oracle",
    NAIVE: "finetune",
    **KEEPERS,
    COLUMNS: "progressive",
}


def arms() -> dict[str, Arm]:
    """What is compared: fine-tuning in six ways, beside no source and the oracle."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """Returns on the target and in the source, by arm, seed and shot."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "target": [[round(shot.score, 2) for shot in run.shots] for run in results],
            "source": [[round(shot.source_score, 2) for shot in run.shots] for run in results],
            "same": [run.shots[0].source == run.shots[-1].source for run in results],
        }

    return {"shots": PROBLEM.access.shots} | collected(arms(), out, of)


def last(table: dict[str, Any], name: str, side: str = "target") -> list[float]:
    """Returns after the last episode, seed by seed."""
    return [returns[-1] for returns in table["arms"][name][side]]


def kept(table: dict[str, Any], name: str) -> list[float]:
    """Backward transfer, seed by seed: the return in the source at the end minus that before."""
    return [returns[-1] - returns[0] for returns in table["arms"][name]["source"]]


def shown(table: dict[str, Any]) -> str:
    """Returns at the end on both sides, and backward transfer, one arm a line."""
    shots = table["shots"]
    lines = ["".ljust(32) + f"target after {shots[-1]} [95 %]".ljust(26) + "source then".ljust(22)
             + "backward transfer"]  # fmt: skip
    for name in table["arms"]:
        cells = (last(table, name), last(table, name, "source"), kept(table, name))
        told = [f"{e.value:.1f} {e.interval}" for e in map(estimate, cells)]
        lines.append(name.ljust(32) + told[0].ljust(26) + told[1].ljust(22) + told[2])
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What these papers say, held against the numbers."""
    naive = kept(table, NAIVE)
    lost = estimate(naive)
    found = [
        Claim(
            "naive fine-tuning forgets: its backward transfer is below zero",
            lost.below_zero,
            f"{lost.value:.1f} {lost.interval}",
        )
    ]
    for name in KEEPERS:
        text = f"{name} forgets less than naive fine-tuning"
        found.append(above(text, kept(table, name), naive, digits=1))
    found.append(
        Claim(
            "progressive networks forget nothing, to the last digit of every episode",
            all(table["arms"][COLUMNS]["same"]),
            f"{sum(table['arms'][COLUMNS]['same'])} of {len(naive)} seeds are the same",
        )
    )
    for name in (*KEEPERS, COLUMNS):
        text = f"{name} returns more than nine tenths of what naive fine-tuning does on the target"
        found.append(above(text, last(table, name), last(table, NAIVE), 0.9, digits=1))
    return found


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns on the target and in the source over target episodes."""
    from headstart.report.figures import band, figure, legend, save

    fig, axes = figure(columns=2, height=4.4)
    for axis, side in zip(axes, ("target", "source"), strict=True):
        for index, name in enumerate(table["arms"]):
            columns = zip(*table["arms"][name][side], strict=True)
            band(axis, table["shots"], [estimate(column) for column in columns], name, index)
        axis.set_title(f"return {'on the target' if side == 'target' else 'in the source'}")
        axis.set_xlabel("episodes on the target")
    axes[0].set_ylim(-5, 45)  # intervals go beyond
    legend(fig, axes[0])
    save(fig, path)
