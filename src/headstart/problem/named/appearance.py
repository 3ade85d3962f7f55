"""Problems whose target looks different and drives the same.

The source varies in looks for those who train on all of it; the others train at its mean, a sunny
day.
"""

from typing import Any

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.distributions import Uniform

SUN = Domain(
    "drive",
    palette=Uniform(-0.5, 0.5),
    saturation=Uniform(0.5, 1.5),
    brightness=Uniform(0.6, 1.4),
    contrast=Uniform(0.6, 1.4),
)
RAIN = {"rain": 1.0, "daylight": 0.5}
DUSK = {"daylight": 0.35}
DRIVER: dict[str, Any] = {"algorithm": "imitation", "updates_per_step": 0.16, "batch_size": 64}
"""A copy of a driver who sees the road itself: a minute or two on one core."""
STEPS = {"steps": 25_000}
FRAMES = 1000
METHODS: dict[str, Any] = {
    **dict.fromkeys(("source-only", "oracle", "domain-randomization", "random-convolution"), STEPS),
    "domain-confusion": {**STEPS, "observations": FRAMES},
}


def _weather(name: str, description: str, behaviour: str, **looks: float) -> TransferProblem:
    return TransferProblem(
        name=name,
        description=description,
        source=SUN,
        target=Domain.of("drive", looks),
        access=Access(observations=FRAMES, behaviour=behaviour, shots=(0,)),
        episodes=32,
        learner=DRIVER,
        methods=METHODS,
    )


PROBLEMS = (
    _weather("rainy-drive", "Learn to drive in the sun, drive in the rain", "good", **RAIN),
    _weather("dusk-drive", "Learn to drive in the sun, drive at dusk", "good", **DUSK),
    _weather(
        "rainy-drive-bad-drivers",
        "The same rain, seen by drivers who leave the road",
        "bad",
        **RAIN,
    ),
)
