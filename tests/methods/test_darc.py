from dataclasses import replace

import jax
import numpy as np
import pytest

from headstart.learners.sac import SAC
from headstart.methods.darc import Darc
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.transfer.density_ratio import DensityRatio
from small import TRACK

METHOD = Darc(
    steps=256,
    ratio=DensityRatio(warmup=64, after=64, random_steps=32, every=4, hidden=(8,)),
    learner=SAC(
        hidden=(16,), num_envs=2, rollout_length=8, batch_size=16, learning_starts=64,
        updates_per_step=0.5,
    ),
)  # fmt: skip
SOURCE = TRACK.source


@pytest.fixture(scope="module")
def knowledge():
    target = MeteredTarget(TRACK.target, Allowance(Meter(step_limit=500)))
    return METHOD.pretrain(CountedSource(SOURCE), target, jax.random.key(0))


@pytest.mark.parametrize(("finetune", "policies"), [(False, 1), (True, 3)])
def test_it_goes_on_learning_on_the_target_if_it_is_told_to(knowledge, finetune, policies):
    target = MeteredTarget(TRACK.target, Allowance(Meter(episode_limit=2)))
    method = replace(METHOD, finetune=finetune)
    yielded = list(method.adapt(knowledge, CountedSource(SOURCE), target, jax.random.key(1)))
    assert len(yielded) == policies
    assert target.episodes == policies - 1


def test_the_moves_that_are_drawn_are_steps_of_the_source(knowledge):
    target = MeteredTarget(TRACK.target, Allowance(Meter()))
    policy = next(METHOD.adapt(knowledge, CountedSource(SOURCE), target, jax.random.key(1)))
    moves = METHOD.moves(knowledge, policy, SOURCE)
    assert (
        moves.obs.shape
        == moves.next_obs.shape
        == (2 * 16 * 100, *target.spec.groups["state"].shape)
    )
    assert moves.value.shape == (2 * 16 * 100,)
    assert np.isfinite(moves.value).all()
    assert np.abs(moves.value).max() > 0
