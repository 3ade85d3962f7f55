import jax
import numpy as np
import pytest

from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.learners.dqn import DQN
from headstart.learners.learner import Hooks, Progress
from headstart.learners.ppo import PPO
from headstart.learners.resets import with_fresh_layers
from headstart.learners.sac import SAC
from lived import experience

SPEC = EnvSpec("here", {"state": Group((2,))}, Actions((1,)), 10)
CHOICE = EnvSpec("here", {"state": Group((2,))}, Actions((), (3,)), 10)
OFF = {"hidden": (8, 8), "num_envs": 4, "batch_size": 16, "learning_starts": 0}
LEARNERS = {
    "ppo": (PPO(hidden=(8, 8), num_envs=4, minibatch_size=8, epochs=1), SPEC),
    "sac": (SAC(**OFF), SPEC),
    "dqn": (DQN(**OFF, updates_per_step=1.0), CHOICE),
}


def networks(name, state):
    if name == "ppo":
        return [state.policy.actor.network, state.critic.value]
    agent = state.agent
    if name == "dqn":
        return [agent.policy.actor.network, agent.slow_policy.actor.network]
    critics = [c.value for c in (*agent.critics, *agent.slow_critics)]
    return [agent.policy.actor.network, *critics]


@pytest.mark.parametrize("layers", [1, 2, 9])
@pytest.mark.parametrize("name", LEARNERS)
def test_the_last_layers_are_fresh_and_the_first_as_they_were(name, layers):
    learner, spec = LEARNERS[name]
    state = learner.init(spec, jax.random.key(0), total=10_000)
    for i in range(3):
        rollout, progress = experience(spec, seed=i), Progress(32 * i, 1000)
        state, _ = learner.update(state, rollout, progress, Hooks(), jax.random.key(i))
    after = with_fresh_layers(learner, state, spec, layers, jax.random.key(5))
    fresh = learner.init(spec, jax.random.key(5), total=10_000)
    for old, now, new in zip(*(networks(name, s) for s in (state, after, fresh)), strict=True):
        kept = max(3 - layers, 0)
        for part in ("weights", "biases"):
            expected = [*getattr(old, part)[:kept], *getattr(new, part)[kept:]]
            for found, stated in zip(getattr(now, part), expected, strict=True):
                np.testing.assert_array_equal(found, stated)
    moments = jax.tree.leaves(after.opt_state if name == "ppo" else after.agent.opt_state)
    before = jax.tree.leaves(state.opt_state if name == "ppo" else state.agent.opt_state)
    stilled = [
        not np.asarray(x).any() and np.asarray(y).any()
        for x, y in zip(moments, before, strict=True)
    ]
    assert any(stilled)
    if name != "ppo":
        for old, now in zip(*map(jax.tree.leaves, (state.replay, after.replay)), strict=True):
            np.testing.assert_array_equal(old, now)


def test_codes_of_images_are_kept():
    seen = EnvSpec("seen", {"pixels": Group((6, 6, 2), "image")}, Actions((1,)), 10)
    sac = SAC(hidden=(8,), num_envs=2, learning_starts=0, encoders=("pixels=codes",))
    state = sac.init(seen, jax.random.key(0), total=10_000)
    after = with_fresh_layers(sac, state, seen, 1, jax.random.key(5))
    old, now = (s.policy.encoders.by_group["pixels"] for s in (state, after))
    for x, y in zip(*map(jax.tree.leaves, (old, now)), strict=True):
        np.testing.assert_array_equal(x, y)
    actors = [s.policy.actor.network.weights[-1] for s in (state, after)]
    assert (actors[0] != actors[1]).any()


@pytest.mark.parametrize("layers", [1, 9])
def test_a_temperature_that_is_learned_starts_again_with_them(layers):
    """Held to what another policy was held to, nothing is learned: after many steps on few
    transitions it is a million times what it was."""
    learner, spec = LEARNERS["sac"]
    state = learner.init(spec, jax.random.key(0), total=10_000)
    rollout = experience(spec, seed=0)
    state, _ = learner.update(state, rollout, Progress(0, 1000), Hooks(), jax.random.key(0))
    begun = learner.init(spec, jax.random.key(5), total=10_000).agent
    assert state.agent.log_temperature != begun.log_temperature
    after = with_fresh_layers(learner, state, spec, layers, jax.random.key(5)).agent
    assert after.log_temperature == begun.log_temperature
    moments = state.agent.opt_state[0], after.opt_state[0]
    old, new = ([m.mu.log_temperature, m.nu.log_temperature] for m in moments)
    assert all(old)
    assert not any(new)
