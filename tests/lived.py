"""Experience drawn by chance, for what does not care where it comes from."""

import jax.numpy as jnp
import numpy as np

from headstart.experience.transition import Rollout, Transition


def experience(spec, time=8, env=4, seed=0):
    """Random steps, of which a third end."""
    rng = np.random.default_rng(seed)
    obs, led = (
        {"state": jnp.asarray(rng.normal(size=(time, env, 2)), jnp.float32)} for _ in range(2)
    )
    action = rng.integers(0, 3, (time, env)) if spec.actions.discrete else None
    action = np.tanh(rng.normal(size=(time, env, 1))) if action is None else action
    ends = jnp.asarray(rng.random((time, env)) < 0.3)
    reward = jnp.asarray(rng.normal(size=(time, env)), jnp.float32)
    narrow = jnp.int32 if spec.actions.discrete else jnp.float32
    steps = Transition(obs, jnp.asarray(action, narrow), reward, led, ends, jnp.zeros_like(ends))
    blank = jnp.zeros_like(steps.action[0]), jnp.zeros(env)
    return Rollout(steps, jnp.ones(env, bool), *blank)
