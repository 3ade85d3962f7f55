"""A setting at the end of its range is taken, and one beyond it is refused by name."""

from dataclasses import replace

import pytest

from headstart import HeadstartError
from headstart.learners.crl import CRL
from headstart.learners.dqn import DQN
from headstart.learners.imitation import Imitation
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.methods.darc import Darc
from headstart.methods.domain_confusion import DomainConfusion
from headstart.methods.epopt import EPOpt
from headstart.methods.epopt_posterior import EPOptPosterior
from headstart.methods.finetune import Finetune
from headstart.methods.random_convolution import RandomConvolution
from headstart.transfer.density_ratio import DensityRatio
from headstart.transfer.posterior import Posterior

EPOPT = {"steps trajectories minibatch_size": (1, None), "epsilon ensemble": (0, 1)}
RANGES = (
    (
        PPO(),
        {
            "num_envs rollout_length epochs minibatch_size hidden memory_size": (1, None),
            "learning_rate clip_eps max_kl entropy_coef max_grad_norm": (0, None),
            "discount gae_lambda": (0, 1),
            "final_std": (1e-3, None),
        },
    ),
    (
        SAC(burn_in=0),
        {
            "num_envs rollout_length batch_size buffer_size hidden memory_size window": (1, None),
            "updates_per_step learning_starts learning_rate reward_scale": (0, None),
            "discount tau": (0, 1),
            "temperature": (1e-6, None),
        },
    ),
    (SAC(window=4, burn_in=0), {"burn_in": (0, 3)}),
    (
        DQN(),
        {
            "num_envs rollout_length batch_size buffer_size n_step hidden": (1, None),
            "updates_per_step learning_starts learning_rate": (0, None),
            "max_grad_norm reward_scale": (0, None),
            "discount tau epsilon exploration": (0, 1),
        },
    ),
    (
        CRL(),
        {
            "num_envs rollout_length batch_size buffer_size hidden representation": (1, None),
            "updates_per_step learning_starts learning_rate priming penalty": (0, None),
            "discount": (0, 1),
            "temperature": (1e-6, None),
        },
    ),
    (
        Imitation(),
        {
            "num_envs rollout_length batch_size hidden": (1, None),
            "learning_rate": (0, None),
        },
    ),
    (EPOpt(), EPOPT),
    (EPOptPosterior(), EPOPT | {"episodes_per_round rounds retrain": (1, None)}),
    (Finetune(), {"steps episodes_per_update": (1, None), "learning_rate": (0, None)}),
    (Darc(), {"steps episodes_per_update": (1, None)}),
    (
        DomainConfusion(),
        {
            "steps samples hidden": (1, None),
            "observations": (5, None),
            "alignment": (0, 1),
            "weight learning_rate": (0, None),
        },
    ),
    (RandomConvolution(), {"steps samples": (1, None), "weight": (0, None)}),
    (
        Posterior(),
        {
            "particles": (2, None),
            "transitions rungs": (1, None),
            "effective": (0, 1),
            "noise": (0, None),
        },
    ),
    (
        DensityRatio(),
        {
            "noise learning_rate scale warmup random_steps after": (0, None),
            "every max_weight hidden": (1, None),
        },
    ),
)
CASES = [
    pytest.param(config, name, end, step, id=f"{type(config).__name__}.{name}-{end}")
    for config, ranges in RANGES
    for names, (low, high) in ranges.items()
    for name in names.split()
    for end, step in ((low, -1), (high, 1))
    if end is not None
]


@pytest.mark.parametrize(("config", "name", "end", "step"), CASES)
def test_a_range_ends_where_it_says(config, name, end, step):
    usual = getattr(config, name)
    beyond = end + (step * 1e-7 if isinstance(usual, float) else step)
    as_usual = (lambda value: (value,)) if isinstance(usual, tuple) else type(usual)
    replace(config, **{name: as_usual(end)})
    with pytest.raises(HeadstartError, match=name):
        replace(config, **{name: as_usual(beyond)})
