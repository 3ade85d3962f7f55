"""Each probe fails for one reason alone: value, state, bootstrapping, policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain
from headstart.learners.dqn import DQN
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.learners.train import train
from headstart.runs.metering import CountedSource

LEARNERS = {
    "ppo": PPO(
        hidden=(16,), num_envs=8, rollout_length=16, minibatch_size=32, epochs=4,
        learning_rate=3e-3, discount=0.9,
    ),
    "ppo with gru": PPO(
        hidden=(16,), memory="gru", memory_size=4, num_envs=8, rollout_length=16,
        minibatch_size=32, epochs=4, learning_rate=3e-3, discount=0.9,
    ),
    "sac": SAC(
        hidden=(16,), num_envs=4, rollout_length=10, batch_size=32, buffer_size=256,
        learning_starts=120, updates_per_step=0.5, learning_rate=3e-3, temperature=0.3,
        reward_scale=0.5, discount=0.9,
    ),
    "dqn": DQN(
        hidden=(16,), num_envs=8, rollout_length=4, batch_size=32, buffer_size=512,
        learning_starts=64, updates_per_step=0.5, learning_rate=3e-3, discount=0.9, tau=0.05,
    ),
}  # fmt: skip
STEPS = {"ppo": 5000, "ppo with gru": 5000, "sac": 1200, "dqn": 2500}
DISCRETE = ("constant", "observed", "delayed", "asked")
CASES = [
    *(("ppo", probe) for probe in (*DISCRETE, "asked_continuous")),
    *(("ppo with gru", probe) for probe in ("delayed", "asked")),
    ("sac", "asked_continuous"),
    *(("dqn", probe) for probe in DISCRETE),
]
PLACES = jnp.array([[-1.0], [0.0], [1.0]])


def ppo_values(state, x):
    """V of an episode's first observations, in the reward's own scale."""
    x = state.policy.encoders({"state": x})
    nothing = jnp.zeros((len(x), state.policy.actions.width))
    x, _ = state.critic.memory(x, nothing, state.critic.memory.initial(len(x)))
    scale = jnp.sqrt(state.returns.var[0])
    return np.asarray(state.critic.value(x)[:, 0] * scale + state.returns.mean[0])


def greedy_actions(state, x):
    policy = state.policy
    x = policy.encoders({"state": x})
    nothing = jnp.zeros((len(x), policy.actions.width))
    x, _ = policy.memory(x, nothing, policy.memory.initial(len(x)))
    return np.asarray(policy.actor.mode(x)).ravel()


@pytest.mark.parametrize(("name", "probe"), CASES, ids=lambda word: word.replace(" ", "-"))
def test_probe(name, probe):
    source = CountedSource(Domain(f"probes:{probe}"))
    state = train(LEARNERS[name], source, STEPS[name], jax.random.key(0))
    if name == "dqn":
        found = np.asarray(state.policy.actor.values(PLACES))  # [place, action]
    else:
        found = ppo_values(state, PLACES) if name.startswith("ppo") else None
    low, middle, high = (None,) * 3 if found is None else found
    if probe.startswith("asked"):
        actions = greedy_actions(state, PLACES)
        assert actions[2] > 0.05
        assert actions[0] <= (-0.05 if probe == "asked_continuous" else 0)
        if name == "dqn":
            np.testing.assert_allclose([low, high], [[1, 0], [0, 1]], atol=0.2)
    elif probe == "constant":
        # Of the best action: a greedy policy seldom tries another.
        assert np.max(middle) == pytest.approx(1.0, abs=0.1)
    elif probe == "observed":
        np.testing.assert_allclose(high, 1.0, atol=0.15)
        np.testing.assert_allclose(low, -1.0, atol=0.15)
    elif name == "ppo with gru":  # the second observation follows an action
        np.testing.assert_allclose(middle, 0.9, atol=0.15)
    else:
        tolerance = 0.1 if name == "dqn" else 0.15
        np.testing.assert_allclose(high, 1.0, atol=tolerance)
        np.testing.assert_allclose(middle, 0.9, atol=tolerance)
