"""What all methods share that go on learning on the target: a recipe.

The policy that comes from the source has often become almost deterministic, its critic values
returns that are no longer had, and the first updates on the target can undo what it knew. Each part
of the recipe is a remedy for one of these, and each can be left out.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart import envs
from headstart.configuration import require
from headstart.envs.spec import PRIVILEGED, EnvSpec
from headstart.errors import HeadstartError, unknown
from headstart.experience.hindsight import Hindsight
from headstart.experience.replay import Replay, transition_row
from headstart.experience.source import Source, Target
from headstart.experience.unroll import begin, play, seed_from
from headstart.knowledge import Knowledge
from headstart.learners.improve import Plain, Plan, improve
from headstart.learners.learner import Anchor, Hooks, Learner, Rates, State
from headstart.learners.off_policy import OffPolicy
from headstart.learners.resets import with_fresh_layers
from headstart.learners.train import Collector
from headstart.methods.method import Method, Moves, Requirements, remembers, trusted
from headstart.methods.pretrained import Pretrained
from headstart.policies.actors import LOG_STD_RATE, AbstractActor, GaussianActor
from headstart.policies.encoders import AbstractEncoder
from headstart.policies.networks import rows
from headstart.policies.policy import ActorPolicy, Watched, policy_from
from headstart.problem.domain import Domain
from headstart.transfer.anchor import Anchoring

WAYS = 32
"""Episodes that a report draws."""
RATED = ("policy", "critic", "encoder", "statistics", "temperature")
"""Parts that have a learning rate, or go on counting."""


@dataclass(frozen=True, kw_only=True)
class FineTuning(Method):
    """Carry parts of what was learned in the source, and go on learning on the target."""

    from_knowledge: ClassVar[str] = "pretrained"
    steps: int = 1_000_000
    """Steps of pre-training in the source."""
    pretrained: str = ""
    """A folder of knowledge to start from, in place of training in the source."""
    skill: int | None = None
    """The number of one of its skills, if it holds several and one is wanted."""
    fresh: tuple[str, ...] = ("optimiser",)
    """The parts that start afresh; the rest is carried. `returns` is how much the scale counts that
    PPO's critic has its values in, `optimiser` is Adam's moments; `--method.fresh=` is none."""
    rates: tuple[str, ...] = ()
    """Factors of the learning rate, as part=factor; 0: the part is frozen."""
    warmup: int = 0
    """Target episodes at the start, in whole rounds, during which the policy stands still and its
    critic learns."""
    episodes_per_update: int = 5
    """Target episodes between two updates of the policy."""
    learning_rate: float = 3e-4
    """Adam's step size on the target."""
    log_std: float | None = -0.7
    """Lower bound put on a Gaussian's log standard deviation on the target, once: it ended small.
    None leaves it."""
    anchor: Anchoring = field(default_factory=Anchoring)
    """What holds the policy near to the source's."""
    kept: int = 10_000
    """Steps of the source with the carried policy, taken for `anchor` or `replay` if they need
    any."""
    replay: float = 0.0
    """Share of a batch that is drawn from these steps, for learners that replay."""
    reset_every: int = 0
    """Target episodes between two resets of the last layers, and of a temperature that is learned,
    in whole rounds; 0: never."""
    reset_layers: int = 1
    """How many layers of each network are reset then."""

    def __post_init__(self):
        require(self, 1, math.inf, "steps", "episodes_per_update", "reset_layers")
        require(self, 0, math.inf, "learning_rate", "warmup", "kept", "reset_every")
        require(self, 0, 0.9, "replay")
        if (self.anchor.needs_states or self.replay) and not self.kept:
            what = f"anchor.kind {self.anchor.kind}" if self.anchor.needs_states else "replay"
            raise HeadstartError(f"{what} needs steps of the source: set kept to at least 1")
        if self.skill is not None and not self.pretrained:
            raise HeadstartError("skill is the number of one of pretrained's: set pretrained too")
        if self.log_std is not None:
            require(self, -math.inf, 0, "log_std")
        self.factors()

    def requires(self) -> Requirements:
        """Raises:
        HeadstartError: a part is named that the learner does not learn, or the learner has a
            memory and states without their history would be learned from.
        """
        if self.pretrained:
            held = self._given.held().parts
            for part in ("policy", "critic"):
                if part in self.learner.parts and part not in {*held, *self.fresh}:
                    raise HeadstartError(
                        f"{self.pretrained} holds no {part} (it holds {', '.join(held)}): name it "
                        "in fresh, so that it starts afresh"
                    )
        factors, learner, who = self.factors(), self.learner, type(self.learner).__name__
        rated = [part for part in learner.parts if part in RATED]
        for part in factors:
            if part not in rated:
                raise unknown(f"part that {who} learns", part, rated)
        if factors.get("statistics", 1.0) not in (0.0, 1.0):
            raise HeadstartError("statistics count or do not: their rate is 0 or 1")
        if self.warmup and "critic" not in learner.parts:
            raise HeadstartError(f"{who} has no critic beside its policy to warm up: set warmup 0")
        if self.reset_every and learner.on_policy:
            raise HeadstartError(
                f"{who} forgets what it learned from, and nothing would train fresh layers again: "
                "set reset_every 0, or use a learner that replays"
            )
        if self.replay and "kept" not in learner.accepts:
            raise HeadstartError(
                f"replay mixes batches with steps of the source, and {who} does not replay: set "
                "replay 0, or use sac or dqn"
            )
        if self.replay and isinstance(learner, OffPolicy):
            kept, length = round(self.replay * learner.windows), learner.length
            if not 1 <= kept < learner.windows or self.kept < learner.num_envs * length:
                raise HeadstartError(
                    f"{100 * self.replay:g} % of a batch of {learner.windows} windows of {length} "
                    f"steps, from {self.kept} kept ones of {learner.num_envs} copies, cannot be "
                    "drawn: change replay, kept or learner.batch_size"
                )
        if self.anchor.needs_states and remembers(learner):
            raise HeadstartError(
                f"anchor.kind {self.anchor.kind} takes states one by one, and the learner has a "
                "memory: use kickstart or l2"
            )
        wanted = {
            "anchor": self.anchor.kind != "none",
            "rates": bool(factors) or self.warmup > 0,
            "kept": self.replay > 0,
        }
        hooks = frozenset(name for name, on in wanted.items() if on)
        alike = self.anchor.needs_states or self.replay > 0
        before = max(self.warmup, self.reset_every)  # something is to be learned after them
        rounds = -(-before // self.episodes_per_update)
        return Requirements(
            source_steps=None if self.pretrained else self.steps,
            episodes=rounds * self.episodes_per_update + 1 if before else 0,
            learns_on_target=True,
            alike=alike,
            hooks=hooks,
        )

    @property
    def afresh(self) -> tuple[str, ...]:
        """All the parts that start afresh."""
        return self.fresh

    @property
    def content(self) -> str:
        return self._given.content if self.pretrained else ""

    def check(self, spec: EnvSpec) -> None:
        if self.pretrained:
            self._given.check(spec)
        named = {*self.fresh, *parsed(self.rates)} - {"optimiser"}  # nobody has to keep one
        learned = learned_in(spec, self.learner) if named else ()
        for part in sorted(named):
            if part not in learned:
                raise unknown(f"part that is learned in {spec.name}", part, learned)

    @property
    def recipe(self) -> str:
        scaled = [
            f"{part} frozen" if not factor else f"{part} at {factor:g} times the rate"
            for part, factor in parsed(self.rates).items()
        ]
        held, layers, every = self.anchor, self.reset_layers, self.reset_every
        skill = "" if self.skill is None else f", skill {self.skill}"
        said = {
            f"every seed from {self.pretrained}{skill}": self.pretrained,
            f"afresh: {', '.join(self.afresh) or 'nothing'}": True,
            **dict.fromkeys(scaled, True),
            f"the critic alone for {self.warmup} episodes": self.warmup,
            f"log σ raised to {self.log_std}, if Gaussian": self.log_std is not None
            and self.learner.on_policy,
            f"held by {held.kind} ({held.weight:g})": held.kind != "none",
            f"{100 * self.replay:g} % of a batch from the source": self.replay,
            f"the last {layers} layers reset every {every} episodes": every,
        }
        return "; ".join(part for part, on in said.items() if on)

    def factors(self) -> dict[str, float]:
        """Of the learning rate, by part."""
        return parsed(self.rates)

    @property
    def pretraining(self) -> Method:
        return self._given if self.pretrained else self.training

    @property
    def _given(self) -> Pretrained:
        return Pretrained(folder=self.pretrained, skill=self.skill, learner=self.learner)

    @property
    @abstractmethod
    def training(self) -> Method:
        """The method whose training in the source is gone on from."""

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        return self.pretraining.pretrain(source, target, key)

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        init_key, improve_key = jax.random.split(key)
        learner = replace(self.learner, learning_rate=self.learning_rate)
        carried = knowledge.without(*self.afresh)
        state: Any = self.begun(learner, carried, learner.init(target.spec, init_key), init_key)
        state = eqx.tree_at(lambda s: s.policy.actor, state, self._raised(state.policy.actor))
        plan = self._plan(knowledge, source, target, jax.random.fold_in(key, 2))
        explores = "policy" not in carried.parts
        return improve(
            learner, target, state, self.episodes_per_update, improve_key, explores, plan
        )

    def _raised(self, actor: AbstractActor) -> AbstractActor:
        """The same, and a Gaussian with a deviation that explores."""
        if self.log_std is None or not isinstance(actor, GaussianActor):
            return actor
        raised = jnp.maximum(actor.log_std, self.log_std) / LOG_STD_RATE
        return eqx.tree_at(lambda a: a.slow_log_std, actor, raised)

    def begun(self, learner: Learner, carried: Knowledge, fresh: State, key: PRNGKeyArray) -> State:
        """The learner's state at the start of adaptation."""
        return learner.graft(carried, fresh)

    def hindsight(self, spec: EnvSpec) -> Hindsight | None:
        """What tells experience other goals, on the target."""
        return None

    def _plan(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Plan:
        """What is added to the learner's updates; may take steps of the source."""
        steps_key, seed_key, anchor_key = jax.random.split(key, 3)
        obs = replay = anchor = None
        if self.anchor.kind != "none" or self.replay:
            policy = policy_from(knowledge, trusted(self.learner))
            if self.anchor.needs_states or self.replay:
                num = self.learner.num_envs
                running = source.at_mean().start(num, seed_from(seed_key))
                row = transition_row(running.spec)
                room = Replay.empty(row, self.kept, num, 1) if self.replay else None
                collector = Collector(running, room)
                kept = collector.collect(policy, -(-self.kept // num), steps_key)
                obs, replay = jax.tree.map(jnp.asarray, rows(kept.steps.obs)), collector.replay
            if self.anchor.kind != "none":
                near = eqx.tree_at(lambda p: p.actor, policy, self._raised(policy.actor))
                anchor = self.anchor.anchor(near, obs, anchor_key)
        total = target.episodes_left or 0
        return Recipe(self, self.factors(), target, total, anchor, replay)

    def moves(self, knowledge: Knowledge, policy: ActorPolicy, source: Domain) -> Moves | None:
        """The ways that the carried policy goes in the source, and its entropy on each."""
        carried = Watched(policy_from(knowledge, trusted(self.learner)))
        if carried.reads != ("state",):
            return None
        running, key = envs.start(source.at_mean(), WAYS, 0), jax.random.key(0)
        played = [
            (seen.obs["state"], seen.step.next_obs["state"], seen.carry.memory[1][seen.rows])
            for seen in play(carried, running, begin(carried, running), key, rounds=1)
        ]
        before, after, entropy = (np.concatenate(column) for column in zip(*played, strict=True))
        actions = running.spec.actions
        uniform = actions.uniform_entropy
        meaning = (
            f"{WAYS} episodes of the carried policy, with drawn actions, coloured by its entropy: "
            f"{uniform:.2f} nats are those of actions uniformly at random. A policy that explores "
            "goes many ways; one that has settled goes one."
        )
        limits = 0.0 if actions.discrete else uniform - 3 * actions.width, uniform
        return Moves("entropy (nats)", meaning, before, after, entropy, limits, "viridis")


def learned_in(spec: EnvSpec, learner: Learner) -> tuple[str, ...]:
    """A learner's parts, without those that it has for other observations than these."""
    seeing = {encoder.part for encoder in encoders_in(spec, learner).values()}
    if PRIVILEGED in spec.groups and learner.on_policy:  # others' critics read it as it is
        seeing.add("statistics")
    absent = {"statistics", "encoder"} - seeing
    return tuple(part for part in learner.parts if part not in absent)


def encoders_in(spec: EnvSpec, learner: Learner) -> dict[str, AbstractEncoder]:
    """What a learner's policy would read each group of these observations through."""
    begun = jax.eval_shape(lambda key: learner.policy(learner.init(spec, key)), jax.random.key(0))
    return begun.encoders.by_group


def parsed(rates: Sequence[str]) -> dict[str, float]:
    """Factors by part, from part=factor.

    Raises:
        HeadstartError: one is not part=factor.
    """
    found: dict[str, float] = {}
    for item in rates:
        part, _, factor = item.partition("=")
        try:
            found[part] = float(factor)
        except ValueError:
            raise HeadstartError(
                f"rates are given as part=factor, as in encoder=0, got {item!r}"
            ) from None
        if not 0 <= found[part] < math.inf:
            raise HeadstartError(f"a factor of the learning rate is at least 0, got {item!r}")
    return found


@dataclass
class Recipe(Plain):
    """What fine-tuning does to the learner's updates as episodes go by."""

    method: FineTuning
    factors: dict[str, float]
    target: Target
    total: int
    """Episodes in all."""
    anchor: Anchor | None
    kept: Replay | None

    def __post_init__(self):
        self.resets = 0

    def hooks(self, share: float) -> Hooks:
        """Of the next updates, after a share of the target's episodes."""
        anchor: Any = self.anchor
        if anchor is not None:
            weight = jnp.float32(self.method.anchor.weight_at(share))
            anchor = eqx.tree_at(lambda a: a.weight, anchor, weight)
        return Hooks(
            anchor=anchor,
            rates=self._rates(round(share * self.total) < self.method.warmup),
            kept=self.kept,
            kept_share=self.method.replay,
            hindsight=self.method.hindsight(self.target.spec),
        )

    def _rates(self, warming: bool) -> Rates | None:
        if not self.factors and not self.method.warmup:
            return None
        factors = {k: jnp.float32(v) for k, v in self.factors.items() if k != "statistics"}
        if warming:
            factors |= dict.fromkeys(("policy", "encoder", "temperature"), jnp.float32(0.0))
        every = {name: jnp.float32(1.0) for name in ("policy", "critic", "encoder", "temperature")}
        counts = self.factors.get("statistics", 1.0) > 0 and not warming
        return Rates(**(every | factors), statistics=counts)

    def before(self, state: State, episodes: int, key: PRNGKeyArray) -> State:
        """The state to be updated after so many episodes: its last layers fresh, if it is time."""
        every = self.method.reset_every
        if not every or episodes // every == self.resets:
            return state
        self.resets = episodes // every
        spec, layers = self.target.spec, self.method.reset_layers
        return with_fresh_layers(self.method.learner, state, spec, layers, key)
