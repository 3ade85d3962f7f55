"""Fine-tuning that loses what was carried before it learns anything, and a recipe that holds it.

That the first updates may undo a policy is an old observation (Nair et al., 2020, arXiv 2006.09359,
and Wołczyk et al., ICML 2024, arXiv 2402.02868, among others). Naive fine-tuning goes on, on the
target, with the policy, its critic and its optimiser, with nothing remembered, at the rate of the
source. The recipe of `finetune` starts the optimiser afresh at a third of the rate, lets the critic
learn for five episodes before the policy moves, draws half of every batch from steps of the source,
and holds the policy near to the source's, less and less. What each part is worth is seen by leaving
it out.

The robots are a hopper that is heavier and has less grip, and a half-cheetah with a dead joint. The
arms of a seed start from the same policy, and are held against each other seed by seed. The recipe
was chosen on seed 0, by returns on the target.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem import Access, Domain, TransferProblem
from headstart.result import Result, area, estimate
from headstart.studies import ROBOT, Arm, Claim, above_paired, at_shots, collected

SEEDS, FIRST = 5, 10
HOPPER, CHEETAH = "hopper", "half-cheetah"
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
SCRATCH, AS_IT_CAME, NAIVE, RECIPE = "scratch", "source-only", "naive", "the recipe"
WITHOUT = {
    "a fresh optimiser": "finetune:fresh=",
    "a lower rate": "finetune:learning_rate=0.001",
    "the critic's warm-up": "finetune:warmup=0",
    "steps of the source": "finetune:replay=0",
    "kickstarting": "finetune:anchor.kind=none",
}
LABELS = {
    SCRATCH: "scratch",
    AS_IT_CAME: "source-only",
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
    """Returns on the target by arm, seed and shot, their mean over episodes, and the return in the
    source at the end."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "shots": list(arm.problem.access.shots),
            "target": [[round(shot.score, 1) for shot in run.shots] for run in results],
            "mean": [round(area(run), 1) for run in results],
            "source": [round(run.shots[-1].source_score, 1) for run in results],
        }

    return collected(arms(), out, of)


def mean(arm: dict[str, Any]) -> np.ndarray:
    """Mean return `[seeds]` over the target's episodes."""
    return np.array(arm["mean"])


def lowest(arm: dict[str, Any]) -> np.ndarray:
    """The lowest return `[seeds]` at a shot after the first, as a share of the first; 1 at most
    where the policy still stands at one of them."""
    returns = np.array(arm["target"])
    return returns[:, 1:].min(1) / returns[:, 0]


def shown(table: dict[str, Any]) -> str:
    """Returns over episodes, the dip, and how far from the recipe's, one arm a line."""
    lines = []
    for robot, problem in PROBLEMS.items():
        found = _of(table, robot)
        head = "".join(f"{n:>7}" for n in problem.access.shots)
        lines += [
            "",
            f"{robot}: return after episodes".ljust(36) + head
            + "   lowest, of the first   mean, above the recipe's [95 %]".ljust(60)
            + "source then",
        ]  # fmt: skip
        for name, arm in found.items():
            apart = estimate(mean(arm) - mean(found[RECIPE]))
            low = "" if name == SCRATCH else f"{estimate(lowest(arm)).value:.2f}"
            lines.append(
                name.ljust(36) + at_shots(arm["target"])
                + low.rjust(12).ljust(25)
                + f"{apart.value:.0f} {apart.interval}".ljust(32)
                + f"{estimate(arm['source']).value:.0f}"
            )  # fmt: skip
    return "\n".join(lines[1:])


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is said of fine-tuning and of its remedies, held against the numbers."""
    claimed = []
    for robot in PROBLEMS:
        found = _of(table, robot)
        naive, recipe, came = (found[name] for name in (NAIVE, RECIPE, AS_IT_CAME))
        dips, behind = lowest(recipe), mean(recipe) < mean(found[SCRATCH])
        seeds = len(dips)
        claimed += [
            above_paired(
                f"{robot}: naive fine-tuning falls below nine tenths of what it starts with",
                np.full(seeds, 0.9), lowest(naive), digits=2,
            ),
            Claim(
                f"{robot}: the recipe falls by no more than a tenth on any seed",
                bool((dips >= 0.9).all()), f"the lowest is {dips.min():.2f} of the first",
            ),
            above_paired(
                f"{robot}: the recipe falls less than naive fine-tuning, as a share of the first "
                "return", dips, lowest(naive), digits=2,
            ),
            Claim(
                f"{robot}: the recipe's mean return is below scratch's on no seed",
                not behind.any(), f"on {int(behind.sum())} of {seeds}",
            ),
            above_paired(
                f"{robot}: the recipe's mean return is above that of the policy as it came",
                mean(recipe), mean(came),
            ),
            above_paired(
                f"{robot}: the recipe's mean return is above naive fine-tuning's",
                mean(recipe), mean(naive),
            ),
            above_paired(
                f"{robot}: naive fine-tuning loses the source: its return there ends below what "
                "the policy had as it came", came["source"], naive["source"],
            ),
            above_paired(
                f"{robot}: the recipe returns more in the source in the end than naive fine-tuning",
                recipe["source"], naive["source"],
            ),
        ]  # fmt: skip
        claimed += [
            above_paired(
                f"{robot}: the recipe's mean return is above the one without {part}",
                mean(recipe), mean(found[f"without {part}"]),
            )
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
            bar(right, row, list(mean(found[name]) - mean(found[RECIPE])), index)
        left.set_title(f"{robot}: lowest return,\nas a share of the first")
        right.set_title(f"{robot}: mean return,\nabove the recipe's")
    axes[0].set_yticks(range(len(names)), list(reversed(names)))
    save(fig, path)
