"""Problems in which many ways are as good in the source, and one is in the target.

Who has settled on a way in the source has to unlearn it first; who still goes every way has only to
drop the others.
"""

from headstart.problem import Access, Domain, TransferProblem

SAME = {"steps": 20_000}
RUNNER = {
    "algorithm": "sac", "hidden": [64, 64], "batch_size": 128, "num_envs": 4, "rollout_length": 10,
    "learning_starts": 1000, "learning_rate": 1e-3, "discount": 0.9,
}  # fmt: skip

PROBLEMS = (
    TransferProblem(
        name="hallway",
        description="From an open plane, where every direction is as good, to a hallway north",
        source=Domain("runner"),
        target=Domain("runner", east=1.0, west=1.0, south=1.0),
        access=Access(shots=(0, 5, 10, 20, 40, 80)),
        episodes=32,
        learner=RUNNER,
        methods={
            "scratch": {},
            "source-only": SAME,
            "oracle": SAME,
            "finetune": SAME,
            "maxent": SAME,
            "maxent:temperature=0": {},
        },
    ),
)
