"""Environments written in JAX: stepped in compiled code one step at a time, and whole rollouts in
one compiled call, policy included.
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from headstart.envs.context import Told, shown
from headstart.envs.environment import Environment
from headstart.envs.spec import EXPERT, Obs, actions_of, grouped, groups_of
from headstart.envs.vector_env import (
    AbstractVectorEnv,
    Act,
    Draws,
    Scanned,
    Step,
    TimeStep,
    below,
    rng_from_array,
    rng_to_array,
)
from headstart.errors import HeadstartError, SimulationError
from headstart.knowledge import leaves, load_leaves
from headstart.problem.domain import Domain
from headstart.pytree import PyTree


class JaxEnvironment(Environment):
    """An environment written in JAX: frozen, hashable, with pure functions of one example.

    `p` has one number for each parameter. Actions and observations are elements of their spaces, of
    JAX's arrays. Experts are functions of `(state, p)`, and act as policies do: see `Actions`.
    """

    @abstractmethod
    def reset(self, p: Mapping[str, Array], key: PRNGKeyArray) -> PyTree:
        """The state at an episode's start."""

    @abstractmethod
    def step(
        self, state: PyTree, action: Array, p: Mapping[str, Array], key: PRNGKeyArray
    ) -> tuple[PyTree, Array, Array]:
        """`state, reward, terminated`."""

    @abstractmethod
    def observe(self, state: PyTree, p: Mapping[str, Array], key: PRNGKeyArray) -> PyTree:
        """What is seen of the state."""

    def limit(self, p: Mapping[str, Array]) -> int | Array:
        """Steps after which an episode with these parameters is truncated, if before `horizon`."""
        return self.horizon

    def state_from(self, obs: Array, p: Mapping[str, Array]) -> PyTree:
        """The state that a plain observation shows; for environments that set
        `starts_from_observations`."""
        raise NotImplementedError

    def picture(self, state: PyTree, p: Mapping[str, float]) -> np.ndarray | Array | None:
        """`[height, width, 3]` bytes for people; nothing if it cannot be drawn."""
        return None

    def start(
        self, domain: Domain, num: int, seed: int, expert: str | None = None
    ) -> "JaxVectorEnv":
        return JaxVectorEnv(self, domain, num, seed, expert)


class Running(NamedTuple):
    """Copies of an environment under way."""

    state: PyTree
    age: Int[Array, " env"]
    over: Bool[Array, " env"]
    values: Float[Array, "env parameters"]


class View(NamedTuple):
    """What is compiled: an environment, and what is seen of it; equal for equal domains."""

    env: JaxEnvironment
    told: tuple[tuple[str, tuple[Told, ...]], ...]
    """The groups that tell parameters."""
    expert: str | None
    horizon: int


