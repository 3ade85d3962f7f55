"""Environments that do not return what they declare, each in another way."""

from functools import cached_property

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from headstart.envs.grid import Grid


class Even(gymnasium.Env):
    """Nothing is wrong with this one."""

    def __init__(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.uniform(-1, 1)
        return self.seen(), {}

    def seen(self):
        return np.array([self.x, self.t / 10], np.float32)

    def step(self, action):
        self.t += 1
        self.x += 0.1 * float(action[0])
        return self.seen(), -abs(self.x), False, self.t >= 10, {}


class Wider(Even):
    def seen(self):
        return np.array([self.x, self.t / 10, 0], np.float32)


class LaterWider(Even):
    def seen(self):
        return np.array([self.x, self.t / 10, 0][: 2 if self.t < 5 else 3], np.float32)


class OldReset(Even):
    def reset(self, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldStep(Even):
    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated or truncated, info


class Other(Even):
    """Returns something else in the place of one of the five."""

    at, what = 1, None

    def step(self, action):
        taken = list(super().step(action))
        taken[self.at] = self.what
        return tuple(taken)


class ArrayReward(Other):
    what = np.array([1.0])


class TextReward(Other):
    what = "good"


class NoFlag(Other):
    at = 2


class Doubles(Even):
    def seen(self):
        return super().seen().astype(np.float64)


class Outside(Even):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(-0.1, 0.1, (2,), np.float32)


class Lacking(Even):
    def __init__(self):
        super().__init__()
        parts = {"a": spaces.Box(-9, 9, (2,)), "b": spaces.Discrete(3)}
        self.observation_space = spaces.Dict(parts)

    def seen(self):
        return {"a": super().seen()}


class Seventh(Even):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Discrete(3)

    def seen(self):
        return 7


class Grey(Even):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(0, 255, (16, 16, 3), np.uint8)

    def seen(self):
        return np.full((16, 16, 3), 0.5)


class WiderGrid(Grid):
    def observe(self, state, p, key):
        return jnp.zeros(3)


class RewardsOfGrid(Grid):
    def step(self, state, action, p, key):
        state, reward, reached = super().step(state, action, p, key)
        return state, jnp.stack([reward, reward]), reached


class GrowingGrid(Grid):
    def step(self, state, action, p, key):
        state, reward, reached = super().step(state, action, p, key)
        return (state, 0), reward, reached


class UntraceableGrid(Grid):
    def step(self, state, action, p, key):
        if action > 2:
            return super().step(state, action, p, key)
        return super().step(state, action, p, key)


class LazyGrid(Grid):
    """Keeps a function the first time that it is stepped."""

    @cached_property
    def kept(self):
        return lambda x: x

    def step(self, state, action, p, key):
        return self.kept(super().step(state, action, p, key))


@jax.tree_util.register_pytree_node_class
class Plain:
    """A pytree that equals nothing but itself."""

    def __init__(self, state):
        self.state = state

    def tree_flatten(self):
        return (self.state,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


class PlainGrid(Grid):
    def reset(self, p, key):
        return Plain(super().reset(p, key))

    def step(self, state, action, p, key):
        state, reward, reached = super().step(state.state, action, p, key)
        return Plain(state), reward, reached

    def observe(self, state, p, key):
        return super().observe(state.state, p, key)
