"""Environments written in JAX, stepped inside a compiled loop.

Such an environment is three pure functions of one example. They are batched here, in two loops
that give the same experience: step by step for whoever needs a step at a time, and whole chunks in
one compiled call, policy included.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from headstart.envs.environment import Declared, Step, check_domain, generator, words
from headstart.errors import HeadstartError, SimulationError
from headstart.knowledge import filled, leaves
from headstart.problem import Domain


class World(Declared, Protocol):
    """An environment written in JAX: frozen, hashable, with pure functions of one example.

    `p` has one number for each parameter. A continuous action lies within its bounds.
    """

    def reset(self, p: Mapping[str, Array], key: PRNGKeyArray) -> Any:
        """The state at an episode's start."""
        ...

    def step(
        self, state: Any, action: Array, p: Mapping[str, Array], key: PRNGKeyArray
    ) -> tuple[Any, Array, Array]:
        """`state, reward, terminated`."""
        ...

    def observe(self, state: Any, p: Mapping[str, Array], key: PRNGKeyArray) -> Array: ...


class Running(NamedTuple):
    """Copies of a world under way."""

    state: Any
    age: Int[Array, " env"]
    over: Bool[Array, " env"]
    values: Float[Array, "env parameters"]


class Columns(NamedTuple):
    """A chunk of experience, `[time, env, ...]`; see `Step`."""

    obs: Shaped[Array, "time env ..."]
    action: Shaped[Array, "time env ..."]
    reward: Float[Array, "time env"]
    next_obs: Shaped[Array, "time env ..."]
    terminated: Bool[Array, "time env"]
    truncated: Bool[Array, "time env"]


