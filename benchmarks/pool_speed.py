"""How fast `pool:` ids step beside EnvPool alone: steps per second in turns, and the median ratio.

uv run --locked python benchmarks/pool_speed.py
"""

import time
from itertools import product

import envpool
import numpy as np

from headstart import Domain, envs

CASES = {
    "FetchReach-v4": 20,
    "PointMaze_UMaze-v3": 300,
    "MetaWorld/Reach-v3": 50,
    "CartPole-v1": 1000,
}
COPIES, TURNS = (64, 256), 9


def rate(copies, action, times):
    began = time.perf_counter()
    for _ in range(times):
        copies.step(action)
    return len(action) * times / (time.perf_counter() - began)


for num, (name, times) in product(COPIES, CASES.items()):
    running = envs.start(Domain(f"pool:{name}"), num, 0)
    running.reset()
    alone = envpool.make(name, env_type="gymnasium", num_envs=num, seed=0)
    alone.reset()
    actions, rng = running.spec.actions, np.random.default_rng(0)
    if actions.discrete:
        chosen = rng.integers(0, actions.choices[0], num).astype(np.int32)
    else:
        chosen = rng.uniform(-1, 1, (num, *actions.shape)).astype(np.float32)
    pairs = [(rate(running, chosen, times), rate(alone, chosen, times)) for _ in range(TURNS)]
    ours, theirs = np.median(pairs, axis=0)
    ratio = np.median([one / other for one, other in pairs])
    print(f"{num:>4} {name:<22}{ours:10,.0f} of {theirs:10,.0f} steps/s: {ratio:.2f}")
