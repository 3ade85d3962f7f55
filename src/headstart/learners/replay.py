"""Experience kept for later: a ring of chunks, held and sampled by compiled code."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from headstart.envs.compiled import Columns
from headstart.errors import HeadstartError
from headstart.learners.ppo import Transitions


class Sample(NamedTuple):
    """Transitions to learn from, over n steps: Σ γᵏ rₖ, where they led, and γⁿ or 0 at an end."""

    obs: Shaped[Array, "batch ..."]
    action: Shaped[Array, "batch ..."]
    reward: Float[Array, " batch"]
    next_obs: Shaped[Array, "batch ..."]
    discount: Float[Array, " batch"]
    weight: Float[Array, " batch"]


class Replay(eqx.Module):
    """The last `slots` × `environments` transitions; time runs along the first axis."""

    seen: Columns
    """`[slots, env, ...]`."""
    head: Int[Array, ""]
    """The slot to be written next."""
    filled: Int[Array, ""]
    """How many slots hold experience."""

    @staticmethod
    def empty(
        observation: spaces.Box,
        action: spaces.Box | spaces.Discrete,
        capacity: int,
        environments: int,
        steps: int,
    ) -> "Replay":
        """Room for at least `capacity` transitions, in chunks of `steps` × `environments`."""
        slots = -(-capacity // (environments * steps)) * steps
        discrete = isinstance(action, spaces.Discrete)
        image = observation.dtype == np.uint8
        columns = (slots, environments)
        acted = columns if discrete else (*columns, *action.shape)
        seen = (*columns, *observation.shape)
        dtype = jnp.uint8 if image else jnp.float32
        blank = Columns(
            obs=jnp.zeros(seen, dtype),
            action=jnp.zeros(acted, jnp.int32 if discrete else jnp.float32),
            reward=jnp.zeros(columns, jnp.float32),
            next_obs=jnp.zeros(seen, dtype),
            terminated=jnp.zeros(columns, bool),
            truncated=jnp.zeros(columns, bool),
        )
        return Replay(blank, head=jnp.zeros((), jnp.int32), filled=jnp.zeros((), jnp.int32))

    @property
    def slots(self) -> int:
        return self.seen.reward.shape[0]

    def add(self, chunk: Transitions) -> "Replay":
        """With a chunk written over the oldest experience; the old arrays are given up.

        Raises:
            HeadstartError: continuous actions lie outside [−1, 1], so they are not those executed.
        """
        action = np.asarray(chunk.action)
        if action.dtype.kind == "f" and np.abs(action).max(initial=0.0) > 1.0:
            raise HeadstartError(
                f"an action of {np.abs(action).max():.3g} was to be stored, and those executed lie "
                "in [−1, 1]: store actions after clipping, in every domain alike"
            )
        return _added(self, Columns(*chunk[:6]))

    def sample(self, size: int, key: PRNGKeyArray, discount: float, steps: int = 1) -> Sample:
        """`size` transitions over at most `steps` steps, uniformly, with replacement.

        A transition over several steps ends where its episode does, or the experience.
        """
        seen = self.seen
        environments = seen.reward.shape[1]
        time_key, env_key = jax.random.split(key)
        age = jax.random.randint(time_key, (size,), 0, jnp.maximum(self.filled - steps + 1, 1))
        first = (self.head - self.filled + age) % self.slots
        env = jax.random.randint(env_key, (size,), 0, environments)
        obs, action = seen.obs[first, env], seen.action[first, env]
        reward, factor = jnp.zeros(size), jnp.ones(size)
        last, running = first, jnp.ones(size, bool)
        for k in range(steps):
            here = jnp.where(running, (first + k) % self.slots, last)
            reward = reward + jnp.where(running, factor * seen.reward[here, env], 0.0)
            factor = jnp.where(running, factor * discount, factor)
            ended = seen.terminated[here, env] | seen.truncated[here, env]
            newest = age + k + 1 >= self.filled
            last, running = here, running & ~ended & ~newest
        factor = jnp.where(seen.terminated[last, env], 0.0, factor)
        return Sample(obs, action, reward, seen.next_obs[last, env], factor, jnp.ones(size))


@partial(jax.jit, donate_argnums=0)
def _added(replay: Replay, chunk: Columns) -> Replay:
    def write(kept: Array, new: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(kept, new.astype(kept.dtype), replay.head, 0)

    time = len(chunk.reward)
    head = (replay.head + time) % replay.slots
    filled = jnp.minimum(replay.filled + time, replay.slots)
    return Replay(jax.tree.map(write, replay.seen, chunk), head, filled)
