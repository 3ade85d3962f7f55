"""Small environments for tests: probes that isolate one thing, and broken ones."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from headstart.envs.environment import Parameter


class Track(gymnasium.Env):
    """Push a point along a line towards 0; `wind` pushes back. Ten steps."""

    parameters = {
        "wind": Parameter(0.0, -0.5, 0.5, "m"),
        "mass": Parameter(1.0, 0.5, 2.0, "kg"),
    }

    def __init__(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float64)
        self.wind, self.mass = 0.0, 1.0

    def set_parameters(self, wind, mass):
        self.wind, self.mass = wind, mass

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(-1, 1), 0
        return self._obs(), {}

    def step(self, action):
        self.x += 0.3 * float(action[0]) / self.mass + self.wind * 0.1
        self.t += 1
        return self._obs(), -abs(self.x), False, self.t >= 10, {}

    def _obs(self):
        return np.array([self.x, self.t / 10])


class Idle(Track):
    """Declares a parameter that does nothing."""

    parameters = {**Track.parameters, "gravity": Parameter(9.8, 1.0, 20.0, "m/s²")}

    def set_parameters(self, wind, mass, gravity):
        super().set_parameters(wind, mass)


class Compounding(Track):
    """Scales its mass at every reset instead of setting it."""

    def set_parameters(self, wind, mass):
        self.wind, self.mass = wind, self.mass * mass


class Broken(Track):
    """Returns NaN at the sixth step of an episode with wind above 0.2."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        if self.t == 6 and self.wind > 0.2:
            reward = float("nan")
        return obs, reward, terminated, truncated, info


class Raising(Track):
    def step(self, action):
        if self.t == 6:
            raise ZeroDivisionError("the motor is gone")
        return super().step(action)


class Probe(gymnasium.Env):
    """`kind`: one step of reward 1; a reward that the observation tells; a delayed reward; a reward
    for the action that the observation asks for."""

    def __init__(self, kind, discrete=True):
        self.kind = kind
        self.observation_space = spaces.Box(-1.0, 1.0, (1,), np.float64)
        self.action_space = spaces.Discrete(2) if discrete else spaces.Box(-1.0, 1.0, (1,))

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        self.x = float(self.np_random.choice([-1.0, 1.0])) if self.kind != "constant" else 0.0
        self.x = 0.0 if self.kind == "delayed" else self.x
        return np.array([self.x]), {}

    def step(self, action):
        self.t += 1
        if self.kind == "constant":
            return np.array([0.0]), 1.0, True, False, {}
        if self.kind == "observed":
            return np.array([self.x]), self.x, True, False, {}
        if self.kind == "delayed":
            return np.array([1.0]), float(self.t == 2), self.t == 2, False, {}
        wanted = self.x > 0
        chosen = action == 1 if isinstance(self.action_space, spaces.Discrete) else action[0] > 0
        return np.array([self.x]), float(chosen == wanted), True, False, {}


def constant():
    return Probe("constant")


def observed():
    return Probe("observed")


def delayed():
    return Probe("delayed")


def asked():
    return Probe("asked")


def asked_continuous():
    return Probe("asked", discrete=False)


class Dot:
    """In JAX: a bright dot on a strip of 24 × 24 pixels, to be pushed to the middle. Ten steps.

    `tint` colours the background, `drift` moves the dot.
    """

    name = "worlds:Dot"
    horizon = 10
    parameters = {
        "tint": Parameter(0.0, 0.0, 1.0, "1"),
        "drift": Parameter(0.0, -0.2, 0.2, "1"),
    }
    observation_space = spaces.Box(0, 255, (24, 24, 3), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, p, key):
        return jax.random.uniform(key, minval=-1.0, maxval=1.0)

    def step(self, state, action, p, key):
        state = jnp.clip(state + 0.3 * (action - 1) + p["drift"], -1.0, 1.0)
        return state, -jnp.abs(state), jnp.bool_(False)

    def observe(self, state, p, key):
        place = jnp.linspace(-1, 1, 24)
        dot = jnp.abs(place - state) < 0.15
        rows = jnp.where(dot, 1.0, p["tint"] * 0.5)
        image = (
            jnp.broadcast_to(rows[None, :, None], (24, 24, 3))
            * jnp.array([1.0, 0.7, 0.4])[None, None]
        )
        return (255 * image).astype(jnp.uint8)

    @property
    def demonstrators(self):
        return {"centre": lambda s, p: jnp.where(s > 0.15, 0, jnp.where(s < -0.15, 2, 1))}

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return type(self) is type(other)


class Endless(Track):
    """Never ends by itself; reward 1 at every step."""

    def step(self, action):
        return super().step(action)[0], 1.0, False, self.t >= 10, {}


class Climb:
    """In JAX: up by `rate` and the action at every step; five steps, or fewer to the `top`.

    The reward is the height; from `crack` on it is NaN.
    """

    name = "worlds:Climb"
    horizon = 5
    parameters = {
        "rate": Parameter(1.0, 0.0, 2.0, "m"),
        "top": Parameter(100.0, 1.0, 100.0, "m"),
        "crack": Parameter(100.0, 0.0, 100.0, "m"),
    }
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, p, key):
        return jnp.float32(0)

    def step(self, state, action, p, key):
        height = state + p["rate"] + action[0]
        reward = jnp.where(height >= p["crack"], jnp.nan, height)
        return height, reward, height >= p["top"]

    def observe(self, state, p, key):
        return jnp.stack([state, p["rate"]])
