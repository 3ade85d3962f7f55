"""Many ways to act in one policy: skills, told by an observation group of their own.

    r(s′, z) = log q(z | s′) − log p(z),   p(z) = 1/n      (Eysenbach et al., ICLR 2019, 1802.06070)

q is a classifier that says which skill led to a state: a skill is paid for going where the others
do not. Copy i of an environment plays skill i mod n for ever.

One skill, taken out, is a policy like any other: what its number adds to the first layers is added
to their biases.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from headstart.configuration import require
from headstart.envs.spec import SKILL, EnvSpec, Group, entry_number
from headstart.errors import HeadstartError, KnowledgeError
from headstart.experience.replay import Batch
from headstart.experience.transition import Rollout, Transition
from headstart.knowledge import Knowledge
from headstart.policies.networks import MLP
from headstart.policies.policy import policy_from
from headstart.pytree import PyTree


class SkillLook(eqx.Module):
    """Every copy is told its skill."""

    skill: Int[Array, " env"]

    def __call__(self, obs: dict[str, Any]) -> dict[str, Any]:
        """Observations, and the group `skill`."""
        return obs | {SKILL: self.skill[:, None]}


@dataclass(frozen=True)
class Skills:
    """The copies share the skills among them, always in the same way."""

    number: int

    def __call__(self, num: int, key: PRNGKeyArray) -> SkillLook:
        return SkillLook(jnp.arange(num, dtype=jnp.int32) % self.number)

    def told(self, spec: EnvSpec) -> EnvSpec:
        """The spec of who is told a skill."""
        return replace(spec, groups={**spec.groups, SKILL: Group((1,), "choice", (self.number,))})


class Judge(eqx.Module):
    """What Diversity learns, and what it knows of each skill's returns."""

    classifier: MLP
    opt_state: optax.OptState
    running: Float[Array, " env"]
    """Of each copy's episode under way."""
    gate: Float[Array, ""]
    """The return from which on a skill is paid."""
    returns: Float[Array, " skill"]
    """A running mean over each skill's episodes; NaN before the first has ended."""


@dataclass(frozen=True)
class Diversity:
    """Pays a skill for being told from the others."""

    coordinates: tuple[str, ...] = ()
    """The entries of the state that skills are to differ in, by name or number; all of them if none
    is given."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the classifier's hidden layers."""
    learning_rate: float = 1e-3
    """Adam's step size, of the classifier."""
    weight: float = 1.0
    """What log q(z | s′) − log p(z) is multiplied with."""

    def __post_init__(self):
        require(self, 1, math.inf, "hidden")
        require(self, 0, math.inf, "learning_rate", "weight")

    def entries(self, spec: EnvSpec) -> tuple[int, ...]:
        """The entries of a domain's state that skills are told apart by.

        Raises:
            HeadstartError: there is no vector to judge, or no such entry in it.
        """
        group = spec.groups.get("state")
        if group is None or group.kind != "vector":
            raise HeadstartError(
                f"skills are told apart by the group 'state', a vector, and {spec.name} shows "
                f"{', '.join(f'{n}, {g}' for n, g in spec.groups.items())}"
            )
        every = range(group.shape[0])
        names = group.names or tuple(map(str, every))
        chosen: list[int] = []
        for entry in self.coordinates:
            number = entry_number(entry, names)
            if number is None:
                raise HeadstartError(
                    f"diversity.coordinates: {spec.name} has no entry {entry} in its state; they "
                    f"are {', '.join(names)}"
                )
            chosen.append(number)
        return tuple(chosen or every)

    def reward(self, spec: EnvSpec, number: int, copies: int, gate: float | None) -> "SkillReward":
        """The reward of so many skills in so many copies.

        Args:
            spec: of the domain.
            number: of skills.
            copies: of the environment.
            gate: the return from which on a skill is paid for diversity, beside its task's reward;
                if none is given it is paid for nothing else.
        """
        return SkillReward(self, self.entries(spec), number, copies, gate)


@dataclass(frozen=True)
class SkillReward:
    """A batch transform: see `Diversity.reward`."""

    diversity: Diversity
    entries: tuple[int, ...]
    """Of the state, that skills are told apart by."""
    number: int
    copies: int
    gate: float | None

    @property
    def compares(self) -> bool:
        return False

    def init(self, spec: EnvSpec, key: PRNGKeyArray) -> Judge:
        """A fresh classifier for a domain of this spec."""
        classifier = MLP(
            (len(self.entries), *self.diversity.hidden, self.number), 0.1, key, jax.nn.relu
        )
        moments = self._optimiser.init(classifier)  # pyright: ignore[reportArgumentType]
        unknown = jnp.full(self.number, jnp.nan)
        gate = jnp.float32(math.inf if self.gate is None else self.gate)
        return Judge(classifier, moments, jnp.zeros(self.copies), gate, unknown)

    @property
    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.diversity.learning_rate)

    def reference_steps(self, done: int) -> int:
        return 0

    def __call__(
        self, state: Judge, batch: Batch, reference: None, done: Array, key: PRNGKeyArray
    ) -> tuple[Judge, Batch, dict[str, Array]]:
        """One gradient step of the classifier, then the batch with its rewards."""
        skill = batch.obs[SKILL][:, 0]
        seen = self.seen(batch.next_obs["state"])

        def loss(classifier: MLP) -> tuple[Array, Array]:
            log_q = jax.nn.log_softmax(classifier(seen))[jnp.arange(len(skill)), skill]
            return -log_q.mean(), log_q

        gradient, _ = jax.grad(loss, has_aux=True)(state.classifier)
        step, moments = self._optimiser.update(gradient, state.opt_state)
        classifier: Any = optax.apply_updates(state.classifier, step)  # pyright: ignore
        cost, log_q = loss(classifier)
        bonus = self.diversity.weight * (log_q + math.log(self.number))
        log = {"skill_loss": cost, "skill_bonus": bonus.mean()}
        reward = bonus
        if self.gate is not None:
            open_ = state.returns >= state.gate  # of nothing that is not known yet
            reward = batch.reward + jnp.where(open_[skill], bonus, 0.0)
            log["gates_open"] = open_.mean()
        state = eqx.tree_at(lambda s: (s.classifier, s.opt_state), state, (classifier, moments))
        return state, batch._replace(reward=reward), log

    def seen(self, state: Float[Array, "... size"]) -> Float[Array, "... seen"]:
        """What skills are told apart by."""
        return state[..., jnp.array(self.entries)]

    def measure(self, state: Judge, source: Transition, reference: Transition) -> dict[str, Array]:
        return {}

    def witness(self, state: Judge, rollout: Rollout) -> Judge:
        """After a rollout: the returns of the episodes that ended in it."""
        return state if self.gate is None else _witnessed(self.number, state, rollout.steps)


