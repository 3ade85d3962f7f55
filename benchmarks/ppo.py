"""PPO on the hopper: steps a second, beside the physics alone and beside other libraries."""

from dataclasses import replace

import jax
import numpy as np
from turns import Turn, best, installed, timed

from headstart import Domain, Normal, envs
from headstart.learners.learner import Hooks, Progress
from headstart.learners.ppo import PPO
from headstart.learners.train import Collector

DOMAIN = Domain("hopper", torso_mass=Normal(6.0, 1.5, low=3.0, high=9.0))
LEARNER = PPO()
BATCH = LEARNER.num_envs * LEARNER.rollout_length
ENVIRONMENTS = (1, 4, 8, 16)
"""How many the peers may choose from."""


def contestants(seconds: float) -> dict[str, Turn]:
    """Ours first; `seconds` are for the peers to find their best setting."""
    turns = {"ours": ours(), "ours with a memory": ours("gru"), "the physics alone": raw()}
    for library in installed("stable-baselines3", "sbx"):
        by_number = {n: peer(library, n) for n in ENVIRONMENTS}
        number = best(by_number, seconds)
        turns[f"{library} ({number} environments)"] = by_number[number]
    return turns


def raw() -> Turn:
    """The simulator alone: set the controls, step, and restart the fallen."""
    from mjbatch import Batch

    robot = envs.find("hopper")
    sims = Batch(robot.model, LEARNER.num_envs)
    rng = np.random.default_rng(0)
    torso = robot.model.body("torso").id
    mass = DOMAIN.distribution.sample(rng, sims.num_sims)[:, 0]
    ratio = mass / robot.model.body_mass[torso]
    sims.expand("body_mass")[:, torso] = mass
    sims.expand("body_inertia")[:, torso] *= ratio[:, None]
    sims.set_const()
    ctrl, qpos, qvel = sims.bind("ctrl"), sims.bind("qpos"), sims.bind("qvel")

    def step() -> int:
        ctrl[:] = rng.uniform(-1, 1, ctrl.shape)
        sims.step(nstep=robot.frame_skip)
        fallen = np.flatnonzero(~robot.healthy(qpos, qvel))
        if len(fallen):
            sims.reset(fallen.astype(np.int32))
        return sims.num_sims

    return timed(step)


def ours(memory: str = "none") -> Turn:
    return learning(DOMAIN, replace(LEARNER, memory=memory))


def learning(domain: Domain, learner: PPO) -> Turn:
    """Rollouts and updates; counts steps."""
    collector, key = Collector(envs.start(domain, learner.num_envs, 0)), jax.random.key(0)
    state, progress = learner.init(collector.envs.spec, key), Progress(0, 1)

    def step() -> int:
        nonlocal state, key
        key, act_key, update_key = jax.random.split(key, 3)
        policy = learner.behaviour(state, progress)
        rollout = collector.collect(policy, learner.rollout_length, act_key)
        state, _ = learner.update(state, rollout, progress, Hooks(), update_key)
        return learner.num_envs * learner.rollout_length

    return timed(step)


def peer(library: str, environments: int) -> Turn:
    """Their PPO with our network, batch, minibatch and epochs."""
    from stable_baselines3.common.env_util import make_vec_env

    vector = make_vec_env("Hopper-v5", environments)
    settings = {
        "n_steps": BATCH // environments,
        "batch_size": LEARNER.minibatch_size,
        "n_epochs": LEARNER.epochs,
        "gamma": LEARNER.discount,
        "gae_lambda": LEARNER.gae_lambda,
    }
    if library == "stable-baselines3":
        import torch
        from stable_baselines3 import PPO as Peer

        settings["policy_kwargs"] = {"net_arch": [64, 64], "activation_fn": torch.nn.Tanh}
        settings["device"] = "cpu"
    else:
        from sbx import PPO as Peer

        settings["policy_kwargs"] = {"net_arch": [64, 64]}
    model = Peer("MlpPolicy", vector, **settings)

    def step() -> int:
        model.learn(BATCH, reset_num_timesteps=False)
        return BATCH

    return timed(step)
