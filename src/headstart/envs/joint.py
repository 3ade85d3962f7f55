"""The joint MDP of several environments: which one an episode is of is a parameter, `task`.

Where their spaces differ they are joined: observations and actions are padded to the largest, and
two groups are added: `mask` tells the entries (of images, the channels) that the environment of the
episode has, and `action_mask` the actions that there are to choose from.
"""

# Gymnasium's spaces and JAX's trees leave types of theirs unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, PRNGKeyArray

from headstart.envs.environment import Environment
from headstart.envs.goals import Goals
from headstart.envs.jax_env import JaxEnvironment, element
from headstart.envs.ledger import Tally
from headstart.envs.spec import (
    ACTION_MASK,
    DRAWN,
    MASK,
    Actions,
    Group,
    Obs,
    actions_of,
    grouped,
    groups_of,
)
from headstart.envs.vector_env import (
    AbstractVectorEnv,
    Step,
    below,
    rng_from_array,
    rng_to_array,
    with_rows,
)
from headstart.errors import HeadstartError, SimulationError
from headstart.problem.domain import TASK, Domain, labels_of
from headstart.problem.parameter import Parameter
from headstart.pytree import PyTree

LONGEST = 2**31 - 1
"""Steps that an episode in compiled code may be told to have."""


@dataclass(frozen=True)
class Joint(Environment):
    """What both kinds of joint environments declare."""

    environments: tuple[Environment, ...]
    tasks: tuple[Domain, ...]
    """The domains, at nominal parameters, that the environments are of."""

    @property
    def name(self) -> str:
        return "+".join(self.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        return labels_of(self.tasks)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        texts = tuple((float(k), task.text) for k, task in enumerate(self.tasks) if task.text)
        last = len(self.tasks) - 1.0
        task = Parameter(
            0.0, 0.0, last, "1", ", ".join(f"{k}: {label}" for k, label in enumerate(self.labels)),
            integer=True, form="one-hot", texts=texts,
        )  # fmt: skip
        own = {
            f"{label}.{name}": replace(parameter, task=k)
            for k, (label, environment) in enumerate(
                zip(self.labels, self.environments, strict=True)
            )
            for name, parameter in environment.parameters.items()
        }
        return {TASK: task, **own}

    @cached_property
    def horizons(self) -> tuple[int, ...]:
        """Of each environment."""
        pairs = zip(self.tasks, self.environments, strict=True)
        return tuple(task.horizon or environment.horizon for task, environment in pairs)

    @property
    def horizon(self) -> int:
        return max(self.horizons)

    @property
    def dt(self) -> float:
        return self.environments[0].dt

    @property
    def observation_names(self) -> tuple[str, ...]:
        return self.environments[0].observation_names if self._same_observations else ()

    @property
    def action_names(self) -> tuple[str, ...]:
        return self.environments[0].action_names if self._same_actions else ()

    @property
    def goals(self) -> Goals | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Where all have the same."""
        first, *others = self.environments
        alike = all(other.goals == first.goals for other in others)
        return first.goals if alike and self._same_observations else None

    @cached_property
    def _same_observations(self) -> bool:
        first, *others = self.environments
        names = all(other.observation_names == first.observation_names for other in others)
        same = all(other.observation_space == first.observation_space for other in others)
        return same and names and self._same_actions

    @cached_property
    def _same_actions(self) -> bool:
        first, *others = self.environments
        names = all(other.action_names == first.action_names for other in others)
        return names and all(other.action_space == first.action_space for other in others)

    @cached_property
    def _groups(self) -> list[dict[str, Group]]:
        """Of each environment."""
        return [groups_of(e.name, e.observation_space) for e in self.environments]

    @cached_property
    def _actions(self) -> list[Actions]:
        """Of each environment."""
        return [actions_of(e.name, e.action_space) for e in self.environments]

    @cached_property
    def padded(self) -> dict[str, tuple[int, ...]]:
        """The shape of every group that is large enough for all of them."""
        return {
            name: tuple(np.max([groups[name].shape for groups in self._groups], axis=0).tolist())
            for name in self._groups[0]
        }

    @cached_property
    def masks(self) -> list[dict[str, np.ndarray]]:
        """What each environment tells besides, of which entries and actions it has."""
        found: list[dict[str, np.ndarray]] = [{} for _ in self.environments]
        if any(
            groups[n].shape != size for groups in self._groups for n, size in self.padded.items()
        ):
            for own, groups in zip(found, self._groups, strict=True):
                there = [np.arange(s[-1]) < groups[n].shape[-1] for n, s in self.padded.items()]
                own[MASK] = np.concatenate(there).astype(np.float32)
        if isinstance(self.action_space, spaces.Discrete) and not self._same_actions:
            most = np.arange(self.action_space.n)
            for own, actions in zip(found, self._actions, strict=True):
                own[ACTION_MASK] = (most < actions.choices[0]).astype(np.float32)
        return found

    @cached_property
    def observation_space(self) -> spaces.Space[Any]:  # pyright: ignore
        if self._same_observations:
            return self.environments[0].observation_space
        _check_joinable(self.labels, self._groups)
        by_name: dict[str, spaces.Space[Any]] = {}
        for name, shape in self.padded.items():
            kinds = [groups[name] for groups in self._groups]
            if kinds[0].kind == "image":
                by_name[name] = spaces.Box(0, 255, shape, np.uint8)
            elif kinds[0].kind == "choice":
                by_name[name] = spaces.MultiDiscrete(np.max([g.choices for g in kinds], axis=0))
            else:
                by_name[name] = spaces.Box(-np.inf, np.inf, shape, np.float32)
        for name, mask in self.masks[0].items():
            by_name[name] = spaces.Box(0.0, 1.0, mask.shape, np.float32)
        return spaces.Dict(by_name)

    @cached_property
    def action_space(self) -> spaces.Space[Any]:  # pyright: ignore
        if self._same_actions:
            return self.environments[0].action_space
        if all(isinstance(e.action_space, spaces.Discrete) for e in self.environments):
            return spaces.Discrete(max(one.choices[0] for one in self._actions))
        if all(isinstance(e.action_space, spaces.Box) for e in self.environments):
            return spaces.Box(-1.0, 1.0, (max(one.width for one in self._actions),), np.float32)
        pairs = zip(self.labels, self._actions, strict=True)
        listed = ", ".join(f"{label} takes {actions}" for label, actions in pairs)
        raise HeadstartError(
            f"a mixture's actions are all one choice, or all numbers, or all the same: {listed}"
        )

    def joined(self, task: int, groups: Mapping[str, Any], xp: Any = np) -> dict[str, Any]:
        """Rows of one environment's groups as those of all, padded with zeros and with masks."""
        if self._same_observations:
            return dict(groups)
        rows = len(next(iter(groups.values())))
        found = {
            name: xp.pad(
                groups[name],
                [(0, 0), *((0, n - m) for n, m in zip(shape, groups[name].shape[1:], strict=True))],
            )
            for name, shape in self.padded.items()
        }
        masks = {n: xp.broadcast_to(m[None], (rows, *m.shape)) for n, m in self.masks[task].items()}
        return found | masks

    def own_action(self, task: int, action: Any, xp: Any = np) -> Any:
        """Rows of a policy's actions as one environment's policy would choose them."""
        if self._same_actions:
            return action
        own = self._actions[task]
        return xp.minimum(action, own.choices[0] - 1) if own.discrete else action[:, : own.width]

    @cached_property
    def columns(self) -> list[list[int]]:
        """Which of the parameters are those of each environment."""
        tasks = [p.task for p in self.parameters.values()]
        return [[i for i, t in enumerate(tasks) if t == k] for k in range(len(self.tasks))]


def joint(tasks: tuple[Domain, ...], environments: Sequence[Environment]) -> Joint:
    """The joint environment of some, in JAX if they all are.

    Raises:
        HeadstartError: their spaces cannot be joined.
    """
    compiled = all(isinstance(environment, JaxEnvironment) for environment in environments)
    kind: Any = JointJaxEnvironment if compiled else JointHostEnvironment
    made: Joint = kind(tuple(environments), tasks)
    _ = made.observation_space, made.action_space
    return made


class JointJaxEnvironment(Joint, JaxEnvironment):
    """Its state is that of every environment, of which one is under way."""

    def reset(self, p: Mapping[str, Array], key: PRNGKeyArray) -> PyTree:
        return tuple(e.reset(self._own(k, p), key) for k, e in self._each())

    def step(
        self, state: PyTree, action: Array, p: Mapping[str, Array], key: PRNGKeyArray
    ) -> tuple[PyTree, Array, Array]:
        def stepped(k: int, environment: JaxEnvironment) -> Any:
            own = action
            if not self._same_actions:
                own = self.own_action(k, action[None], jnp)
                own = element(environment.action_space, own)[0]
            after, reward, over = environment.step(state[k], own, self._own(k, p), key)
            states = (*state[:k], after, *state[k + 1 :])
            return states, jnp.float32(reward), jnp.bool_(over)

        return self._switch(p, stepped)

    def observe(self, state: PyTree, p: Mapping[str, Array], key: PRNGKeyArray) -> PyTree:
        def observed(k: int, environment: JaxEnvironment) -> PyTree:
            obs = environment.observe(state[k], self._own(k, p), key)
            if self._same_observations:
                return obs
            groups = grouped(environment.observation_space, obs, jnp)
            rows = {name: jnp.asarray(group)[None] for name, group in groups.items()}
            return {name: group[0] for name, group in self.joined(k, rows, jnp).items()}

        return self._switch(p, observed)

    def limit(self, p: Mapping[str, Array]) -> Array:
        def own(k: int, environment: JaxEnvironment) -> Array:
            limit = environment.limit(self._own(k, p))
            limit = min(limit, LONGEST) if isinstance(limit, int) else limit
            return jnp.minimum(jnp.asarray(limit, jnp.int32), min(self.horizons[k], LONGEST))

        return self._switch(p, own)

    def picture(self, state: PyTree, p: Mapping[str, float]) -> np.ndarray | Array | None:
        k = int(p[TASK])
        drawn: Any = {name: jnp.float32(value) for name, value in p.items()}
        own = {name: float(value) for name, value in self._own(k, drawn).items()}
        return cast(JaxEnvironment, self.environments[k]).picture(state[k], own)

    def _each(self) -> list[tuple[int, JaxEnvironment]]:
        return list(enumerate(cast(tuple[JaxEnvironment, ...], self.environments)))

    def _own(self, task: int, p: Mapping[str, Array]) -> dict[str, Array]:
        label = self.labels[task]
        return {name: p[f"{label}.{name}"] for name in self.environments[task].parameters}

    def _switch(self, p: Mapping[str, Array], of: Any) -> Any:
        """What is computed of the environment under way; `of` is called with each."""
        branches = [lambda k=k, e=e: of(k, e) for k, e in self._each()]
        return jax.lax.switch(p[TASK].astype(int), branches)


class JointHostEnvironment(Joint):
    """One of whose environments, at least, is stepped on the host."""

    def start(
        self, domain: Domain, num: int, seed: int, expert: str | None = None
    ) -> "JointVectorEnv":
        return JointVectorEnv(self, domain, num, seed, expert)


class JointVectorEnv(AbstractVectorEnv):
    """For each of its environments, as many copies as there are episodes at once: copy `i` is copy
    `i` of the environment that its episode is of, and the others wait."""

    environment: Joint

    def __init__(self, environment: Joint, domain: Domain, num: int, seed: int, expert: str | None):
        self._inner: list[AbstractVectorEnv] = []
        super().__init__(environment, domain, num, seed, expert)
        self._task = domain.parameters.get(TASK)
        for k, own in enumerate(domain.apart()):
            running = environment.environments[k].start(own, num, seed + k)
            running.tally = Tally()  # what it steps is counted here
            self._inner.append(running)
        self._age = np.zeros(num, np.int64)
        self._over = np.ones(num, bool)
        self._read_values()

    @property
    def age(self) -> np.ndarray:
        return self._age

    def reseed(self, seed: int) -> None:
        super().reseed(seed)
        for k, running in enumerate(self._inner):
            running.reseed(seed + k)

    def pin(self, values: np.ndarray) -> None:
        super().pin(values)
        self._pin_each()

    def _pin_each(self) -> None:
        for k, running in enumerate(self._inner):
            every = self.values[:, self.environment.columns[k]]
            running.pin(every[:, running.columns])

    def reset(self, rows: np.ndarray | None = None) -> Obs:
        rows = np.arange(self.num) if rows is None else rows
        if DRAWN in self._told and not self._pinned:  # all parameters are drawn together
            drawn = self._distribution.sample(self._rng, len(rows))
            self.values[rows[:, None], self.columns] = drawn
            self._pin_each()
        elif not self._pinned and self._task is not None:
            self.values[rows, 0] = self._task.sample(self._rng, len(rows))
        self._age[rows], self._over[rows] = 0, False
        found = self._gathered(rows, lambda k, own, at: self._inner[k].reset(own))
        self._read_values()
        return found | self._shown(rows)

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Step:
        """As in `VectorEnv`.

        Raises:
            SimulationError: an episode was over, or one of the environments raised.
        """
        stepped = np.arange(self.num) if rows is None else rows
        if self._over[stepped].any():
            raise SimulationError("an episode that has ended must be reset before its next step")
        self.tally.steps += len(stepped)
        reward = np.zeros(len(stepped))
        terminated, truncated = (np.zeros(len(stepped), bool) for _ in range(2))
        succeeded = np.full(len(stepped), np.nan)

        def taken(k: int, own: np.ndarray, at: np.ndarray) -> Obs:
            chosen = self.environment.own_action(k, action[at])
            step = self._inner[k].step(chosen, own)
            reward[at], terminated[at], truncated[at] = step.reward, step.terminated, step.truncated
            if step.succeeded is not None:
                succeeded[at] = step.succeeded
            return step.next_obs

        next_obs = self._gathered(stepped, taken) | self._shown(stepped)
        self._age[stepped] += 1
        truncated = (truncated | (self._age[stepped] >= self.spec.horizon)) & ~terminated
        obs, ended = next_obs, np.flatnonzero(terminated | truncated)
        self._over[stepped[ended]] = True
        if rows is None and len(ended):
            obs = with_rows(next_obs, ended, self.reset(ended))
        return Step(reward, next_obs, terminated, truncated, obs, succeeded)

    def state(self) -> dict[str, np.ndarray]:
        own = {"values": self.values, "age": self._age, "over": self._over}
        own["rng"] = rng_to_array(self._rng)
        inner = enumerate(self._inner)
        return own | {
            f"{k}.{n}": array for k, running in inner for n, array in running.state().items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.values[:], self._age[:], self._over[:] = (state[n] for n in ("values", "age", "over"))
        self._rng = rng_from_array(state["rng"])
        for k, running in enumerate(self._inner):
            running.restore(below(f"{k}.", state))
        self.alike = all(running.alike for running in self._inner)

    def picture(self) -> np.ndarray | None:
        return self._inner[int(self.values[0, 0])].picture()

    def _gathered(self, rows: np.ndarray, of: Any) -> Obs:
        """The groups of some copies, each from its environment: `of(k, own, at)` gives those of
        environment `k` and its copies `own`, which are the ones at places `at` among the rows."""
        tasks = self.values[rows, 0].astype(int)
        found: Obs = {}
        for k in np.unique(tasks):
            at = np.flatnonzero(tasks == k)
            for name, group in self.environment.joined(int(k), of(int(k), rows[at], at)).items():
                if name not in found:
                    found[name] = np.zeros((len(rows), *group.shape[1:]), group.dtype)
                found[name][at] = group
        return found

    def _read_values(self) -> None:
        for k, running in enumerate(self._inner):
            self.values[:, self.environment.columns[k]] = running.values


def _check_joinable(labels: Sequence[str], found: Sequence[Mapping[str, Group]]) -> None:
    """Raises:
    HeadstartError: two environments do not observe the same groups, or not of the same kind.
    """
    for label, groups in zip(labels, found, strict=True):
        same = groups.keys() == found[0].keys() and all(
            group.kind == found[0][name].kind and len(group.shape) == len(found[0][name].shape)
            and (group.kind != "choice" or group.shape == found[0][name].shape)
            for name, group in groups.items()
        )  # fmt: skip
        if not same or {MASK, ACTION_MASK} & groups.keys():
            one, other = (
                ", ".join(f"{name} ({group})" for name, group in sorted(it.items()))
                for it in (found[0], groups)
            )
            raise HeadstartError(
                f"a mixture's observations are joined group by group, and {labels[0]} shows {one}, "
                f"but {label} {other}: wrap one of them so that both show groups of the same names "
                "and kinds"
            )
