"""Updates of DQN for fifteen bits, as the problem `bit-flip` has them, in hindsight and without:
gradient steps a second, random actions between them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from turns import Turn, timed

from headstart import envs
from headstart.experience.unroll import begin, unroll
from headstart.learners.learner import Hooks, Progress
from headstart.policies.policy import UniformPolicy
from headstart.problem.named import PROBLEMS
from headstart.runs.job import make_job

PROBLEM = PROBLEMS["bit-flip"]
METHOD: Any = make_job(PROBLEM, "her", 0, Path("runs")).method
LEARNER = replace(METHOD.learner, learning_starts=0)


def contestants(seconds: float) -> dict[str, Turn]:
    return {"in hindsight": updates(told=True), "without": updates(told=False)}


def updates(told: bool) -> Turn:
    running = envs.start(PROBLEM.source, LEARNER.num_envs, 0)
    policy, key = UniformPolicy(running.spec.actions), jax.random.key(0)
    hooks = Hooks(hindsight=METHOD.hindsight(running.spec) if told else None)
    state, carry, done = LEARNER.init(running.spec, key, hooks), begin(policy, running), 0

    def step() -> int:
        nonlocal state, carry, done
        rollout, carry = unroll(policy, running, carry, 64, jax.random.fold_in(key, done))
        state, _ = LEARNER.update(state, rollout, Progress(done, 10**9), hooks, key)
        jax.block_until_ready(state.agent)
        done += rollout.steps.reward.size
        return int(LEARNER.updates_per_step * rollout.steps.reward.size)

    return timed(step)
