"""What a policy carries from step to step: nothing, the time, or the state of a recurrent network.

A memory stands between the encoders and the heads: it takes features and the last action, and gives
features that may depend on all that was told since the episode began.
"""

# JAX's arrays and trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

from abc import abstractmethod
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from headstart.policies.networks import along, rows
from headstart.pytree import PyTree
from headstart.registry import Registry

Memory = PyTree
"""A pytree of arrays `[env, ...]`; `()` of who carries nothing."""


class AbstractMemory(eqx.Module):
    """Maps features `[env, features]` to features `[env, size]`, with a state between steps."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers that come out."""

    @abstractmethod
    def initial(self, num: int) -> Memory:
        """The state at an episode's start, of `num` copies."""

    @abstractmethod
    def __call__(
        self, x: Float[Array, "env features"], action: Float[Array, "env act"], memory: Memory
    ) -> tuple[Float[Array, "env size"], Memory]:
        """One step, given the last action."""

    @abstractmethod
    def unroll(
        self,
        x: Float[Array, "time env features"],
        action: Float[Array, "time env act"],
        begins: Bool[Array, "time env"],
        memory: Memory,
    ) -> tuple[Float[Array, "time env size"], Memory]:
        """What comes out at every step, and the states after each, `[time, env, ...]`."""


class NoMemory(AbstractMemory):
    """Features as they are."""

    features: int = eqx.field(static=True)

    def __init__(self, features: int, act: int, size: int, key: PRNGKeyArray):
        self.features = features

    @property
    def size(self) -> int:
        return self.features

    def initial(self, num: int) -> tuple[()]:
        return ()

    def __call__(self, x: Array, action: Array, memory: tuple[()]) -> tuple[Array, tuple[()]]:
        return x, ()

    def unroll(
        self, x: Array, action: Array, begins: Array, memory: tuple[()]
    ) -> tuple[Array, tuple[()]]:
        return x, ()


class Clock(AbstractMemory):
    """How many steps ago the episode began, beside the features."""

    features: int = eqx.field(static=True)

    @property
    def size(self) -> int:
        return self.features + 1

    def initial(self, num: int) -> Float[Array, " env"]:
        return jnp.zeros(num)

    def __call__(self, x: Array, action: Array, memory: Array) -> tuple[Array, Array]:
        return jnp.concatenate([x, memory[:, None]], axis=-1), memory + 1

    def unroll(self, x: Array, action: Array, begins: Array, memory: Array) -> tuple[Array, Array]:
        def one(age: Array, begins: Array) -> tuple[Array, tuple[Array, Array]]:
            age = jnp.where(begins, 0.0, age)
            return age + 1, (age, age + 1)

        _, (ages, states) = jax.lax.scan(one, memory, begins)
        return jnp.concatenate([x, ages[..., None]], axis=-1), states


UNROLLED = 4
"""Steps of a recurrent loop that are compiled together."""
SPAN = 64
"""Steps over which a fresh memory keeps what it was told, the longest."""


class GRU(AbstractMemory):
    """A gated recurrent unit (Cho et al., 2014, 1406.1078), its state beside the features.

    Gates that keep half of the state at each step forget a cue, and its gradient, within ten: they
    start with time constants spread over 1 to 64 steps (Tallec and Ollivier, 2018, 1804.11188).
    """

    cell: eqx.nn.GRUCell
    features: int = eqx.field(static=True)

    def __init__(self, features: int, act: int, size: int, key: PRNGKeyArray):
        self.features = features
        cell_key, span_key = jax.random.split(key)
        cell = eqx.nn.GRUCell(features + act, size, key=cell_key)
        spans = jax.random.uniform(span_key, (size,), minval=1.0, maxval=SPAN - 1.0)
        reset, _, new = jnp.split(cell.bias, 3)  # pyright: ignore[reportArgumentType]
        bias = jnp.concatenate([reset, jnp.log(spans), new])
        self.cell = eqx.tree_at(lambda c: c.bias, cell, bias)

    @property
    def size(self) -> int:
        return self.features + self.cell.hidden_size

    def initial(self, num: int) -> Float[Array, "env hidden"]:
        return jnp.zeros((num, self.cell.hidden_size))

    def __call__(self, x: Array, action: Array, memory: Array) -> tuple[Array, Array]:
        memory = self._next(self._gates(x, action), memory)
        return jnp.concatenate([x, memory], axis=-1), memory

    def unroll(self, x: Array, action: Array, begins: Array, memory: Array) -> tuple[Array, Array]:
        def one(memory: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
            gates, begins = step
            memory = self._next(gates, jnp.where(begins[:, None], 0.0, memory))
            return memory, memory

        steps = self._gates(x, action), begins
        _, states = jax.lax.scan(one, memory, steps, unroll=UNROLLED)
        return jnp.concatenate([x, states], axis=-1), states

    def _gates(self, x: Float[Array, "... features"], action: Float[Array, "... act"]) -> Array:
        """What a step's input adds to the three gates, for all steps at once."""
        inputs = jnp.concatenate([x, action], axis=-1) @ self.cell.weight_ih.T
        return inputs + along(inputs, cast(Array, self.cell.bias))

    def _next(self, gates: Float[Array, "env gates"], memory: Array) -> Array:
        """The state after a step, as `eqx.nn.GRUCell` has it for one example."""
        reset, keep, new = jnp.split(gates, 3, axis=-1)
        own_reset, own_keep, own_new = jnp.split(memory @ self.cell.weight_hh.T, 3, axis=-1)
        own_new = own_new + along(own_new, cast(Array, self.cell.bias_n))
        keep = jax.nn.sigmoid(keep + own_keep)
        new = jnp.tanh(new + jax.nn.sigmoid(reset + own_reset) * own_new)
        return new + keep * (memory - new)


MEMORIES = Registry(
    "memory",
    {"none": "headstart.policies.memory:NoMemory", "gru": "headstart.policies.memory:GRU"},
)


def renewed(memory: Memory, begins: Bool[Array, " env"], initial: Memory) -> Memory:
    """The memory, afresh where an episode begins."""

    def pick(old: Array, new: Array) -> Array:
        return jnp.where(begins.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(pick, memory, initial)


def ahead(
    memory: AbstractMemory,
    x: Float[Array, "time env features"],
    action: Float[Array, "time env act"],
    states: Memory,
) -> Float[Array, "time env size"]:
    """What comes out one step after each of a rollout's states: of where its actions led."""
    out, _ = memory(*rows((x, action, states)))
    return out.reshape(*x.shape[:2], -1)
