"""Paths over floor maps."""

import jax
import numpy as np
import pytest

from headstart import envs
from headstart.learners.sac import SAC
from headstart.problem import Domain
from headstart.report.maps import path


@pytest.mark.parametrize("name", ["navigation", "point-maze"])
def test_a_path_is_of_places_in_metres_with_goals_or_without(name):
    domain = Domain(name, horizon=5)
    learner = SAC(hidden=(8,))
    policy = learner.policy(learner.init(envs.spec_of(domain), jax.random.key(0)))
    places = path(policy, domain, 0)
    environment = envs.of(domain)
    assert places.shape == (6, 2)
    np.testing.assert_allclose(places[0], environment.start_at, atol=0.5)
    assert (np.abs(np.diff(places, axis=0)) < 0.5).all()
