"""What a policy sees observations through: running statistics, convolutions, one-hot, or nothing.

Each observation group has an encoder of its own, and their features stand side by side.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from headstart.envs.spec import ACTION_MASK, MASK, PRIVILEGED, UNSEEN, EnvSpec, Group
from headstart.errors import HeadstartError
from headstart.policies.networks import Convolution, along, one_hot, orthogonal
from headstart.registry import Registry

CONSTANT = 1e-3
"""The deviation below which an input counts as constant."""
LAYERS = ("conv1", "conv2", "dense")
"""Of the convolutions, from the image on."""
SMALLEST = 20
"""Pixels a side of the smallest image, of which the convolutions leave one place."""


class AbstractEncoder(eqx.Module):
    """Maps one observation group `[..., *shape]` to features `[..., size]`.

    A user's own is named as `module:Class` in a learner's `encoders`; its class is called with a
    group's description and a key.
    """

    part: ClassVar[str | None] = None
    """Under which name it is carried over, if there is anything to carry."""
    learned: ClassVar[bool] = False
    """Whether the learner's gradient changes it."""
    common: ClassVar[bool] = False
    """Whether groups of one shape are read by the same one."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers that come out."""

    @abstractmethod
    def __call__(self, x: Shaped[Array, "..."]) -> Float[Array, "..."]:
        """Features of what is seen."""

    def layers(self, x: Shaped[Array, "..."]) -> dict[str, Shaped[Array, "..."]]:
        """The activations of every layer that has a name; the features are `features`."""
        return {"features": self(x)}

    def merge(self, batch: Shaped[Array, "n ..."], weight: Float[Array, " n"]) -> "AbstractEncoder":
        """The encoder after `batch` was seen, where it keeps count of what it sees."""
        return self


class Identity(AbstractEncoder):
    """The observation as it is."""

    inputs: int = eqx.field(static=True)

    def __init__(self, group: Group, key: PRNGKeyArray | None = None):
        self.inputs = group.shape[0]

    @property
    def size(self) -> int:
        return self.inputs

    def __call__(self, x: Float[Array, "... size"]) -> Float[Array, "... size"]:
        return x


class Blank(AbstractEncoder):
    """Nothing of the observation: what a policy makes of the others alone."""

    inputs: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, group: Group, key: PRNGKeyArray | None = None):
        self.inputs = group.shape

    @property
    def size(self) -> int:
        return 0

    def __call__(self, x: Shaped[Array, "..."]) -> Float[Array, "... 0"]:
        return jnp.zeros((*x.shape[: x.ndim - len(self.inputs)], 0))


class OneHot(AbstractEncoder):
    """Indices `[..., n]`, each as zeros and a one."""

    choices: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, group: Group, key: PRNGKeyArray | None = None):
        self.choices = group.choices

    @property
    def size(self) -> int:
        return sum(self.choices)

    def __call__(self, x: Int[Array, "... n"]) -> Float[Array, "... size"]:
        return one_hot(x, self.choices)


class Statistics(AbstractEncoder):
    """Running mean and variance (Chan et al., 1979), merged a weighted batch at a time."""

    mean: Float[Array, " size"]
    var: Float[Array, " size"]
    count: Float[Array, " size"]
    """Of samples: an input that was grafted on counts from 0."""
    part: ClassVar[str] = "statistics"

    def __init__(self, group: Group, key: PRNGKeyArray | None = None):
        self.mean, self.var = jnp.zeros(group.shape), jnp.ones(group.shape)
        self.count = jnp.zeros(group.shape)

    @property
    def size(self) -> int:
        return self.mean.shape[0]

    def merge(
        self,
        batch: Float[Array, "n columns"],
        weight: Float[Array, " n"] | Float[Array, "n size"],
        limit: float = float("inf"),
    ) -> "Statistics":
        """Statistics with `batch` counted in, each entry by weights of its own if they are given;
        beyond `limit` old samples fade instead. An entry that counts nothing stays as it is."""
        weight = weight.reshape(len(batch), -1)
        counted = weight.sum(0)
        total = jnp.maximum(counted, 1e-8)
        mean = (weight * batch).sum(0) / total
        var = (weight * (batch - mean[None]) ** 2).sum(0) / total
        count = self.count + total
        delta = mean - self.mean
        spread = self.var * self.count + var * total + delta**2 * self.count * total / count
        old = self.mean, self.var, self.count
        new = self.mean + delta * total / count, spread / count, jnp.minimum(count, limit)
        merged = tuple(jnp.where(counted > 0, n, o) for n, o in zip(new, old, strict=True))
        return eqx.tree_at(lambda s: (s.mean, s.var, s.count), self, merged)

    def __call__(self, x: Float[Array, "... size"]) -> Float[Array, "... size"]:
        """`x` normalised, within ±10. An input that hardly varies keeps its own units: what a
        target makes of it would else be many deviations, whatever it is."""
        deviation = jnp.sqrt(self.var)
        scale = jnp.where(deviation < CONSTANT, 1.0, deviation)
        return jnp.clip((x - along(x, self.mean)) / along(x, scale), -10.0, 10.0)


