import pytest

from headstart import envs
from headstart.problem import Domain
from headstart.testing import check_environment, examine
from headstart.testing.finding import Finding


@pytest.mark.learns
@pytest.mark.parametrize("name", [*envs.ENVIRONMENTS, "probes:Track", "gym:CartPole-v1"])
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