class CompiledBatch:
    """What `Batch` is, for environments written in JAX."""

    def __init__(self, world: World, domain: Domain, num: int, seed: int):
        check_domain(world, domain)
        self.environment = world
        self.num = num
        self.action_space = world.action_space
        self._distribution = domain.distribution
        self._columns = [list(world.parameters).index(name) for name in domain.parameters]
        self._varied = bool(domain.varied)
        nominal = [p.nominal for p in world.parameters.values()]
        self.values = np.tile(np.array(nominal), (num, 1))
        """The parameters that each copy runs with now, `[copies, parameters]`."""
        for name, marginal in domain.parameters.items():
            self.values[:, list(world.parameters).index(name)] = marginal.mean
        self._pinned = False
        self.reseed(seed)
        self._running = self._blank()

    def _blank(self) -> Running:
        values = jnp.asarray(self.values, jnp.float32)
        shape = jax.eval_shape(partial(_fresh, self.environment), values, self._key)
        state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)
        return Running(state, jnp.zeros(self.num, jnp.int32), jnp.ones(self.num, bool), values)

    def pin(self, values: np.ndarray) -> None:
        """From the next reset on, copy `i` always runs with `values[i]` instead of a draw."""
        self.values[:, self._columns] = values
        self._pinned = True

    def reseed(self, seed: int) -> None:
        """Draw from here on as a new batch with this seed would."""
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._key, self._count = jax.random.key(seed), 0

    @property
    def age(self) -> np.ndarray:
        """Steps taken in the current episode of each copy."""
        return np.asarray(self._running.age)

    def reset(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Start an episode in each of `rows` (all of them if not given): `[rows, ...]`."""
        chosen = self._mask(rows)
        self._running, obs = _started(
            self.environment, self._running, chosen, self._draws(), self._next_key()
        )
        self._read_values()
        return np.array(obs) if rows is None else np.array(obs)[rows]

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step:
        """Step every copy, or only `rows`; see `Batch.step`.

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
        self._running, step = _stepped(
            self.environment, rows is None, self._running, jnp.asarray(action), chosen, draws,
            self._next_key(),
        )  # fmt: skip
        self._read_values()
        pick = slice(None) if rows is None else rows
        found = Step(*(np.array(column)[pick] for column in step))
        self._check(action, found.reward, found.next_obs)
        return found

    def scan(
        self, policy: Any, obs: Shaped[Array, "env ..."], steps: int, key: PRNGKeyArray
    ) -> tuple[Columns, Array]:
        """`steps` steps of every copy in one compiled call, and the observations to go on from.

        The same as `step` with `policy.sample(obs, fold_in(key, t))`, step by step.
        """
        self._check_under_way(self._mask(None))
        draws = jnp.stack([jnp.asarray(self._draws()) for _ in range(steps if self._varied else 1)])
        draws = jnp.broadcast_to(draws, (steps, *draws.shape[1:]))
        self._running, columns, obs = _scanned(
            self.environment, self._running, policy, obs, draws, key, self._key, self._count
        )
        self._count += steps
        self._read_values()
        self._check(columns.action, columns.reward, columns.next_obs)
        return columns, obs

    def state(self) -> dict[str, np.ndarray]:
        """All that the future depends on, as arrays; see `restore`."""
        own = {
            "values": self.values,
            "rng": words(self._rng),
            "key": np.asarray(jax.random.key_data(self._key)),
            "count": np.array(self._count),
        }
        return own | {f"running.{name}": a for name, a in leaves(self._running).items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state` with the same bits."""
        self.values[:] = state["values"]
        self._rng = generator(state["rng"])
        self._key = jax.random.wrap_key_data(jnp.asarray(state["key"]))
        self._count = int(state["count"])
        prefix = "running."
        inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self._running = filled(self._running, inner, "the checkpoint")

    def start_from(self, observation: np.ndarray) -> np.ndarray:
        """Raises:
        HeadstartError: always, since the state cannot be told from an observation.
        """
        raise HeadstartError(
            f"{self.environment.name} cannot be started from an observation, which the posterior "
            "over its parameters needs: use an environment whose engine has a start_from method"
        )

    def picture(self) -> np.ndarray | None:
        """The first copy as `[height, width, 3]` bytes; nothing if it cannot be drawn."""
        draw = getattr(self.environment, "picture", None)
        if draw is None:
            return None
        state = jax.tree.map(lambda x: np.asarray(x[0]), self._running.state)
        p = dict(zip(self.environment.parameters, self.values[0].astype(np.float32), strict=True))
        return np.asarray(draw(state, p))

    def demonstrated(self, name: str) -> np.ndarray:
        """What one of the world's `demonstrators`, which see its state, would do: `[env, ...]`."""
        return np.asarray(_demonstrated(self.environment, name, self._running))

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
            drawn[:, self._columns] = self._distribution.sample(self._rng, self.num)
        return drawn.astype(np.float32)

    def _read_values(self) -> None:
        if self._varied and not self._pinned:
            self.values[:] = np.asarray(self._running.values)

    def _next_key(self) -> PRNGKeyArray:
        self._count += 1
        return jax.random.fold_in(self._key, self._count - 1)

    def _check(self, action: Any, reward: Any, obs: Any) -> None:
        for what, array in (("action", action), ("reward", reward), ("observation", obs)):
            if np.issubdtype(array.dtype, np.floating) and not np.isfinite(np.asarray(array)).all():
                blame = (
                    "learning has diverged; lower the learning rate"
                    if what == "action"
                    else "narrow the range of its parameters, or mend the environment"
                )
                raise SimulationError(
                    f"{self.environment.name} met a {what} that is not finite: {blame}"
                )


def _named(world: World, values: Array) -> dict[str, Array]:
    return dict(zip(world.parameters, values, strict=True))


def _fresh(world: World, values: Float[Array, "env parameters"], key: PRNGKeyArray) -> Any:
    keys = jax.random.split(key, len(values))
    return jax.vmap(lambda v, k: world.reset(_named(world, v), k))(values, keys)


def _observed(world: World, running: Running, key: PRNGKeyArray) -> Array:
    keys = jax.random.split(key, len(running.age))
    observe = jax.vmap(lambda s, v, k: world.observe(s, _named(world, v), k))
    return observe(running.state, running.values, keys)


@partial(jax.jit, static_argnums=(0, 1))
def _demonstrated(world: World, name: str, running: Running) -> Array:
    demonstrator = world.demonstrators[name]  # pyright: ignore
    act = jax.vmap(lambda s, v: demonstrator(s, _named(world, v)))
    return act(running.state, running.values)


def _where(chosen: Bool[Array, " env"], new: Any, old: Any) -> Any:
    """Leaf by leaf, the rows that were chosen from `new` and the others from `old`."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(chosen.reshape((-1,) + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


def _renewed(
    world: World, running: Running, chosen: Bool[Array, " env"], draws: Array, key: PRNGKeyArray
) -> tuple[Running, Array]:
    """An episode begun in the copies that were chosen, and what every copy observes."""
    state_key, observe_key = jax.random.split(key)
    age, over = jnp.zeros_like(running.age), jnp.zeros_like(running.over)
    fresh = Running(_fresh(world, draws, state_key), age, over, draws)
    running = _where(chosen, fresh, running)
    return running, _observed(world, running, observe_key)


@partial(jax.jit, static_argnums=0)
def _started(world: World, running: Running, chosen: Array, draws: Array, key: PRNGKeyArray):
    return _renewed(world, running, chosen, draws, key)


def _advanced(
    world: World,
    renew: bool,
    running: Running,
    action: Array,
    chosen: Array,
    draws: Array,
    key: PRNGKeyArray,
) -> tuple[Running, Step]:
    step_key, observe_key, renew_key = jax.random.split(key, 3)
    action = _scaled(world.action_space, action)
    keys = jax.random.split(step_key, len(action))
    act = jax.vmap(lambda s, a, v, k: world.step(s, a, _named(world, v), k))
    state, reward, terminated = act(running.state, action, running.values, keys)
    age = running.age + 1
    truncated = (age >= world.horizon) & ~terminated
    ended = terminated | truncated
    running = _where(chosen, Running(state, age, ended, running.values), running)
    next_obs = _observed(world, running, observe_key)
    obs = next_obs
    if renew:
        running, obs = _begun(world, running, draws, renew_key, next_obs)
    return running, Step(reward, next_obs, terminated, truncated, obs)  # pyright: ignore


def _begun(
    world: World, running: Running, draws: Array, key: PRNGKeyArray, obs: Array
) -> tuple[Running, Array]:
    """New episodes where they are over, a 32nd of the copies at a time: to observe is what costs
    in a world of pixels, and few episodes end at a step."""
    few = max(len(running.over) // 32, 1)

    def some(carry: tuple[Running, Array, Array]):
        running, obs, turn = carry
        rows = jnp.nonzero(running.over, size=few, fill_value=len(running.over))[0]
        values = draws.at[rows].get(mode="clip")
        state_key, observe_key = jax.random.split(jax.random.fold_in(key, turn))
        started = Running(
            _fresh(world, values, state_key),
            jnp.zeros(few, jnp.int32),
            jnp.zeros(few, bool),
            values,
        )
        seen = _observed(world, started, observe_key)
        put = partial(jax.tree.map, lambda old, new: old.at[rows].set(new, mode="drop"))
        return put(running, started), put(obs, seen), turn + 1

    start = running, obs, jnp.int32(0)
    running, obs, _ = jax.lax.while_loop(lambda carry: carry[0].over.any(), some, start)
    return running, obs


_stepped = jax.jit(_advanced, static_argnums=(0, 1))


# Pictures gain from the processor's widest vectors, which XLA leaves alone by itself.
@partial(jax.jit, static_argnums=0, compiler_options={"xla_cpu_prefer_vector_width": 512})
def _scanned(
    world: World,
    running: Running,
    policy: Any,
    obs: Array,
    draws: Array,
    key: PRNGKeyArray,
    own_key: PRNGKeyArray,
    count: Any,
) -> tuple[Running, Columns, Array]:
    everyone = jnp.ones(obs.shape[0], bool)

    def one(carry, t):
        running, obs = carry
        action = policy.sample(obs, jax.random.fold_in(key, t))
        step_key = jax.random.fold_in(own_key, count + t)
        step: Any  # of traced arrays
        running, step = _advanced(world, True, running, action, everyone, draws[t], step_key)
        return (running, step.obs), Columns(obs, action, *step[:4])

    (running, obs), columns = jax.lax.scan(one, (running, obs), jnp.arange(len(draws)))
    return running, columns, obs


def _scaled(space: spaces.Box | spaces.Discrete, action: Array) -> Array:
    if not isinstance(space, spaces.Box):
        return action
    half = jnp.asarray((np.float64(space.high) - space.low) / 2, jnp.float32)
    middle = jnp.asarray(space.low, jnp.float32) + half
    return jnp.clip(action, -1.0, 1.0) * half[None] + middle[None]
