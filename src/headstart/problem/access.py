"""What may be taken from the target."""

# What a file or a person gives is of any type, until it is looked at.
# pyright: reportUnnecessaryIsInstance=false

from dataclasses import dataclass

from headstart.errors import HeadstartError


@dataclass(frozen=True)
class Access:
    """What may be taken from the target."""

    observations: int = 0
    """Target observations given to pre-training, without actions or rewards, recorded some steps
    apart."""
    behaviour: str = "random"
    """Who acted when they were recorded: `random`, or a demonstrator of the environment's."""
    steps: int = 0
    """Target steps that pre-training may take itself."""
    rewards: bool = False
    """Whether pre-training sees the rewards of those steps."""
    shots: tuple[int, ...] = (0, 1, 5, 20, 100)
    """Episodes of adaptation after which the return is reported."""

    def __post_init__(self):
        object.__setattr__(self, "shots", tuple(self.shots))
        for name in ("observations", "steps"):
            if not is_count(getattr(self, name)):
                raise HeadstartError(
                    f"access.{name} must be a whole number ≥ 0, got {getattr(self, name)!r}"
                )
        if not isinstance(self.behaviour, str):
            raise HeadstartError(f"access.behaviour must be a text, got {self.behaviour!r}")
        if not isinstance(self.rewards, bool):
            raise HeadstartError(f"access.rewards must be true or false, got {self.rewards!r}")
        counts = bool(self.shots) and all(map(is_count, self.shots))
        if not counts or list(self.shots) != sorted(set(self.shots)):
            raise HeadstartError(
                f"access.shots must be whole numbers ≥ 0 in rising order, got {list(self.shots)}"
            )


def is_count(value: object) -> bool:
    """Whether it is a whole number ≥ 0 that one could count to."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
