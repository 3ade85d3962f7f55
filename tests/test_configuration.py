from dataclasses import dataclass, field

import pytest

from headstart import HeadstartError
from headstart.configuration import as_table, described, nested, updated
from headstart.learners.dqn import DQN
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.methods.darc import Darc


@dataclass(frozen=True)
class Method:
    """For tests."""

    steps: int = 100
    """Of training."""
    learner: PPO | SAC | DQN = field(default_factory=lambda: PPO(hidden=(8,)))
    """The RL algorithm."""


def test_an_algorithm_is_chosen_by_name_with_its_own_defaults():
    method = updated(Method(), {"learner": {"algorithm": "dqn", "batch": 16}})
    assert method == Method(learner=DQN(batch=16))
    assert updated(method, {"learner": {"batch": 8}}) == Method(learner=DQN(batch=8))


def test_what_is_set_already_stays_where_the_algorithm_does():
    assert updated(Method(), {"learner": {"algorithm": "ppo", "clip": 0.1}}) == Method(
        learner=PPO(hidden=(8,), clip=0.1)
    )
    assert updated(Darc(), {"learner": {"algorithm": "sac"}}).learner.reward_scale == 0.1


def test_flags_choose_it_in_any_order():
    flags = {"learner.hidden": ["16", "16"], "learner.algorithm": "sac", "steps": "2e3"}
    assert updated(Method(), nested(flags)) == Method(2000, SAC(hidden=(16, 16)))


@pytest.mark.parametrize("learner", [PPO(), SAC(hidden=(4,)), DQN(n_step=1, epsilon=0.2)])
def test_tables_round_trip(learner):
    method = Method(7, learner)
    table = as_table(method)
    assert table["learner"]["algorithm"] == type(learner).__name__.lower()
    assert updated(Method(), table) == method
    assert as_table(updated(Method(), table)) == table
    assert "n_step" not in as_table(SAC())  # not a choice there


def test_help_tells_the_choice():
    rows = {name: (meaning, default) for name, meaning, default in described(Method())}
    assert list(rows)[:3] == ["steps", "learner.algorithm", "learner.hidden"]
    meaning, default = rows["learner.algorithm"]
    assert meaning.startswith("ppo, sac, dqn")
    assert default == "ppo"
    assert ("learner.reward_scale", 0.1) in [(name, value) for name, _, value in described(Darc())]
    assert not any(name.startswith("ratio.algorithm") for name, *_ in described(Darc()))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"algorithm": "qdn"}, "unknown value of learner.algorithm 'qdn': did you mean 'dqn'"),
        ({"algorithm": "td3"}, "known: dqn, ppo, sac"),
        ({"algorithm": ["dqn", "sac"]}, r"unknown value of learner.algorithm"),
        ({"algorithm": "dqn", "clip": 0.1}, "unknown field of learner 'clip'"),
        ({"batch": 16}, "unknown field of learner 'batch'"),
        ("dqn", "learner holds fields of its own: set one of learner.hidden"),
    ],
)
def test_mistakes_are_named(table, says):
    with pytest.raises(HeadstartError, match=says):
        updated(Method(), {"learner": table})


def test_an_algorithm_is_no_field_where_there_is_no_choice():
    with pytest.raises(HeadstartError, match="unknown field of ratio 'algorithm'"):
        updated(Darc(), {"ratio": {"algorithm": "ratio"}})
