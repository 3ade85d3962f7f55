import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, envs
from headstart.learners.ppo import PPO
from headstart.problem import mixture
from headstart.runs.evaluation import evaluate, explore, scored

TRACK = Domain("probes:Track")


def policy(log_std, domain=TRACK):
    """One that does not look, and draws its actions with this deviation."""
    learner = PPO(hidden=(4,))
    state = learner.init(envs.spec_of(domain), jax.random.key(0))
    blind = jax.tree.map(jnp.zeros_like, state.policy.actor)
    actor = eqx.tree_at(lambda a: a.slow_log_std, blind, jnp.full(1, log_std / 0.2))
    return eqx.tree_at(lambda p: p.actor, state.policy, actor)


@pytest.mark.parametrize("log_std", [-1.0, 0.5])
def test_the_entropy_is_that_of_every_state_that_is_met(log_std):
    returns, entropy = explore(TRACK, policy(log_std), 5, 0)
    assert returns.shape == (5,)
    assert entropy.shape == (5 * 10,)  # steps of an episode
    np.testing.assert_allclose(entropy, log_std + 0.5 * np.log(2 * np.pi * np.e), rtol=1e-5)


def test_drawn_actions_are_those_of_the_policy():
    """Without any noise they return what the most likely ones do; with noise, something else."""
    likely = evaluate(TRACK, policy(0.0), 4, 3)
    np.testing.assert_allclose(explore(TRACK, policy(-20.0), 4, 3)[0], likely, rtol=1e-4)
    assert np.abs(explore(TRACK, policy(0.0), 4, 3)[0] - likely).min() > 1e-3


def test_an_episode_is_a_success_where_its_environment_calls_a_step_one():
    """Of `Telling` every other episode is, in its fourth step; of `Track` nothing is known."""
    domain = Domain("probes:Telling")
    assert not scored(domain, policy(0.0, domain), 4, 0)[1].any()  # the first of each copy
    _, success = scored(domain, policy(0.0, domain), 192, 0)  # three of each
    assert success.tolist() == [False, True, False] * 64
    both = mixture([domain, TRACK], shows=["task"])
    one, other = (both.with_parameters(task=task) for task in (0, 1))
    assert scored(one, policy(0.0, both), 128, 0)[1].tolist() == [False, True] * 64
    assert scored(other, policy(0.0, both), 4, 0)[1] is None
    assert 0 < len(scored(both, policy(0.0, both), 64, 0)[1]) < 64  # of Telling alone
    assert scored(TRACK, policy(0.0), 4, 0)[1] is None
