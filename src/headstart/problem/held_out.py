"""How far a task lies from those that were trained on."""

from collections.abc import Mapping

from headstart.problem.distributions import Distribution, Fixed
from headstart.problem.domain import Domain

KINDS = {
    "trained": "a task of the source",
    "interpolation": "each value within the range of those trained on",
    "combination": "values that were trained on, and never together",
    "extrapolation": "a value beyond those trained on",
}
"""Of tasks, and what makes one of the kind."""


def kind_of(source: Domain, task: Mapping[str, float], nominal: Mapping[str, float]) -> str:
    """Which of the `KINDS` a task is, for who has trained in a source.

    Args:
        source: the domain trained in.
        task: parameters that tell it from others.
        nominal: of the environment, what they are where the source does not say.
    """
    trained = [
        {name: one.parameters.get(name, Fixed(nominal[name])) for name in task}
        for one in source.apart()
    ]
    if any(all(_takes(one[name], value) for name, value in task.items()) for one in trained):
        return "trained"
    for name, value in task.items():
        ends = [one[name].support for one in trained]
        if not min(low for low, _ in ends) <= value <= max(high for _, high in ends):
            return "extrapolation"
    alone = (any(_takes(one[name], value) for one in trained) for name, value in task.items())
    return "combination" if len(task) > 1 and all(alone) else "interpolation"


def _takes(distribution: Distribution, value: float) -> bool:
    """Whether a value is among those drawn."""
    if distribution.values_taken is not None:
        return value in distribution.values_taken
    low, high = distribution.support
    return low <= value <= high
