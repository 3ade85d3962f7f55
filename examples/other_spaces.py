"""Policies on spaces that they were not trained in: one action more, and other sensors.

A cart-pole gets a third action, to do nothing; a hopper gets a sensor more, and its sensors and
motors in another order. Both go on where the source's policy was.

    python examples/other_spaces.py
"""

from pathlib import Path

import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

import headstart

headstart.prepare_jax()

from headstart import Access, Domain, TransferProblem, envs
from headstart.runs.job import make_job, prepare
from headstart.runs.run import run


class ThreeWayCartPole(CartPoleEnv):
    """0: left, 1: nothing, 2: right."""

    _max_episode_steps = 500

    def __init__(self):
        super().__init__()
        self.action_space = spaces.Discrete(3)  # pyright: ignore[reportAttributeAccessIssue]
        self._strength = self.force_mag

    def step(self, action):
        self.force_mag = 0.0 if action == 1 else self._strength
        return super().step(int(action == 2))


class SensedHopper(HopperEnv):
    """The height of the foot comes first, then what a hopper senses, from the last to the first."""

    _max_episode_steps = 1000
    observation_names = ("foot height", *reversed(envs.find("hopper").observation_names))
    action_names = tuple(reversed(envs.find("hopper").action_names))

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(-np.inf, np.inf, (12,), np.float64)

    def _get_obs(self):
        return np.concatenate([[self.data.body("foot").xpos[2]], super()._get_obs()[::-1]])

    def step(self, action):
        return super().step(np.asarray(action)[::-1])


PPO = {"algorithm": "ppo", "num_envs": 8, "rollout_length": 128, "learning_rate": 1e-3}
SHARED = {"access": Access(shots=(0, 5)), "episodes": 5, "learner": PPO}
PROBLEMS = (
    TransferProblem(
        name="three-way",
        source=Domain("gym:CartPole-v1"),
        target=Domain("other_spaces:ThreeWayCartPole"),
        graft={"actions": {"0": 0, "2": 1}},  # nobody named them, so a table says which is which
        **SHARED,
    ),
    TransferProblem(
        name="sensed", source=Domain("hopper"), target=Domain("other_spaces:SensedHopper"), **SHARED
    ),
)

if __name__ == "__main__":
    for problem in PROBLEMS:
        job = make_job(problem, "finetune", 0, Path("runs"), {"steps": 20_000})
        prepare(job, resume=True)
        first = run(job).shots[0]
        print(f"{problem.name:<10} source {first.source_score:7.1f}   target {first.score:7.1f}")
        print(f"{'':<10} what became of each tensor: {job.folder / 'graft.json'}")
