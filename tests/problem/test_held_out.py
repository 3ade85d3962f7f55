import pytest

from headstart.problem import Domain, mixture
from headstart.problem.distributions import Choice, Uniform
from headstart.problem.held_out import KINDS, kind_of

NOMINAL = {"direction": -1.0, "speed": 1.0}
EIGHT = Domain("runner", direction=Choice((0, 90, 180)))
BOTH = mixture([EIGHT, Domain("runner", direction=0, speed=Choice((0.2, 0.5)))])


@pytest.mark.parametrize(
    ("source", "task", "kind"),
    [
        (EIGHT, {"direction": 90}, "trained"),
        (EIGHT, {"direction": 45}, "interpolation"),
        (EIGHT, {"direction": 270}, "extrapolation"),
        (EIGHT, {"direction": 90, "speed": 1.0}, "trained"),
        (EIGHT, {"direction": 90, "speed": 0.5}, "extrapolation"),
        (BOTH, {"direction": 0, "speed": 0.5}, "trained"),
        (BOTH, {"direction": 180, "speed": 0.5}, "combination"),
        (BOTH, {"direction": 180, "speed": 0.3}, "interpolation"),
        (BOTH, {"direction": 270, "speed": 0.5}, "extrapolation"),
        (Domain("runner", speed=Uniform(0.2, 0.6)), {"speed": 0.33}, "trained"),
    ],
)
def test_tasks_are_told_apart(source, task, kind):
    assert kind_of(source, task, NOMINAL) == kind
    assert kind in KINDS