class Convolutions(AbstractEncoder):
    """Two convolutions and a dense layer (Mnih et al., 2013), for images of bytes.

    Pixels are centred, and the dense layer is normalised before its rectifier (Ba et al., 2016):
    without, a step size of 10⁻³ leaves every unit dead, and a tenth of it learns slowly.

    Raises:
        HeadstartError: the images are smaller than 20 × 20.
    """

    convolutions: list[Convolution]
    dense: Float[Array, "flat size"]
    bias: Float[Array, " size"]
    part: ClassVar[str] = "encoder"
    learned: ClassVar[bool] = True
    kernels: ClassVar[tuple[tuple[int, int, int], ...]] = ((16, 8, 4), (32, 4, 2))
    """Channels, kernel and stride of each layer."""
    smallest: ClassVar[int] = SMALLEST

    def __init__(self, group: Group, key: PRNGKeyArray, size: int = 128):
        height, width, channels = group.shape
        if min(height, width) < self.smallest:
            raise HeadstartError(
                f"an image of {height} × {width} is too small for the convolutions: enlarge it to "
                f"{self.smallest} × {self.smallest} or more, or observe a vector"
            )
        *keys, last = jax.random.split(key, len(self.kernels) + 1)
        self.convolutions = []
        for (out, kernel, stride), own in zip(self.kernels, keys, strict=True):
            convolution = Convolution((channels, out), kernel, stride, own)
            height, width, channels = *map(convolution.size_of, (height, width)), out
            self.convolutions.append(convolution)
        self.dense = orthogonal((height * width * channels, size), float(np.sqrt(2)), last)
        self.bias = jnp.zeros(size)

    @property
    def size(self) -> int:
        return self.bias.shape[0]

    def layers(self, x: Shaped[Array, "... h w c"]) -> dict[str, Shaped[Array, "..."]]:
        """The activations of every layer by its name: maps `[..., h, w, c]`, and `[..., size]`; the
        `image` is what went in."""
        many, image = x.shape[:-3], x
        x = image.reshape(-1, *image.shape[-3:]).astype(jnp.float32) / 255 - 0.5
        found: dict[str, Array] = {"image": image}
        for i, convolution in enumerate(self.convolutions, start=1):
            x = jax.nn.relu(convolution(x))
            found[f"conv{i}"] = x.reshape(*many, *x.shape[1:])
        flat = x.reshape(*many, -1)
        dense = jax.nn.relu(_normalised(flat @ self.dense + along(flat, self.bias)))
        return found | {"dense": dense, "features": dense}

    def __call__(self, x: Shaped[Array, "... h w c"]) -> Float[Array, "... size"]:
        return self.layers(x)["dense"]


class SmallConvolutions(Convolutions):
    """One convolution and a dense layer (Young and Tian, 2019), for images of few cells."""

    kernels: ClassVar[tuple[tuple[int, int, int], ...]] = ((16, 3, 1),)
    smallest: ClassVar[int] = 3


def _normalised(x: Float[Array, "... size"]) -> Float[Array, "... size"]:
    """With mean 0 and variance 1 along the last axis."""
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)


ENCODERS = Registry(
    "encoder",
    {
        "blank": "headstart.policies.encoders:Blank",
        "identity": "headstart.policies.encoders:Identity",
        "one-hot": "headstart.policies.encoders:OneHot",
        "statistics": "headstart.policies.encoders:Statistics",
        "convolutions": "headstart.policies.encoders:Convolutions",
        "small-convolutions": "headstart.policies.encoders:SmallConvolutions",
        "codes": "headstart.policies.codes:Codes",
    },
    needs=("size", "layers", "merge", "part", "learned", "common"),
)


