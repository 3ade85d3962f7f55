"""Hindsight on a robot's arm that is to reach a point, where only being there is paid.

Plappert et al. (2018, arXiv 1802.09464) have DDPG learn it with hindsight and without. RL
Baselines3 Zoo reports returns of -1.7 after 20,000 steps of TQC with hindsight. Here it is SAC,
20,000 steps, on EnvPool's FetchReach-v4, with the Zoo's step size, discount and batch, tried on
seed 0.
"""

from pathlib import Path
from typing import Any

from headstart.problem.named import PROBLEMS
from headstart.result import Result, iqm
from headstart.studies import Arm, Claim, above, beyond, collected

SEEDS, FIRST = 5, 20
PROBLEM = PROBLEMS["fetch-reach"]
LABELS = {"SAC": "source-only", "SAC with hindsight": "her"}


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """Success rates, returns and seconds of training by arm and seed."""
    return collected(arms(), out, kept)


def kept(arm: Arm, results: list[Result]) -> dict[str, Any]:
    """What the table has of one arm."""
    return {
        "success": [round(run.shots[0].success_rate, 4) for run in results],
        "returns": [round(run.shots[0].score, 2) for run in results],
        "seconds": [round(run.seconds["pretrain"]) for run in results],
    }


def shown(table: dict[str, Any]) -> str:
    """Interquartile means over seeds, one arm a line."""
    lines = ["after training".ljust(24) + " success  return   steps  seconds"]
    for name, arm in table["arms"].items():
        found = [iqm(arm[what]) for what in ("success", "returns", "source_steps", "seconds")]
        numbers = "{:>8.2f}{:>8.1f}{:>8.0f}{:>9.0f}".format(*found)
        lines.append(f"{name:<24}{numbers}")
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is published, held against every seed's success."""
    plain, hindsight = (table["arms"][name] for name in LABELS)
    return [
        beyond("with hindsight it succeeds: above 0.95", hindsight["success"], 0.95),
        above("sooner than without", hindsight["success"], plain["success"], digits=2),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """A dot for each seed, and a bar for their mean."""
    from headstart.report.figures import dots, figure, save

    fig, (axis,) = figure(height=3.2)
    dots(axis, [arm["success"] for arm in table["arms"].values()])
    axis.set_xticks(range(len(LABELS)), list(LABELS))
    axis.set_ylabel("success")
    axis.set_ylim(-0.05, 1.05)
    save(fig, path)
