"""Problems of many tasks, and a target that is one more.

The settings were chosen on seeds below 10.
"""

from headstart.problem import Access, Domain, TransferProblem, mixture
from headstart.problem.distributions import Choice

EIGHT = Choice(tuple(45.0 * k for k in range(8)))
SPEEDS = Choice((0.25, 0.5, 0.75, 1.0))
DIRECTION, BOTH = ("direction",), ("direction", "speed")
RUNNER = {
    "algorithm": "sac", "hidden": [64, 64], "batch_size": 128, "num_envs": 4, "rollout_length": 10,
    "learning_starts": 400, "learning_rate": 1e-3, "discount": 0.9,
}  # fmt: skip
ALL, SHARE = {"steps": 8_000}, {"steps": 1_000}
UNTOLD = "multi-task:learner.encoders=context=blank"
"""That is not told its task."""

PROBLEMS = (
    TransferProblem(
        name="runner-directions",
        description="From eight directions to run in, learned together, to one in between",
        source=Domain("runner", direction=EIGHT, shows=DIRECTION),
        target=Domain("runner", direction=112.5, shows=DIRECTION),
        access=Access(shots=(0, 5, 20)),
        episodes=16,
        sweep={"direction": tuple(22.5 * k for k in range(16))},
        learner=RUNNER,
        methods={
            "scratch": {},
            "multi-task": ALL,
            UNTOLD: {},
            "oracle": ALL,
            "oracle:steps=1000": SHARE,
        },
    ),
    TransferProblem(
        name="runner-speeds",
        description="From every direction at full speed, and every speed eastwards, to both",
        source=mixture(
            [
                Domain("runner", direction=EIGHT, shows=BOTH),
                Domain("runner", direction=0, speed=SPEEDS, shows=BOTH),
            ]
        ),
        target=Domain("runner", direction=180, speed=0.5, shows=BOTH),
        access=Access(shots=(0, 5, 20)),
        episodes=16,
        sweep={
            "direction": tuple(45.0 * k for k in range(8)), "speed": (0.25, 0.5, 0.75, 1.0),
        },
        learner=RUNNER,
        methods={"scratch": {}, "multi-task": ALL, "oracle": ALL},
    ),
)  # fmt: skip
