"""A cue is shown once and asked for twenty steps later: who remembers nothing is at chance."""

import jax
import pytest

from headstart import Domain, envs
from headstart.experience.unroll import returns
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.learners.train import train
from headstart.runs.metering import CountedSource

LEARNERS = {
    "ppo": (
        PPO(
            hidden=(32,), memory_size=32, rollout_length=42, minibatch_size=42 * 16, epochs=4,
            learning_rate=3e-3, discount=1.0, gae_lambda=1.0,
        ),
        Domain("recall:discrete"),
        60_000,
    ),
    "sac": (
        SAC(
            hidden=(32,), memory_size=32, num_envs=16, rollout_length=21, window=21, burn_in=0,
            batch_size=21 * 16, updates_per_step=0.25, learning_starts=1000, learning_rate=3e-3,
            discount=1.0, tau=0.03, temperature=0.02,
        ),
        Domain("recall:continuous"),
        16_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["ppo", pytest.param("sac", marks=pytest.mark.learns)])
@pytest.mark.parametrize("memory", ["gru", "none"])
def test_only_who_remembers_the_cue_answers_it(name, memory):
    learner, domain, steps = LEARNERS[name]
    learner = type(learner)(**{**vars(learner), "memory": memory})
    state = train(learner, CountedSource(domain), steps, jax.random.key(0))
    right = returns(learner.policy(state), envs.start(domain, 400, 1)).mean()
    if memory == "gru":
        assert right > 0.95
    else:
        assert 0.4 < right < 0.6
