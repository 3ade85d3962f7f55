"""What random actions earn: mean and deviation over 64 episodes at nominal parameters, seed 0.

uv run --locked python benchmarks/random_actions.py
"""

import headstart

headstart.prepare_jax()

import jax

from headstart import Domain, envs
from headstart.experience.unroll import episodes
from headstart.policies.policy import UniformPolicy

for name in envs.ENVIRONMENTS:
    running = envs.start(Domain(name), 64, 0)
    policy = UniformPolicy(running.spec.actions)
    returns = episodes(policy, running, key=jax.random.key(0)).returns
    print(f"{name:<16}{returns.mean():8.3g} ± {returns.std():.2g}")
