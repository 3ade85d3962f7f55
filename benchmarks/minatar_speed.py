"""How fast MinAtar is stepped inside our compiled loop, beside pgx alone in one of its own, both by
random actions, ended games begun anew: steps per second in turns, and the median ratio.

uv run --locked --extra minatar python benchmarks/minatar_speed.py
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from pgx.experimental import auto_reset

from headstart import Domain, envs
from headstart.envs.minatar import GAMES, KINDS
from headstart.experience.unroll import begin, unroll
from headstart.policies.policy import UniformPolicy

COPIES, STEPS, TURNS = 256, 128, 7


def peer(game):
    """A function that takes `STEPS` steps of pgx's own, and keeps what a learner would."""
    env = KINDS[game](use_minimal_action_set=False)
    fresh, step = jax.vmap(env.init), jax.vmap(auto_reset(env.step, env.init))

    @partial(jax.jit, compiler_options={"xla_cpu_prefer_vector_width": 512})
    def rolled(state, key):
        def one(state, key):
            act_key, step_key = jax.random.split(key)
            action = jax.random.randint(act_key, (COPIES,), 0, env.num_actions)
            after = step(state, action, jax.random.split(step_key, COPIES))
            seen = state.observation, action, after.rewards, after.observation
            return after, (*seen, after.terminated, after.truncated)

        return jax.lax.scan(one, state, jax.random.split(key, STEPS))

    state = fresh(jax.random.split(jax.random.key(0), COPIES))

    def go(turn):
        nonlocal state
        state, _ = jax.block_until_ready(rolled(state, jax.random.key(turn)))

    return go


def ours(game):
    """The same by `unroll`."""
    running = envs.start(Domain(f"minatar-{game.replace('_', '-')}"), COPIES, 0)
    policy = UniformPolicy(running.spec.actions)
    carry, rollout = begin(policy, running), None

    def go(turn):
        nonlocal carry, rollout
        rollout, carry = unroll(policy, running, carry, STEPS, jax.random.key(turn), rollout)
        jax.block_until_ready(jnp.asarray(rollout.steps.reward))

    return go


def rate(go, turn):
    began = time.perf_counter()
    go(turn)
    return COPIES * STEPS / (time.perf_counter() - began)


for game in GAMES:
    pair = ours(game), peer(game)
    for go in pair:
        go(0)  # compiles
    rates = np.array([[rate(go, turn) for go in pair] for turn in range(1, TURNS + 1)])
    mine, theirs = np.median(rates, axis=0)
    ratio = np.median(rates[:, 0] / rates[:, 1])
    print(f"{game:<16}{mine:10,.0f} of {theirs:10,.0f} steps/s: {ratio:.2f}")
