"""Environments written in JAX, with random actions, in the compiled loop: steps a second."""

import jax
from turns import Turn, timed

from headstart import Domain, envs
from headstart.experience.unroll import begin, unroll
from headstart.policies.policy import UniformPolicy

COPIES = {"grid": 1024, "drive": 64}
STEPS = {"grid": 500, "drive": 50}


def contestants(seconds: float) -> dict[str, Turn]:
    return {name: world(name) for name in COPIES}


def world(name: str) -> Turn:
    running = envs.start(Domain(name), COPIES[name], 0)
    policy, key = UniformPolicy(running.spec.actions), jax.random.key(0)
    carry = begin(policy, running)

    def step() -> int:
        nonlocal carry, key
        key, act_key = jax.random.split(key)
        rollout, carry = unroll(policy, running, carry, STEPS[name], act_key)
        jax.block_until_ready(rollout.steps)
        return STEPS[name] * COPIES[name]

    return timed(step)
