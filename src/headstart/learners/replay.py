"""Experience kept for later: a ring of chunks, held and sampled by compiled code."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

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

    obs: Shaped[Array, "slots env ..."]
    action: Shaped[Array, "slots env ..."]
    reward: Float[Array, "slots env"]
    next_obs: Shaped[Array, "slots env ..."]
    terminated: Bool[Array, "slots env"]
    truncated: Bool[Array, "slots env"]
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
        return Replay(
            obs=jnp.zeros(seen, jnp.uint8 if image else jnp.float32),
            action=jnp.zeros(acted, jnp.int32 if discrete else jnp.float32),
            reward=jnp.zeros(columns, jnp.float32),
            next_obs=jnp.zeros(seen, jnp.uint8 if image else jnp.float32),
            terminated=jnp.zeros(columns, bool),
            truncated=jnp.zeros(columns, bool),
            head=jnp.zeros((), jnp.int32),
            filled=jnp.zeros((), jnp.int32),
        )

    @property
    def slots(self) -> int:
        return self.reward.shape[0]

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
        columns = [np.asarray(column) for column in chunk[:6]]
        return _added(self, *columns)

    def sample(self, size: int, key: PRNGKeyArray, discount: float, steps: int = 1) -> Sample:
        """`size` transitions over at most `steps` steps, uniformly, with replacement.

        A transition over several steps ends where its episode does, or the experience.
        """
        environments = self.reward.shape[1]
        time_key, env_key = jax.random.split(key)
        age = jax.random.randint(time_key, (size,), 0, jnp.maximum(self.filled - steps + 1, 1))
        first = (self.head - self.filled + age) % self.slots
        env = jax.random.randint(env_key, (size,), 0, environments)
        obs, action = self.obs[first, env], self.action[first, env]
        reward, factor = jnp.zeros(size), jnp.ones(size)
        last, running = first, jnp.ones(size, bool)
        for k in range(steps):
            here = jnp.where(running, (first + k) % self.slots, last)
            reward = reward + jnp.where(running, factor * self.reward[here, env], 0.0)
            factor = jnp.where(running, factor * discount, factor)
            ended = self.terminated[here, env] | self.truncated[here, env]
            newest = age + k + 1 >= self.filled
            last, running = here, running & ~ended & ~newest
        factor = jnp.where(self.terminated[last, env], 0.0, factor)
        return Sample(obs, action, reward, self.next_obs[last, env], factor, jnp.ones(size))


@partial(jax.jit, donate_argnums=0)
def _added(replay: Replay, *columns: Shaped[Array, "time env ..."]) -> Replay:
    kept = (
        replay.obs, replay.action, replay.reward, replay.next_obs, replay.terminated,
        replay.truncated,
    )  # fmt: skip
    time = columns[2].shape[0]
    written = [
        jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), replay.head, 0)
        for old, new in zip(kept, columns, strict=True)
    ]
    head = (replay.head + time) % replay.slots
    return Replay(*written, head=head, filled=jnp.minimum(replay.filled + time, replay.slots))
