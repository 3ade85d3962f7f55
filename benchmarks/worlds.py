"""Environments written in JAX, with random actions, in the compiled loop: steps a second."""

import jax
from turns import Turn, timed

from headstart import Domain, envs
from headstart.learners.policy import anything

COPIES = {"grid": 1024, "drive": 64}
STEPS = {"grid": 500, "drive": 50}


def contestants(seconds: float) -> dict[str, Turn]:
    return {name: world(name) for name in COPIES}


def world(name: str) -> Turn:
    batch = envs.start(Domain(name), COPIES[name], 0)
    policy = anything(batch.action_space)
    obs, key = batch.reset(), jax.random.key(0)

    def step() -> int:
        nonlocal obs, key
        key, act_key = jax.random.split(key)
        columns, obs = batch.scan(policy, obs, STEPS[name], act_key)
        jax.block_until_ready(columns)
        return STEPS[name] * COPIES[name]

    return timed(step)
