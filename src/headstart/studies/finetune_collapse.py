"""Fine-tuning that loses what was carried before it learns anything, and a recipe that does not.

A policy, its critic and its optimiser go on, on the target, with nothing remembered, at the rate of
the source: naive fine-tuning. The recipe of `finetune` starts the optimiser afresh at a third of
the rate, lets the critic learn for five episodes before the policy moves, draws half of every batch
from steps of the source, and holds the policy near to the source's, less and less. What each part
is worth is seen by leaving it out.

The robots are a hopper that is heavier and has more grip, and a half-cheetah with a dead joint. The
arms of a seed start from the same policy, and are held against each other seed by seed. The recipe
was chosen on seed 0, by returns on the target.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem import Access, Domain, TransferProblem
from headstart.result import estimate
from headstart.studies import Arm, Claim

SEEDS, FIRST = 5, 10
HOPPER, CHEETAH = "hopper", "half-cheetah"
ROBOT: dict[str, Any] = {
    "algorithm": "sac", "hidden": [128, 128], "batch_size": 128, "num_envs": 10,
    "rollout_length": 8, "learning_starts": 2000, "learning_rate": 1e-3, "reward_scale": 1.0,
}  # fmt: skip
STEPS = {"steps": 100_000}
RECIPE_PARTS: dict[str, Any] = {
    "warmup": 5, "replay": 0.5, "anchor": {"kind": "kickstart", "weight": 1.0},
}  # fmt: skip


def _problem(robot: str, shots: tuple[int, ...], **changed: Any) -> TransferProblem:
    return TransferProblem(
        name=f"collapse-{robot}",
        source=Domain(robot),
        target=Domain(robot, **changed),
        access=Access(shots=shots),
        episodes=8,
        learner=ROBOT,
        methods={"source-only": STEPS, "finetune": STEPS | RECIPE_PARTS},
    )


PROBLEMS = {
    HOPPER: _problem("hopper", (0, 5, 10, 20), torso_mass=6.0, ground_friction=1.2),
    CHEETAH: _problem("half-cheetah", (0, 5, 10), disabled_joint=0),
}
SCRATCH, STILL, NAIVE, RECIPE = "scratch", "source-only", "naive", "the recipe"
WITHOUT = {
    "a fresh optimiser": "finetune:fresh=",
    "a lower rate": "finetune:learning_rate=0.001",
    "the critic's warm-up": "finetune:warmup=0",
    "steps of the source": "finetune:replay=0",
    "kickstarting": "finetune:anchor.kind=none",
}
LABELS = {
    SCRATCH: "scratch",
    STILL: "source-only",
    NAIVE: "finetune:fresh=;learning_rate=0.001;warmup=0;replay=0;anchor.kind=none",
    RECIPE: "finetune",
    **{f"without {part}": label for part, label in WITHOUT.items()},
}


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {
        f"{robot}: {name}": Arm(problem, label, SEEDS, FIRST)
        for robot, problem in PROBLEMS.items()
        for name, label in LABELS.items()
    }


def collect(out: Path) -> dict[str, Any]:
    """Returns on the target and in the source, by arm, seed and shot."""
    table: dict[str, Any] = {"arms": {}}
    for name, arm in arms().items():
        results = arm.results(out)
        table["versions"] = results[0].versions
        table["arms"][name] = {
            "shots": list(arm.problem.access.shots),
            "target": [[round(shot.score, 1) for shot in run.shots] for run in results],
            "source": [[round(shot.source_score, 1) for shot in run.shots] for run in results],
            "source_steps": [run.source["steps"] for run in results],
        }
    return table


def area(arm: dict[str, Any]) -> np.ndarray:
    """Mean return `[seeds]` over the target's episodes, by the trapezoids between shots."""
    shots = arm["shots"]
    return np.trapezoid(arm["target"], shots, axis=1) / (shots[-1] - shots[0])


def lowest(arm: dict[str, Any]) -> np.ndarray:
    """The lowest return `[seeds]` at a shot after the first, as a share of the first."""
    returns = np.array(arm["target"])
    return returns[:, 1:].min(1) / returns[:, 0]


