"""What acts: a policy reads observation groups and carries memory from step to step."""

# JAX's arrays and trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from headstart.envs.context import MOST_CHOICES, Told
from headstart.envs.sentences import TEXT_SIZE
from headstart.envs.spec import (
    ACTION_MASK,
    CONTEXT,
    EXPERT,
    SKILL,
    Actions,
    EnvSpec,
    Group,
    check_entries,
)
from headstart.envs.vector_env import TimeStep
from headstart.errors import HeadstartError, KnowledgeError
from headstart.knowledge import Knowledge, check_leaves, leaves
from headstart.policies.actors import ACTORS, AbstractActor, GuidedActor
from headstart.policies.encoders import ENCODERS, AbstractEncoder, Encoders, Identity, built
from headstart.policies.memory import MEMORIES, AbstractMemory, Clock, Memory, renewed
from headstart.policies.networks import MLP, one_hot, task_of
from headstart.policies.standing import STANDING, Network
from headstart.problem.parameter import FORMS
from headstart.pytree import PyTree

TAKE_OUT_ONE = "take out one, as by headstart skills KNOWLEDGE --skill 0 --save DIR"
"""What to do with a policy of many skills where one is wanted."""


class AbstractPolicy(eqx.Module):
    """π(a | what was told so far).

    Actions are in [−1, 1] per dimension (or beyond, to be clipped), or indices.
    """

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """The observation groups that it sees."""

    def initial(self, num: int) -> Memory:
        """What `num` copies remember at an episode's start."""
        return ()

    @abstractmethod
    def step(
        self, told: TimeStep, memory: Memory, key: PRNGKeyArray | None
    ) -> tuple[Shaped[Array, "env ..."], Memory]:
        """An action for each copy, and what is remembered; without a key the most likely one."""


class ActorPolicy(AbstractPolicy):
    """An actor that sees observation groups through encoders and a memory."""

    actor: AbstractActor
    encoders: Encoders
    memory: AbstractMemory
    groups: tuple[tuple[str, Group], ...] = eqx.field(static=True)
    """What it reads, described."""
    actions: Actions = eqx.field(static=True)

    @property
    def reads(self) -> tuple[str, ...]:
        return self.encoders.reads

    def initial(self, num: int) -> Memory:
        return self.memory.initial(num)

    def features(self, told: TimeStep, memory: Memory) -> tuple[Float[Array, "env size"], Memory]:
        """What the actor sees, and what is remembered."""
        last = described(told.last_action, self.actions)
        return self.memory(self.encoders(told.obs), last, memory)

    def step(
        self, told: TimeStep, memory: Memory, key: PRNGKeyArray | None
    ) -> tuple[Shaped[Array, "env ..."], Memory]:
        x, memory = self.features(told, memory)
        return self.actor.mode(x) if key is None else self.actor.sample(x, key), memory


class Watched(AbstractPolicy):
    """Acts as its policy does, and remembers what entropy its last action was drawn with."""

    policy: ActorPolicy

    @property
    def reads(self) -> tuple[str, ...]:
        return self.policy.reads

    def initial(self, num: int) -> Memory:
        return self.policy.initial(num), jnp.zeros(num)

    def step(
        self, told: TimeStep, memory: Memory, key: PRNGKeyArray | None
    ) -> tuple[Shaped[Array, "env ..."], Memory]:
        x, own = self.policy.features(told, memory[0])
        if key is None:
            raise ValueError("what is watched is how actions are drawn: give a key")
        draw_key, entropy_key = jax.random.split(key)
        entropy = self.policy.actor.entropy(x, entropy_key)
        return self.policy.actor.sample(x, draw_key), (own, entropy)


