"""Training any learner on a source, for a number of steps."""

# JAX's arrays and trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.envs.goals import ACHIEVED, DESIRED
from headstart.envs.spec import DRAWN
from headstart.envs.vector_env import VectorEnv
from headstart.experience.curriculum import Curriculum
from headstart.experience.hindsight import Hindsight
from headstart.experience.looks import Disguised, Looks, as_shown
from headstart.experience.replay import Replay, added, check_executed, transition_row
from headstart.experience.source import Source, Target, Trainable
from headstart.experience.transforms import BatchTransform
from headstart.experience.transition import Rollout
from headstart.experience.unroll import (
    Carry,
    begin,
    episodes,
    nothing_told,
    seed_from,
    unroll,
)
from headstart.knowledge import Knowledge, grouped, joined, leaves, load_leaves
from headstart.learners.learner import (
    AuxiliaryLoss,
    Hooks,
    Learner,
    OnPolicyLearner,
    Progress,
    State,
    check_accepts,
    check_learning,
)
from headstart.policies.networks import rows
from headstart.policies.policy import AbstractPolicy

LOGGED_EVERY = 1024
"""Steps, at least, between two rows of the log."""

EpisodeWeights = Callable[[np.ndarray], np.ndarray]
"""From the returns of a set of episodes, a weight for each."""


def train(
    learner: Learner,
    source: Trainable,
    steps: int,
    key: PRNGKeyArray,
    *,
    state: State = None,
    knowledge: Knowledge | None = None,
    auxiliary: AuxiliaryLoss | None = None,
    transform: BatchTransform | None = None,
    target: Target | None = None,
    weights: EpisodeWeights | None = None,
    looks: Looks | None = None,
    hindsight: Hindsight | None = None,
    curriculum: Curriculum | None = None,
    stage: int = 0,
    span: tuple[float, float] = (0.0, 1.0),
) -> State:
    """Train for at least `steps` steps, going on from the checkpoint if there is one.

    Experience comes in rollouts of running copies. With `weights` it comes as whole episodes
    instead, one of every copy, and the policy's loss is weighted by episode.

    Args:
        learner: what learns.
        source: where; its steps are counted there.
        steps: of the source, at least.
        key: of all that is drawn.
        state: to go on from; a fresh one if not given.
        knowledge: what a fresh one starts from, if it knows something.
        auxiliary: a further loss on the encoders.
        transform: changes batches by what is seen of `target`, stepped as often as it says.
        target: for a transform.
        weights: of episodes, from their returns.
        looks: what the policy is shown, and learns from, in place of what is there.
        hindsight: tells experience other goals than it was gathered for.
        curriculum: draws the tasks of the source by how they go.
        stage: the number of this training in a method that trains several times, so that a
            checkpoint is resumed in its own.
        span: which part of a longer training this one is, for schedules.

    Returns:
        the learner's state.

    Raises:
        HeadstartError: the learner does not know a hook, or does not suit the source.
        ValueError: a transform that compares without a target, or the reverse; looks with
            weights or a target; a curriculum elsewhere than in the source, or with weights.
    """
    start_key, seed_key, run_key, transform_key, target_key = jax.random.split(key, 5)
    hooks = Hooks(auxiliary, transform, hindsight=hindsight)
    wanted = hooks.wanted if weights is None else hooks.wanted | {"weights"}
    check_accepts(learner, wanted, "this training")
    if (target is not None) != (transform is not None and transform.compares):
        raise ValueError("a transform that compares and a target come together")
    if looks is not None and (weights is not None or target is not None):
        raise ValueError("looks are of the source's rollouts: give no weights and no target too")
    copies = learner.num_envs, seed_from(seed_key), learner.expert
    if curriculum is None:
        collector = Collector(source.start(*copies))
    elif isinstance(source, Source) and weights is None:
        collector = Collector(source.start(*copies, curriculum), curriculum=curriculum)
    else:
        raise ValueError("a curriculum draws tasks of the source, and goes by its rollouts")
    spec = collector.envs.spec
    if state is None:
        state = learner.init(spec, start_key, hooks, steps)
        state = state if knowledge is None else learner.graft(knowledge, state)
    reference = None
    if transform is not None:
        state = state.with_transform(transform.init(spec, transform_key))
    if transform is not None and target is not None:
        kept = max(transform.reference_steps(steps), 1)
        envs = target.start(learner.num_envs, seed_from(target_key))
        row = transition_row(envs.spec)
        replay = Replay.empty(row, kept, learner.num_envs, learner.rollout_length)
        reference = Collector(envs, replay)
    collectors = [collector] if reference is None else [collector, reference]
    checkpointer = source.checkpointer
    saved = checkpointer.load()
    iteration, first, done = 0, source.steps, 0
    log: dict[str, Any] = {}
    if saved is not None and int(saved["loop/stage"]) > stage:
        return state
    if saved is not None and int(saved["loop/stage"]) == stage:
        checkpointer.restore([c.envs for c in collectors])
        groups = grouped(saved)
        state = load_leaves(state, groups["learner"], "the checkpoint")
        iteration, first, acted = (int(groups["loop"][n]) for n in ("iteration", "first", "acted"))
        acting = learner.behaviour(state, Progress(acted, steps, span))
        log |= groups.get("log", {})
        for number, c in enumerate(collectors):
            c.restore(groups[f"collector{number}"], acting)
    done = source.steps - first
    began, began_at = time.monotonic(), done
    while done < steps:
        progress = Progress(done, steps, span)
        act_key, *target_act_key, update_key = jax.random.split(
            jax.random.fold_in(run_key, iteration), 3 if "transform" in learner.accepts else 2
        )
        policy = learner.behaviour(state, progress)
        if looks is not None:
            look_key, act_key = jax.random.split(act_key)
            look = looks(collector.envs.num, look_key)
            rollout = collector.collect(Disguised(policy, look), learner.rollout_length, act_key)
            rollout = as_shown(rollout, look)
        elif weights is None:
            rollout = collector.collect(policy, learner.rollout_length, act_key)
        else:
            tried = episodes(policy, collector.envs, key=act_key)
            collector.ended += tried.returns.tolist()
            rollout = cast(OnPolicyLearner, learner).arranged(tried, weights(tried.returns))
        before, done = done, source.steps - first
        if transform is not None:
            state = state.with_transform(transform.witness(state.transform, rollout))
        if transform is not None and target is not None and reference is not None:
            upto = min(done, steps)
            while target.steps + rollout.steps.reward.size <= transform.reference_steps(upto):
                share = jax.random.fold_in(target_act_key[0], target.steps)
                fresh = reference.collect(policy, learner.rollout_length, share)
                log |= transform.measure(state.transform, rollout.steps, fresh.steps)
            hooks = replace(hooks, reference=reference.replay)
        due = done % LOGGED_EVERY < done - before or done >= steps
        if auxiliary is not None and due:
            shown = jax.tree.map(jnp.asarray, rows(rollout.steps.obs))
            log |= auxiliary.measure(state.auxiliary, state.policy.encoders, shown)
        state, learned = learner.update(state, rollout, progress, hooks, update_key)
        log |= learned
        iteration += 1
        if due:
            check_learning(log, source.steps)
            taken = {} if reference is None or target is None else {"target_steps": target.steps}
            source.log(
                steps=source.steps,
                episodes=source.episodes,
                **taken,
                train_return=collector.mean_return(),
                **{name: float(value) for name, value in log.items()},
                steps_per_second=round((done - began_at) / (time.monotonic() - began)),
            )
            log = {}
        source.progress(done, steps)
        if checkpointer.due() and done < steps:
            loop = {"iteration": iteration, "first": first, "acted": before, "stage": stage}
            arrays = {"learner": leaves(state), "loop": loop, "log": log}
            arrays |= {f"collector{i}": c.state() for i, c in enumerate(collectors)}
            checkpointer.save(joined(arrays), [c.envs for c in collectors])
    return state