def better(text: str, more: np.ndarray, less: np.ndarray, digits: int = 0) -> Claim:
    """The claim that runs are above others that started from the same: the interval of the
    difference, seed by seed, is above zero."""
    apart = estimate(more - less)
    low, high = (float("nan") if x is None else x for x in (apart.low, apart.high))
    by = f"by {apart.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    return Claim(text, apart.above_zero, f"{by}; on {int((more > less).sum())} of {len(more)}")


def shown(table: dict[str, Any]) -> str:
    """Returns over episodes, the dip, and how far from the recipe's, one arm a line."""
    lines = []
    for robot, problem in PROBLEMS.items():
        found = _of(table, robot)
        head = "".join(f"{n:>7}" for n in problem.access.shots)
        lines += [
            "",
            f"{robot}: return after episodes".ljust(36) + head
            + "   lowest, of the first   mean, above the recipe's [95 %]",
        ]  # fmt: skip
        for name, arm in found.items():
            means = [estimate(column).value for column in zip(*arm["target"], strict=True)]
            apart = estimate(area(arm) - area(found[RECIPE]))
            low = "" if name == SCRATCH else f"{estimate(lowest(arm)).value:.2f}"
            lines.append(
                name.ljust(36) + "".join(f"{mean:>7.0f}" for mean in means)
                + low.rjust(12).ljust(25)
                + f"{apart.value:.0f} {apart.interval}"
            )  # fmt: skip
    return "\n".join(lines[1:])


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is said of fine-tuning and of its remedies, held against the numbers."""
    claimed = []
    for robot in PROBLEMS:
        found = _of(table, robot)
        naive, recipe, scratch = (found[name] for name in (NAIVE, RECIPE, SCRATCH))
        dips, behind = lowest(recipe), area(recipe) < area(scratch)
        seeds = len(dips)
        claimed += [
            better(f"{robot}: naive fine-tuning falls below nine tenths of what it starts with",
                   np.full(seeds, 0.9), lowest(naive), digits=2),
            Claim(f"{robot}: the recipe falls by no more than a tenth on any seed",
                  bool((dips >= 0.9).all()), f"the lowest is {dips.min():.2f} of the first"),
            better(f"{robot}: the recipe falls less than naive fine-tuning, as a share of the "
                   "first return", lowest(recipe), lowest(naive), digits=2),
            Claim(f"{robot}: the recipe is slower than scratch on no seed", not behind.any(),
                  f"its mean over episodes is lower on {int(behind.sum())} of {seeds}"),
            better(f"{robot}: the recipe returns more than naive fine-tuning, by the mean over "
                   "episodes", area(recipe), area(naive)),
        ]  # fmt: skip
        claimed += [
            better(f"{robot}: it returns more than without {part}", area(recipe),
                   area(found[f"without {part}"]))
            for part in WITHOUT
        ]  # fmt: skip
    return claimed


def _of(table: dict[str, Any], robot: str) -> dict[str, Any]:
    return {name: table["arms"][f"{robot}: {name}"] for name in LABELS}


def draw(table: dict[str, Any], path: Path) -> None:
    """Of each robot, the lowest return as a share of the first, and how far the mean return is
    above the recipe's, by arm; every seed a dot."""
    from headstart.report.figures import bar, figure, save

    names = [name for name in LABELS if name != SCRATCH]
    fig, axes = figure(columns=4, width=12.0, height=3.4)
    for robot, (left, right) in zip(PROBLEMS, (axes[:2], axes[2:]), strict=True):
        found = _of(table, robot)
        for row, name in enumerate(reversed(names)):
            index = list(LABELS).index(name) if name in (NAIVE, RECIPE) else 0
            bar(left, row, list(lowest(found[name])), index)
            bar(right, row, list(area(found[name]) - area(found[RECIPE])), index)
        left.set_title(f"{robot}: lowest return,\nas a share of the first")
        right.set_title(f"{robot}: mean return,\nabove the recipe's")
    axes[0].set_yticks(range(len(names)), list(reversed(names)))
    save(fig, path)
