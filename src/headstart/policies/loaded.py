"""A policy outside of Headstart: from an observation of the environment's to its action."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from headstart.envs.context import Told
from headstart.envs.spec import CONTEXT, SKILL, Obs, observed
from headstart.envs.vector_env import TimeStep
from headstart.errors import HeadstartError, unknown
from headstart.policies.policy import TAKE_OUT_ONE, ActorPolicy, act
from headstart.problem.domain import TASK


class LoadedPolicy:
    """What was learned, acting in one environment of its user's.

        policy = headstart.load("runs/cheetah/finetune/0/adapted")
        obs, _ = env.reset()
        policy.reset()
        obs, reward, terminated, truncated, _ = env.step(policy(obs))

    Actions are the most likely ones, in the environment's own space and bounds.

    Args:
        policy: what acts.

    Raises:
        HeadstartError: it is one of many skills, or what it was saved with does not say what the
            environment takes.
    """

    def __init__(self, policy: ActorPolicy):
        groups = dict(policy.groups)
        self._policy = policy
        self._told: tuple[Told, ...] = ()
        if CONTEXT in groups and groups[CONTEXT].told:  # not a group of the environment's own
            self._told = groups.pop(CONTEXT).told
        self._observed = groups
        self.actions = policy.actions
        """What it does, and in which bounds."""
        if SKILL in groups:
            raise HeadstartError(f"this knowledge holds many skills: {TAKE_OUT_ONE}")
        if not policy.actions.number:
            raise HeadstartError(
                "this knowledge is of a version of Headstart that did not save the bounds of "
                "actions: train again"
            )
        self.reset()

    def reset(self) -> None:
        """An episode begins: nothing is remembered."""
        actions = self.actions
        self._memory = self._policy.initial(1)
        self._last = np.zeros((1, *actions.shape), actions.dtype)
        self._begins = True

    def __call__(self, obs: Any, **shown: float | str) -> Any:
        """The most likely action.

        Args:
            obs: one observation, as the environment gives it: an array, or a dict or tuple of such.
            shown: each parameter that the policy is shown, in its unit; or any text, where it is
                shown as that.

        Returns:
            an element of the environment's action space: an int or an array.

        Raises:
            HeadstartError: the observation is not what the policy reads, or is not finite; a
                parameter is missing, unknown or out of its range.
        """
        seen = observed(self._observed, obs) | self._context(shown)
        rows: Obs = {name: array[None] for name, array in seen.items()}
        told = TimeStep(rows, self._last, np.zeros(1, np.float32), np.array([self._begins]))
        chosen, self._memory = act(self._policy, told, self._memory, None, 0)
        self._last, self._begins = np.asarray(chosen), False
        return self.actions.element(self._last[0])

    def _context(self, shown: Mapping[str, float | str]) -> Obs:
        names = [one.name for one in self._told]
        for name in shown.keys() - set(names):
            raise unknown("parameter that the policy is shown", name, names)
        numbers: list[np.ndarray] = []
        for one in self._told:
            if self._lacks(one, shown):
                numbers.append(np.zeros(len(one.names), np.float32))
                continue
            if one.name not in shown:
                raise HeadstartError(
                    f"the policy is shown {', '.join(names)}: say what each is, as in "
                    f"policy(obs, {one.name}={(one.low + one.high) / 2:g})"
                )
            one.check(shown[one.name])
            numbers.append(one.alone(shown[one.name]))
        return {CONTEXT: np.concatenate(numbers)} if numbers else {}

    def _lacks(self, one: Told, shown: Mapping[str, float | str]) -> bool:
        """Whether the task of a mixture that is told has no such parameter.

        Raises:
            HeadstartError: it has none, and a value is given.
        """
        task = shown.get(TASK)
        if not one.of or (task is None and one.name in shown):
            return False
        tasks = [number for number, _ in one.of]
        if task in tasks:
            return False
        if one.name in shown:
            raise HeadstartError(f"task {task} has no {one.name}: leave it out")
        return True