@dataclass
class Collector:
    """Running copies of a domain, and where a policy stands in them."""

    envs: VectorEnv
    replay: Replay | None = None
    """What is remembered of them, if anything is."""
    curriculum: Curriculum | None = None
    """What draws their tasks, and is told how they went."""

    def __post_init__(self):
        self.carry: Carry | None = None
        self.running = np.zeros(self.envs.num)
        self.ended: list[float] = []
        self.last: Rollout | None = None

    def collect(self, policy: AbstractPolicy, steps: int, key: PRNGKeyArray) -> Rollout:
        """`steps` steps of every copy, to be read until the next are collected."""
        carry = begin(policy, self.envs) if self.carry is None else self.carry
        spent, self.last = self.last, None
        rollout, self.carry = unroll(policy, self.envs, carry, steps, key, spent)
        self.last = rollout
        if self.replay is not None:
            check_executed(rollout)
            self.replay = added(self.replay, rollout.steps)
        over = np.asarray(rollout.steps.terminated | rollout.steps.truncated)
        returns = self._count(np.asarray(rollout.steps.reward), over)
        if self.curriculum is not None:
            goals, went = self.envs.spec.goals, returns
            if goals is not None:
                ends = (rollout.steps.next_obs[name][over] for name in (ACHIEVED, DESIRED))
                went = goals.success(*map(jnp.asarray, ends))
            drawn = np.asarray(rollout.steps.next_obs[DRAWN])
            self.curriculum.learn(drawn, over, np.asarray(went, float))
        return rollout

    def _count(self, rewards: np.ndarray, over: np.ndarray) -> np.ndarray:
        """The returns of episodes that end, in the order of their ends."""
        before = len(self.ended)
        for reward, ends in zip(rewards, over, strict=True):
            self.running += reward
            if ends.any():
                self.ended += self.running[ends].tolist()
                self.running[ends] = 0.0
        return np.array(self.ended[before:])

    def mean_return(self) -> float | None:
        """Of the episodes that ended since the last call; nothing if none did."""
        ended, self.ended = self.ended, []
        return float(np.mean(ended)) if ended else None

    def state(self) -> dict[str, np.ndarray]:
        """All that it goes on from, but for its environments."""
        own = {"running": self.running, "ended": np.array(self.ended)}
        groups = {"own": own, "carry": leaves(self.carry), "replay": leaves(self.replay)}
        if self.curriculum is not None:
            groups["curriculum"] = self.curriculum.state()
        return joined(groups)

    def restore(self, state: dict[str, np.ndarray], policy: AbstractPolicy) -> None:
        """Go on from `state`; the policy says what is remembered."""
        groups = grouped(state)
        self.running, self.ended = groups["own"]["running"], groups["own"]["ended"].tolist()
        self.replay = load_leaves(self.replay, groups.get("replay", {}), "the checkpoint")
        if self.curriculum is not None:
            self.curriculum.restore(groups["curriculum"])
        if "carry" in groups:
            blank = Carry(nothing_told(self.envs), policy.initial(self.envs.num))
            self.carry = load_leaves(blank, groups["carry"], "the checkpoint")
