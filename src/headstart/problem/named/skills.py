"""Problems for policies that are many, and for one that is to do one thing more."""

from headstart.problem import Access, Domain, TransferProblem

SAME = {"steps": 20_000}
WALKER = {
    "algorithm": "sac", "hidden": [64, 64], "batch_size": 128, "num_envs": 4, "rollout_length": 10,
    "learning_starts": 1000, "learning_rate": 1e-3, "discount": 0.95,
}  # fmt: skip
GOAL = ("goal_x", "goal_y")
CLONE, KICKSTART = "finetune:anchor.kind=clone", "finetune:anchor.kind=kickstart"
EWC, REPLAY = "finetune:anchor.kind=ewc;anchor.weight=10", "finetune:replay=0.5"

PROBLEMS = (
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
