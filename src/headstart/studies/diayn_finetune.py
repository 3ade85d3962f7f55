"""Skills that were learned without a reward, and then a task for the best of them.

Eysenbach et al. (ICLR 2019, arXiv 1802.06070) learn skills that are told apart by where they go,
try each on a task, and fine-tune the one that returns most: it learns the half-cheetah's task, and
others, in fewer steps than who starts from nothing. Their curves were never tabulated.

Here the half-cheetah is to run, and a point mass to find a goal that pays nothing from afar, ever
harder to get to: in the far corner of its room, on the way out, and behind the wall. What is tried
of skills is counted. Settings were chosen on seeds below 10, by returns on the target; the corner
after the way out had been seen.
"""

from pathlib import Path
from typing import Any

from headstart.problem import Access, Domain, TransferProblem
from headstart.result import Result, estimate
from headstart.studies import ROBOT, Arm, Claim, above, at_shots, collected

CHEETAH, CORNER = "half-cheetah", "maze, the far corner"
WAY_OUT, BEHIND = "maze, the way out", "maze, behind the wall"
DIAYN, SCRATCH = "DIAYN, the best skill", "scratch"
FRESH = "the same, its critic fresh"
LABELS = {
    DIAYN: "diayn",
    FRESH: "diayn:fresh=critic,optimiser",
    SCRATCH: "scratch",
}
POINT: dict[str, Any] = {
    "algorithm": "sac", "hidden": [64, 64], "batch_size": 128, "num_envs": 16, "rollout_length": 5,
    "learning_starts": 1000, "learning_rate": 1e-3, "discount": 0.97, "updates_per_step": 0.5,
}  # fmt: skip
HALF = ROBOT | {"updates_per_step": 0.5}
WALKED = {
    "steps": 100_000, "skills": 16, "diversity": {"coordinates": ["x", "y"]},
}  # fmt: skip
RUN = {"steps": 160_000, "skills": 10, "diversity": {"coordinates": ["rootx speed"], "weight": 3.0}}


def _problem(
    name: str, domain: Domain, shots: tuple[int, ...], learner: dict[str, Any],
    skilled: dict[str, Any],
) -> TransferProblem:  # fmt: skip
    return TransferProblem(
        name=f"diayn-{name}", source=Domain(domain.environment), target=domain,
        access=Access(shots=shots), episodes=8, learner=learner, methods={"diayn": skilled},
    )  # fmt: skip


EPISODES = (0, 16, 20, 25, 30, 40, 60)
ROOM = Domain("maze")
PROBLEMS = {
    CHEETAH: _problem("cheetah", Domain("half-cheetah"), (0, 10, 15, 20, 30, 40), HALF, RUN),
    CORNER: _problem("corner", Domain("maze", goal_x=4.6, goal_y=1.1), EPISODES, POINT, WALKED),
    WAY_OUT: _problem("way-out", Domain("maze", goal_x=4.3, goal_y=2.0), EPISODES, POINT, WALKED),
    BEHIND: _problem("behind", ROOM, EPISODES, POINT, WALKED),
}
SEEDS = {CHEETAH: range(10, 20), CORNER: range(20, 30), WAY_OUT: range(10, 20),
         BEHIND: range(10, 15)}  # fmt: skip
THRESHOLDS = {CHEETAH: 600.0, CORNER: 28.0, WAY_OUT: 28.0, BEHIND: 28.0}
"""About half of what is had in the end."""


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {
        f"{where}: {name}": Arm(problem, label, len(SEEDS[where]), SEEDS[where][0])
        for where, problem in PROBLEMS.items()
        for name, label in LABELS.items()
    }


def collect(out: Path) -> dict[str, Any]:
    """Returns by arm, seed and shot."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "shots": list(arm.problem.access.shots),
            "returns": [[round(shot.score, 1) for shot in run.shots] for run in results],
        }

    return collected(arms(), out, of)


def times(table: dict[str, Any], where: str, name: str) -> list[int]:
    """Episodes to the threshold, seed by seed, from the first shot after the skills were tried; all
    that there were, where it was not reached."""
    arm = table["arms"][f"{where}: {name}"]
    shots = arm["shots"]
    return [
        next((n for n, x in zip(shots[1:], run[1:], strict=True) if x >= THRESHOLDS[where]),
             shots[-1])
        for run in arm["returns"]
    ]  # fmt: skip


def shown(table: dict[str, Any]) -> str:
    """Returns and episodes to the threshold, one arm a line."""
    lines = []
    for where in PROBLEMS:
        shots = table["arms"][f"{where}: {SCRATCH}"]["shots"]
        lines += ["", f"{where}: return after".ljust(44) + "".join(f"{n:>7}" for n in shots)
                  + f"   episodes to {THRESHOLDS[where]:g} [95 %]"]  # fmt: skip
        for name in LABELS:
            until = estimate(times(table, where, name))
            returns = at_shots(table["arms"][f"{where}: {name}"]["returns"])
            lines.append(f"{name:<44}{returns}   {until.value:.0f} {until.interval}")
    return "\n".join(lines[1:])


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against the numbers."""
    found = []
    for where in PROBLEMS:
        took = {name: times(table, where, name) for name in LABELS}
        ended = {
            name: [run[-1] for run in table["arms"][f"{where}: {name}"]["returns"]]
            for name in LABELS
        }
        last = table["arms"][f"{where}: {SCRATCH}"]["shots"][-1]
        found.append(
            above(f"{where}: scratch takes more episodes to the threshold than the best skill, the "
                  f"tries included ({last} are all)", took[SCRATCH], took[DIAYN])
        )  # fmt: skip
        found.append(
            above(f"{where}: after {last} episodes the best skill returns more than with a fresh "
                  "critic", ended[DIAYN], ended[FRESH])
        )  # fmt: skip
    return found


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns over target episodes."""
    from headstart.report.figures import band, figure, legend, save

    fig, axes = figure(columns=len(PROBLEMS), width=11.0, height=3.8, share=False)
    for axis, where in zip(axes, PROBLEMS, strict=True):
        for index, name in enumerate(LABELS):
            arm = table["arms"][f"{where}: {name}"]
            columns = zip(*arm["returns"], strict=True)
            band(axis, arm["shots"], [estimate(column) for column in columns], name, index)
        axis.axhline(THRESHOLDS[where], color="#5b6875", linewidth=0.8, linestyle=":")
        axis.set_title(where)
        axis.set_xlabel("episodes on the target")
    axes[0].set_ylabel("return")
    legend(fig, axes[0])
    save(fig, path)
