"""PopArt by task, and heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import envs
from headstart.errors import HeadstartError
from headstart.learners.dqn import DQN
from headstart.learners.popart import PopArt
from headstart.learners.sac import SAC
from headstart.learners.train import train
from headstart.policies.networks import MLP, task_of
from headstart.policies.policy import policy_from
from headstart.problem import Domain, mixture
from headstart.runs.metering import CountedSource

PAID = mixture([Domain("runner", pay=pay) for pay in (0.01, 100)], shows=["task"])
CHOSEN = mixture([Domain("grid"), Domain("grid", wall=1)], shows=["task"])
SMALL = {"hidden": (16,), "num_envs": 4, "rollout_length": 4, "learning_starts": 64}


def task(numbers, tasks=2):
    return jax.nn.one_hot(jnp.array(numbers), tasks)


def test_statistics_are_those_of_all_samples_at_first():
    rng = np.random.default_rng(0)
    values, of = rng.normal([[1000.0, -3.0]], [[0.05, 40.0]], (60, 2)), rng.integers(0, 2, 60)
    drawn = values[np.arange(60), of]
    popart = PopArt.fresh(2)
    for part in np.split(np.arange(60), [1, 7, 30]):
        popart = popart.updated(jnp.float32(drawn[part]), task(of[part]))
    for k in range(2):
        assert popart.mean[k] == pytest.approx(drawn[of == k].mean(), rel=1e-4)
        assert popart.variance[k] == pytest.approx(drawn[of == k].var(), rel=0.03)
    np.testing.assert_array_equal(popart.count, np.bincount(of))
    known = np.where(popart.count < 32, 1.0, np.sqrt(popart.variance))
    np.testing.assert_allclose(popart.deviation, known)


def test_a_task_that_was_hardly_seen_keeps_its_units_and_old_samples_fade():
    once = PopArt.fresh(2).updated(jnp.array([1.0, 2.0, 50.0]), task([0, 0, 1]))
    np.testing.assert_array_equal(once.deviation, [1, 1])
    late = PopArt(jnp.zeros(2), jnp.ones(2), jnp.full(2, 1e6))
    after = late.updated(jnp.array([10.0]), task([0]))
    np.testing.assert_allclose(after.mean, [0.01, 0])
    np.testing.assert_allclose(after.variance, [1 + 1e-3 * (-1 + 0.999 * 100), 1], rtol=1e-5)


def test_values_stay_as_they_are_when_their_units_change():
    network = MLP((5, 8, 3), 1.0, jax.random.key(0)).with_heads((1, 2))
    network = jax.tree.map(
        lambda x: x + 0.1 * jax.random.normal(jax.random.key(1), x.shape), network
    )
    before = PopArt(jnp.array([1.0, -50.0]), jnp.array([4.0, 100.0]), jnp.full(2, 99.0))
    after = PopArt(jnp.array([3.0, 900.0]), jnp.array([0.5, 1.9e5]), jnp.full(2, 99.0))
    x = jax.random.normal(jax.random.key(2), (40, 5)).at[:, 1:3].set(task([0, 1] * 20))
    of = task_of(x, network.heads)
    np.testing.assert_array_equal(of, x[:, 1:3])
    values = before.restored(network(x), of)
    kept = after.restored(before.kept(network, after)(x), of)
    np.testing.assert_allclose(kept, values, rtol=1e-4, atol=1e-3)
    assert np.abs(before.kept(network, after)(x) - network(x)).max() > 0.3
    back = after.restored(after.normalised(values[:, 0], of), of)
    np.testing.assert_allclose(back, values[:, 0], rtol=1e-4, atol=1e-3)


def test_every_head_is_one_network():
    plain = MLP((4, 8, 3), 1.0, jax.random.key(0))
    network = plain.with_heads((2, 2))
    x = jax.random.normal(jax.random.key(2), (6, 4)).at[:, 2:].set(task([0, 1, 1, 0, 0, 1]))
    np.testing.assert_allclose(network(x), plain(x), rtol=1e-5)
    assert network.sizes == plain.sizes == (4, 8, 3)
    changed = jax.grad(lambda n: n(x[:1]).sum())(network).weights[-1]
    assert (np.asarray(changed[:, :3]) != 0).any()
    assert (np.asarray(changed[:, 3:]) == 0).all()


@pytest.mark.parametrize(
    ("learner", "domain"),
    [
        (SAC(batch_size=16, heads=True, popart=True, **SMALL), PAID),
        (DQN(batch_size=16, heads=True, popart=True, **SMALL), CHOSEN),
        (SAC(batch_size=16, popart=True, **SMALL), PAID),
    ],
)
def test_it_learns_and_what_it_learned_is_read_and_gone_on_with(learner, domain):
    source = CountedSource(domain)
    state = train(learner, source, 256, jax.random.key(0))
    knowledge = learner.knowledge(state)
    told = envs.start(domain, 6, 0).reset()
    obs = {name: jnp.asarray(group, jnp.float32) for name, group in told.items()}
    one, other = learner.policy(state), policy_from(knowledge)
    np.testing.assert_array_equal(*(p.actor.mode(p.encoders(obs)) for p in (one, other)))
    again = learner.graft(knowledge, learner.init(source.spec, jax.random.key(1)))
    for a, b in zip(*(jax.tree.leaves(s.agent.popart) for s in (state, again)), strict=True):
        np.testing.assert_array_equal(a, b)
    if learner.heads and domain is PAID:
        assert state.agent.popart.deviation[1] > 100 * state.agent.popart.deviation[0]


def test_heads_need_tasks_that_are_told():
    learner = DQN(heads=True)
    with pytest.raises(HeadstartError, match=r"shows none as one-hot.*shows = \[\"task\"\]"):
        learner.init(envs.spec_of(Domain("grid")), jax.random.key(0))
    with pytest.raises(HeadstartError, match="set learner.popart to false"):
        DQN(popart=True, temperature=0.1, n_step=1)
