"""One policy for five tasks of a robot's arm (Meta-World: Yu et al., CoRL 2019, 1910.10897).

SAC learns them together, told which by one-hot, with a head for each and without; and each alone,
with as many steps as its share. Of ten tasks tried alone on seed 0, these are five that it solves
in 60,000 steps, two of them opposites. Published, of ten tasks with 2,000,000 steps each:
one policy 0.49, with heads 0.61, one for each task 0.90.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem import Access, Domain, TransferProblem, mixture
from headstart.result import Result, iqm
from headstart.studies import Arm, Claim, above, beyond, collected

SEEDS, FIRST = 5, 10
EPISODES = 32
TASKS = ("WindowOpen", "WindowClose", "DoorClose", "DrawerClose", "FaucetClose")
STEPS = 60_000
"""For each task."""
LEARNER = {
    "algorithm": "sac", "hidden": [128, 128, 128], "num_envs": 10, "rollout_length": 8,
    "updates_per_step": 0.5, "batch_size": 128, "learning_starts": 4000, "learning_rate": 1e-3,
    "discount": 0.99, "tau": 0.01, "reward_scale": 0.1, "encoders": ["state=statistics"],
}  # fmt: skip
DOMAINS = [Domain(f"pool:MetaWorld/{task}-v3", horizon=200) for task in TASKS]
TOGETHER, HEADS, ALONE = "five together", "five together, heads", "alone"
LABELS = {TOGETHER: "multi-task", HEADS: "multi-task:learner.heads=true"}


def arms() -> dict[str, Arm]:
    """What is compared."""
    every = mixture(DOMAINS, shows=["task"])
    five = TransferProblem(
        name="metaworld-together", source=every, target=every, access=Access(shots=(0,)),
        episodes=EPISODES, sweep={"task": tuple(range(len(TASKS)))}, sweep_episodes=EPISODES,
        learner=LEARNER,
        methods={label: {"steps": STEPS * len(TASKS)} for label in LABELS.values()},
    )  # fmt: skip
    found = {name: Arm(five, label, SEEDS, FIRST) for name, label in LABELS.items()}
    for task, domain in zip(TASKS, DOMAINS, strict=True):
        alone = TransferProblem(
            name=f"metaworld-alone-{task}", source=domain, target=domain,
            access=Access(shots=(0,)), episodes=EPISODES, learner=LEARNER,
            methods={"source-only": {"steps": STEPS}},
        )  # fmt: skip
        found[f"{task} {ALONE}"] = Arm(alone, "source-only", SEEDS, FIRST)
    return found


def collect(out: Path) -> dict[str, Any]:
    """Success rates by arm and seed, task by task where there are five."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        if arm.label in LABELS.values():
            found = [[float(np.mean(row["success"])) for row in run.sweep] for run in results]
        else:
            found = [[run.shots[0].success_rate] for run in results]
        return {
            "success": [[round(rate, 4) for rate in run] for run in found],
            "seconds": [round(run.seconds["pretrain"]) for run in results],
        }

    return collected(arms(), out, of)


def success(table: dict[str, Any], name: str) -> np.ndarray:
    """Rates `[seed, task]`; of those that learned alone, seed by seed."""
    of = table["arms"]
    if name != ALONE:
        return np.array(of[name]["success"])
    return np.concatenate([of[f"{task} {ALONE}"]["success"] for task in TASKS], axis=1)


def shown(table: dict[str, Any]) -> str:
    """Interquartile means over seeds, one task a line, and the mean over tasks."""
    names = (ALONE, TOGETHER, HEADS)
    lines = ["success".ljust(16) + "".join(f"{name:>23}" for name in names)]
    found = [success(table, name) for name in names]
    for i, task in enumerate(TASKS):
        lines.append(f"{task:<16}" + "".join(f"{iqm(of[:, i]):>23.2f}" for of in found))
    lines.append("mean".ljust(16) + "".join(f"{iqm(of.mean(1)):>23.2f}" for of in found))
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is published of ten tasks, held against every seed's mean over five."""
    alone, together, heads = (
        success(table, name).mean(1).tolist() for name in (ALONE, TOGETHER, HEADS)
    )
    more = "one policy for each is above one for all, at the same total of steps"
    return [
        beyond("one policy for each task: success above 0.8", alone, 0.8),
        above(more, alone, together, digits=2),
        above("with a head for each task one for all is above without", heads, together, digits=2),
        above("with heads it has more than 0.8 of their success", heads, alone, 0.8, digits=2),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """Success task by task, a dot for each seed; a panel for each way to learn."""
    from headstart.report.figures import dots, figure, save

    names = (ALONE, TOGETHER, HEADS)
    fig, axes = figure(3)
    for axis, name in zip(axes, names, strict=True):
        dots(axis, success(table, name).T.tolist())
        axis.set_xticks(range(len(TASKS)), TASKS, rotation=30, ha="right")
        axis.set_title(name)
        axis.set_ylim(-0.05, 1.05)
    axes[0].set_ylabel("success")
    save(fig, path)
