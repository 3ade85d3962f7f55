"""How much likelier a transition is in the target than in the source, from two classifiers.

    Δr(s, a, s′) = log p_target(s′ | s, a) − log p_source(s′ | s, a)
                 = logit(s, a, s′) − logit(s, a)

The logit of (s, a, s′) is that of (s, a) plus a residual network's, as in the published code of
DARC. Both are logits throughout: a well-known re-implementation puts them through a softmax twice,
which bounds the ratio. Noise on the inputs, in training alone, keeps it finite where the dynamics
are deterministic and the two never overlap.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from headstart.configuration import require
from headstart.envs.spec import UNSEEN, Actions, EnvSpec, Group
from headstart.errors import HeadstartError
from headstart.experience.replay import Batch
from headstart.experience.transition import Rollout, Transition
from headstart.knowledge import Knowledge
from headstart.policies.networks import MLP, one_hot
from headstart.policies.policy import described
from headstart.pytree import PyTree

"""Groups that are not part of what the target shows."""
BINS = 10


class Classifiers(eqx.Module):
    """Logits of a transition being the target's: from (s, a), and what s′ adds to that."""

    pair: MLP
    residual: MLP
    opt_state: optax.OptState
    groups: tuple[tuple[str, Group], ...] = eqx.field(static=True)
    actions: Actions = eqx.field(static=True)


class Logits(NamedTuple):
    pair: Float[Array, "..."]
    """log q(target | s, a) − log q(source | s, a)."""
    triple: Float[Array, "..."]
    """log q(target | s, a, s′) − log q(source | s, a, s′)."""