class JaxVectorEnv(AbstractVectorEnv):
    """Copies that compiled code steps."""

    def __init__(
        self, environment: JaxEnvironment, domain: Domain, num: int, seed: int, expert: str | None
    ):
        super().__init__(environment, domain, num, seed, expert)
        self._view = View(environment, tuple(self._told.items()), expert, self.spec.horizon)
        _check_shapes(environment)
        values = jnp.asarray(self.values, jnp.float32)
        shape = jax.eval_shape(
            partial(_fresh, environment), values, jax.random.split(self._key, num)
        )
        state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)
        self._running = Running(state, jnp.zeros(num, jnp.int32), jnp.ones(num, bool), values)

    def draw_by(self, draws: Draws) -> None:
        super().draw_by(draws)
        self._view = self._view._replace(told=tuple(self._told.items()))

    def reseed(self, seed: int) -> None:
        super().reseed(seed)
        self._key, self._count = jax.random.key(seed), 0

    @property
    def age(self) -> np.ndarray:
        return np.asarray(self._running.age)

    def reset(self, rows: np.ndarray | None = None) -> Obs:
        chosen = self._mask(rows)
        self._running, obs = _started(
            self._view, self._running, chosen, self._draws(), self._next_key()
        )
        self._read_values()
        self._check(obs)
        pick = slice(None) if rows is None else rows
        return {name: np.array(group)[pick] for name, group in obs.items()}

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step:
        """As in `VectorEnv`.

        Raises:
            SimulationError: an episode was over, or a number is not finite.
        """
        chosen = self._mask(rows)
        self._check_under_way(chosen)
        if rows is not None:
            every = np.zeros((self.num, *action.shape[1:]), action.dtype)
            every[rows] = action
            action = every
        draws = self._running.values if rows is not None else self._draws()
        self.tally.steps += int(chosen.sum())
        self._running, step = _stepped(
            self._view, rows is None, self._running, jnp.asarray(action), chosen, draws,
            self._next_key(),
        )  # fmt: skip
        self._read_values()
        pick = slice(None) if rows is None else rows
        found: Step = jax.tree.map(lambda column: np.array(column)[pick], step)
        self._check(found.next_obs, action=action, reward=found.reward)
        return found

    def scan(
        self,
        act: Act,
        policy: PyTree,
        told: TimeStep,
        memory: PyTree,
        steps: int,
        key: PRNGKeyArray | None,
        spent: Scanned | None = None,
    ) -> tuple[Scanned, TimeStep, PyTree]:
        """The same as `step` with `act(policy, told, memory, key)`, step by step; the key of each
        is `key` folded with its number."""
        self._check_under_way(self._mask(None))
        draws = jnp.stack([jnp.asarray(self._draws()) for _ in range(steps if self._varied else 1)])
        draws = jnp.broadcast_to(draws, (steps, *draws.shape[1:]))
        rows = {name: ((steps, *x.shape), x.dtype) for name, x in told.obs.items()}
        if spent is not None and rows == {n: (x.shape, x.dtype) for n, x in spent.obs.items()}:
            written = spent.obs, spent.next_obs
        else:
            written = tuple({name: jnp.zeros(*row) for name, row in rows.items()} for _ in range(2))
        self._running, told, memory, (obs, next_obs), columns = _scanned(
            self._view, act, self._running, policy, told, memory, draws, key, self._key,
            self._count, written,
        )  # fmt: skip
        action, reward, terminated, truncated = columns
        columns = Scanned(obs, action, reward, next_obs, terminated, truncated)
        self._count += steps
        self._read_values()
        self._check(columns.next_obs, action=columns.action, reward=columns.reward)
        self.tally.steps += steps * self.num
        return columns, told, memory

    def state(self) -> dict[str, np.ndarray]:
        own = {
            "values": self.values,
            "rng": rng_to_array(self._rng),
            "key": np.asarray(jax.random.key_data(self._key)),
            "count": np.array(self._count),
        }
        return own | {f"running.{name}": a for name, a in leaves(self._running).items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.values[:] = state["values"]
        self._rng = rng_from_array(state["rng"])
        self._key = jax.random.wrap_key_data(jnp.asarray(state["key"]))
        self._count = int(state["count"])
        self._running = load_leaves(self._running, below("running.", state), "the checkpoint")

    def start_from(self, obs: Obs) -> np.ndarray:
        if not self.environment.starts_from_observations:
            return super().start_from(obs)
        values = jnp.asarray(self.values, jnp.float32)
        state = _stated(self._view.env, jnp.asarray(obs[self._plain]), values)
        self._running = Running(
            state, jnp.zeros(self.num, jnp.int32), jnp.zeros(self.num, bool), values
        )
        return np.ones(self.num, bool)

    def picture(self) -> np.ndarray | None:
        state = jax.tree.map(lambda x: np.asarray(x[0]), self._running.state)
        values = self.values[0].astype(np.float32).tolist()
        p = dict(zip(self.environment.parameters, values, strict=True))
        drawn = self._view.env.picture(state, p)
        return None if drawn is None else np.asarray(drawn)

    def _mask(self, rows: np.ndarray | None) -> np.ndarray:
        chosen = np.ones(self.num, bool)
        if rows is not None:
            chosen[:] = False
            chosen[rows] = True
        return chosen

    def _check_under_way(self, chosen: np.ndarray) -> None:
        if (np.asarray(self._running.over) & chosen).any():
            raise SimulationError("an episode that has ended must be reset before its next step")

    def _draws(self) -> np.ndarray:
        """Parameters for the episodes that may begin at this step, `[env, parameters]`."""
        drawn = self.values.copy()
        if self._varied and not self._pinned:
            drawn[:, self.columns] = self._distribution.sample(self._rng, self.num)
        return drawn.astype(np.float32)

    def _read_values(self) -> None:
        if self._varied and not self._pinned:
            self.values[:] = np.asarray(self._running.values)

    def _next_key(self) -> PRNGKeyArray:
        self._count += 1
        return jax.random.fold_in(self._key, self._count - 1)

    def _check(self, obs: Mapping[str, Any], action: Any = None, reward: Any = None) -> None:
        met = [("an action", action), ("a reward", reward)]
        for what, array in met + [("an observation", group) for group in obs.values()]:
            if array is None or not np.issubdtype(array.dtype, np.floating):
                continue
            if not np.isfinite(np.asarray(array)).all():
                blame = (
                    "learning has diverged; lower the learning rate"
                    if what == "an action"
                    else "narrow the range of its parameters, or mend the environment"
                )
                raise SimulationError(
                    f"{self.environment.name} met {what} that is not finite: {blame}"
                )


def _named(env: JaxEnvironment, values: Array) -> dict[str, Array]:
    return dict(zip(env.parameters, values, strict=True))


@lru_cache
def _check_shapes(env: JaxEnvironment) -> None:
    """Hold one step against what is declared, computing nothing.

    Raises:
        HeadstartError: a shape is another, or the step cannot be traced.
    """
    actions = actions_of(env.name, env.action_space)

    def one(values: Array, key: PRNGKeyArray):
        p = _named(env, values)
        state = env.reset(p, key)
        blank = jnp.zeros((1, *actions.shape), actions.dtype)
        after, reward, terminated = env.step(state, element(env.action_space, blank)[0], p, key)
        obs = grouped(env.observation_space, env.observe(state, p, key), jnp)
        return state, after, obs, {"reward": reward, "terminated": terminated}

    try:
        values = jax.ShapeDtypeStruct((len(env.parameters),), jnp.float32)
        state, after, obs, ends = jax.eval_shape(one, values, jax.random.key(0))
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise HeadstartError(
            f"{env.name} cannot be traced: {type(error).__name__}: {said}"
        ) from error
    declared = {name: g.shape for name, g in groups_of(env.name, env.observation_space).items()}
    for name, shape in (declared | dict.fromkeys(ends, ())).items():
        found = (obs | ends)[name].shape
        if found != shape:
            raise HeadstartError(
                f"{env.name} declares {name} of shape {list(shape)}, and returns {list(found)}"
            )
    before, behind = (
        (jax.tree.structure(s), [(x.shape, x.dtype) for x in jax.tree.leaves(s)])
        for s in (state, after)
    )
    if before != behind:
        raise HeadstartError(
            f"{env.name}.step returns a state of other shapes or types than reset: {behind} after "
            f"{before}"
        )


class Keys(NamedTuple):
    """All that one step draws by, one key for each copy.

    Episodes begin in turns, a few copies in each: `begins` is for the states they begin in, and
    `seen` for what is seen of them.
    """

    steps: Key[Array, " env"]
    observes: Key[Array, " env"]
    begins: Key[Array, "turn few"]
    seen: Key[Array, "turn few"]

    @staticmethod
    def split(key: PRNGKeyArray, num: int) -> "Keys":
        few = _few(num)
        step_key, observe_key, renew_key = jax.random.split(key, 3)

        def turn(number: Array) -> tuple[Array, Array]:
            begin_key, seen_key = jax.random.split(jax.random.fold_in(renew_key, number))
            return jax.random.split(begin_key, few), jax.random.split(seen_key, few)

        begins, seen = jax.vmap(turn)(jnp.arange(-(-num // few)))
        steps, observes = (jax.random.split(k, num) for k in (step_key, observe_key))
        return Keys(steps, observes, begins, seen)


def _few(num: int) -> int:
    """Of so many copies, those that begin an episode together: to observe is what costs in a world
    of pixels, and few episodes end at a step."""
    return max(num // 32, 1)


def _fresh(
    env: JaxEnvironment,
    values: Float[Array, "env parameters"],
    keys: Key[Array, " env"],
) -> PyTree:
    return jax.vmap(lambda v, k: env.reset(_named(env, v), k))(values, keys)


@partial(jax.jit, static_argnums=0)
def _stated(env: JaxEnvironment, obs: Array, values: Float[Array, "env parameters"]) -> PyTree:
    return jax.vmap(lambda o, v: env.state_from(o, _named(env, v)))(obs, values)


def _observed(view: View, running: Running, keys: Key[Array, " env"]) -> dict[str, Array]:
    """The groups that every copy shows."""
    env = view.env

    def observe(state: PyTree, values: Array, key: PRNGKeyArray) -> dict[str, Array]:
        return grouped(env.observation_space, env.observe(state, _named(env, values), key), jnp)

    groups = jax.vmap(observe)(running.state, running.values, keys)
    groups |= shown(env.parameters, dict(view.told), running.values, jnp)
    if view.expert is not None:
        expert = env.experts[view.expert]
        act = jax.vmap(lambda s, v: expert(s, _named(env, v)))
        groups[EXPERT] = act(running.state, running.values)
    return groups


def _where(chosen: Bool[Array, " env"], new: PyTree, old: PyTree) -> PyTree:
    """Leaf by leaf, the rows that were chosen from `new` and the others from `old`."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(chosen.reshape((-1,) + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


def _renewed(
    view: View, running: Running, chosen: Bool[Array, " env"], draws: Array, key: PRNGKeyArray
) -> tuple[Running, dict[str, Array]]:
    """An episode begun in the copies that were chosen, and what every copy observes."""
    state_keys, observe_keys = (jax.random.split(k, len(chosen)) for k in jax.random.split(key))
    age, over = jnp.zeros_like(running.age), jnp.zeros_like(running.over)
    fresh = Running(_fresh(view.env, draws, state_keys), age, over, draws)
    running = _where(chosen, fresh, running)
    return running, _observed(view, running, observe_keys)


@partial(jax.jit, static_argnums=0)
def _started(view: View, running: Running, chosen: Array, draws: Array, key: PRNGKeyArray):
    return _renewed(view, running, chosen, draws, key)


def _advanced(
    view: View,
    renew: bool,
    running: Running,
    action: Array,
    chosen: Array,
    draws: Array,
    keys: Keys,
) -> tuple[Running, Step]:
    env = view.env
    action = element(env.action_space, action)
    act = jax.vmap(lambda s, a, v, k: env.step(s, a, _named(env, v), k))
    state, reward, terminated = act(running.state, action, running.values, keys.steps)
    reward, terminated = reward.astype(jnp.float32), terminated.astype(bool)
    age = running.age + 1
    limit = jax.vmap(lambda v: jnp.minimum(env.limit(_named(env, v)), view.horizon))
    truncated = (age >= limit(running.values)) & ~terminated
    ended = terminated | truncated
    running = _where(chosen, Running(state, age, ended, running.values), running)
    next_obs: PyTree = _observed(view, running, keys.observes)
    obs = next_obs
    if renew:
        running, obs = _begun(view, running, draws, keys, next_obs)
    return running, Step(reward, next_obs, terminated, truncated, obs)  # pyright: ignore


def _begun(
    view: View, running: Running, draws: Array, keys: Keys, obs: dict[str, Array]
) -> tuple[Running, dict[str, Array]]:
    """New episodes where they are over, a few copies at a turn."""
    few = _few(len(running.over))

    def some(carry: tuple[Running, dict[str, Array], Array]):
        running, obs, turn = carry
        rows = jnp.nonzero(running.over, size=few, fill_value=len(running.over))[0]
        values = draws.at[rows].get(mode="clip")
        started = Running(
            _fresh(view.env, values, keys.begins[turn]),
            jnp.zeros(few, jnp.int32),
            jnp.zeros(few, bool),
            values,
        )
        seen = _observed(view, started, keys.seen[turn])
        put = partial(jax.tree.map, lambda old, new: old.at[rows].set(new, mode="drop"))
        return put(running, started), put(obs, seen), turn + 1

    start = running, obs, jnp.int32(0)
    running, obs, _ = jax.lax.while_loop(lambda carry: carry[0].over.any(), some, start)
    return running, obs


@partial(jax.jit, static_argnums=(0, 1))
def _stepped(
    view: View,
    renew: bool,
    running: Running,
    action: Array,
    chosen: Array,
    draws: Array,
    key: PRNGKeyArray,
) -> tuple[Running, Step]:
    keys = Keys.split(key, len(chosen))
    return _advanced(view, renew, running, action, chosen, draws, keys)


# Pictures gain from the processor's widest vectors, which XLA leaves alone by itself; and from
# memory that is there already: to ask the system for it costs more than to write it.
@partial(
    jax.jit,
    static_argnums=(0, 1),
    donate_argnames="written",
    compiler_options={"xla_cpu_prefer_vector_width": 512},
)
def _scanned(
    view: View,
    act: Act,
    running: Running,
    policy: PyTree,
    told: TimeStep,
    memory: PyTree,
    draws: Array,
    key: PRNGKeyArray | None,
    own_key: PRNGKeyArray,
    count: Any,
    written: tuple[dict[str, Array], dict[str, Array]],
) -> tuple[Running, TimeStep, PyTree, tuple[dict[str, Array], dict[str, Array]], tuple[Array, ...]]:
    """`written` is where observations, and those that follow, are written: `[time, env, ...]`. They
    are returned before the other columns, which could be given their memory."""
    everyone = jnp.ones(len(running.over), bool)
    shapes = {name: x.shape for name, x in told.obs.items()}

    times = jnp.arange(len(draws))
    numbered = jax.vmap(jax.random.fold_in, (None, 0))
    # All at once: one by one, keys cost more than a step of a small game.
    own_keys = jax.vmap(lambda k: Keys.split(k, len(everyone)))(numbered(own_key, count + times))
    act_keys = None if key is None else numbered(key, times)

    def one(carry, now):
        t, draws, keys, act_key = now
        running, flat, told, memory, (every_obs, every_next_obs) = carry
        told = told._replace(obs=_shaped(flat, shapes))
        action, memory = act(policy, told, memory, act_key)
        step: Any  # of traced arrays
        running, step = _advanced(view, True, running, action, everyone, draws, keys)
        put = partial(
            jax.tree.map, lambda rows, row: jax.lax.dynamic_update_index_in_dim(rows, row, t, 0)
        )
        written = put(every_obs, flat), put(every_next_obs, _flat(step.next_obs))
        told = TimeStep({}, action, step.reward, step.terminated | step.truncated)
        small = action, step.reward, step.terminated, step.truncated
        return (running, _flat(step.obs), told, memory, written), small

    rows = jax.tree.map(lambda x: x.reshape(len(x), -1), written)
    start = running, _flat(told.obs), told._replace(obs={}), memory, rows
    carry, columns = jax.lax.scan(one, start, (times, draws, own_keys, act_keys))
    running, flat, told, memory, rows = carry
    written = jax.tree.map(lambda x, like: x.reshape(like.shape), rows, written)
    return running, told._replace(obs=_shaped(flat, shapes)), memory, written, columns


def _flat(obs: dict[str, Array]) -> dict[str, Array]:
    """Groups as single rows of numbers: as small images XLA moves them number by number."""
    return {name: x.reshape(-1) for name, x in obs.items()}


def _shaped(obs: dict[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    return {name: x.reshape(shapes[name]) for name, x in obs.items()}


def element(space: spaces.Space[Any], action: Array) -> Array:
    """Actions of a policy `[env, ...]` as elements of the space, scaled to the bounds of a Box."""
    action = action.reshape(-1, *(space.shape or ()))
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return action + jnp.asarray(space.start, action.dtype)[None]
    if not isinstance(space, spaces.Box):
        return action
    half = jnp.asarray((np.float64(space.high) - space.low) / 2, jnp.float32)
    middle = jnp.asarray(space.low, jnp.float32) + half
    return jnp.clip(action, -1.0, 1.0) * half[None] + middle[None]