class UniformPolicy(AbstractPolicy):
    """Actions uniformly at random, of those that there are."""

    actions: Actions = eqx.field(static=True)

    @property
    def reads(self) -> tuple[str, ...]:
        return (ACTION_MASK,) if self.actions.masked else ()

    def step(
        self, told: TimeStep, memory: Memory, key: PRNGKeyArray | None
    ) -> tuple[Shaped[Array, "env ..."], Memory]:
        if key is None:
            raise ValueError("no action of a uniform policy is the most likely one: give a key")
        many = told.begins.shape[0]
        if self.actions.masked:
            return jax.random.categorical(key, jnp.log(told.obs[ACTION_MASK])), ()
        if not self.actions.discrete:
            shape = (many, *self.actions.shape)
            return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0), ()
        if not self.actions.shape:
            return jax.random.randint(key, (many,), 0, self.actions.choices[0]), ()
        most = jnp.array(self.actions.choices)[None]
        return jax.random.randint(key, (many, len(self.actions.choices)), 0, most), ()


class ExpertPolicy(AbstractPolicy):
    """What the expert would do, as the group `expert` shows it."""

    @property
    def reads(self) -> tuple[str, ...]:
        return (EXPERT,)

    def step(
        self, told: TimeStep, memory: Memory, key: PRNGKeyArray | None
    ) -> tuple[PyTree, Memory]:
        return told.obs[EXPERT], ()


def learned_parts(policy: ActorPolicy) -> PyTree:
    """What a gradient changes of a policy: the actor, the memory, and learned encoders."""
    return policy.actor, policy.memory, policy.encoders.learned_part


def with_learned_parts(policy: ActorPolicy, parts: PyTree) -> ActorPolicy:
    """The same policy after a gradient step on its `learned_parts`."""
    actor, memory, learned = parts
    changed = actor, memory, policy.encoders.updated(learned)
    return eqx.tree_at(lambda p: (p.actor, p.memory, p.encoders), policy, changed)


def step_policy(
    policy: AbstractPolicy, told: TimeStep, memory: Memory, key: PRNGKeyArray | None
) -> tuple[Shaped[Array, "env ..."], Memory]:
    """One step of a policy: memory, and the last action, start afresh where an episode begins.

    Args:
        policy: who acts.
        told: what the world tells, one row for each copy.
        memory: what was remembered after the step before.
        key: for a sampled action; the most likely one without.

    Returns:
        actions `[env, ...]`, and the memory to go on with.
    """
    fresh = policy.initial(told.begins.shape[0])
    memory = renewed(memory, told.begins, fresh)
    return policy.step(blanked(told), memory, key)


@jax.jit
def act(
    policy: AbstractPolicy, told: TimeStep, memory: Memory, key: PRNGKeyArray | None, t: Any
) -> tuple[Shaped[Array, "env ..."], Memory]:
    """`step_policy`, compiled, with one key for a whole rollout: `t` is the number of the step."""
    return step_policy(policy, told, memory, None if key is None else jax.random.fold_in(key, t))


def blanked(told: TimeStep) -> TimeStep:
    """Without the last action and reward where an episode begins; rows `[..., env]`."""

    def blank(x: PyTree) -> Array:
        begins = told.begins.reshape(*told.begins.shape, *[1] * (x.ndim - told.begins.ndim))
        return jnp.where(begins, jnp.zeros_like(x), x)

    return told._replace(last_action=blank(told.last_action), last_reward=blank(told.last_reward))


def described(action: Shaped[Array, "..."], actions: Actions) -> Float[Array, "... width"]:
    """Actions as numbers for a network: choices are one-hot, −1 none of them."""
    if not actions.discrete:
        return action
    return one_hot(action if actions.shape else action[..., None], actions.choices)


def check_reads(policy: AbstractPolicy, spec: EnvSpec) -> None:
    """Raises:
    HeadstartError: the policy reads a group that the domain lacks, or has otherwise, or its
        actions are not the domain's.
    """
    described: dict[str, Any] = {}
    if isinstance(policy, ActorPolicy):
        described = dict(policy.groups)
        if policy.actions != spec.actions:
            raise HeadstartError(
                f"the policy chooses {policy.actions}, and {spec.name} takes {spec.actions}: "
                "evaluate it in the environment that it was trained in"
            )
    for name in policy.reads:
        if name not in spec.groups:
            mends = {
                "context": "add shows to the domain",
                SKILL: TAKE_OUT_ONE,
            }
            mend = mends.get(name, "evaluate it in the environment that it was trained in")
            raise HeadstartError(
                f"the policy reads the group {name!r}, and {spec.name} shows "
                f"{', '.join(spec.groups)}: {mend}"
            )
        if name in described and described[name] != spec.groups[name]:
            raise HeadstartError(
                f"the policy reads {name} as {described[name]}, and {spec.name} shows "
                f"{spec.groups[name]}: evaluate it in the environment that it was trained in"
            )
    if isinstance(policy, ActorPolicy):
        check_entries("the policy", dict(policy.groups), policy.actions, spec)


