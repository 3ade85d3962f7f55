"""Problems whose target is one of many bodies that the source may have."""

from typing import Any

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.distributions import LogUniform, Normal

SWING_UP: dict[str, Any] = {
    "algorithm": "ppo", "num_envs": 128, "minibatch_size": 512, "learning_rate": 1e-3,
    "discount": 0.98, "gae_lambda": 0.95,
}  # fmt: skip
STEPS = {"steps": 700_000}
"""As many as the swing-up takes; half a minute on one core."""

PROBLEMS = (
    TransferProblem(
        name="rusty-hinge",
        description="Swing up a pole whose hinge is rustier than almost all in the simulator",
        source=Domain("cart-pole", pivot_damping=LogUniform(0.0002, 0.11)),
        target=Domain("cart-pole", pivot_damping=0.065),
        access=Access(shots=(0, 5, 20, 100, 200)),
        sweep={"pivot_damping": (0.0, 0.02, 0.04, 0.05, 0.06, 0.065, 0.07, 0.08)},
        episodes=32,
        sweep_episodes=16,
        learner=SWING_UP,
        methods={
            "scratch": {},
            "source-only": STEPS,
            "finetune": STEPS,
            "domain-randomization": STEPS,
            "epopt-posterior": {**STEPS, "ensemble": 0.75, "retrain": 80_000},
            "oracle": {"steps": 1_200_000},
        },
    ),
    TransferProblem(
        name="hopper-mass",
        description="From a hopper whose torso weighs 4.6 kg, or about that, to one of 9 kg",
        source=Domain("hopper", torso_mass=Normal(4.0, 2.0, low=2.0, high=10.0)),
        target=Domain("hopper", torso_mass=9.0),
        access=Access(shots=(0, 1, 5, 20, 100, 500)),
        sweep={"torso_mass": (3, 4.5, 6, 7.5, 9)},
        episodes=10,
        sweep_episodes=4,
        methods={
            "scratch": {},
            "source-only": {},
            "finetune": {},
            "domain-randomization": {},
            "epopt": {},
            "epopt-posterior": {},
            "oracle": {"steps": 1_500_000},
        },
    ),
)
