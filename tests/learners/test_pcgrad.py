"""Gradient surgery."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from headstart import envs
from headstart.experience.unroll import begin, unroll
from headstart.learners import dqn
from headstart.learners import pcgrad as pcgrad_module
from headstart.learners.dqn import DQN
from headstart.learners.learner import NO_HOOKS
from headstart.learners.pcgrad import joined, projected
from headstart.learners.sac import SAC
from headstart.policies.policy import UniformPolicy
from headstart.problem import Domain, mixture

KEY = jax.random.key(0)
SMALL = {"hidden": (16,), "num_envs": 4, "rollout_length": 8, "learning_starts": 0}


def of(*vectors):
    """Gradients of tasks, as a tree of two leaves."""
    rows = jnp.array(vectors)
    return {"first": rows[:, :1], "rest": rows[:, 1:]}


def test_gradients_that_agree_are_added():
    found = projected(of([1.0, 2.0, 0.0], [3.0, 0.0, 1.0]), KEY)
    np.testing.assert_allclose(np.concatenate([found["first"], found["rest"]]), [4, 2, 1])


def test_two_that_conflict_lose_what_goes_against_the_other_by_hand():
    """(1, 0) and (−1, 1): (1, 0) + ½ (−1, 1) = (½, ½), and (−1, 1) + (1, 0) = (0, 1)."""
    found = projected(of([1.0, 0.0, 0.0], [-1.0, 1.0, 0.0]), KEY)
    np.testing.assert_allclose(np.concatenate([found["first"], found["rest"]]), [0.5, 1.5, 0])


def test_a_task_that_is_not_in_the_batch_changes_nothing():
    found = projected(of([1.0, -2.0, 0.5], [0.0, 0.0, 0.0]), KEY)
    np.testing.assert_allclose(np.concatenate([found["first"], found["rest"]]), [1, -2, 0.5])


def test_of_three_each_meets_the_others_in_any_order():
    rows = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)

    def by_hand(order):
        total = np.zeros(5)
        for i in range(3):
            g = rows[i].astype(float).copy()
            for j in order[i]:
                if j != i and g @ rows[j] < 0:
                    g -= g @ rows[j] / (rows[j] @ rows[j]) * rows[j]
            total += g
        return total

    orders = [(0, 1, 2), (2, 1, 0)]
    expected = [by_hand((a, b, c)) for a in orders for b in orders for c in orders]
    found = [
        np.concatenate(list(projected(of(*rows), jax.random.key(k)).values())) for k in range(40)
    ]
    assert all(min(np.abs(one - other).max() for other in expected) < 1e-4 for one in found)
    assert len({tuple(np.round(one, 3)) for one in found}) > 1


def two_losses(theta):
    """The paper's valley: what lowers one raises the other, and its walls are steep."""
    first, second = theta[0] / 2, jnp.tanh(theta[1])
    apart = jnp.abs(jnp.stack([first + second, first - second + 2]))
    return jnp.array([20.0, 25.0]) * jnp.log(jnp.maximum(apart, 5e-6))


@partial(jax.jit, static_argnums=1)
def descended(theta, surgery):
    """Both losses after 20,000 steps of Adam."""
    adam = optax.adam(1e-2)

    def one(carry, key):
        theta, state = carry
        each = jax.jacobian(two_losses)(theta)
        gradient = projected(each, key) if surgery else each.sum(0)
        step, state = adam.update(gradient, state)
        return (theta + step, state), two_losses(theta)

    keys = jax.random.split(KEY, 20_000)
    return jax.lax.scan(one, (theta, adam.init(theta)), keys)[1][-1000:].mean(0)


@pytest.mark.parametrize("start", [(0.5, -3.0), (0.0, -2.5), (1.0, -3.0), (-1.0, -2.0)])
def test_where_the_sum_of_gradients_sticks_it_goes_on(start):
    """In the paper's example one loss stays high for Adam, and both get low with surgery."""
    plain, surgery = (descended(jnp.array(start), how).max() for how in (False, True))
    assert plain > 15
    assert surgery < -10


def test_losses_are_parts_of_the_whole():
    logs = joined({"critic_loss": jnp.array([1.0, 2.0]), "entropy": jnp.array([3.0, 3.0])})
    assert logs == {"critic_loss": 3.0, "entropy": 3.0}


@pytest.mark.parametrize(
    ("kind", "names"), [(SAC, ("runner", "navigation")), (DQN, ("grid", "grid"))]
)
def test_where_tasks_agree_it_is_the_plain_step(kind, names, monkeypatch):
    """With every conflict left in, the sum is the gradient of all."""
    domain = mixture([Domain(name) for name in names], shows=["task"])
    running = envs.start(domain, 4, 0)
    policy = UniformPolicy(running.spec.actions)
    steps = unroll(policy, running, begin(policy, running), 8, KEY)[0].steps
    window = jax.tree.map(lambda x: jnp.asarray(x).reshape(1, 32, *x.shape[2:]), steps)
    for module in (pcgrad_module, dqn):
        monkeypatch.setattr(module, "projected", lambda g, key: jax.tree.map(lambda x: x.sum(0), g))
    found = []
    for pcgrad in (False, True):
        learner = kind(pcgrad=pcgrad, **SMALL, **({"n_step": 1} if kind is DQN else {}))
        agent = learner.init(running.spec, KEY, total=64).agent
        after, log = learner.step(agent, window, learner.batch(window), NO_HOOKS, 0.0, KEY)
        found.append((jax.tree.leaves(after.policy), log))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    for name in found[0][1]:
        np.testing.assert_allclose(found[0][1][name], found[1][1][name], rtol=1e-4, atol=1e-5)
