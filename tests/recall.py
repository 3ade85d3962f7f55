"""A probe of memory, in JAX: a cue is shown once, and asked for twenty steps later."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from headstart.envs.jax_env import JaxEnvironment

DELAY = 20


class Recall(JaxEnvironment):
    """The first observation shows a cue of ±1, the others nothing. The last action earns 1 if it
    has the cue's sign (discrete: if it is 1 for +1 and 0 for −1), and the episode ends."""

    parameters = {}
    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    horizon = DELAY + 1

    def __init__(self, discrete=True):
        self.name = "recall:discrete" if discrete else "recall:continuous"
        self.action_space = spaces.Discrete(2) if discrete else spaces.Box(-1.0, 1.0, (1,))

    def reset(self, p, key):
        return jnp.where(jax.random.bernoulli(key), 1.0, -1.0), jnp.int32(0)

    def step(self, state, action, p, key):
        cue, t = state
        chosen = action > 0.5 if isinstance(self.action_space, spaces.Discrete) else action[0] > 0
        asked = t == DELAY
        right = (chosen == (cue > 0)).astype(jnp.float32)
        return (cue, t + 1), jnp.where(asked, right, 0.0), asked

    def observe(self, state, p, key):
        cue, t = state
        return jnp.stack([jnp.where(t == 0, cue, 0.0), (t == DELAY).astype(jnp.float32)])

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return type(self) is type(other) and self.name == other.name


def discrete():
    return Recall()


def continuous():
    return Recall(discrete=False)
