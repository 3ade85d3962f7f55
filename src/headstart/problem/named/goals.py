"""Problems of goals, most of which random actions never reach, and of a task that is none.

The settings were chosen on seeds below 10.
"""

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.distributions import Uniform

BITS = {
    "algorithm": "dqn", "hidden": [256], "num_envs": 16, "rollout_length": 4, "n_step": 1,
    "updates_per_step": 0.25, "batch_size": 128, "buffer_size": 100_000, "discount": 0.98,
    "tau": 0.05,
}  # fmt: skip
SAME = {"steps": 30_000}
POINT = {
    "algorithm": "sac", "hidden": [128, 128], "batch_size": 128, "num_envs": 8,
    "rollout_length": 10, "learning_starts": 1000, "updates_per_step": 0.25, "discount": 0.95,
}  # fmt: skip
ROOM = {"steps": 60_000}
ANYWHERE = Uniform(0.3, 5.7)
PLACES = (0.6, 1.8, 3.0, 4.2, 5.4)
EVERYWHERE = Domain("point-maze", goal_x=ANYWHERE, goal_y=ANYWHERE)
MAZE = {
    "algorithm": "sac", "hidden": [128, 128], "batch_size": 256, "num_envs": 8,
    "rollout_length": 10, "learning_starts": 1000, "updates_per_step": 0.5, "discount": 0.98,
    "tau": 0.02, "learning_rate": 1e-3,
}  # fmt: skip
LONG = {"steps": 80_000}
CAMERA = {
    "algorithm": "sac", "hidden": [128, 128], "batch_size": 128, "num_envs": 16,
    "rollout_length": 8, "learning_starts": 1000, "updates_per_step": 0.25, "learning_rate": 1e-3,
    "discount": 0.95, "tau": 0.02, "encoders": ["observation=codes", "desired_goal=codes"],
}  # fmt: skip
SEEN = {"steps": 40_000}
FRONTIER, FAILURES = "her:curriculum=frontier", "her:curriculum=failures"
ROBOT = {
    "algorithm": "sac", "batch_size": 256, "learning_rate": 1e-3, "discount": 0.95, "tau": 0.05,
}  # fmt: skip
ARM = {
    **ROBOT, "hidden": [64, 64], "num_envs": 8, "rollout_length": 4, "learning_starts": 1000,
}  # fmt: skip
PUSHER = {
    **ROBOT, "hidden": [128, 128, 128], "num_envs": 16, "rollout_length": 8,
    "learning_starts": 20_000, "updates_per_step": 0.5,
    "encoders": ["observation=statistics", "desired_goal=statistics"],
}  # fmt: skip

PROBLEMS = (
    TransferProblem(
        name="puck",
        description="A puck to be moved to where a picture has it, by codes of pictures",
        source=Domain("puck"),
        target=Domain("puck"),
        access=Access(shots=(0,)),
        episodes=64,
        learner=CAMERA,
        methods={"source-only": SEEN, "her": SEEN, "her:latent=true": SEEN},
    ),
    TransferProblem(
        name="bit-flip",
        description="Fifteen bits to be flipped to any goal, which random actions never meet",
        source=Domain("bit-flip", bits=15),
        target=Domain("bit-flip", bits=15),
        access=Access(shots=(0,)),
        episodes=64,
        learner=BITS,
        methods={"source-only": SAME, "her": SAME, "her:strategy=final": SAME},
    ),
    TransferProblem(
        name="fetch-reach",
        description="A robot's arm that is to reach a point, where only being there is paid",
        source=Domain("pool:FetchReach-v4"),
        target=Domain("pool:FetchReach-v4"),
        access=Access(shots=(0,)),
        episodes=64,
        learner=ARM,
        methods={"source-only": {"steps": 20_000}, "her": {"steps": 20_000}},
    ),
    TransferProblem(
        name="fetch-push",
        description="A robot's arm that is to push a block to a point, where only that is paid",
        source=Domain("pool:FetchPush-v4"),
        target=Domain("pool:FetchPush-v4"),
        access=Access(shots=(0,)),
        episodes=64,
        learner=PUSHER,
        methods={"source-only": {"steps": 400_000}, "her": {"steps": 400_000}},
    ),
    TransferProblem(
        name="point-maze-goals",
        description="A winding maze, in which any place may be the goal",
        source=EVERYWHERE,
        target=EVERYWHERE,
        access=Access(shots=(0,)),
        episodes=128,
        sweep={"goal_x": PLACES, "goal_y": PLACES},
        sweep_episodes=2,
        learner=MAZE,
        methods={
            "her": LONG,
            FRONTIER: LONG,
            FAILURES: LONG,
        },
    ),
    TransferProblem(
        name="reach-avoid",
        description="From going to any place that is told to a task that is no goal: reach the "
        "green, avoid the red",
        source=Domain("point-maze", wall=0, goal_x=ANYWHERE, goal_y=ANYWHERE),
        target=Domain("green-red"),
        access=Access(shots=(0, 20, 40, 80)),
        episodes=16,
        sweep={"goal_x": PLACES, "goal_y": PLACES},
        sweep_episodes=2,
        learner=POINT,
        methods={"scratch": {}, "her": {**ROOM, "learning_rate": 1e-3}, "oracle": ROOM},
    ),
)
