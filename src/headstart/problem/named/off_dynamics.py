"""Problems whose source allows what the target does not, and their reversals.

Rewards that are corrected in the source keep the agent from relying on what the target would not
allow. Reversed, the source lacks what the target needs, and no correction can teach it.
"""

from dataclasses import replace
from typing import Any

from headstart.problem import Access, Domain, TransferProblem

ONCE = (0,)
"""Zero-shot alone: the target is used in pre-training."""


def _methods(steps: int, ratio: dict[str, Any]) -> dict[str, Any]:
    same = {"steps": steps}
    return {"source-only": same, "oracle": same, "darc": {**same, "ratio": ratio}}


def _robot_methods(steps: int, ratio: dict[str, Any]) -> dict[str, Any]:
    return {**_methods(steps, ratio), "random-force": {"steps": steps}}


GRID = {
    "algorithm": "dqn", "hidden": [64, 64], "n_step": 1, "updates_per_step": 0.5, "batch_size": 128,
    "discount": 0.95, "exploration": 0.8, "learning_starts": 5000,
}  # fmt: skip
GRID_RATIO = {
    "hidden": [64, 64], "noise": 0.1, "learning_rate": 1e-3, "scale": 0.1, "warmup": 5000,
    "random_steps": 5000, "after": 5000, "every": 5,
}  # fmt: skip
ARROW = {
    "algorithm": "sac", "hidden": [64, 64], "batch_size": 128, "learning_starts": 2000,
    "learning_rate": 1e-3, "reward_scale": 1.0,
}  # fmt: skip
ARROW_RATIO = {
    "hidden": [32], "noise": 0.0, "learning_rate": 3e-3, "warmup": 5000, "random_steps": 10_000,
    "after": 0,
}  # fmt: skip
CHEETAH = {
    "algorithm": "sac", "hidden": [128, 128], "batch_size": 128, "learning_starts": 2000,
    "learning_rate": 1e-3, "reward_scale": 1.0,
}  # fmt: skip
OBSTACLE_RATIO = {
    "hidden": [64], "learning_rate": 1e-3, "noise": 0.3, "warmup": 5000, "random_steps": 2000,
    "after": 0, "scale": 2.0,
}  # fmt: skip
"""Corrected early, before a direction is chosen."""
CHEETAH_RATIO = {"warmup": 20_000, "random_steps": 2000, "after": 20_000}
ARENA_RATIO = {**CHEETAH_RATIO, "noise": 0.1, "warmup": 10_000, "scale": 0.1}
"""A step is worth 1 at most, and small errors of Δr would count as much."""

FORWARD = (
    TransferProblem(
        name="wall",
        description="A grid whose target has a wall across the short way",
        source=Domain("grid"),
        target=Domain("grid", wall=1),
        access=Access(steps=12_000, shots=ONCE),
        episodes=32,
        learner=GRID,
        methods=_methods(40_000, GRID_RATIO),
    ),
    TransferProblem(
        name="archery",
        description="One arrow: a steady wind in the source, and none in the target",
        source=Domain("archery", wind=1.0, gust=1.0),
        target=Domain("archery", wind=0.0, gust=0.3),
        access=Access(steps=14_000, shots=ONCE),
        episodes=256,
        learner=ARROW,
        methods=_methods(20_000, ARROW_RATIO),
    ),
    TransferProblem(
        name="broken-cheetah",
        description="A half-cheetah one of whose joints is dead in the target",
        source=Domain("half-cheetah"),
        target=Domain("half-cheetah", disabled_joint=0),
        access=Access(steps=12_000, shots=ONCE),
        learner=CHEETAH,
        methods=_robot_methods(80_000, CHEETAH_RATIO),
    ),
    TransferProblem(
        name="cheetah-obstacle",
        description="A half-cheetah that may run either way, with a wall behind it in the target",
        source=Domain("two-way-cheetah"),
        # Near: a step backward costs log(1 − chance to meet the wall in it), little if that is far.
        target=Domain("two-way-cheetah", wall=1.0),
        access=Access(steps=12_000, shots=ONCE),
        learner=CHEETAH,
        methods=_robot_methods(60_000, OBSTACLE_RATIO),
    ),
    TransferProblem(
        name="arena",
        description="A fenced arena to practise in, and a free plane",
        source=Domain("plane", fence=3.0),
        target=Domain("plane"),
        access=Access(steps=12_000, shots=ONCE),
        learner=ARROW,
        methods=_methods(40_000, ARENA_RATIO),
    ),
)
PROBLEMS = FORWARD + tuple(
    replace(
        problem,
        name=f"{problem.name}-reversed",
        description=f"{problem.description}: source and target exchanged",
        source=problem.target,
        target=problem.source,
    )
    for problem in FORWARD
)