def policy_for(
    spec: EnvSpec, actor: AbstractActor, encoders: Encoders, memory: AbstractMemory
) -> ActorPolicy:
    """A policy from its parts, for the groups and actions of a spec."""
    groups = tuple((name, spec.groups[name]) for name in encoders.reads)
    return ActorPolicy(actor, encoders, memory, groups, spec.actions)


def heads_for(
    groups: Mapping[str, Group], encoders: Encoders, name: str = "the policy"
) -> tuple[int, int]:
    """Where features tell the task as one-hot, and of how many tasks.

    Args:
        groups: that are read.
        encoders: through which they are.
        name: of the environment, for the error.

    Raises:
        HeadstartError: they do not tell it.
    """
    read = encoders.by_group.get(CONTEXT)
    if read is not None and not isinstance(read, Identity):
        raise HeadstartError(
            f"heads and pcgrad are told the task by {CONTEXT} as it is, and it is read through "
            f"{ENCODERS.name_of(type(read))}: leave it out of learner.encoders"
        )
    before = 0
    for group in encoders.reads:
        if group == CONTEXT:
            for one in groups[group].told:
                if one.form == "one-hot":
                    return before, len(one.names)
                before += len(one.names)
        before += encoders.by_group[group].size
    raise HeadstartError(
        f"heads and pcgrad need to be told the task, and {name} shows none as one-hot: show it, as "
        'in shows = ["task"] of a mixture'
    )


def task_told(
    policy: ActorPolicy, features: Float[Array, "... features"]
) -> Float[Array, "... task"]:
    """Which task a policy's features are of, as one-hot.

    Raises:
        HeadstartError: they do not tell it.
    """
    return task_of(features, heads_for(dict(policy.groups), policy.encoders))


Actor = TypeVar("Actor", bound=AbstractActor)


def with_network(actor: Actor, network: Network) -> Actor:
    """The same actor, with another network of the same inputs and outputs."""
    return eqx.tree_at(lambda a: a.network, actor, network)


def knowledge_of(policy: ActorPolicy) -> Knowledge:
    """A policy as parts that `policy_from` puts together again."""
    parts = {"policy": leaves({"actor": policy.actor, "memory": policy.memory})}
    for part, encoders in _by_part(policy.encoders).items():
        parts[part] = leaves(encoders)
    guided = isinstance(policy.actor, GuidedActor)
    actor = policy.actor.own if isinstance(policy.actor, GuidedActor) else policy.actor
    *hidden, _ = actor.network.sizes[1:]
    kinds = {name: ENCODERS.name_of(type(e)) for name, e in policy.encoders.by_group.items()}
    description = {
        "groups": {n: asdict(group) | {"encoder": kinds[n]} for n, group in policy.groups},
        "actions": asdict(policy.actions),
        "actor": ACTORS.name_of(type(actor)),
        "hidden": hidden,
        "memory": "none" if guided else MEMORIES.name_of(type(policy.memory)),
        "memory_size": policy.memory.size - policy.encoders.size,
    }
    if guided:
        description["guided"] = True
    if isinstance(actor.network, MLP) and actor.network.heads is not None:
        description["heads"] = list(actor.network.heads)
    if not isinstance(actor.network, MLP):
        description["network"] = STANDING.name_of(type(actor.network))
    return Knowledge(parts, {"policy": description})


