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
DRIVER: dict[str, Any] = {"algorithm": "imitation", "updates": 4000, "batch_size": 64}
"""A copy of a driver who sees the road itself: a minute or two on one core."""
STEPS = {"steps": 25_000}
METHODS: dict[str, Any] = dict.fromkeys(
    ("source-only", "oracle", "domain-randomization", "random-convolution"), STEPS
)
WHOLE = {"layer": "dense"}
"""What is aligned in the rain, which is between the driver and all that there is to see."""
BY_PLACE = {"layer": "conv2", "weight": 3.0, "learning_rate": 1e-3}
"""And at dusk, when the sky, the road and each car change in a way of their own."""


def _weather(
    name: str, description: str, behaviour: str, aligned: dict[str, Any], **looks: float
) -> TransferProblem:
    return TransferProblem(
        name=name,
        description=description,
        source=SUN,
        target=Domain.of("drive", looks),
        access=Access(observations=1000, behaviour=behaviour, shots=(0,)),
        episodes=32,
        learner=DRIVER,
        methods={**METHODS, "domain-confusion": {**STEPS, "observations": 1000, **aligned}},
    )


PROBLEMS = (
    _weather("rainy-drive", "Learn to drive in the sun, drive in the rain", "good", WHOLE, **RAIN),
    _weather("dusk-drive", "Learn to drive in the sun, drive at dusk", "good", BY_PLACE, **DUSK),
    _weather(
        "rainy-drive-bad-drivers",
        "The same rain, seen by drivers who leave the road",
        "bad",
        WHOLE,
        **RAIN,
    ),
)
