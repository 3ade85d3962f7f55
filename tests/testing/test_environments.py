import re

import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.errors import SimulationError
from headstart.runs.trace import trace
from headstart.testing import check_environment, examine
from headstart.testing.finding import Finding

# One of MinAtar's games stands for all, which are written once.
NAMES = [n for n in envs.ENVIRONMENTS if not n.startswith("minatar") or n == "minatar-breakout"]


@pytest.mark.learns
@pytest.mark.parametrize("name", [*NAMES, "probes:Track", "gym:CartPole-v1"])
def test_what_is_registered_keeps_what_it_declares(name):
    findings = examine(Domain(name))
    assert [f for f in findings if not f.held] == []
    parameters = envs.find(name).parameters
    assert {f.claim.split()[0] for f in findings} >= set(parameters)


def test_a_parameter_that_does_nothing_is_caught():
    failed = [f.claim for f in examine(Domain("probes:Idle")) if not f.held]
    assert failed == ["gravity changes what happens"]
    with pytest.raises(AssertionError, match="gravity changes what happens"):
        check_environment("probes:Idle")


def test_a_parameter_that_compounds_is_caught():
    failed = [f.claim for f in examine(Domain("probes:Compounding")) if not f.held]
    assert "mass does not compound over resets" in failed


def test_an_environment_that_never_ends_is_caught():
    failed = [f for f in examine(Domain("probes:Perpetual")) if not f.held]
    assert [f.claim for f in failed] == ["an episode ends"]
    assert "horizon = 1000" in failed[0].detail
    assert [f for f in examine(Domain("probes:Track")) if "ends" in f.claim] == [
        Finding("an episode ends", True, "")
    ]


def test_parameters_of_a_wrapper_are_examined_too():
    findings = examine(Domain("probes:windy_pendulum"))
    assert [f for f in findings if not f.held] == []
    assert "gust changes what happens" in [f.claim for f in findings]


@pytest.mark.parametrize(
    ("name", "said", "stepped"),
    [
        ("Wider", "an observation has the shape [3], and not [2]", "returned shape [3]"),
        ("LaterWider", "an observation has the shape [3], and not [2]", "returned shape [3]"),
        ("OldReset", "reset returns ndarray, not (observation, info)", "reset returned ndarray"),
        ("OldStep", "(observation, reward, terminated", "and returned 4"),
        ("ArrayReward", "the reward is a ndarray", "a reward of shape [1]"),
        ("TextReward", "the reward is a str", "could not convert string to float: 'good'"),
        ("NoFlag", "terminated is a NoneType, not a bool", "terminated = None, not True or False"),
        ("Doubles", "an observation is of float64, and is declared float32", None),
        ("Outside", "outside of [-0.1, 0.1]", None),
        ("Lacking", "an observation has a, and not a, b", "KeyError: 'b'"),
        ("Seventh", "an observation is 7, and not in Discrete(3)", "as one of 3, and returned [7]"),
        ("Grey", "an observation is of float64, and is declared uint8", "an image of bytes is"),
    ],
)
def test_what_is_returned_is_held_against_what_is_declared(name, said, stepped):
    failed = [f for f in examine(Domain(f"odd:{name}")) if not f.held]
    assert len(failed) == 1
    assert said in failed[0].detail
    if stepped is not None:  # training would say so too, in one line
        with pytest.raises(SimulationError, match=re.escape(stepped)):
            list(trace(envs.start(Domain(f"odd:{name}"), 2, 0)))


def test_nothing_is_said_of_one_that_returns_what_it_declares():
    assert all(f.held for f in examine(Domain("odd:Even")))


def test_a_state_may_be_any_pytree():
    assert np.isfinite(list(trace(envs.start(Domain("odd:PlainGrid"), 2, 0)))).all()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("WiderGrid", "declares state of shape [2], and returns [3]"),
        ("RewardsOfGrid", "declares reward of shape [], and returns [2]"),
        ("GrowingGrid", "a state of other shapes or types than reset"),
        ("UntraceableGrid", "cannot be traced: TracerBoolConversionError"),
    ],
)
def test_an_environment_in_jax_is_held_to_its_shapes_before_it_is_compiled(name, said):
    with pytest.raises(HeadstartError, match=re.escape(said)):
        envs.start(Domain(f"odd:{name}"), 2, 0)
