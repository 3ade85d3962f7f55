from dataclasses import replace

import jax
import numpy as np
import pytest

from headstart.problem import with_access
from headstart.runs.job import configured
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from small import TRACK

METHOD = configured(with_access(TRACK, steps=500), "darc", {})
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
    num = 2 * 16 * 100
    assert moves.obs.shape == moves.next_obs.shape == (num, *target.spec.groups["state"].shape)
    assert moves.value.shape == (num,)
    assert np.isfinite(moves.value).all()
    assert np.abs(moves.value).max() > 0
