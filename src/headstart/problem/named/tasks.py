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

PAID = mixture(
    [
        Domain("runner", direction=direction, pay=pay)
        for direction, pay in ((0, 0.01), (120, 1), (240, 100))
    ],
    shows=["task"],
)
"""Three directions, one of which is paid a ten-thousandth of another."""
TASKS = {"steps": 12_000}
HEADS, POPART = "multi-task:learner.heads=true", "multi-task:learner.popart=true"
BOTH_TRICKS = f"{HEADS};learner.popart=true"

GAMES = "asterix", "breakout", "freeway", "seaquest", "space-invaders"
"""Of MinAtar."""
PLAYER = {
    "algorithm": "ppo", "hidden": [128], "num_envs": 64, "rollout_length": 64,
    "minibatch_size": 512, "epochs": 3, "learning_rate": 1e-3, "discount": 0.99,
    "gae_lambda": 0.95, "entropy_coef": 0.01,
}  # fmt: skip
A_GAME = 500_000
"""Steps for each."""


def games(*drawn: str) -> Domain:
    """A mixture of all, of which some are drawn, alike often."""
    weights = [float(game in drawn) for game in GAMES]
    return mixture([Domain(f"minatar-{game}") for game in GAMES], weights, shows=["task"])


PROBLEMS = (
    TransferProblem(
        name="runner-directions",
        description="From eight directions to run in, learned together, to one in between",
        source=Domain("runner", direction=EIGHT, shows=DIRECTION),
        target=Domain("runner", direction=112.5, shows=DIRECTION),
        access=Access(shots=(0, 5, 20)),
        episodes=16,
        sweep={"direction": tuple(22.5 * k for k in range(15))},
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
    TransferProblem(
        name="reward-scales",
        description="Three tasks that are paid 0.01, 1 and 100 a step, and the first of them",
        source=PAID,
        target=PAID.with_parameters(task=0),
        access=Access(shots=(0,)),
        episodes=16,
        sweep={"task": (0, 1, 2)},
        learner=RUNNER,
        methods={"multi-task": TASKS, HEADS: {}, POPART: {}, BOTH_TRICKS: {}},
    ),
    TransferProblem(
        name="minatar-held-out",
        description="From four games, learned together, to a fifth",
        source=games(*GAMES[:-1]),
        target=games(GAMES[-1]),
        access=Access(shots=(0, 50, 150, 400)),
        episodes=64,
        learner={**PLAYER, "heads": True},
        methods={
            "multi-task": {
                "steps": A_GAME * (len(GAMES) - 1), "curriculum": "even",
                "episodes_per_update": 10, "learning_rate": PLAYER["learning_rate"],
            },
            "scratch": {"episodes_per_update": 10},
        },
    ),
)  # fmt: skip
