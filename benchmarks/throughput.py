"""Steps per second of PPO on the hopper, beside the physics alone and beside other libraries.

Everything runs in one process, in short turns one after another; a ratio is the median over turns.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable

import headstart

headstart.prepare_jax()

import jax
import numpy as np

from headstart import Domain, Normal, envs
from headstart.learners.ppo import PPO
from headstart.learners.rollout import chunk

DOMAIN = Domain("hopper", torso_mass=Normal(6.0, 1.5, low=3.0, high=9.0))
LEARNER = PPO()
BATCH = LEARNER.environments * LEARNER.steps
ENVIRONMENTS = (1, 4, 8, 16)
"""How many the peers may choose from."""

Turn = Callable[[float], float]
"""Run for about so many seconds; the steps per second."""


def timed(step: Callable[[], int]) -> Turn:
    def turn(seconds: float) -> float:
        start, steps = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds or not steps:
            steps += step()
        return steps / spent

    return turn


def raw() -> Turn:
    """The simulator alone: set the controls, step, and restart the fallen."""
    import mujoco
    from mjbatch import Batch

    robot = envs.find("hopper")
    sims = Batch(robot.model, LEARNER.environments)
    rng = np.random.default_rng(0)
    torso = robot.model.body("torso").id
    mass = DOMAIN.distribution.sample(rng, sims.num_sims)[:, 0]
    ratio = mass / robot.model.body_mass[torso]
    sims.expand("body_mass")[:, torso] = mass
    sims.expand("body_inertia")[:, torso] *= ratio[:, None]
    sims.set_const()
    ctrl, qpos, qvel = sims.bind("ctrl"), sims.bind("qpos"), sims.bind("qvel")
    assert mujoco.mj_version() > 0

    def step() -> int:
        ctrl[:] = rng.uniform(-1, 1, ctrl.shape)
        sims.step(nstep=robot.frame_skip)
        fallen = np.flatnonzero(~robot.healthy(qpos, qvel))
        if len(fallen):
            sims.reset(fallen.astype(np.int32))
        return sims.num_sims

    return timed(step)


def ours() -> Turn:
    batch = envs.start(DOMAIN, LEARNER.environments, 0)
    environment = batch.environment
    key = jax.random.key(0)
    state = LEARNER.init(environment.observation_space, environment.action_space, key)
    obs = batch.reset()

    def step() -> int:
        nonlocal state, obs, key
        key, act_key, update_key = jax.random.split(key, 3)
        experience, obs = chunk(state.policy, batch, obs, LEARNER.steps, act_key)
        state, _ = LEARNER.update(state, experience, 1.0, update_key)
        return BATCH

    return timed(step)


def peer(library: str, environments: int) -> Turn:
    """Their PPO with our network, batch, minibatch and epochs."""
    from stable_baselines3.common.env_util import make_vec_env

    vector = make_vec_env("Hopper-v5", environments)
    settings = {
        "n_steps": BATCH // environments,
        "batch_size": LEARNER.minibatch,
        "n_epochs": LEARNER.epochs,
        "gamma": LEARNER.discount,
        "gae_lambda": LEARNER.trace,
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


def peers() -> dict[str, dict[int, Turn]]:
    found: dict[str, dict[int, Turn]] = {}
    for library in ("stable-baselines3", "sbx"):
        try:
            found[library] = {n: peer(library, n) for n in ENVIRONMENTS}
        except ModuleNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each contestant, in all")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    turns: dict[str, Turn] = {"raw": raw(), "ours": ours()}
    each = options.seconds / options.turns
    for name, by_number in peers().items():
        warm = {n: turn(0.0) and turn(each / 2) for n, turn in by_number.items()}
        best = max(warm, key=lambda n: warm[n])
        turns[f"{name} ({best} environments)"] = by_number[best]
    for turn in turns.values():
        turn(1.0)  # compile
    speeds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(options.turns):
        for name, turn in turns.items():
            speeds[name].append(turn(each))
    ratios = {
        name: statistics.median(a / b for a, b in zip(speeds["ours"], theirs, strict=True))
        for name, theirs in speeds.items()
        if name != "ours"
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    median = {name: statistics.median(values) for name, values in speeds.items()}
    if options.json:
        print(json.dumps({"steps_per_second": median, "ours_over": ratios, "peak_mb": peak}))
        return
    for name, value in median.items():
        print(f"{name:<36} {value:9.0f} steps/s")
    for name, ratio in ratios.items():
        print(f"ours / {name:<29} {ratio:9.2f}")
    print(f"peak memory of this process {peak:17.0f} MB")


if __name__ == "__main__":
    main()
