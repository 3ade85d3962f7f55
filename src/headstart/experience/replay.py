"""Experience kept for later: a ring of rollouts, held and sampled by compiled code."""

# JAX's arrays and trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from headstart.envs.spec import EnvSpec
from headstart.errors import HeadstartError
from headstart.experience.transition import Rollout, Transition
from headstart.pytree import PyTree


class Batch(NamedTuple):
    """Transitions to learn from, over n steps: Σ γᵏ rₖ, where they led, and γⁿ or 0 at an end."""

    obs: PyTree
    action: Shaped[Array, "batch ..."]
    reward: Float[Array, " batch"]
    next_obs: PyTree
    discount: Float[Array, " batch"]
    weight: Float[Array, " batch"]


class Places(NamedTuple):
    """Which rows of a replay."""

    ages: Int[Array, "length size"]
    """The oldest is 0."""
    env: Int[Array, " size"]


class Replay(eqx.Module):
    """The last `slots` × `env` rows of some columns; time runs along the first axis."""

    columns: PyTree
    """A pytree of `[slots, env, ...]`, such as a `Transition`."""
    head: Int[Array, ""]
    """The slot to be written next."""
    filled: Int[Array, ""]
    """How many slots hold experience."""

    @staticmethod
    def empty(row: PyTree, capacity: int, num_envs: int, rollout_length: int) -> "Replay":
        """Room for at least `capacity` rows, in rollouts of `rollout_length` × `num_envs`.

        Args:
            row: what one row holds, as `transition_row` describes it.
        """
        slots = -(-capacity // (num_envs * rollout_length)) * rollout_length
        columns = jax.tree.map(lambda x: jnp.zeros((slots, num_envs, *x.shape), x.dtype), row)
        return Replay(columns, head=jnp.zeros((), jnp.int32), filled=jnp.zeros((), jnp.int32))

    @property
    def slots(self) -> int:
        return jax.tree.leaves(self.columns)[0].shape[0]

    @property
    def num_envs(self) -> int:
        return jax.tree.leaves(self.columns)[0].shape[1]

    def add(self, new: PyTree) -> "Replay":
        """With columns `[time, env, ...]` written over the oldest; for compiled code."""
        time = len(jax.tree.leaves(new)[0])

        def write(kept: Array, fresh: PyTree) -> Array:
            fresh = jnp.asarray(fresh).astype(kept.dtype)
            return jax.lax.dynamic_update_slice_in_dim(kept, fresh, self.head, 0)

        head = (self.head + time) % self.slots
        filled = jnp.minimum(self.filled + time, self.slots)
        return Replay(jax.tree.map(write, self.columns, new), head, filled)

    def places(self, size: int, length: int, key: PRNGKeyArray) -> Places:
        """Of `size` windows of consecutive rows, uniformly, with replacement; a replay that holds
        fewer rows than a window repeats the newest."""
        time_key, env_key = jax.random.split(key)
        age = jax.random.randint(time_key, (size,), 0, jnp.maximum(self.filled - length + 1, 1))
        env = jax.random.randint(env_key, (size,), 0, self.num_envs)
        ages = jnp.minimum(age[None] + jnp.arange(length)[:, None], self.filled - 1)
        return Places(ages, env)

    def slot(self, age: Int[Array, "..."]) -> Int[Array, "..."]:
        """Where the rows of these ages are kept; the oldest is 0."""
        return (self.head - self.filled + age) % self.slots

    def at(self, places: Places) -> PyTree:
        """Windows `[length, size, ...]`."""
        slots = self.slot(places.ages)
        return jax.tree.map(lambda x: x[slots, places.env[None]], self.columns)

    def transitions(self, size: int, length: int, key: PRNGKeyArray) -> Transition:
        """Windows of transitions; the newest of a column counts as truncated."""
        return self.transitions_at(self.places(size, length, key))

    def transitions_at(self, places: Places) -> Transition:
        """The same at these places."""
        window = self.at(places)
        return window._replace(truncated=window.truncated | (places.ages == self.filled - 1))


def transition_row(spec: EnvSpec) -> Transition:
    """What one transition of a spec holds."""
    obs = {name: jax.ShapeDtypeStruct(g.shape, g.dtype) for name, g in spec.groups.items()}
    number, flag = (jax.ShapeDtypeStruct((), kind) for kind in ("float32", "bool"))
    action = jax.ShapeDtypeStruct(spec.actions.shape, spec.actions.dtype)
    return Transition(obs, action, number, obs, flag, flag)


def check_executed(rollout: Rollout) -> None:
    """Raises:
    HeadstartError: continuous actions lie outside [−1, 1], so they are not those executed.
    """
    action = np.asarray(rollout.steps.action)
    if action.dtype.kind == "f" and np.abs(action).max(initial=0.0) > 1.0:
        raise HeadstartError(
            f"an action of {np.abs(action).max():.3g} was to be stored, and those executed lie "
            "in [−1, 1]: store actions after clipping, in every domain alike"
        )


def n_step(window: Transition, discount: float) -> Batch:
    """A window `[n, batch]` as transitions over n steps, or to where an episode ends in it."""
    size = window.reward.shape[1]
    reward, factor = jnp.zeros(size), jnp.ones(size)
    running, last = jnp.ones(size, bool), jnp.zeros(size, int)
    for k in range(window.reward.shape[0]):
        last = jnp.where(running, k, last)
        reward = reward + jnp.where(running, factor * window.reward[k], 0.0)
        factor = jnp.where(running, factor * discount, factor)
        running = running & ~(window.terminated[k] | window.truncated[k])
    rows = jnp.arange(size)
    factor = jnp.where(window.terminated[last, rows], 0.0, factor)
    obs = {name: x[0] for name, x in window.obs.items()}
    next_obs = {name: x[last, rows] for name, x in window.next_obs.items()}
    return Batch(obs, window.action[0], reward, next_obs, factor, jnp.ones(size))


def window_rollout(window: Transition) -> Rollout:
    """A window `[time, batch]` as a rollout that begins with nothing remembered."""
    return Rollout(
        window,
        begins=jnp.ones(window.reward.shape[1], bool),
        last_action=jnp.zeros_like(window.action[0]),
        last_reward=jnp.zeros_like(window.reward[0]),
    )


@partial(jax.jit, donate_argnums=0)
def added(replay: Replay, new: PyTree) -> Replay:
    """`replay.add(new)`, in place: the old arrays are given up."""
    return replay.add(new)
