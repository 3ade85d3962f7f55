"""PPO on MinAtar: steps a second, beside a loop of PureJaxRL's kind with the same layers, but for
biases."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from pgx.experimental import auto_reset
from ppo import learning
from turns import Turn, timed

from headstart import Domain
from headstart.envs.minatar import KINDS
from headstart.learners.ppo import PPO
from headstart.problem.named.tasks import GAMES, PLAYER, games

SETTINGS = {k: v for k, v in PLAYER.items() if k not in ("algorithm", "hidden")}
LEARNER = PPO(hidden=(128,), **SETTINGS)
BATCH = LEARNER.num_envs * LEARNER.rollout_length
SIZES = {"convolution": (3, 3, 10, 16), "dense": (1024, 128)}
SIZES |= {f"{who} {i}": (128, n) for who, out in (("actor", 6), ("critic", 1))
          for i, n in enumerate((128, out))}  # fmt: skip


def contestants(seconds: float) -> dict[str, Turn]:
    """Ours first."""
    return {
        "ours": learning(Domain("minatar-breakout"), LEARNER),
        "ours, five games with heads": learning(games(*GAMES), replace(LEARNER, heads=True)),
        "one compiled loop": peer(patches),
        "one compiled loop, XLA's convolution": peer(convolved),
    }


class Seen(NamedTuple):
    obs: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    over: jax.Array


def convolved(x, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout)


def patches(x, kernel):
    """The same as a matrix product."""
    under = [x[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    return jnp.concatenate(under, -1) @ kernel.reshape(-1, kernel.shape[-1])


def network(convolution, weights, obs):
    """Logits and a value, by the layers that ours has, of as many channels."""
    obs = jnp.pad(obs, (*[(0, 0)] * 3, (0, SIZES["convolution"][2] - obs.shape[-1])))
    x = jax.nn.relu(convolution(obs.astype(jnp.float32) - 0.5, weights["convolution"]))
    x = x.reshape(len(x), -1) @ weights["dense"]
    x = jax.nn.relu(jax.nn.standardize(x))
    logits, value = (
        jnp.tanh(x @ weights[f"{who} 0"]) @ weights[f"{who} 1"] for who in ("actor", "critic")
    )
    return logits, value[:, 0]


def peer(convolution) -> Turn:
    """Rollout, advantages, epochs and minibatches in one compiled function."""
    env, opt = KINDS["breakout"](use_minimal_action_set=False), optax.chain(
        optax.clip_by_global_norm(0.5), optax.adam(LEARNER.learning_rate, eps=1e-5)
    )  # fmt: skip
    step_all = jax.vmap(auto_reset(env.step, env.init))
    apply = partial(network, convolution)

    def act(carry, key):
        weights, state = carry
        act_key, step_key = jax.random.split(key)
        logits, value = apply(weights, state.observation)
        action = jax.random.categorical(act_key, logits)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], 1)[:, 0]
        after = step_all(state, action, jax.random.split(step_key, LEARNER.num_envs))
        reward, over = after.rewards[:, 0], after.terminated | after.truncated
        return (weights, after), Seen(state.observation, action, log_prob, value, reward, over)

    def back(carry, seen):
        advantage, next_value = carry
        going = 1.0 - seen.over
        delta = seen.reward + LEARNER.discount * next_value * going - seen.value
        advantage = delta + LEARNER.discount * LEARNER.gae_lambda * going * advantage
        return (advantage, seen.value), advantage

    def loss(weights, seen, advantage, target):
        logits, value = apply(weights, seen.obs)
        log = jax.nn.log_softmax(logits)
        ratio = jnp.exp(jnp.take_along_axis(log, seen.action[:, None], 1)[:, 0] - seen.log_prob)
        advantage = jax.nn.standardize(advantage, axis=0)
        clipped = jnp.clip(ratio, 1 - LEARNER.clip_eps, 1 + LEARNER.clip_eps)
        gain = jnp.minimum(ratio * advantage, clipped * advantage).mean()
        entropy = -(jnp.exp(log) * log).sum(-1).mean()
        return ((value - target) ** 2).mean() / 2 - gain - LEARNER.entropy_coef * entropy

    @partial(jax.jit, compiler_options={"xla_cpu_prefer_vector_width": 512})
    def iterate(weights, moments, state, key):
        act_key, *epoch_keys = jax.random.split(key, LEARNER.epochs + 1)
        keys = jax.random.split(act_key, LEARNER.rollout_length)
        (_, state), seen = jax.lax.scan(act, (weights, state), keys)
        last = apply(weights, state.observation)[1]
        _, advantage = jax.lax.scan(back, (jnp.zeros_like(last), last), seen, reverse=True)
        every = seen, advantage, advantage + seen.value
        every = jax.tree.map(lambda x: x.reshape(BATCH, *x.shape[2:]), every)

        def minibatch(carry, rows):
            weights, moments = carry
            gradient = jax.grad(loss)(weights, *jax.tree.map(lambda x: x[rows], every))
            change, moments = opt.update(gradient, moments)
            return (optax.apply_updates(weights, change), moments), None

        def epoch(carry, key):
            rows = jax.random.permutation(key, BATCH).reshape(-1, LEARNER.minibatch_size)
            return jax.lax.scan(minibatch, carry, rows)

        (weights, moments), _ = jax.lax.scan(epoch, (weights, moments), jnp.stack(epoch_keys))
        return weights, moments, state

    keys = jax.random.split(jax.random.key(0), len(SIZES) + 1)
    draw = jax.nn.initializers.orthogonal()
    weights = {name: draw(k, size) for k, (name, size) in zip(keys, SIZES.items(), strict=False)}
    state = jax.vmap(env.init)(jax.random.split(keys[-1], LEARNER.num_envs))
    moments, turn = opt.init(weights), 0

    def step() -> int:
        nonlocal weights, moments, state, turn
        turn += 1
        made = iterate(weights, moments, state, jax.random.key(turn))
        weights, moments, state = jax.block_until_ready(made)
        return BATCH

    return timed(step)
