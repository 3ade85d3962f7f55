"""A policy: an actor, and the encoder that it sees observations through."""

from typing import Any

import equinox as eqx
import jax
from gymnasium import spaces
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from headstart.errors import KnowledgeError
from headstart.knowledge import Knowledge, leaves
from headstart.learners.actors import ACTORS, Actor
from headstart.learners.encoders import Encoder, Statistics, encoder_for


class Policy(eqx.Module):
    """π(a | s). Actions are in [−1, 1] per dimension (or beyond, to be clipped), or integers."""

    actor: Actor
    encoder: Encoder

    def mode(self, obs: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        """The most likely action."""
        return self.actor.mode(self.encoder(obs))

    def sample(self, obs: Shaped[Array, "..."], key: PRNGKeyArray) -> Shaped[Array, "..."]:
        return self.actor.sample(self.encoder(obs), key)


class Anything(eqx.Module):
    """Actions uniformly at random, `[env, *shape]`, or below `below` where they are discrete."""

    shape: tuple[int, ...] = eqx.field(static=True)
    below: int | None = eqx.field(static=True)

    def sample(self, obs: Shaped[Array, "env ..."], key: PRNGKeyArray) -> Shaped[Array, "env ..."]:
        many = obs.shape[0]
        if self.below is not None:
            return jax.random.randint(key, (many,), 0, self.below)
        return jax.random.uniform(key, (many, *self.shape), minval=-1.0, maxval=1.0)


def anything(action: Any) -> Anything:
    """The uniform policy for an action space."""
    discrete = isinstance(action, spaces.Discrete)
    return Anything(action.shape, int(action.n) if discrete else None)


def policy_facts(policy: Policy) -> dict[str, Any]:
    """What it takes to build a policy's like."""
    kind = next(name for name, cls in ACTORS.items() if isinstance(policy.actor, cls))
    *hidden, _ = policy.actor.network.sizes[1:]
    return {
        "actor": kind,
        "obs": list(policy.encoder.shape),
        "act": _actions(policy.actor),
        "hidden": hidden,
        "normalised": isinstance(policy.encoder, Statistics),
    }


def _actions(actor: Actor) -> int:
    size = actor.network.sizes[-1]
    return size // 2 if isinstance(actor, ACTORS["squashed-gaussian"]) else size


def knowledge_of(policy: Policy) -> Knowledge:
    """A policy as parts that `policy_from` puts together again."""
    parts = {"policy": leaves(policy.actor)}
    if policy.encoder.part is not None:
        parts[policy.encoder.part] = leaves(policy.encoder)
    return Knowledge(parts, {"policy": policy_facts(policy)})


def policy_from(knowledge: Knowledge) -> Policy:
    """The policy that the parts `policy`, and `statistics` or `encoder`, make.

    Raises:
        KnowledgeError: a part is absent, or does not fit the facts.
    """
    facts = knowledge.facts.get("policy")
    if facts is None:
        raise KnowledgeError("this knowledge holds no policy: it cannot be evaluated")
    try:
        key, shape = jax.random.key(0), tuple(map(int, facts["obs"]))
        encoder = encoder_for(shape, bool(facts["normalised"]), key)
        hidden = tuple(map(int, facts["hidden"]))
        actor = ACTORS[facts["actor"]](encoder.size, int(facts["act"]), hidden, key)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise KnowledgeError(f"the knowledge's facts describe no policy: {error!r}") from None
    return grafted(Policy(actor, encoder), knowledge)


def grafted(policy: Policy, knowledge: Knowledge, every: bool = True) -> Policy:
    """`policy` with its parts replaced by those of `knowledge`: every one, or those it holds."""
    actor, encoder = policy.actor, policy.encoder
    if every or "policy" in knowledge.parts:
        actor = knowledge.graft("policy", actor)
    if encoder.part is not None and (every or encoder.part in knowledge.parts):
        encoder = knowledge.graft(encoder.part, encoder)
    return Policy(actor, encoder)


def prepared(obs: Any) -> Any:
    """Observations as networks take them: bytes as they are, anything else in 32 bits."""
    return obs if obs.dtype == "uint8" else obs.astype("float32")


@jax.jit
def sampled(
    policy: Policy | Anything,
    obs: Shaped[Array, "env ..."],
    key: PRNGKeyArray,
    t: Int[Array, ""] | int,
) -> Shaped[Array, "env ..."]:
    """An action for each row; `t` makes one key serve a whole chunk."""
    return policy.sample(prepared(obs), jax.random.fold_in(key, t))


@jax.jit
def greedy(policy: Policy, obs: Shaped[Array, "env ..."]) -> Shaped[Array, "env ..."]:
    """The most likely action for each row."""
    return policy.mode(prepared(obs))
