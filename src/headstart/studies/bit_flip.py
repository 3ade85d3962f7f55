"""Hindsight on bits to be flipped, which random actions never get right.

Andrychowicz et al. (NeurIPS 2017, arXiv 1707.01495) find that DQN solves the problem up to about 13
bits, and with hindsight up to 50. Here both have the same learner and the same steps; the settings
were chosen on other seeds, with hindsight, for 40 bits.
"""

from pathlib import Path
from typing import Any

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.named.goals import BITS
from headstart.result import Result, estimate, iqm
from headstart.studies import Arm, Claim, beyond, collected

SEEDS, FIRST = 5, 10
STEPS = {5: 10_000, 10: 15_000, 15: 20_000, 20: 30_000, 30: 60_000, 40: 120_000}
"""By the number of bits."""
LEARNER = {**BITS, "updates_per_step": 1.0}
PLAIN, HINDSIGHT = "DQN", "DQN with hindsight"
LABELS = {PLAIN: "source-only", HINDSIGHT: "her"}


def problem(bits: int) -> TransferProblem:
    """So many bits, to be learned and done in one environment."""
    domain, steps = Domain("bit-flip", bits=bits), {"steps": STEPS[bits]}
    return TransferProblem(
        name=f"bit-flip-{bits}", source=domain, target=domain, access=Access(shots=(0,)),
        episodes=128, learner=LEARNER, methods=dict.fromkeys(LABELS.values(), steps),
    )  # fmt: skip


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {
        f"{name}, {bits} bits": Arm(problem(bits), label, SEEDS, FIRST)
        for bits in STEPS
        for name, label in LABELS.items()
    }


def collect(out: Path) -> dict[str, Any]:
    """Success rates and returns by arm and seed."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "success": [round(run.shots[0].success_rate, 4) for run in results],
            "returns": [round(run.shots[0].score, 2) for run in results],
            "steps": [run.source["steps"] for run in results],
        }

    return collected(arms(), out, of)


def rates(table: dict[str, Any], name: str, bits: int) -> list[float]:
    """Success rates of one arm, seed by seed."""
    return table["arms"][f"{name}, {bits} bits"]["success"]


def shown(table: dict[str, Any]) -> str:
    """Interquartile mean success over seeds, one learner a line."""
    lines = ["success with so many bits".ljust(28) + "".join(f"{bits:>7}" for bits in STEPS)]
    lines.append("steps".ljust(28) + "".join(f"{steps:>7}" for steps in STEPS.values()))
    for name in LABELS:
        found = "".join(f"{iqm(rates(table, name, bits)):>7.2f}" for bits in STEPS)
        lines.append(f"{name:<28}{found}")
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against every seed's success."""
    many = [bits for bits in STEPS if bits > 13]
    solved = [
        beyond(f"with hindsight, {bits} bits are solved: success above 0.9",
                rates(table, HINDSIGHT, bits), 0.9)
        for bits in STEPS
    ]  # fmt: skip
    failed = [
        beyond(
            f"without, {bits} bits are not: success below 0.1",
            rates(table, PLAIN, bits),
            0.1,
            below=True,
        )
        for bits in many
    ]
    few = beyond("without, 5 bits are solved: success above 0.9", rates(table, PLAIN, 5), 0.9)
    return [*solved, few, *failed]


def draw(table: dict[str, Any], path: Path) -> None:
    """Success over the number of bits."""
    from headstart.report.figures import band, figure, legend, save

    fig, (axis,) = figure(height=4.2)
    for index, name in enumerate(LABELS):
        found = [estimate(rates(table, name, bits)) for bits in STEPS]
        band(axis, list(STEPS), found, name, index)
    axis.axvline(13, color="0.7", linestyle="--", linewidth=1)
    axis.set_xlabel("bits")
    axis.set_ylabel("success")
    legend(fig, axis)
    save(fig, path)
