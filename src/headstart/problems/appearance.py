"""Problems whose target looks different and drives the same.

The source varies in looks for those who train on all of it; the others train at its mean, a sunny
day.
"""

from typing import Any

from headstart.distributions import Uniform
from headstart.problem import Access, Domain, TransferProblem

SUN = Domain(
    "drive",
    palette=Uniform(-0.5, 0.5),
    saturation=Uniform(0.5, 1.5),
    brightness=Uniform(0.6, 1.4),
    contrast=Uniform(0.6, 1.4),
)
DRIVER = {
    "hidden": [64], "epochs": 4, "minibatch": 512, "learning_rate": 2.5e-4, "discount": 0.98,
    "entropy": 0.003,
}  # fmt: skip
"""PPO on images: fewer passes, since each costs more, and smaller steps, since actor and critic
share the encoder."""
SHORT = {"steps": 200_000, "learner": DRIVER}
STUDENT = {
    "steps": 200_000,
    "learner": {"algorithm": "imitation", "teacher": DRIVER, "updates": 4000},
}
"""What source-only learned, which is paid for once, and then aligned."""
METHODS: dict[str, Any] = {
    "source-only": SHORT,
    "oracle": SHORT,
    "domain-randomization": SHORT,
    "random-convolution": STUDENT,
    "domain-confusion": {**STUDENT, "observations": 1000},
}


def _weather(name: str, description: str, behaviour: str, **looks: float) -> TransferProblem:
    return TransferProblem(
        name=name,
        description=description,
        source=SUN,
        target=Domain("drive", **looks),
        access=Access(observations=1000, behaviour=behaviour, shots=(0,)),
        episodes=32,
        methods=METHODS,
    )


PROBLEMS = (
    _weather("rainy-drive", "Learn to drive in the sun, drive in the rain", "good", rain=1.0),
    _weather("dusk-drive", "Learn to drive in the sun, drive at dusk", "good", daylight=0.2),
    _weather(
        "rainy-drive-bad-drivers",
        "The same rain, seen by drivers who leave the road",
        "bad",
        rain=1.0,
    ),
)
