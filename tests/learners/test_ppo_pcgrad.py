"""PPO with gradients of tasks projected."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.experience.unroll import begin, episodes, returns, unroll
from headstart.learners import pcgrad
from headstart.learners import ppo as module
from headstart.learners.learner import NO_HOOKS, Progress
from headstart.learners.ppo import PPO, clipped_surrogate
from headstart.learners.train import train
from headstart.problem import mixture
from headstart.runs.metering import CountedSource

START, KEY = Progress(0, 1), jax.random.key(0)
SMALL = PPO(hidden=(16,), num_envs=8, rollout_length=16, minibatch_size=32, epochs=2, max_kl=1e9)
CHOICES = mixture([Domain("grid"), Domain("grid")], shows=["task"])
FORCES = mixture([Domain("runner"), Domain("navigation")], shows=["task"])


def update(ppo, domain, whole):
    """What one update on the same rollout makes of a fresh agent: leaves, and the log. Whole
    episodes have weights: only one of the policy's."""
    running = envs.start(domain, 8, 0)
    state = replace(ppo, pcgrad=True).init(running.spec, KEY)
    policy = ppo.behaviour(state, START)
    if whole:
        rollout = ppo.arranged(episodes(policy, running, key=KEY), np.float32([2] + [0] * 7))
    else:
        rollout = unroll(policy, running, begin(policy, running), 16, KEY)[0]
    state, log = ppo.update(state, rollout, START, NO_HOOKS, KEY)
    return jax.tree.leaves(state), log


@pytest.mark.parametrize(
    ("domain", "memory", "heads", "whole"),
    [(CHOICES, "none", False, False), (FORCES, "none", True, True), (FORCES, "gru", False, False)],
    ids=["choices", "heads-whole-episodes", "forces-memory"],
)
def test_with_every_conflict_left_in_it_is_the_plain_update(
    domain, memory, heads, whole, monkeypatch
):
    monkeypatch.setattr(pcgrad, "projected", lambda g, key: jax.tree.map(lambda x: x.sum(0), g))
    ppo = replace(SMALL, memory=memory, memory_size=8, heads=heads, entropy_coef=0.1)
    plain, log = update(ppo, domain, whole)
    found, found_log = update(replace(ppo, pcgrad=True), domain, whole)
    for one, other in zip(plain, found, strict=True):
        if jnp.issubdtype(one.dtype, jnp.floating):
            np.testing.assert_allclose(one, other, atol=2e-4)
    for name in log:
        np.testing.assert_allclose(log[name], found_log[name], rtol=2e-3, atol=2e-4)


def test_what_two_tasks_want_of_one_policy_is_projected_by_hand():
    """One wants the shared action up, and the other down, and each something of its own: with
    weights ¾ and ¼ gradients (−¾, ·) and (¼, ·), of which neither goes against the other."""
    ups = jnp.array([1.0, 1.0, 1.0, -1.0])
    task = jnp.array([0, 0, 0, 1])

    class Seen(module.Samples):
        pass

    nothing = jnp.zeros(4)
    samples = Seen(
        None, None, nothing, nothing, (), nothing, nothing, ups, nothing,
        jnp.ones(4), jnp.ones(4), None, jax.nn.one_hot(task, 2),
    )  # fmt: skip

    def loss(learned, s, key, among=None):
        """With a bonus that is of no task."""
        shared, of_task = learned[0][0]
        weight = s.weight if among is None else among * s.weight
        mean, _ = clipped_surrogate(
            shared + of_task[task], s.advantage, weight, 0.2, jnp.float32(4)
        )
        return mean + (3 * shared if among is None else 0.0), {"policy_loss": mean}

    learned = ((jnp.zeros(()), jnp.zeros(2)),), None
    (gradient, _), log = module._surgery(loss, learned, samples, KEY)
    first, second = np.array([-0.75, -0.75, 0.0]), np.array([0.25, 0.0, 0.25])
    kept = first - first @ second / (second @ second) * second
    kept += second - first @ second / (first @ first) * first
    kept += np.array([3.0, 0.0, 0.0])
    np.testing.assert_allclose(np.hstack([gradient[0][0], gradient[0][1]]), kept, atol=1e-6)
    np.testing.assert_allclose(log["policy_loss"], -0.5, atol=1e-6)


def test_it_learns_tasks_that_conflict():
    """Right and left, by one head that is told which."""
    ways = [Domain("runner", direction=way) for way in (0.0, math.pi)]
    ppo = PPO(hidden=(32,), num_envs=16, minibatch_size=128, learning_rate=3e-3, pcgrad=True)
    source = CountedSource(mixture(ways, shows=["task"]))
    state = train(ppo, source, 30_000, KEY)
    for way in ways:
        task = mixture(ways, shows=["task"]).with_parameters(task=ways.index(way))
        found = returns(ppo.policy(state), envs.start(task, 16, 1), key=KEY)
        assert np.mean(found) > 40, found


def test_without_a_told_task_it_is_refused():
    spec = envs.spec_of(mixture([Domain("grid"), Domain("grid")]))
    with pytest.raises(HeadstartError, match="heads and pcgrad need to be told the task"):
        replace(SMALL, pcgrad=True).init(spec, KEY)
