from dataclasses import dataclass, field

import pytest

from headstart import HeadstartError
from headstart.configuration import as_table, described, nested, updated
from headstart.learners import LEARNERS
from headstart.learners.dqn import DQN
from headstart.learners.imitation import Imitation
from headstart.learners.learner import Learner
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.methods.darc import Darc


@dataclass(frozen=True)
class Method:
    """For tests."""

    steps: int = 100
    """Of training."""
    learner: Learner = field(
        default_factory=lambda: PPO(hidden=(8,)), metadata={"registry": LEARNERS}
    )
    """The RL algorithm."""


@dataclass(frozen=True)
class Own:
    """A learner of the user's, as far as its fields."""

    width: int = 3
    """Of what it learns."""
    num_envs: int = 2
    """Copies."""


def test_an_algorithm_is_chosen_by_name_with_its_own_defaults():
    method = updated(Method(), {"learner": {"algorithm": "dqn", "batch_size": 16}})
    assert method == Method(learner=DQN(batch_size=16))
    assert updated(method, {"learner": {"batch_size": 8}}) == Method(learner=DQN(batch_size=8))


def test_what_is_set_already_stays_where_the_algorithm_does():
    assert updated(Method(), {"learner": {"algorithm": "ppo", "clip_eps": 0.1}}) == Method(
        learner=PPO(hidden=(8,), clip_eps=0.1)
    )
    darc = Darc(learner=SAC(reward_scale=0.1))
    assert updated(darc, {"learner": {"algorithm": "sac"}}).learner.reward_scale == 0.1
    assert updated(darc, {"learner": {"algorithm": "dqn"}}).learner.reward_scale == 1.0


def test_flags_choose_it_in_any_order():
    flags = {"learner.hidden": ["16", "16"], "learner.algorithm": "sac", "steps": "2e3"}
    assert updated(Method(), nested(flags)) == Method(2000, SAC(hidden=(16, 16)))


def test_an_algorithm_of_the_users_own_is_chosen_by_its_path(monkeypatch):
    path = f"{__name__}:Own"
    monkeypatch.setattr(LEARNERS, "needs", ("num_envs",))
    method = updated(Method(), {"learner": {"algorithm": path, "width": 5}})
    assert method == Method(learner=Own(width=5))
    assert as_table(method)["learner"] == {"algorithm": path, "width": 5, "num_envs": 2}
    assert updated(Method(), as_table(method)) == method
    rows = {name: default for name, _, default in described(method)}
    assert rows["learner.algorithm"] == path
    with pytest.raises(HeadstartError, match=f"{path} has no 'hidden': ppo and sac and dqn and"):
        updated(method, {"learner": {"hidden": [4]}})


@pytest.mark.parametrize(
    "learner", [PPO(), SAC(hidden=(4,)), DQN(n_step=1, epsilon=0.2), Imitation()]
)
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
    assert meaning.startswith("ppo, sac, dqn, crl, imitation, or module:Class")
    assert default == "ppo"
    darc = Darc(learner=SAC(reward_scale=0.1))
    assert ("learner.reward_scale", 0.1) in [(name, value) for name, _, value in described(darc)]
    assert not any(name.startswith("ratio.algorithm") for name, *_ in described(Darc()))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"algorithm": "qdn"}, "unknown learner 'qdn': did you mean 'dqn'"),
        ({"algorithm": "td3"}, "known: crl, dqn, imitation, ppo, sac"),
        ({"algorithm": ["dqn", "sac"]}, r"unknown learner"),
        ({"algorithm": "nowhere:Learner"}, "no module 'nowhere'"),
        ({"algorithm": f"{__name__}:Method"}, "Method is not a learner: it lacks accepts"),
        ({"algorithm": "dqn", "clip_eps": 0.1}, "dqn has no 'clip_eps': ppo has it"),
        ({"batch_size": 16}, "ppo has no 'batch_size': sac and dqn and crl and imitation have it"),
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
