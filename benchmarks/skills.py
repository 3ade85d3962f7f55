"""SAC on the half-cheetah, and the same with ten skills that are told apart by where they go: one
gradient step for each step, collection included. Two layers of 256, batches of 256."""

import jax
from turns import Turn, timed

from headstart import Domain, envs
from headstart.experience.looks import Disguised, as_shown
from headstart.learners.learner import Hooks, Progress
from headstart.learners.sac import SAC
from headstart.learners.train import Collector
from headstart.transfer.skills import Diversity, Skills

NUMBER = 10
LEARNER = SAC(num_envs=NUMBER, buffer_size=100_000, learning_starts=2000)
EACH = LEARNER.num_envs * LEARNER.rollout_length


def contestants(seconds: float) -> dict[str, Turn]:
    return {"one policy": one(skilled=False), "ten skills": one(skilled=True)}


def one(skilled: bool) -> Turn:
    key, done = jax.random.key(0), 0
    collector = Collector(envs.start(Domain("half-cheetah"), LEARNER.num_envs, 0))
    skills, spec = Skills(NUMBER), collector.envs.spec
    reward = Diversity().reward(NUMBER, LEARNER.num_envs, gate=0.0) if skilled else None
    hooks, look = Hooks(transform=reward), skills(LEARNER.num_envs, key)
    state = LEARNER.init(skills.told(spec) if skilled else spec, key, hooks)
    if reward is not None:
        state = state.with_transform(reward.init(skills.told(spec), key))

    def step() -> int:
        nonlocal state, key, done
        key, act_key, update_key = jax.random.split(key, 3)
        progress = Progress(done, 10**9)
        policy = LEARNER.behaviour(state, progress)
        acting = Disguised(policy, look) if skilled else policy
        rollout = collector.collect(acting, LEARNER.rollout_length, act_key)
        if reward is not None:
            rollout = as_shown(rollout, look)
            state = state.with_transform(reward.witness(state.transform, rollout))
        state, _ = LEARNER.update(state, rollout, progress, hooks, update_key)
        jax.block_until_ready(state.agent)
        done += EACH
        return EACH

    while done < 2000 + EACH:
        step()
    return timed(step)
