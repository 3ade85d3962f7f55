"""What an examination finds of methods that misbehave."""

import itertools
from dataclasses import dataclass, field
from typing import ClassVar

import equinox as eqx
import numpy as np
import pytest

from headstart.experience.unroll import episodes
from headstart.methods.method import Method, Requirements
from headstart.policies.policy import policy_from
from headstart.problem import with_access
from headstart.runs.job import configured
from headstart.testing import check_method, examine_method
from own import Greedy
from small import TRACK

PROBLEM = with_access(TRACK, steps=4, observations=2, shots=(0, 3))
SHOWN = "it asks for nothing that a target does not show"
BOUNDED = "it takes no more than it may"
FIRST = "the zero-shot policy comes before any episode of the target"
SAME = "the same seed gives the same returns"
FROZEN = "it is a frozen dataclass"
CONFIGURED = "its fields are its configuration"
SAID = "every field says what it is"
COUNTED = "what it took of the target is what was counted"
NOTHING = "with no access it takes nothing of the target, or says so before it runs"


@dataclass(frozen=True, kw_only=True)
class Untrained(Method):
    """Keeps the contract: carries a policy that has learned nothing."""

    def pretrain(self, source, target, key):
        return self.learner.knowledge(self.learner.init(source.spec, key))


def failed(method):
    findings, _ = examine_method(method, PROBLEM)
    return {finding.claim: finding.detail for finding in findings if not finding.held}


def of(kind, **fields):
    """With a small learner."""
    return kind(learner=configured(TRACK, "source-only", {}).learner, **fields)


def test_of_a_method_that_behaves_every_claim_holds():
    findings, result = examine_method(of(Untrained), PROBLEM)
    assert [f.claim for f in findings] == [
        FROZEN, CONFIGURED, SAID, NOTHING, BOUNDED, SHOWN, COUNTED, FIRST,
        "every shot is reported", SAME,
    ]  # fmt: skip
    assert all(finding.held for finding in findings)
    assert result.target == {"observations": 0, "steps": 0, "episodes": 0}
    assert check_method(of(Untrained), PROBLEM).shots == result.shots


@dataclass(frozen=True, kw_only=True)
class Curious(Untrained):
    """Asks what stands behind the target."""

    asks: str = "environment"
    """What for."""

    def pretrain(self, source, target, key):
        getattr(target, self.asks)
        return super().pretrain(source, target, key)


@dataclass(frozen=True, kw_only=True)
class Tactful(Untrained):
    """Asks, and goes on if it gets no answer."""

    def pretrain(self, source, target, key):
        assert not hasattr(target, "meter")
        copies = target.start(1, 0)
        assert getattr(copies, "values", None) is None
        return super().pretrain(source, target, key)


@pytest.mark.parametrize("asks", ["environment", "domain", "meter", "folder"])
def test_a_method_that_asks_for_what_a_target_does_not_show(asks):
    found = failed(of(Curious, asks=asks))
    assert found[SHOWN] == asks
    assert f"a target shows no '{asks}'" in found["it runs"]
    with pytest.raises(AssertionError, match=f"{SHOWN}: {asks}"):
        check_method(of(Curious, asks=asks), PROBLEM)


def test_asking_is_noted_even_if_no_answer_is_needed():
    assert failed(of(Tactful)) == {SHOWN: "meter, copies.values"}


@dataclass(frozen=True, kw_only=True)
class Hasty(Untrained):
    """Takes more steps in pre-training than access has."""

    steps: int = 5
    """How many."""

    def requires(self):
        return Requirements(steps=min(self.steps, 4))

    def pretrain(self, source, target, key):
        copies = target.start(1, 0)
        copies.reset()
        for _ in range(self.steps):
            copies.step(np.zeros((1, 1)))
        return super().pretrain(source, target, key)


def test_a_method_that_takes_a_step_too_many():
    assert failed(of(Hasty)) == {
        BOUNDED: "asked for 1 target steps, 0 of 4 are left: raise access.steps or collect fewer"
    }
    findings, result = examine_method(of(Hasty), PROBLEM)
    assert result is None
    assert not findings[-1].held
    assert failed(of(Hasty, steps=4)) == {}


def test_a_method_that_takes_an_episode_too_many():
    assert "asked for 11 target episodes, 3 of 3 are left" in failed(of(Greedy))[BOUNDED]


@dataclass(frozen=True, kw_only=True)
class Unannounced(Hasty):
    """Does not say what it needs."""

    def requires(self):
        return Requirements()


def test_a_method_that_does_not_say_what_it_needs():
    found = failed(of(Unannounced, steps=4))
    assert found == {NOTHING: "asked for 1 target episodes, 0 of 0 are left: raise access.steps or "
                              "collect fewer"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Late(Untrained):
    """Tries the target before it says what it would have done there."""

    def requires(self):
        return Requirements(episodes=1)

    def adapt(self, knowledge, source, target, key):
        policy = policy_from(knowledge)
        episodes(policy, target.start(1, 0))
        yield policy


def test_a_method_that_yields_after_an_episode():
    assert failed(of(Late)) == {FIRST: ""}


@dataclass(frozen=True, kw_only=True)
class Moody(Untrained):
    """Does something else each time."""

    times: ClassVar = itertools.count(1)

    def adapt(self, knowledge, source, target, key):
        policy, times = policy_from(knowledge), next(self.times)
        yield eqx.tree_at(
            lambda p: p.actor.mean.biases[-1], policy, replace_fn=lambda bias: bias + 0.1 * times
        )


def test_a_method_whose_returns_differ_between_runs_of_one_seed():
    assert failed(of(Moody)).keys() == {SAME}


@dataclass(frozen=True, kw_only=True)
class Mutable(Untrained):
    """Has a field that can be changed."""

    names: list[str] = field(default_factory=list)
    """A list."""


def test_a_method_with_a_field_that_can_be_changed():
    found = failed(of(Mutable))
    assert found[FROZEN] == "it cannot be hashed"
    assert found.keys() == {FROZEN, CONFIGURED}


@dataclass(frozen=True, kw_only=True)
class Silent(Untrained):
    """Has fields that say nothing of themselves."""

    mystery: int = 3
    told: int = 4
    """What it is."""
    riddle: float = 0.5


def test_a_method_whose_fields_have_no_docstrings():
    assert failed(of(Silent)) == {SAID: "fields without a docstring: mystery, riddle"}
    with pytest.raises(AssertionError, match="without a docstring: mystery, riddle"):
        check_method(of(Silent), PROBLEM)
