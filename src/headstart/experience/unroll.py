"""A policy in environments: the one loop on the host, and its compiled counterpart.

Nothing else in Headstart steps an environment. `play` yields what happens step by step; `unroll`
takes a number of steps of every copy, in compiled code where the environment is written in JAX;
`episodes` takes whole ones.
"""

# JAX's arrays and trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart.envs.spec import Obs
from headstart.envs.vector_env import Scanned, Step, TimeStep, VectorEnv
from headstart.experience.transition import Episodes, Rollout, Transition, narrowed
from headstart.policies.memory import Memory
from headstart.policies.policy import AbstractPolicy, act, step_policy
from headstart.pytree import PyTree


class Carry(NamedTuple):
    """Where a policy stands in its environments, between two steps."""

    told: TimeStep
    memory: Memory


class Played(NamedTuple):
    """One step of the copies that are under way."""

    rows: np.ndarray
    """Which copies they are; the other fields have one row for each."""
    obs: Obs
    action: np.ndarray
    step: Step
    carry: Carry
    """Of all copies, to go on from."""


def nothing_told(envs: VectorEnv) -> TimeStep:
    """Zeros in the place of what is told of every copy, and that an episode begins."""
    actions = envs.spec.actions
    return TimeStep(
        {name: np.zeros((envs.num, *g.shape), g.dtype) for name, g in envs.spec.groups.items()},
        np.zeros((envs.num, *actions.shape), actions.dtype),
        np.zeros(envs.num, np.float32),
        np.ones(envs.num, bool),
    )


def begin(policy: AbstractPolicy, envs: VectorEnv) -> Carry:
    """Every copy at the start of an episode."""
    return Carry(nothing_told(envs)._replace(obs=envs.reset()), policy.initial(envs.num))


def play(
    policy: AbstractPolicy,
    envs: VectorEnv,
    carry: Carry,
    key: PRNGKeyArray | None,
    rounds: int | None = None,
) -> Iterator[Played]:
    """Step a policy through environments, as long as somebody asks for the next step.

    Args:
        policy: who acts.
        envs: where.
        carry: where they stand, as `begin` or an earlier step left it.
        key: for sampled actions; the most likely ones without.
        rounds: the episodes of each copy, after which it rests; if not given, copies go on for
            ever, and one step is of all of them.
    """
    told, memory = carry
    live = np.arange(envs.num)
    left = np.full(envs.num, rounds or 0)
    if rounds is not None:
        told = jax.tree.map(np.array, told)  # rows of it are replaced in place
    t = 0
    while len(live):
        shown = {name: narrowed(group) for name, group in told.obs.items()}
        chosen, memory = act(policy, told._replace(obs=shown), memory, key, t)
        action = np.asarray(chosen)
        if rounds is None:
            step = envs.step(action)
            obs, ended = told.obs, step.terminated | step.truncated
            told = TimeStep(step.obs, action, np.float32(step.reward), ended)
            yield Played(live, obs, action, step, Carry(told, memory))
        else:
            action = action[live]
            step = envs.step(action, live)
            ended = step.terminated | step.truncated
            obs = {name: group[live] for name, group in told.obs.items()}
            _put(told, live, TimeStep(step.next_obs, action, step.reward, ended))
            yield Played(live, obs, action, step, Carry(told, memory))
            over = live[ended]
            if len(over):
                left[over] -= 1
                again = over[left[over] > 0]
                if len(again):
                    _put(told.obs, again, envs.reset(again))
                live = np.flatnonzero(left > 0)
        t += 1


def unroll(
    policy: AbstractPolicy,
    envs: VectorEnv,
    carry: Carry,
    steps: int,
    key: PRNGKeyArray | None,
    spent: Rollout | None = None,
) -> tuple[Rollout, Carry]:
    """`steps` steps of every copy, and where they stand then.

    The same but for rounding, whether it is the host that steps or compiled code. A policy that
    takes over from one of another kind remembers nothing yet. `spent` is a rollout of
    these copies that nobody reads any more: what they observe is written over it, which is faster
    than to ask for new memory, and what it held is gone.
    """
    told, memory = carry
    initial = policy.initial(envs.num)
    if jax.tree.structure(memory) != jax.tree.structure(initial):
        memory = initial
    free = None if spent is None else Scanned(*spent.steps)
    scanned = envs.scan(step_policy, policy, told, memory, steps, key, free)
    if scanned is not None:
        columns, then, remembered = scanned
        after = Carry(then, remembered)
    else:
        played, after = [], carry
        for seen in play(policy, envs, Carry(told, memory), key):
            played.append((seen.obs, seen.action, *seen.step[:4]))
            after = seen.carry
            if len(played) == steps:
                break
        columns = jax.tree.map(lambda *rows: narrowed(np.stack(rows)), *played)
    taken = Transition(*columns)
    return Rollout(taken, told.begins, told.last_action, told.last_reward, memory), after


def episodes(
    policy: AbstractPolicy,
    envs: VectorEnv,
    rounds: int = 1,
    key: PRNGKeyArray | None = None,
) -> Episodes:
    """Exactly `rounds` episodes in every copy, from reset to end: none is favoured for its length.

    Actions are sampled with `key`, or the most likely ones without.
    """
    played = [
        (seen.rows, seen.obs, seen.action, *seen.step[:4])
        for seen in play(policy, envs, begin(policy, envs), key, rounds)
    ]
    copies, *columns = jax.tree.map(lambda *rows: np.concatenate(rows), *played)
    order = np.argsort(copies, kind="stable")  # by copy, and in time within each
    steps = Transition(*jax.tree.map(lambda column: column[order], tuple(columns)))
    ends = np.flatnonzero(steps.terminated | steps.truncated)
    return Episodes(steps, starts=np.concatenate([[0], ends + 1]))


def returns(
    policy: AbstractPolicy,
    envs: VectorEnv,
    rounds: int = 1,
    key: PRNGKeyArray | None = None,
    watch: Callable[[Played], None] = lambda seen: None,
) -> np.ndarray:
    """The return of each copy's episodes, `[copies, rounds]`: with actions that are drawn by `key`,
    or else with the most likely ones. `watch` is shown every step."""
    total = np.zeros((envs.num, rounds))
    finished = np.zeros(envs.num, int)
    for seen in play(policy, envs, begin(policy, envs), key, rounds):
        watch(seen)
        total[seen.rows, finished[seen.rows]] += seen.step.reward
        finished[seen.rows[seen.step.terminated | seen.step.truncated]] += 1
    return total


def seed_from(key: PRNGKeyArray) -> int:
    """A seed for NumPy from a JAX key."""
    return int(jax.random.randint(key, (), 0, 2**31 - 1))


def _put(arrays: PyTree, rows: np.ndarray, new: PyTree) -> None:
    """Replace rows of every array in place."""
    for array, value in zip(jax.tree.leaves(arrays), jax.tree.leaves(new), strict=True):
        array[rows] = value
