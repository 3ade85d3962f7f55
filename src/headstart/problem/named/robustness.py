"""Problems whose target is one of many bodies that the source may have."""

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.distributions import Normal

SHORT = {"steps": 280_000}
SHORT_EPOPT = {**SHORT, "ensemble": 0.75, "trajectories": 32}
"""Pre-training that fits a comparison of all methods into minutes."""

PROBLEMS = (
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
            "source-only": SHORT,
            "oracle": SHORT,
            "finetune": SHORT,
            "domain-randomization": SHORT,
            "epopt": SHORT_EPOPT,
            "epopt-posterior": {**SHORT_EPOPT, "retrain": 80_000},
        },
    ),
)