@dataclass(frozen=True)
class DensityRatio:
    """Hyperparameters of the classifiers, and what their ratio is used for."""

    hidden: tuple[int, ...] = (32,)
    """Widths of each classifier's hidden layers."""
    noise: float = 1.0
    """Standard deviation of the noise on the classifiers' inputs, in training alone."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    warmup: int = 100_000
    """Source steps before rewards are corrected."""
    random_steps: int = 10_000
    """Target steps with random actions at the start."""
    after: int = 100_000
    """Source steps before the target is stepped with the policy."""
    every: int = 10
    """Source steps to one target step from then on."""
    scale: float = 1.0
    """What Δr is multiplied with."""
    classifiers: Literal["both", "triple"] = "both"
    """`triple` leaves out the classifier on (s, a): an ablation."""
    use: Literal["reward", "weight"] = "reward"
    """Add Δr to the reward, or weigh transitions with e^Δr: importance weighting, a baseline."""
    max_weight: float = 10.0
    """The largest weight of a transition."""

    def __post_init__(self):
        require(self, 0, math.inf, "noise", "learning_rate", "scale")
        require(self, 0, math.inf, "warmup", "random_steps", "after")
        require(self, 1, math.inf, "every", "max_weight", "hidden")

    def init(self, spec: EnvSpec, key: PRNGKeyArray) -> Classifiers:
        """Fresh classifiers for a domain of this spec.

        Raises:
            HeadstartError: an observation is an image.
        """
        judged = [g for name, g in spec.groups.items() if name not in UNSEEN]
        if any(group.kind == "image" for group in judged):
            raise HeadstartError(
                f"the ratio of dynamics is judged from vectors, and {spec.name} shows "
                f"{', '.join(map(str, judged))}: describe the state by a vector"
            )
        obs = sum(sum(group.choices) or group.shape[0] for group in judged)
        act = spec.actions.width
        pair_key, residual_key = jax.random.split(key)
        pair = MLP((obs + act, *self.hidden, 1), 0.1, pair_key, jax.nn.relu)
        residual = MLP((2 * obs + act, *self.hidden, 1), 0.1, residual_key, jax.nn.relu)
        opt_state = self._optimiser.init((pair, residual))  # pyright: ignore
        return Classifiers(pair, residual, opt_state, tuple(spec.groups.items()), spec.actions)

    def graft(self, knowledge: Knowledge, spec: EnvSpec) -> Classifiers:
        """The classifiers that knowledge holds as its part `ratio`.

        Raises:
            KnowledgeError: there is none, or it does not fit the spec.
        """
        fresh = self.init(spec, jax.random.key(0))
        pair, residual = knowledge.graft("ratio", (fresh.pair, fresh.residual))
        return eqx.tree_at(lambda c: (c.pair, c.residual), fresh, (pair, residual))

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    @property
    def compares(self) -> bool:
        return True

    def witness(self, state: Classifiers, rollout: Rollout) -> Classifiers:
        """Nothing is learned from a rollout by itself."""
        return state

    def reference_steps(self, done: int) -> int:
        """Steps of the target to have taken after `done` steps of the source."""
        return self.random_steps + max(done - self.after, 0) // self.every

    def log_ratio(
        self, classifiers: Classifiers, sample: Batch | Transition
    ) -> Float[Array, "..."]:
        """Δr of each transition."""
        found = logits((classifiers.pair, classifiers.residual), *_inputs(classifiers, sample))
        return found.triple - (found.pair if self.classifiers == "both" else 0.0)

    def __call__(
        self,
        state: Classifiers,
        batch: Batch,
        reference: Batch,
        done: Int[Array, ""],
        key: PRNGKeyArray,
    ) -> tuple[Classifiers, Batch, dict[str, Array]]:
        """One gradient step of the classifiers, then `batch` with its rewards, or its weights."""
        state, log = self.learn(state, batch, reference, key)
        delta = self.log_ratio(state, batch)
        active = jnp.asarray(done >= self.warmup)
        log["delta"] = delta.mean()
        if self.use == "weight":
            weight = jnp.clip(jnp.exp(delta), 1e-4, self.max_weight)
            return state, batch._replace(weight=jnp.where(active, weight, 1.0)), log
        bonus = jnp.where(active, self.scale * delta, 0.0)
        return state, batch._replace(reward=batch.reward + bonus), log

    def learn(
        self, state: Classifiers, source: Batch, target: Batch, key: PRNGKeyArray
    ) -> tuple[Classifiers, dict[str, Array]]:
        """One gradient step on as many transitions of each domain."""
        pairs = zip(_inputs(state, source), _inputs(state, target), strict=True)
        pair, next_obs = (jnp.concatenate(both) for both in pairs)
        is_target = jnp.arange(len(pair)) >= len(source.reward)
        pair_key, next_key = jax.random.split(key)
        pair = pair + self.noise * jax.random.normal(pair_key, pair.shape)
        next_obs = next_obs + self.noise * jax.random.normal(next_key, next_obs.shape)

        def loss(parts: PyTree):
            found = logits(parts, pair, next_obs)
            errors = [optax.sigmoid_binary_cross_entropy(x, is_target).mean() for x in found]
            return sum(errors), {"pair_loss": errors[0], "triple_loss": errors[1]}

        parts = state.pair, state.residual
        gradient, log = jax.grad(loss, has_aux=True)(parts)
        step, opt_state = self._optimiser.update(gradient, state.opt_state)
        moved: PyTree = optax.apply_updates(parts, step)  # pyright: ignore
        moved = (*moved, opt_state)
        return eqx.tree_at(lambda c: (c.pair, c.residual, c.opt_state), state, moved), log

    def measure(
        self, state: Classifiers, source: Transition, reference: Transition
    ) -> dict[str, Array]:
        """Accuracy and calibration on experience that was not learned from, and the mean Δr."""
        return _measured(self, state, source, reference)


def logits(
    parts: tuple[MLP, MLP], pair: Float[Array, "... pair"], next_obs: Float[Array, "... obs"]
) -> Logits:
    """Of (s, a) and of (s, a, s′)."""
    of_pair = parts[0](pair)[..., 0]
    added = parts[1](jnp.concatenate([pair, next_obs], axis=-1))[..., 0]
    return Logits(of_pair, of_pair + added)


def _inputs(
    classifiers: Classifiers, sample: Batch | Transition
) -> tuple[Float[Array, "... pair"], Float[Array, "... obs"]]:
    """(s, a) side by side, choices one-hot, and s′."""

    def flat(obs: dict[str, Array]) -> Array:
        columns = [
            one_hot(obs[name], group.choices) if group.choices else obs[name]
            for name, group in classifiers.groups
            if name not in UNSEEN
        ]
        return columns[0] if len(columns) == 1 else jnp.concatenate(columns, axis=-1)

    action = described(sample.action, classifiers.actions)
    return jnp.concatenate([flat(sample.obs), action], axis=-1), flat(sample.next_obs)


@partial(jax.jit, static_argnums=0)
def _measured(
    ratio: DensityRatio, state: Classifiers, source: Transition, target: Transition
) -> dict[str, Array]:
    parts = state.pair, state.residual
    found = [logits(parts, *_inputs(state, seen)).triple.reshape(-1) for seen in (source, target)]
    logit = jnp.concatenate(found)
    label = jnp.concatenate([jnp.zeros_like(found[0]), jnp.ones_like(found[1])])
    return {
        "fresh_accuracy": ((logit > 0) == (label > 0.5)).mean(),
        "calibration_error": calibration_error(jax.nn.sigmoid(logit), label),
        "fresh_delta": ratio.log_ratio(state, source).mean(),
    }


def calibration_error(probs: Float[Array, " n"], label: Float[Array, " n"]) -> Float[Array, ""]:
    """Σ_b |mean label − mean probability| · share of the samples, over ten bins of probability."""
    bins = jnp.minimum((probs * BINS).astype(int), BINS - 1)
    gap = jnp.zeros(BINS).at[bins].add(label - probs)
    return jnp.abs(gap).sum() / len(probs)