class Encoders(eqx.Module):
    """An encoder for each observation group that is read, in the order of their names; a mask of
    actions comes first."""

    by_group: dict[str, AbstractEncoder]

    def __init__(self, by_group: Mapping[str, AbstractEncoder]):
        self.by_group = dict(sorted(by_group.items()))  # as JAX orders them too

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(sorted(self.by_group, key=lambda name: (name != ACTION_MASK, name)))

    @property
    def size(self) -> int:
        return sum(encoder.size for encoder in self.by_group.values())

    @property
    def learned(self) -> bool:
        """Whether the gradient changes any of them."""
        return any(encoder.learned for encoder in self.by_group.values())

    @property
    def learned_part(self) -> dict[str, AbstractEncoder]:
        """Those that the gradient changes."""
        return {name: e for name, e in self.by_group.items() if e.learned}

    def updated(self, encoders: Mapping[str, AbstractEncoder]) -> "Encoders":
        """The same with some encoders replaced."""
        return Encoders({**self.by_group, **encoders})

    def __call__(self, obs: Mapping[str, Shaped[Array, "..."]]) -> Float[Array, "... size"]:
        """Features of all groups side by side."""
        features = [self.by_group[name](obs[name]) for name in self.reads]
        return features[0] if len(features) == 1 else jnp.concatenate(features, axis=-1)

    def activations(self, obs: Mapping[str, Shaped[Array, "..."]]) -> dict[str, Array]:
        """What is computed layer by layer, and the `features` that come out."""
        layers = {name: self.by_group[name].layers(obs[name]) for name in self.reads}
        features = [found["features"] for found in layers.values()]
        named = {name: x for found in layers.values() for name, x in found.items()}
        together = features[0] if len(features) == 1 else jnp.concatenate(features, axis=-1)
        return named | {"features": together}

    def beside(
        self, x: Float[Array, "... features"], obs: Mapping[str, Shaped[Array, "..."]]
    ) -> Float[Array, "... more"]:
        """`x` with features of the groups read at its side, if any are."""
        return jnp.concatenate([x, self(obs)], axis=-1) if self.reads else x

    def merge(
        self, obs: Mapping[str, Shaped[Array, "time env ..."]], weight: Float[Array, " n"]
    ) -> "Encoders":
        """The encoders after `obs` was seen, weighted row by row."""
        seen = {n: obs[n].reshape(weight.size, *obs[n].shape[2:]) for n in self.by_group}
        alike: dict[Any, list[str]] = {}
        for name, encoder in self.by_group.items():
            alike.setdefault(_shared(encoder, name, seen[name].shape[1:]), []).append(name)
        merged: dict[str, AbstractEncoder] = {}
        for names in alike.values():
            every = jnp.concatenate([seen[n] for n in names]), jnp.tile(weight, len(names))
            merged |= dict.fromkeys(names, self.by_group[names[0]].merge(*every))
        return Encoders(merged)


def _shared(encoder: AbstractEncoder, name: str, shape: tuple[int, ...]) -> Any:
    """Alike for groups that are read by one encoder, and else each group's own."""
    return (type(encoder), shape) if encoder.common else name


def privileged_encoders(spec: EnvSpec, vectors: str, key: PRNGKeyArray) -> Encoders:
    """Fresh encoders for what critics alone read of a spec; arguments as for `encoders_for`."""
    return encoders_for(spec, vectors, (), key, only=[g for g in spec.groups if g == PRIVILEGED])


def encoders_for(
    spec: EnvSpec,
    vectors: str,
    chosen: Sequence[str],
    key: PRNGKeyArray,
    only: Sequence[str] | None = None,
) -> Encoders:
    """Fresh encoders for what a policy reads of a spec.

    Args:
        spec: of the domain.
        vectors: the encoder of vectors, `statistics` or `identity`.
        chosen: encoders that replace the usual ones, as `group=name`.
        key: of learned weights.
        only: the groups to be read; all but those of critics and experts if not given.

    Raises:
        HeadstartError: an encoder or a group that is named does not exist, or does not suit.
    """
    by_kind = {"vector": vectors, "choice": "one-hot"}
    usual = {n: by_kind.get(g.kind) or convolutions_of(g) for n, g in spec.groups.items()}
    usual |= dict.fromkeys((MASK, ACTION_MASK), "identity")
    read = only if only is not None else [n for n in spec.groups if n not in UNSEEN]
    named = {group: name for group, _, name in (item.partition("=") for item in chosen)}
    for group, name in named.items():
        if group not in spec.groups or not name:
            raise HeadstartError(
                f"encoders are given as group=name, got {group!r}: {spec.name} shows the groups "
                f"{', '.join(spec.groups)}"
            )
    if named.get(ACTION_MASK, "identity") != "identity":
        raise HeadstartError(
            f"{ACTION_MASK} tells which actions there are, and is read as it is: leave it out of "
            "learner.encoders"
        )
    made: dict[str, AbstractEncoder] = {}
    shared: dict[Any, AbstractEncoder] = {}
    for i, name in enumerate(sorted(read)):
        kind, group = named.get(name, usual[name]), spec.groups[name]
        one = built(kind, group, jax.random.fold_in(key, i) if i else key)
        made[name] = shared.setdefault(_shared(one, name, group.shape), one)
    return Encoders(made)


def convolutions_of(group: Group) -> str:
    """The kind of convolutions that suit images of this size."""
    return "small-convolutions" if min(group.shape[:2]) < SMALLEST else "convolutions"


def built(kind: str, group: Group, key: PRNGKeyArray) -> AbstractEncoder:
    """A fresh encoder of one group."""
    encoder: Any = ENCODERS.find(kind)(group, key)
    return encoder
