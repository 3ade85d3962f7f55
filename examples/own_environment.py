"""An environment of one's own, with a parameter, as a transfer problem.

A cart on a slope: push it to the origin. The source's slope varies; the target's is steeper.

    python examples/own_environment.py
"""

from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces

import headstart

headstart.prepare_jax()

from headstart import Access, Domain, Parameter, TransferProblem, Uniform
from headstart.report import compared, write
from headstart.runs.job import make_job, prepare
from headstart.runs.run import run
from headstart.testing import check_environment


class Slope(gymnasium.Env):
    """State: position and speed. Reward: minus the distance from the origin. 100 steps."""

    parameters = {"slope": Parameter(0.0, -0.8, 0.8, "m/s²", "pull of the ground")}

    def __init__(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float64)
        self.slope = 0.0

    def set_parameters(self, slope: float) -> None:
        self.slope = slope

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.t = self.np_random.uniform(-1, 1, 2), 0
        return self.state.copy(), {}

    def step(self, action):
        position, speed = self.state
        speed += 0.1 * (float(action[0]) - self.slope)
        position = np.clip(position + 0.1 * speed, -3.0, 3.0)  # walls
        self.state = np.array([position, speed if abs(position) < 3.0 else 0.0])
        self.t += 1
        return self.state.copy(), -abs(self.state[0]), False, self.t >= 100, {}


if __name__ == "__main__":
    name = "own_environment:Slope"
    check_environment(name)
    short = {"steps": 120_000}
    problem = TransferProblem(
        name="slope",
        source=Domain(name, slope=Uniform(-0.5, 0.5)),
        target=Domain(name, slope=0.6),
        access=Access(shots=(0, 10)),
        sweep={"slope": (-0.6, 0.0, 0.6)},
        learner={"algorithm": "ppo", "num_envs": 16, "rollout_length": 64},
        methods={"source-only": short, "domain-randomization": short},
    )
    for method in ("scratch", "source-only", "domain-randomization"):
        job = make_job(problem, method, seed=0, out=Path("runs"))
        prepare(job, resume=True)
        result = run(job)
        print(f"{method:<22} zero-shot return {result.shots[0].score:8.1f}")
    print(write(compared.read(Path("runs/slope"))))
