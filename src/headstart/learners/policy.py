"""A policy: an actor and the statistics that it sees observations through."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from headstart.errors import KnowledgeError
from headstart.knowledge import Knowledge, leaves
from headstart.learners.networks import CategoricalActor, GaussianActor, Statistics


class Policy(eqx.Module):
    """π(a | s). Actions are in [−1, 1] per dimension (or beyond, to be clipped), or integers."""

    actor: GaussianActor | CategoricalActor
    statistics: Statistics

    def mode(self, obs: Float[Array, "... obs"]) -> Shaped[Array, "..."]:
        """The most likely action."""
        return self.actor.mode(self.statistics.normalise(obs))

    def sample(self, obs: Float[Array, "... obs"], key: PRNGKeyArray) -> Shaped[Array, "..."]:
        return self.actor.sample(self.statistics.normalise(obs), key)


def actor_for(
    discrete: bool, obs: int, act: int, hidden: Sequence[int], key: PRNGKeyArray
) -> GaussianActor | CategoricalActor:
    """A fresh actor."""
    return (CategoricalActor if discrete else GaussianActor)(obs, act, hidden, key)


def policy_facts(actor: GaussianActor | CategoricalActor) -> dict[str, Any]:
    """What it takes to build the actor's like: the arguments of `actor_for`."""
    discrete = isinstance(actor, CategoricalActor)
    weights = (actor.logits if discrete else actor.mean).weights
    sizes = [weight.shape[0] for weight in weights] + [weights[-1].shape[1]]
    return {
        "discrete": discrete,
        "obs": sizes[0],
        "act": sizes[-1],
        "hidden": sizes[1:-1],
    }


def knowledge_of(policy: Policy) -> Knowledge:
    """A policy as parts that `policy_from` puts together again."""
    parts = {"policy": leaves(policy.actor), "statistics": leaves(policy.statistics)}
    return Knowledge(parts, {"policy": policy_facts(policy.actor)})


def policy_from(knowledge: Knowledge) -> Policy:
    """The policy that the parts `policy` and `statistics` make.

    Raises:
        KnowledgeError: a part is absent, or does not fit the facts.
    """
    facts = knowledge.facts.get("policy")
    if facts is None:
        raise KnowledgeError("this knowledge holds no policy: it cannot be evaluated")
    try:
        skeleton = actor_for(
            bool(facts["discrete"]), int(facts["obs"]), int(facts["act"]),
            tuple(map(int, facts["hidden"])), jax.random.key(0),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise KnowledgeError(f"the knowledge's facts describe no policy: {error!r}") from None
    statistics = knowledge.graft("statistics", Statistics(int(facts["obs"])))
    return Policy(knowledge.graft("policy", skeleton), statistics)


@jax.jit
def sampled(
    policy: Policy, obs: Float[Array, "env obs"], key: PRNGKeyArray, t: Int[Array, ""] | int
) -> Shaped[Array, "env ..."]:
    """An action for each row; `t` makes one key serve a whole chunk."""
    return policy.sample(obs.astype(jnp.float32), jax.random.fold_in(key, t))


@jax.jit
def greedy(policy: Policy, obs: Float[Array, "env obs"]) -> Shaped[Array, "env ..."]:
    """The most likely action for each row."""
    return policy.mode(obs.astype(jnp.float32))
