import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import envs
from headstart.envs.goals import ACHIEVED, DESIRED
from headstart.envs.point_mass import State
from headstart.envs.point_maze import point_maze
from headstart.experience.unroll import episodes
from headstart.policies.policy import UniformPolicy
from headstart.problem import Domain
from headstart.problem.distributions import Uniform

GOALS = Domain("point-maze", goal_x=Uniform(0.3, 5.7), goal_y=Uniform(0.3, 5.7))
NOMINAL = {name: jnp.float32(p.nominal) for name, p in point_maze.parameters.items()}


def test_what_is_wanted_is_what_the_domain_draws():
    running = envs.start(GOALS, 64, 0)
    obs = running.reset()
    np.testing.assert_allclose(obs[DESIRED] * 5, running.values[:, :2], rtol=1e-5)
    np.testing.assert_allclose(obs[ACHIEVED], obs["observation"][:, :2])


def test_a_step_is_free_within_half_a_metre_of_the_goal():
    for x, reward in ((5.0, 0.0), (4.8, -1.0)):
        state = State(jnp.array([x, 5.4]), jnp.zeros(2))
        after = point_maze.step(state, jnp.zeros(2), NOMINAL, jax.random.key(0))
        assert after[1] == pytest.approx(reward)


def test_both_walls_stand_in_the_way():
    """Straight up from the start ends at the first wall; from the gap of it, at the second."""
    for start, end in (((0.6, 0.6), 1.8), ((5.4, 0.6), 3.8)):
        state = State(jnp.array(start), jnp.zeros(2))
        for _ in range(60):
            state = point_maze.step(state, jnp.array([0.0, 1.0]), NOMINAL, jax.random.key(0))[0]
        assert end - 0.25 < state.position[1] <= end


def test_random_actions_do_not_get_far():
    running = envs.start(GOALS, 64, 0)
    steps = episodes(UniformPolicy(running.spec.actions), running, 1, jax.random.key(0)).steps
    assert steps.next_obs[ACHIEVED][:, 1].max() * 5 < 1.9
