"""The distributions over actions that a policy may choose from, given features."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from headstart.envs.spec import Actions
from headstart.errors import HeadstartError
from headstart.policies.networks import MLP, along
from headstart.policies.standing import Network
from headstart.registry import Registry

LOG_STD_RATE = 0.2
LOG_2PI = float(np.log(2 * np.pi))
ENTROPY_SAMPLES = 32
ABSENT = -1e9
"""The logit, or the value, of an action that is not there."""
DISTILLED_AT = 0.01
"""The temperature at which values say what a greedy policy would do."""


class AbstractActor(eqx.Module):
    """π(a | features)."""

    @abstractmethod
    def mode(self, x: Float[Array, "... features"]) -> Shaped[Array, "..."]:
        """The most likely action."""

    @abstractmethod
    def sample(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Shaped[Array, "..."]:
        """An action for each row."""

    @abstractmethod
    def entropy(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "..."]:
        """Of the actions in each row, in nats; by samples where there is no formula."""

    @abstractmethod
    def outputs(self, x: Float[Array, "... features"]) -> Float[Array, "... n"]:
        """All that determines how actions are drawn."""

    @abstractmethod
    def divergence(
        self, theirs: Float[Array, "... n"], own: Float[Array, "... n"]
    ) -> Float[Array, "..."]:
        """KL(theirs ‖ own) in nats, of actors of this kind with these outputs."""

    @property
    @abstractmethod
    def network(self) -> Network:
        """What computes it."""


class GaussianActor(AbstractActor):
    """π(a | s) = N(μ(s), diag σ²), with σ a parameter that does not depend on the state.

    Adam moves every parameter at about the same speed, whatever its gradient, and then σ collapses
    long before μ is any good: a hopper learns to stand still. So log σ learns at a fraction of the
    rate.
    """

    mean: Network
    slow_log_std: Float[Array, " act"]
    """log σ / LOG_STD_RATE."""

    def __init__(self, inputs: int, actions: Actions, hidden: Sequence[int], key: PRNGKeyArray):
        _require(not actions.discrete, "a Gaussian", actions)
        self.mean = MLP((inputs, *hidden, actions.width), 0.01, key)
        self.slow_log_std = jnp.full(actions.width, -0.5 / LOG_STD_RATE, jnp.float32)

    @property
    def network(self) -> Network:
        return self.mean

    @property
    def log_std(self) -> Float[Array, " act"]:
        return LOG_STD_RATE * self.slow_log_std

    def narrowed(self, log_std: float) -> "GaussianActor":
        """The same with log σ at most `log_std`."""
        bounded = jnp.minimum(self.slow_log_std, log_std / LOG_STD_RATE)
        return eqx.tree_at(lambda actor: actor.slow_log_std, self, bounded)

    def mode(self, x: Float[Array, "... features"]) -> Float[Array, "... act"]:
        return self.mean(x)

    def sample(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "... act"]:
        mean = self.mean(x)
        return mean + along(mean, jnp.exp(self.log_std)) * jax.random.normal(key, mean.shape)

    def entropy(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "..."]:
        return jnp.full(x.shape[:-1], (self.log_std + 0.5 * (LOG_2PI + 1)).sum())

    def outputs(self, x: Float[Array, "... features"]) -> Float[Array, "... n"]:
        mean = self.mean(x)
        return jnp.concatenate([mean, jnp.broadcast_to(self.log_std, mean.shape)], axis=-1)

    def divergence(
        self, theirs: Float[Array, "... n"], own: Float[Array, "... n"]
    ) -> Float[Array, "..."]:
        return gaussian_divergence(theirs, own)

    def log_prob_and_entropy(
        self, x: Float[Array, "... features"], action: Float[Array, "... act"]
    ) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        z = (action - self.mean(x)) * along(action, jnp.exp(-self.log_std))
        log_prob = -0.5 * (z**2 + LOG_2PI).sum(-1) - self.log_std.sum()
        return log_prob, (self.log_std + 0.5 * (LOG_2PI + 1)).sum()


class CategoricalActor(AbstractActor):
    """π(a | s) = Π_i softmax(logits_i(s)): a choice, or several that are independent."""

    logits: Network
    actions: Actions = eqx.field(static=True)

    def __init__(self, inputs: int, actions: Actions, hidden: Sequence[int], key: PRNGKeyArray):
        _require(actions.discrete, "a categorical", actions)
        self.logits = MLP((inputs, *hidden, actions.width), 0.01, key)
        self.actions = actions

    @property
    def network(self) -> Network:
        return self.logits

    def _choices(self, x: Float[Array, "... features"]) -> list[Float[Array, "... n"]]:
        """The logits of each choice."""
        return self._apart(self.outputs(x))

    def _apart(self, logits: Float[Array, "... width"]) -> list[Float[Array, "... n"]]:
        ends = np.cumsum(self.actions.choices)[:-1].tolist()
        return jnp.split(logits, ends, axis=-1) if ends else [logits]

    def _joined(self, choices: list[Int[Array, "..."]]) -> Int[Array, "..."]:
        return jnp.stack(choices, axis=-1) if self.actions.shape else choices[0]

    def mode(self, x: Float[Array, "... features"]) -> Int[Array, "..."]:
        return self._joined([jnp.argmax(logits, axis=-1) for logits in self._choices(x)])

    def sample(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Int[Array, "..."]:
        choices = self._choices(x)
        keys = [key] if len(choices) == 1 else list(jax.random.split(key, len(choices)))
        drawn = [jax.random.categorical(k, c) for k, c in zip(keys, choices, strict=True)]
        return self._joined(drawn)

    def entropy(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "..."]:
        found = [categorical_entropy(logits) for logits in self._choices(x)]
        return sum(found[1:], found[0])

    def outputs(self, x: Float[Array, "... features"]) -> Float[Array, "... n"]:
        return masked(self.logits(x), x, self.actions)

    def divergence(
        self, theirs: Float[Array, "... n"], own: Float[Array, "... n"]
    ) -> Float[Array, "..."]:
        pairs = zip(self._apart(theirs), self._apart(own), strict=True)
        found = [categorical_divergence(one, other) for one, other in pairs]
        return sum(found[1:], found[0])

    def log_prob_and_entropy(
        self, x: Float[Array, "... features"], action: Int[Array, "..."]
    ) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        """log π(a | s) of each row, and the mean entropy over rows, in nats."""
        action = action if self.actions.shape else action[..., None]
        log_prob, entropy = jnp.zeros(()), jnp.zeros(())
        for i, logits in enumerate(self._choices(x)):
            log_probs = jax.nn.log_softmax(logits)
            chosen = jnp.take_along_axis(log_probs, action[..., i, None], axis=-1)[..., 0]
            log_prob = chosen if i == 0 else log_prob + chosen
            entropy = entropy + categorical_entropy(logits).mean()
        return log_prob, entropy


class SquashedGaussianActor(AbstractActor):
    """a = tanh(u), u ~ N(μ(s), diag σ(s)²) (Haarnoja et al., 2018)."""

    mean_and_log_std: Network

    def __init__(self, inputs: int, actions: Actions, hidden: Sequence[int], key: PRNGKeyArray):
        _require(not actions.discrete, "a squashed Gaussian", actions)
        sizes = (inputs, *hidden, 2 * actions.width)
        self.mean_and_log_std = MLP(sizes, 0.01, key, jax.nn.relu)

    @property
    def network(self) -> Network:
        return self.mean_and_log_std

    def mode(self, x: Float[Array, "... features"]) -> Float[Array, "... act"]:
        return jnp.tanh(jnp.split(self.mean_and_log_std(x), 2, axis=-1)[0])

    def sample(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "... act"]:
        return self.sample_and_log_prob(x, key)[0]

    def entropy(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "..."]:
        """From `ENTROPY_SAMPLES` actions in each state."""
        many = jnp.broadcast_to(x, (ENTROPY_SAMPLES, *x.shape))
        return -self.sample_and_log_prob(many, key)[1].mean(0)

    def outputs(self, x: Float[Array, "... features"]) -> Float[Array, "... n"]:
        mean, log_std = jnp.split(self.mean_and_log_std(x), 2, axis=-1)
        return jnp.concatenate([mean, jnp.clip(log_std, -10.0, 2.0)], axis=-1)

    def divergence(
        self, theirs: Float[Array, "... n"], own: Float[Array, "... n"]
    ) -> Float[Array, "..."]:
        """Of the Gaussians: squashing both changes nothing."""
        return gaussian_divergence(theirs, own)

    def sample_and_log_prob(
        self, x: Float[Array, "... features"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "... act"], Float[Array, "..."]]:
        """A sample and log π(a | s), with log(1 − tanh² u) = 2 (log 2 − u − softplus(−2u))."""
        mean, log_std = jnp.split(self.outputs(x), 2, axis=-1)
        z = jax.random.normal(key, mean.shape)
        u = mean + jnp.exp(log_std) * z
        normal = -0.5 * (z**2 + LOG_2PI) - log_std
        squash = 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))
        return jnp.tanh(u), (normal - squash).sum(-1)


class GreedyActor(AbstractActor):
    """argmax Q(s, a), and with probability ε any action instead; or π(a | s) ∝ e^{Q(s, a) / α},
    which draws what is nearly as good nearly as often (Haarnoja et al., 2017)."""

    values: Network
    epsilon: Float[Array, ""]
    temperature: Float[Array, ""]
    """α; 0: the argmax."""
    actions: Actions = eqx.field(static=True)

    def __init__(self, inputs: int, actions: Actions, hidden: Sequence[int], key: PRNGKeyArray):
        _require(actions.discrete and not actions.shape, "an argmax over Q", actions)
        self.actions = actions
        self.values = MLP((inputs, *hidden, actions.width), 1.0, key, jax.nn.relu)
        self.epsilon = self.temperature = jnp.array(0.0, jnp.float32)

    @property
    def network(self) -> Network:
        return self.values

    def mode(self, x: Float[Array, "... features"]) -> Int[Array, "..."]:
        return jnp.argmax(self.outputs(x), axis=-1)

    def sample(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Int[Array, "..."]:
        return jax.random.categorical(key, self._log_probs(x))

    def entropy(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "..."]:
        return categorical_entropy(self._log_probs(x))

    def outputs(self, x: Float[Array, "... features"]) -> Float[Array, "... n"]:
        """Q of every action."""
        return masked(self.values(x), x, self.actions)

    def divergence(
        self, theirs: Float[Array, "... n"], own: Float[Array, "... n"]
    ) -> Float[Array, "..."]:
        """At the own temperature; without one, from their nearly greedy choice to a softmax of the
        own values: distillation (Rusu et al., 2016), which is not 0 where both are the same."""
        soft = self.temperature > 0
        theirs = theirs / jnp.where(soft, self.temperature, DISTILLED_AT)
        return categorical_divergence(theirs, own / jnp.where(soft, self.temperature, 1.0))

    def _log_probs(self, x: Float[Array, "... features"]) -> Float[Array, "... act"]:
        """log π(a | s)."""
        values = self.outputs(x)
        n = (values > ABSENT).sum(-1, keepdims=True)
        best = jax.nn.one_hot(jnp.argmax(values, axis=-1), values.shape[-1])
        soft = jax.nn.softmax(values / jnp.where(self.temperature > 0, self.temperature, 1.0))
        chosen = jnp.where(self.temperature > 0, soft, best)
        return jnp.log(self.epsilon / n * (values > ABSENT) + (1 - self.epsilon) * chosen)


class GuidedActor(AbstractActor):
    """One actor in the first steps of an episode, and then another of its kind. The last feature is
    the number of the step."""

    guide: AbstractActor
    own: AbstractActor
    steps: Float[Array, ""]
    """How many are the guide's."""

    @property
    def network(self) -> Network:
        return self.own.network

    def mode(self, x: Float[Array, "... features"]) -> Shaped[Array, "..."]:
        return self._chosen(x, lambda actor, x: actor.mode(x))

    def sample(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Shaped[Array, "..."]:
        return self._chosen(x, lambda actor, x: actor.sample(x, key))

    def entropy(self, x: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "..."]:
        return self._chosen(x, lambda actor, x: actor.entropy(x, key))

    def outputs(self, x: Float[Array, "... features"]) -> Float[Array, "... n"]:
        return self._chosen(x, lambda actor, x: actor.outputs(x))

    def divergence(
        self, theirs: Float[Array, "... n"], own: Float[Array, "... n"]
    ) -> Float[Array, "..."]:
        return self.own.divergence(theirs, own)

    def _chosen(self, x: Array, asked: Callable[[AbstractActor, Array], Array]) -> Array:
        """What the one whose turn it is says."""
        guide, own = (asked(actor, x[..., :-1]) for actor in (self.guide, self.own))
        early = x[..., -1] < self.steps
        return jnp.where(early.reshape(*early.shape, *[1] * (own.ndim - early.ndim)), guide, own)


ACTORS = Registry(
    "actor",
    {
        "gaussian": "headstart.policies.actors:GaussianActor",
        "categorical": "headstart.policies.actors:CategoricalActor",
        "squashed-gaussian": "headstart.policies.actors:SquashedGaussianActor",
        "greedy": "headstart.policies.actors:GreedyActor",
    },
)
StochasticActor = GaussianActor | CategoricalActor
"""Those whose log-probabilities PPO and imitation learn from."""


def stochastic_actor(
    inputs: int, actions: Actions, hidden: Sequence[int], key: PRNGKeyArray
) -> StochasticActor:
    """A fresh actor of either kind, as the actions are."""
    kind: Any = CategoricalActor if actions.discrete else GaussianActor
    return kind(inputs, actions, hidden, key)


def masked(
    outputs: Float[Array, "... n"], x: Float[Array, "... features"], actions: Actions
) -> Float[Array, "... n"]:
    """Logits or values of choices, far below any where the mask that the features begin with says
    that there is no such choice."""
    if not actions.masked:
        return outputs
    return jnp.where(x[..., : outputs.shape[-1]] > 0.5, outputs, ABSENT)


def categorical_entropy(logits: Float[Array, "... n"]) -> Float[Array, "..."]:
    """In nats, of one choice with these logits."""
    probs = jax.nn.softmax(logits)
    there = probs > 0  # the slope of −p log p is infinite at 0
    return jnp.where(there, jax.scipy.special.entr(jnp.where(there, probs, 1.0)), 0.0).sum(-1)


def categorical_divergence(
    theirs: Float[Array, "... n"], own: Float[Array, "... n"]
) -> Float[Array, "..."]:
    """KL in nats, of one choice with these logits from one with those."""
    log_probs, others = jax.nn.log_softmax(theirs), jax.nn.log_softmax(own)
    return (jnp.exp(log_probs) * (log_probs - others)).sum(-1)


def gaussian_divergence(
    theirs: Float[Array, "... n"], own: Float[Array, "... n"]
) -> Float[Array, "..."]:
    """KL in nats, of Gaussians given by means and log deviations side by side."""
    (mean, log_std), (own_mean, own_log_std) = (jnp.split(x, 2, axis=-1) for x in (theirs, own))
    square = jnp.exp(2 * log_std) + (mean - own_mean) ** 2
    return (own_log_std - log_std + 0.5 * square * jnp.exp(-2 * own_log_std) - 0.5).sum(-1)


def _require(suits: bool, what: str, actions: Actions) -> None:
    if not suits:
        raise HeadstartError(f"{what} does not choose {actions}: use another learner")
