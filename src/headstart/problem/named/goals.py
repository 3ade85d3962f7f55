"""Problems of goals, most of which random actions never reach.

The settings were chosen on seeds below 10.
"""

from headstart.problem import Access, Domain, TransferProblem

BITS = {
    "algorithm": "dqn", "hidden": [256], "num_envs": 16, "rollout_length": 4, "n_step": 1,
    "updates_per_step": 0.25, "batch_size": 128, "buffer_size": 100_000, "discount": 0.98,
    "tau": 0.05,
}  # fmt: skip
SAME = {"steps": 30_000}

PROBLEMS = (
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
)
