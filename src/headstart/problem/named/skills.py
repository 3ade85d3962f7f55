"""Problems for policies that are many, and for one that is to do one thing more.

The settings were chosen on seed 0, by looking at the target.
"""

from headstart.problem import Access, Domain, TransferProblem

SAME, LONG = {"steps": 20_000}, {"steps": 120_000}
WALKER = {
    "algorithm": "sac", "hidden": [64, 64], "batch_size": 128, "num_envs": 4, "rollout_length": 10,
    "learning_starts": 1000, "learning_rate": 1e-3, "discount": 0.95,
}  # fmt: skip
GOAL = ("goal_x", "goal_y")
CLONE, KICKSTART = "finetune:anchor.kind=clone", "finetune:anchor.kind=kickstart"
EWC, REPLAY = "finetune:anchor.kind=ewc;anchor.weight=10", "finetune:replay=0.5"

FIVE = {"skills": 5, "diversity": {"coordinates": [0, 1], "weight": 0.5}}

PROBLEMS = (
    TransferProblem(
        name="detour",
        description="From an open plane to an obstacle on the straight way that was never there",
        source=Domain("navigation"),
        target=Domain("navigation", obstacle=2.4),
        access=Access(shots=(0, 5, 10, 20, 40)),
        episodes=16,
        learner=WALKER | {"num_envs": 10, "rollout_length": 8},
        methods={
            "scratch": {},
            "source-only": LONG,
            "oracle": LONG,
            "finetune": LONG,
            "smerl": LONG | FIVE,
        },
    ),
    TransferProblem(
        name="other-goal",
        description="From one goal to another, which the policy is told; is the first one kept?",
        source=Domain("navigation", shows=GOAL),
        target=Domain("navigation", goal_x=4.0, goal_y=5.0, shows=GOAL),
        access=Access(shots=(0, 10, 20, 40)),
        episodes=16,
        learner=WALKER,
        methods={
            "scratch": {},
            "source-only": SAME,
            "oracle": SAME,
            "finetune": SAME,
            CLONE: {},
            REPLAY: {},
            "progressive": SAME,
        },
    ),
)
