"""Small environments for tests: probes that isolate one thing, and broken ones."""

import contextlib
import os
import signal
import time

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from headstart.envs.goals import Near
from headstart.envs.jax_env import JaxEnvironment
from headstart.problem.parameter import Parameter


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


class Wider(Track):
    """Shows a number more, before the others."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)

    def _obs(self):
        return np.array([0.5, self.x, self.t / 10])


def strong_track():
    track = Track()
    track.action_space = spaces.Box(-3.0, 3.0, (1,), np.float64)
    return track


class Pull:
    down = 1.0


class Nested(Track):
    """Keeps some of its physics inside of other things."""

    parameters = {}

    def __init__(self):
        super().__init__()
        self.pull = [3, Pull()]


class Shared(Track):
    """Keeps numbers where no copy has its own, or none can be set."""

    parameters = {}
    shared = [1.0]

    def __init__(self):
        super().__init__()
        self.pair = (1.0, [0])

    @property
    def fixed(self):
        return 1.0


class Choosing(Track):
    parameters = {}

    def __init__(self, n=2):
        super().__init__()
        self.action_space = spaces.Discrete(n)


class Sized(Track):
    parameters = {}

    def __init__(self, size=2):
        super().__init__()
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)


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


class Deaf(Track):
    """Is sent a signal at the hundredth step in all, and swallows what comes of it."""

    steps = 0

    def step(self, action):
        Deaf.steps += 1
        with contextlib.suppress(KeyboardInterrupt):
            if Deaf.steps == 100:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
        return super().step(action)


class Hurt(Track):
    """Makes something else of it."""

    steps = 0

    def step(self, action):
        Hurt.steps += 1
        try:
            if Hurt.steps == 100:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
        except KeyboardInterrupt:
            raise RuntimeError("the motor was stopped") from None
        return super().step(action)


class Erratic(Track):
    """Draws where nobody can seed it."""

    def step(self, action):
        self.x += float(np.random.default_rng().normal())
        return super().step(action)


class Leaving(Track):
    def step(self, action):
        if self.t == 6:
            raise SystemExit(0)
        return super().step(action)


class Telling(Track):
    """Every other episode is called a success in its fourth step."""

    episodes = 0

    def reset(self, *, seed=None, options=None):
        self.episodes, self.stepped = self.episodes + 1, 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        *found, info = super().step(action)
        self.stepped += 1
        return *found, info | {"is_success": self.stepped == 4 and self.episodes % 2 == 0}


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


class Dot(JaxEnvironment):
    """In JAX: a bright dot on a strip of 24 × 24 pixels, to be pushed to the middle. Ten steps.

    `tint` colours the background, `drift` moves the dot.
    """

    name = "probes:Dot"
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
    def experts(self):
        return {"centre": lambda s, p: jnp.where(s > 0.15, 0, jnp.where(s < -0.15, 2, 1))}

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return type(self) is type(other)


class Endless(Track):
    """Never ends by itself; reward 1 at every step."""

    def step(self, action):
        return super().step(action)[0], 1.0, False, self.t >= 10, {}


class Perpetual(Track):
    """Has no end at all."""

    def step(self, action):
        return super().step(action)[0], 1.0, False, False, {}


class Windy(gymnasium.Wrapper):
    """A parameter around an environment that has none: `gust` is added to every action."""

    parameters = {"gust": Parameter(0.0, -1.0, 1.0, "m")}

    def set_parameters(self, gust):
        self.gust = gust

    def step(self, action):
        return self.env.step(np.clip(action + self.gust, -2, 2).astype(np.float32))


def windy_pendulum():
    return gymnasium.wrappers.TransformReward(Windy(gymnasium.make("Pendulum-v1")), lambda r: r)


def _declaring(parameters):
    track = Track()
    track.parameters = parameters
    return track


def declares_a_tuple():
    return _declaring({"wind": (0.0, -1.0, 1.0)})


def declares_a_list():
    return _declaring(["wind"])


class Undeclared(Probe):
    """Takes parameters that it does not declare."""

    def __init__(self):
        super().__init__("constant")

    def set_parameters(self, wind):
        self.wind = wind


class Climb(JaxEnvironment):
    """In JAX: up by `rate` and the action at every step; five steps, or fewer to the `top`.

    The reward is the height; from `crack` on it is NaN.
    """

    name = "probes:Climb"
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


class Lost(Climb):
    """It begins nowhere."""

    name = "probes:Lost"

    def reset(self, p, key):
        return jnp.float32(jnp.nan)


class Gears(JaxEnvironment):
    """In JAX: a crank of eight teeth, turned by hand and by chance, through a `gear`.

    It shows a picture, numbers, a choice and a switch; the rate of turning is not among them. Its
    actions are a gear from 2 on, and two pushes of −1, 0 or 1 each.
    """

    name = "probes:Gears"
    horizon = 7
    parameters = {
        "rate": Parameter(1.0, 0.5, 2.5, "1/s"),
        "slack": Parameter(0.0, 0.0, 4.0, "1"),
    }
    observation_space = spaces.Dict(
        {
            "seen": spaces.Dict(
                {
                    "lamp": spaces.Box(0, 255, (20, 20, 1), np.uint8),
                    "dial": spaces.Box(-np.inf, np.inf, (2, 2), np.float32),
                }
            ),
            "tooth": spaces.Discrete(8, start=10),
            "switches": spaces.MultiBinary(2),
            "pair": spaces.Tuple((spaces.MultiDiscrete([3, 4], start=[1, 5]), spaces.Discrete(2))),
        }
    )
    action_space = spaces.MultiDiscrete([2, 3, 3], start=[2, -1, -1])

    def reset(self, p, key):
        return {"turn": jax.random.uniform(key, maxval=8.0), "gear": jnp.int32(2)}

    def step(self, state, action, p, key):
        pushed = p["rate"] * action[1] + 0.5 * action[2]
        chance = p["slack"] * jax.random.normal(key)
        turn = (state["turn"] + action[0] * pushed + chance) % 8.0
        state = {"turn": turn, "gear": action[0].astype(jnp.int32)}
        return state, action.sum() - turn.astype(jnp.int32), turn > 7.9

    def observe(self, state, p, key):
        tooth = jnp.floor(state["turn"]).astype(jnp.int32)
        noise = 0.1 * jax.random.normal(key)
        return {
            "seen": {
                "lamp": jnp.full((20, 20, 1), 30 * tooth, jnp.uint8),
                "dial": jnp.array([[1.0, 2.0], [3.0, 4.0]]) * state["turn"] + noise,
            },
            "tooth": 10 + tooth,
            "switches": jnp.stack([tooth % 2 == 1, state["gear"] == 3]),
            "pair": (jnp.array([1, 5]) + tooth % 3, tooth // 4),
        }


class Levers(JaxEnvironment):
    """In JAX: what each of 2 × 2 levers was moved to, with bounds of its own."""

    name = "probes:Levers"
    horizon = 4
    parameters = {}
    observation_space = spaces.Box(-np.inf, np.inf, (2, 2), np.float32)
    action_space = spaces.Box(
        np.array([[0, -1], [-2, 10]], np.float32), np.array([[1, 1], [6, 20]], np.float32)
    )

    def reset(self, p, key):
        return jnp.zeros((2, 2))

    def step(self, state, action, p, key):
        return action, action.sum(), jnp.bool_(False)

    def observe(self, state, p, key):
        return state


class Camera(gymnasium.Env):
    """A frame whose every byte is the sum of the actions so far, from 250 on."""

    observation_space = spaces.Box(0, 255, (4, 5, 3), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.level = 250
        return np.full((4, 5, 3), self.level, np.uint8), {}

    def step(self, action):
        self.level += int(action)
        return np.full((4, 5, 3), self.level, np.uint8), 0.0, self.level == 255, False, {}


class Parade(gymnasium.Env):
    """Shows the elements of a space one after another, whatever is done; as many steps.

    What is done must be an element of `action_space`, and is kept in `done`. `load` is shown by
    nothing and counts in the reward.
    """

    parameters = {"load": Parameter(1.0, 0.0, 4.0, "kg"), "slope": Parameter(0.0, -1.0, 1.0)}

    def __init__(self, observation_space, elements, action_space=None):
        self.observation_space, self.elements = observation_space, elements
        self.action_space = spaces.Discrete(2) if action_space is None else action_space
        self.load, self.done = 1.0, []

    def set_parameters(self, load, slope):
        self.load = load

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.done = []
        return self._shown(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is no {self.action_space}"
        self.done.append(action)
        return self._shown(), self.load, len(self.done) == len(self.elements), False, {}

    def _shown(self):
        shown = self.elements[min(len(self.done), len(self.elements) - 1)]
        assert self.observation_space.contains(shown), f"{shown!r} is no {self.observation_space}"
        return shown


NESTED = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (20, 20, 1), np.uint8),
        "body": spaces.Dict(
            {
                "speed": spaces.Box(-9.0, 9.0, (2,)),
                "legs": spaces.Tuple((spaces.Discrete(4, start=-1), spaces.MultiBinary([2, 2]))),
            }
        ),
        "gear": spaces.MultiDiscrete([[3, 2], [5, 4]], start=[[1, 0], [-2, 6]]),
    }
)


def _nested(level):
    return {
        "camera": np.full((20, 20, 1), level, np.uint8),
        "body": {
            "speed": np.array([level, -0.5], np.float32),
            "legs": (level % 4 - 1, np.array([[level % 2, 1], [0, 1]], np.int8)),
        },
        "gear": np.array([[1 + level % 3, 1], [2, 9]]),
    }


def nested():
    return Parade(NESTED, [_nested(3), _nested(5), _nested(7)])


def pair():
    space = spaces.Tuple((spaces.Box(0.0, 9.0, (1,)), spaces.Discrete(3)))
    return Parade(space, [(np.float32([t]), t) for t in range(3)])


def discrete():
    return Parade(spaces.Discrete(4, start=7), [np.int64(7), np.int64(9), 10])


def multi_discrete():
    return Parade(spaces.MultiDiscrete([3, 5]), [np.array([0, 4]), np.array([2, 1])])


def multi_binary():
    return Parade(spaces.MultiBinary(3), [np.int8([1, 0, 1]), np.int8([0, 0, 1])])


def several_axes():
    space = spaces.Box(-9.0, 9.0, (2, 3))
    return Parade(space, [np.float32([[1, 2, 3], [4, 5, 6]]), -np.ones((2, 3), np.float32)])


def pictures_of_floats():
    return Parade(spaces.Box(0.0, 1.0, (1, 2, 3)), [np.ones((1, 2, 3), np.float32)] * 2)


def _acting(action_space):
    return Parade(spaces.Box(-1.0, 1.0, (1,)), [np.zeros(1, np.float32)] * 40, action_space)


def acts_in_a_box():
    low, high = np.float32([[-1, 0], [2, -3]]), np.float32([[1, 0.7], [6, 3]])
    return _acting(spaces.Box(low, high))


def acts_from_a_start():
    return _acting(spaces.Discrete(3, start=-1))


def acts_in_choices():
    return _acting(spaces.MultiDiscrete([[3, 2], [4, 5]], start=[[0, 1], [-2, 0]]))


def acts_in_switches():
    return _acting(spaces.MultiBinary([2, 2]))


def reads_text():
    return Parade(spaces.Dict({"word": spaces.Text(3)}), [{"word": "a"}])


def acts_without_bounds():
    return _acting(spaces.Box(-np.inf, np.inf, (1,)))


def has_a_context():
    space = spaces.Dict({"context": spaces.Discrete(2), "state": spaces.Discrete(2)})
    return Parade(space, [{"context": 0, "state": 1}] * 2)


class Reach(gymnasium.Env):
    """A goal environment as its author writes it: reach a number on a line, by steps of 1."""

    observation_space = spaces.Dict(
        {name: spaces.Box(-5, 5, (1,), np.float64)
         for name in ("observation", "achieved_goal", "desired_goal")}
    )  # fmt: skip
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.goal, self.age = np.zeros(1), self.np_random.integers(-3, 4, 1) * 1.0, 0
        return self._obs(), {}

    def step(self, action):
        self.at = np.clip(self.at + (1 if action else -1), -5, 5)
        self.age += 1
        reward = float(self.compute_reward(self.at, self.goal, {}))
        ended = bool(self.compute_terminated(self.at, self.goal, {}))
        return self._obs(), reward, ended, self.age >= 6, {}

    def compute_reward(self, achieved, desired, info):
        return -(np.abs(achieved - desired) > 0.5).astype(float).sum(-1)

    def compute_terminated(self, achieved, desired, info):
        return np.abs(achieved - desired).max(-1) < 0.5

    def _obs(self):
        return {"observation": self.at, "achieved_goal": self.at, "desired_goal": self.goal}


class NumberedReach(Reach):
    """Whose places are numbers to choose from."""

    observation_space = spaces.Dict({n: spaces.Discrete(11) for n in Reach.observation_space})

    def compute_reward(self, achieved, desired, info):
        return -1.0 * (np.reshape(achieved, -1) != np.reshape(desired, -1))

    def compute_terminated(self, achieved, desired, info):
        return bool(np.all(np.asarray(achieved) == desired))

    def _obs(self):
        return {name: int(at[0]) + 5 for name, at in super()._obs().items()}

    def step(self, action):
        self.at = np.clip(self.at + (1 if action else -1), -5, 5)
        self.age += 1
        seen = self._obs()
        met = seen["achieved_goal"] == seen["desired_goal"]
        return seen, -1.0 * (not met), met, self.age >= 6, {}


class SeenReach(Reach):
    """Observed as bars of light, and so are goals."""

    observation_space = spaces.Dict(
        {name: spaces.Box(0, 255, (4, 11, 1), np.uint8) for name in Reach.observation_space}
    )

    def compute_reward(self, achieved, desired, info):
        return -1.0 * (achieved != desired).any((-1, -2, -3))

    def compute_terminated(self, achieved, desired, info):
        return (achieved == desired).all((-1, -2, -3))

    def _obs(self):
        seen = {name: np.zeros((4, 11, 1), np.uint8) for name in Reach.observation_space}
        for name, picture in seen.items():
            at = self.goal if name == "desired_goal" else self.at
            picture[:, int(at[0]) + 5] = 255
        return seen

    def step(self, action):
        self.at = np.clip(self.at + (1 if action else -1), -5, 5)
        self.age += 1
        seen = self._obs()
        pair = seen["achieved_goal"], seen["desired_goal"]
        reward = float(self.compute_reward(*pair, {}))
        return seen, reward, bool(self.compute_terminated(*pair, {})), self.age >= 6, {}


class OneByOne(Reach):
    """Whose rewards are computed of one goal at a time."""

    def compute_reward(self, achieved, desired, info):
        return -float(np.abs(achieved - desired).max() > 0.5)


class EndlessReach(Reach):
    """A goal environment that is never cut short."""

    def step(self, action):
        obs, reward, ended, _, info = super().step(action)
        return obs, reward, ended, False, info


class Slide(JaxEnvironment):
    """In JAX: a point on a line, from its middle to a goal anywhere on it. Ten steps, all of them
    worth nothing."""

    name = "probes:Slide"
    horizon = 10
    parameters = {}
    goals = Near(0.1, rewards=(0.0, 0.0))
    observation_space = spaces.Dict(
        {name: spaces.Box(-1, 1, (1,), np.float32)
         for name in ("observation", "achieved_goal", "desired_goal")}
    )  # fmt: skip
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, p, key):
        return {"at": jnp.zeros(1), "goal": jax.random.uniform(key, (1,), minval=-1, maxval=1)}

    def step(self, state, action, p, key):
        at = jnp.clip(state["at"] + 0.3 * action, -1, 1)
        return state | {"at": at}, jnp.float32(0), jnp.bool_(False)

    def observe(self, state, p, key):
        at, goal = state["at"], state["goal"]
        return {"observation": at, "achieved_goal": at, "desired_goal": goal}


class OddMask(gymnasium.Env):
    """Five entries of a mask for three actions."""

    observation_space = spaces.Dict(
        {"state": spaces.Box(-1, 1, (1,)), "action_mask": spaces.Box(0, 1, (5,))}
    )
    action_space = spaces.Discrete(3)