@partial(jax.jit, static_argnums=0)
def _witnessed(number: int, state: Judge, steps: Transition) -> Judge:
    """A skill's mean return moves a tenth of the way to that of each of its episodes."""
    skill = jnp.arange(len(state.running)) % number

    def one(carry: tuple[Array, Array], step: tuple[Array, Array]):
        running, returns = carry
        reward, ended = step
        running = running + reward
        over = ended[:, None] & (skill[:, None] == jnp.arange(number)[None])
        count = over.sum(0)
        mean = (over * running[:, None]).sum(0) / jnp.maximum(count, 1)
        kept = jnp.where(jnp.isnan(returns), 0.0, 0.9**count)
        moved = kept * jnp.nan_to_num(returns) + (1 - kept) * mean
        return (jnp.where(ended, 0.0, running), jnp.where(count > 0, moved, returns)), None

    carry, _ = jax.lax.scan(
        one, (state.running, state.returns), (steps.reward, steps.terminated | steps.truncated)
    )
    return eqx.tree_at(lambda s: (s.running, s.returns), state, carry)


def number_of_skills(knowledge: Knowledge) -> int:
    """How many there are.

    Raises:
        KnowledgeError: this is no knowledge of skills.
    """
    groups = knowledge.metadata.get("policy", {}).get("groups", {})
    if SKILL not in groups:
        raise KnowledgeError(
            "this knowledge holds no skills, which diayn and smerl learn: it holds "
            f"{', '.join(knowledge.parts) or 'nothing'}"
        )
    return int(groups[SKILL]["choices"][0])


def skill_of(knowledge: Knowledge, skill: int, trusted: tuple[str, ...] = ()) -> Knowledge:
    """One skill alone: a policy, and critics, that are told nothing.

    Args:
        knowledge: of a policy that is told its skill.
        skill: its number.
        trusted: as for `policy_from`.

    Raises:
        KnowledgeError: there are no skills, or none of this number.
    """
    number = number_of_skills(knowledge)
    if not 0 <= skill < number:
        raise KnowledgeError(f"there is no skill {skill}: they are numbered 0 to {number - 1}")
    start = _first_row(knowledge, trusted)

    def alone(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = dict(leaves)
        for name in leaves:
            if name.endswith("weights/0"):
                bias = f"{name.removesuffix('weights/0')}biases/0"
                found[name] = np.delete(leaves[name], np.s_[start : start + number], axis=0)
                found[bias] = leaves[bias] + leaves[name][start + skill]
        return found

    parts = {k: v for k, v in knowledge.parts.items() if k not in ("optimiser", "skills")}
    parts |= {k: alone(dict(parts[k])) for k in ("policy", "critic") if k in parts}
    described = knowledge.metadata["policy"]
    groups = {n: g for n, g in described["groups"].items() if n != SKILL}
    return Knowledge(parts, {**knowledge.metadata, "policy": {**described, "groups": groups}})


def as_skills(alone: Knowledge, skills: Knowledge, trusted: tuple[str, ...] = ()) -> Knowledge:
    """One policy copied into every skill: the weights of the inputs that tell the skill are 0.

    Args:
        alone: of the policy, and of its critics if there are any.
        skills: of policies that are told their skill, with networks of the same widths.
        trusted: as for `policy_from`.
    """
    number, start = number_of_skills(skills), _first_row(skills, trusted)
    parts = {k: v for k, v in alone.parts.items() if k != "optimiser"}
    for part in {"policy", "critic"} & parts.keys():
        parts[part] = {
            name: np.insert(array, [start] * number, 0.0, axis=0)
            if name.endswith("weights/0")
            else array
            for name, array in alone.parts[part].items()
        }
    return Knowledge(parts, skills.metadata)


def _first_row(skills: Knowledge, trusted: tuple[str, ...]) -> int:
    """The row of the first layers' weights that belongs to skill 0."""
    encoders = policy_from(skills, trusted).encoders
    names = encoders.reads
    return sum(encoders.by_group[name].size for name in names[: names.index(SKILL)])


def discriminator(state: PyTree) -> MLP:
    """What a learner's state with skills tells them apart by."""
    judge: Judge = state.transform
    return judge.classifier
