"""Hindsight on a robot's arm that is to reach a point, where only being there is paid.

Plappert et al. (2018, arXiv 1802.09464) have DDPG learn it with hindsight and without. RL
Baselines3 Zoo reports returns of -1.7 after 20,000 steps of TQC with hindsight. Here it is SAC,
20,000 steps, on EnvPool's FetchReach-v4, with the Zoo's step size, discount and batch, tried on
seed 0.
"""

from pathlib import Path
from typing import Any

from headstart.problem import Access, Domain, TransferProblem
from headstart.result import Result, iqm
from headstart.studies import Arm, Claim, above, beyond, collected

SEEDS, FIRST = 5, 20
ARM = Domain("pool:FetchReach-v4")
LEARNER = {
    "algorithm": "sac", "hidden": [64, 64], "num_envs": 8, "rollout_length": 4, "batch_size": 256,
    "learning_starts": 1000, "learning_rate": 1e-3, "discount": 0.95, "tau": 0.05,
}  # fmt: skip
LABELS = {"SAC": "source-only", "SAC with hindsight": "her"}
PROBLEM = TransferProblem(
    name="fetch-reach",
    description="A robot's arm that is to reach a point, where only being there is paid",
    source=ARM,
    target=ARM,
    access=Access(shots=(0,)),
    episodes=64,
    learner=LEARNER,
    methods={label: {"steps": 20_000} for label in LABELS.values()},
)


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """Success rates, returns and seconds of training by arm and seed."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "success": [round(run.shots[0].success_rate, 4) for run in results],
            "returns": [round(run.shots[0].score, 2) for run in results],
            "seconds": [round(run.seconds["pretrain"]) for run in results],
        }

    return collected(arms(), out, of)


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