def described_spaces(knowledge: Knowledge) -> tuple[dict[str, Group], Actions]:
    """What the policy that knowledge holds reads, and how it acts.

    Raises:
        KnowledgeError: there is no policy, or its description is damaged.
    """
    stated = knowledge.metadata.get("policy")
    if stated is None:
        raise KnowledgeError("this knowledge holds no policy: it cannot be evaluated")
    try:
        groups = {name: _group(table) for name, table in stated["groups"].items()}
        return groups, _actions(stated["actions"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise KnowledgeError(f"the knowledge's metadata describes no policy: {error!r}") from None


def policy_from(knowledge: Knowledge, trusted: Sequence[str] = ()) -> ActorPolicy:
    """The policy that the parts `policy`, and `statistics` or `encoder`, make.

    Args:
        knowledge: what was saved.
        trusted: encoders by `module:Class` that may be imported, if the knowledge names them.

    Raises:
        KnowledgeError: a part is absent, or does not fit the metadata, or an encoder is code that
            is not trusted.
    """
    groups, actions = described_spaces(knowledge)
    stated = knowledge.metadata["policy"]
    try:
        kinds = {name: str(table["encoder"]) for name, table in stated["groups"].items()}
        named = [(kind, ENCODERS) for kind in kinds.values()]
        standing = [(stated["network"], STANDING)] if "network" in stated else []
        named += [(stated["actor"], ACTORS), (stated["memory"], MEMORIES), *standing]
        for name, registry in named:
            if name not in registry and name not in trusted:
                raise KnowledgeError(
                    f"the {registry.kind} {name!r} is code that did not come with Headstart: if "
                    "you trust it, load it in Python by policy_from(knowledge, trusted=[…])"
                )
        first, tasks = map(int, stated.get("heads", (0, 0)))
        if not (0 <= first <= MOST and 0 <= tasks <= MOST_CHOICES):
            raise ValueError(f"heads {first}, {tasks}")
        heads = (first, tasks) if tasks else None
        mask = groups.get(ACTION_MASK)
        masked = mask is not None and kinds[ACTION_MASK] == "identity"
        if actions.masked and not (masked and mask and mask.shape == (actions.width,)):
            raise ValueError("actions are masked, and no mask of them is read as it is")
        hidden, size = tuple(map(int, stated["hidden"])), int(stated["memory_size"])
        _check_sizes(groups, actions, (*hidden, size + 1))

        def built_from(key: PRNGKeyArray) -> ActorPolicy:
            encoders = Encoders({name: built(kinds[name], groups[name], key) for name in groups})
            memory = MEMORIES.find(stated["memory"])(encoders.size, actions.width, size, key)
            actor = ACTORS.find(stated["actor"])(memory.size, actions, hidden, key)
            if heads is not None:
                actor = with_network(actor, actor.network.with_heads(heads))
            for name, registry in standing:
                actor = with_network(actor, registry.find(name)(actor.network, key))
            if "guided" in stated:
                actor, memory = GuidedActor(actor, actor, jnp.zeros(())), Clock(encoders.size)
            read = tuple((name, groups[name]) for name in encoders.reads)
            return ActorPolicy(actor, encoders, memory, read, actions)

        key = jax.random.key(0)
        # What is claimed is held against what is there before any of it is made.
        check_fits(eqx.filter_eval_shape(built_from, key), knowledge)
        policy = built_from(key)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise KnowledgeError(f"the knowledge's metadata describes no policy: {error!r}") from None
    return grafted(policy, knowledge)


MOST = 2**20
"""Entries of a space or units of a layer, at most, in knowledge that is read."""


def _check_sizes(groups: Mapping[str, Group], actions: Actions, layers: Sequence[int]) -> None:
    """Raises:
    ValueError: something is larger than any policy of ours, or is not there at all.
    """
    several = [layers, actions.shape, actions.choices]
    several += [numbers for group in groups.values() for numbers in (group.shape, group.choices)]
    if len(groups) > 1000 or len(layers) > 100 or any(len(sizes) > 1000 for sizes in several):
        raise ValueError("it has too many parts")
    if not all(0 < size <= MOST for sizes in several for size in sizes):
        raise ValueError(f"a size is not between 1 and {MOST}")


def check_fits(policy: ActorPolicy, knowledge: Knowledge) -> None:
    """Hold the parts of a policy, of which there need be nothing but shapes, against knowledge.

    Raises:
        KnowledgeError: a part or a leaf is absent, or has another shape or type.
    """
    parts: dict[str, PyTree] = {"policy": {"actor": policy.actor, "memory": policy.memory}}
    for part, tree in (parts | _by_part(policy.encoders)).items():
        check_leaves(tree, knowledge.part(part), part)


def grafted(policy: ActorPolicy, knowledge: Knowledge, every: bool = True) -> ActorPolicy:
    """`policy` with its parts replaced by those of `knowledge`: every one, or those it holds."""
    head: dict[str, Any] = {"actor": policy.actor, "memory": policy.memory}
    if every or "policy" in knowledge.parts:
        head = knowledge.graft("policy", head)
    encoders = policy.encoders
    for part, by_group in _by_part(encoders).items():
        if every or part in knowledge.parts:
            encoders = encoders.updated(knowledge.graft(part, by_group))
    return ActorPolicy(head["actor"], encoders, head["memory"], policy.groups, policy.actions)


def _by_part(encoders: Encoders) -> dict[str, dict[str, AbstractEncoder]]:
    """The encoders that are carried over, by the part that they belong to."""
    parts: dict[str, dict[str, AbstractEncoder]] = {}
    for name, encoder in encoders.by_group.items():
        if encoder.part is not None:
            parts.setdefault(encoder.part, {})[name] = encoder
    return parts


def _group(table: dict[str, Any]) -> Group:
    shape, choices = (tuple(map(int, table[name])) for name in ("shape", "choices"))
    if table["kind"] not in ("vector", "image", "choice"):
        raise ValueError(f"kind {table['kind']!r}")
    low, high = (tuple(map(float, table.get(name, ()))) for name in ("low", "high"))
    names = tuple(map(str, table.get("names", ())))
    told, numbers = (), 0
    for one in map(_told, table.get("told", ())):
        told, numbers = (*told, one), numbers + len(one.names)
        if numbers > shape[0]:
            break
    if high:  # as it was saved before parameters were told in several forms
        told = tuple(map(Told, names, ["number"] * len(names), low, high))
    known = [one.name for one in told]
    if told and (sum(len(one.names) for one in told) != shape[0] or len(set(known)) < len(known)):
        raise ValueError(f"{len(told)} parameters are told as {shape[0]} numbers")
    return Group(shape, table["kind"], choices, names=names, low=low, told=told)


def _told(table: dict[str, Any]) -> Told:
    texts = tuple((float(value), str(text)) for value, text in table["texts"])
    form, low, high = str(table["form"]), float(table["low"]), float(table["high"])
    few = form != "one-hot" or high - low < MOST_CHOICES
    if form not in FORMS or not (low < high and few) or (form == "text" and not texts):
        raise ValueError(f"form {form!r} from {low} to {high}")
    of = tuple((int(task), str(name)) for task, name in table["of"])
    model, size = str(table.get("model", "")), int(table.get("size", TEXT_SIZE))
    if not 1 <= size <= MOST_CHOICES or not (model or size == TEXT_SIZE):
        raise ValueError(f"a text as {size} numbers")
    return Told(str(table["name"]), form, low, high, texts, of, model, size)


def _actions(table: dict[str, Any]) -> Actions:
    shape, choices = (tuple(map(int, table[name])) for name in ("shape", "choices"))
    form, number = tuple(map(int, table.get("form", ()))), str(table.get("number", ""))
    masked = bool(table.get("masked", False))
    return Actions(shape, choices, **_own_terms(table), form=form, number=number, masked=masked)


def _own_terms(table: dict[str, Any]) -> dict[str, Any]:
    """The environment's names and bounds, which older knowledge lacks."""
    low, high = (tuple(map(float, table.get(name, ()))) for name in ("low", "high"))
    return {"names": tuple(map(str, table.get("names", ()))), "low": low, "high": high}
