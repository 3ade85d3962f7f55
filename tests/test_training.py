import numpy as np
import pytest

import headstart
from headstart import Domain, HeadstartError, Uniform
from headstart.learners.dqn import DQN
from headstart.runs import run as running
from small import PPO

TRACK = Domain("probes:Track", wind=0.3)


def test_a_learner_learns_in_a_domain_and_its_policy_acts(tmp_path):
    made = headstart.train("gym:CartPole-v1", PPO, steps=6000, out=tmp_path)
    assert len(made.returns) == 16
    assert np.mean(made.returns) > 60  # at random, about 22
    assert made.policy(np.zeros(4)) in (0, 1)
    assert made.folder.parent.name == "source-only"
    assert made.folder.parents[1].name.startswith("gym-CartPole-v1-")
    loaded = headstart.load(made.folder / "knowledge")
    obs = np.array([0.1, 0.2, -0.1, 0.3])
    assert loaded(obs) == made.policy(obs)


def test_it_is_a_run_that_is_not_run_twice(tmp_path, monkeypatch):
    first = headstart.train(TRACK, PPO, steps=256, out=tmp_path)
    monkeypatch.setattr(running, "_run", None)
    assert headstart.train(TRACK, PPO, steps=256, out=tmp_path).returns == first.returns
    monkeypatch.undo()
    other = headstart.train(TRACK, PPO, steps=512, out=tmp_path)
    assert other.folder.parents[1] != first.folder.parents[1]


def test_a_policy_with_an_encoder_of_ones_own_comes_back(tmp_path):
    learner = {**PPO, "encoders": ["state=own:MyEncoder"]}
    made = headstart.train(TRACK, learner, steps=128, out=tmp_path)
    assert made.policy(np.zeros(2)).shape == (1,)


def test_a_domain_that_varies_is_trained_in_as_it_varies(tmp_path):
    varied = Domain("probes:Track", wind=Uniform(-0.5, 0.5))
    made = headstart.train(varied, PPO, steps=256, out=tmp_path)
    assert made.folder.parent.name == "domain-randomization"


def test_a_learner_may_be_a_name_a_table_or_one(tmp_path):
    fields = {"hidden": [8], "num_envs": 4, "rollout_length": 4, "n_step": 1,
              "learning_starts": 64, "batch_size": 16}  # fmt: skip
    how = {"steps": 256, "seed": 1}
    table = headstart.train("grid", {"algorithm": "dqn", **fields}, out=tmp_path / "a", **how)
    one = DQN(**{**fields, "hidden": (8,)})
    assert headstart.train("grid", one, out=tmp_path / "b", **how).returns == table.returns
    with pytest.raises(HeadstartError, match="did you mean 'sac'"):
        headstart.train("grid", "sacc", out=tmp_path)
