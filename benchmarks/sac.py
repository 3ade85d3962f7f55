"""SAC on the half-cheetah, one gradient step for each step: gradient steps a second, beside the
matrix products alone and beside other libraries. Two layers of 256, batches of 256."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from turns import Turn, installed, timed

from headstart import Domain, envs
from headstart.experience.looks import Disguised, as_shown
from headstart.learners.learner import Hooks, Progress
from headstart.learners.sac import SAC
from headstart.learners.train import Collector
from headstart.transfer.skills import Diversity, Skills

LEARNER = SAC(buffer_size=100_000, learning_starts=2000)
EACH = LEARNER.num_envs * LEARNER.rollout_length
WARM = 2000  # steps before the first gradient step, for everyone


def contestants(seconds: float) -> dict[str, Turn]:
    turns = {"ours": ours(), "our matrix products alone": products()}
    for library in installed("stable-baselines3", "sbx"):
        turns[library] = peer(library)
    return turns


def ours(learner: SAC = LEARNER, skills: Skills | None = None) -> Turn:
    """Ours, with one policy or with skills that are told apart by where they go."""
    key, done, each = jax.random.key(0), 0, learner.num_envs * learner.rollout_length
    collector = Collector(envs.start(Domain("half-cheetah"), learner.num_envs, 0))
    spec, reward, look = collector.envs.spec, None, None
    if skills is not None:
        spec, look = skills.told(spec), skills(learner.num_envs, key)
        reward = Diversity().reward(spec, skills.number, learner.num_envs, gate=0.0)
    hooks = Hooks(transform=reward)
    state = learner.init(spec, key, hooks)
    if reward is not None:
        state = state.with_transform(reward.init(spec, key))

    def step() -> int:
        nonlocal state, key, done
        key, act_key, update_key = jax.random.split(key, 3)
        progress = Progress(done, 10**9)
        policy = learner.behaviour(state, progress)
        acting = policy if look is None else Disguised(policy, look)
        rollout = collector.collect(acting, learner.rollout_length, act_key)
        if reward is not None and look is not None:
            rollout = as_shown(rollout, look)
            state = state.with_transform(reward.witness(state.transform, rollout))
        state, _ = learner.update(state, rollout, progress, hooks, update_key)
        jax.block_until_ready(state.agent)
        done += each
        return each

    while done < WARM + each:
        step()
    return timed(step)


def products() -> Turn:
    """The matrix products of a gradient step and nothing else: no losses, no Adam, no copies."""
    environment: Any = envs.find("half-cheetah")
    obs, act = environment.observation_space.shape[0], environment.action_space.shape[0]
    hidden, batch = LEARNER.hidden, LEARNER.batch_size
    actor, critic = (obs, *hidden, 2 * act), (obs + act, *hidden, 1)
    keys = iter(jax.random.split(jax.random.key(0), 64))

    def random(*shape: int):
        return jax.random.normal(next(keys), shape) / np.sqrt(shape[0])

    def weights(sizes: tuple[int, ...]):
        return [random(a, b) for a, b in itertools.pairwise(sizes)]

    nets = {"actor": weights(actor), "critics": [weights(critic) for _ in range(4)]}
    inputs = random(batch, obs), random(batch, obs + act)

    def forward(x, net):
        seen = [x]
        for weight in net:
            seen.append(seen[-1] @ weight)
        return seen

    def backward(seen, net, weights: bool, first: bool):
        """Gradients of the weights, and of the input where it is wanted."""
        g, total = seen[-1], 0.0
        for i in reversed(range(len(net))):
            if weights:
                total = total + (seen[i].T @ g)[0, 0]
            if i or first:
                g = g @ net[i].T
        return total + g[0, 0]

    @partial(jax.jit, static_argnums=2)
    def run(nets, inputs, count):
        critics = nets["critics"]

        def one(carry, _):
            states, pairs = inputs[0] + carry, inputs[1] + carry
            total = forward(states, nets["actor"])[-1][0, 0]  # a′
            total += sum(forward(pairs, net)[-1][0, 0] for net in critics[2:])  # Q̄(s′, a′)
            for net in critics[:2]:  # Q(s, a)
                total += backward(forward(pairs, net), net, weights=True, first=False)
            acted = forward(states + 1, nets["actor"])  # π(s)
            for net in critics[:2]:  # Q(s, π(s)), for the actor alone
                total += backward(forward(pairs + 1, net), net, weights=False, first=True)
            total += backward(acted, nets["actor"], weights=True, first=False)
            return carry + 1e-9 * total, None

        return jax.lax.scan(one, jnp.float32(0.0), None, length=count)[0]

    def step() -> int:
        run(nets, inputs, EACH).block_until_ready()
        return EACH

    return timed(step)


def peer(library: str) -> Turn:
    """Their SAC with the same networks, batch and ratio."""
    import gymnasium

    if library == "stable-baselines3":
        from stable_baselines3 import SAC as Peer
    else:
        from sbx import SAC as Peer
    settings: dict[str, Any] = {"device": "cpu"} if library == "stable-baselines3" else {}
    model = Peer(
        "MlpPolicy", gymnasium.make("HalfCheetah-v5"), learning_starts=WARM, train_freq=1,
        gradient_steps=1, batch_size=LEARNER.batch_size, buffer_size=LEARNER.buffer_size,
        policy_kwargs={"net_arch": list(LEARNER.hidden)}, **settings,
    )  # fmt: skip
    model.learn(WARM)

    def step() -> int:
        model.learn(100, reset_num_timesteps=False)
        return 100

    return timed(step)
