"""Losses that hold a policy near to another, by hand and by other means."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from headstart import HeadstartError
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.envs.vector_env import TimeStep
from headstart.experience.replay import Replay, transition_row
from headstart.learners.dqn import DQN
from headstart.learners.learner import Hooks, Progress, Rates
from headstart.learners.off_policy import OffPolicyState
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.policies.actors import (
    CategoricalActor,
    GaussianActor,
    GreedyActor,
    SquashedGaussianActor,
)
from headstart.policies.policy import learned_parts
from headstart.transfer.anchor import Anchoring, Clone, Kickstart, Near, fisher
from lived import experience

KEY = jax.random.key(0)
SPEC = EnvSpec("here", {"state": Group((2,))}, Actions((1,)), 10)
CHOICE = replace(SPEC, actions=Actions((), (3,)))
SMALL = {"num_envs": 4, "batch_size": 16, "learning_starts": 0}
LEARNERS = {
    "ppo": (PPO(hidden=(8,), num_envs=4, minibatch_size=8, epochs=1), SPEC),
    "ppo, a choice": (PPO(hidden=(8,), num_envs=4, minibatch_size=8, epochs=1), CHOICE),
    "sac": (SAC(hidden=(8,), **SMALL), SPEC),
    "dqn": (replace(DQN(hidden=(8,), updates_per_step=1.0), **SMALL), CHOICE),
}  # fmt: skip


def test_the_divergence_of_gaussians_is_the_integral():
    actor = GaussianActor(1, Actions((2,)), (), KEY)
    theirs, own = jnp.array([0.3, -1.0, -0.5, 0.2]), jnp.array([-0.4, 0.5, 0.1, -0.3])
    expected = 0.0
    for i in range(2):
        p, q = (stats.norm(float(x[i]), np.exp(float(x[2 + i]))) for x in (theirs, own))
        expected += integrate.quad(
            lambda u, p=p, q=q: p.pdf(u) * (p.logpdf(u) - q.logpdf(u)), -9, 9
        )[0]
    assert float(actor.divergence(theirs, own)) == pytest.approx(expected, rel=1e-4)
    squashed = SquashedGaussianActor(1, Actions((2,)), (), KEY)
    assert float(squashed.divergence(theirs, own)) == pytest.approx(expected, rel=1e-4)


def test_the_divergence_of_choices_by_hand():
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    expected = (p * np.log(p / q)).sum()
    log_p, log_q = (jnp.log(jnp.asarray(x, jnp.float32)) for x in (p, q))
    one = CategoricalActor(1, Actions((), (3,)), (), KEY)
    assert float(one.divergence(log_p, log_q)) == pytest.approx(expected, rel=1e-5)
    two = CategoricalActor(1, Actions((2,), (3, 3)), (), KEY)
    theirs, own = jnp.concatenate([log_p, log_q]), jnp.concatenate([log_q, log_q])
    assert float(two.divergence(theirs, own)) == pytest.approx(expected, rel=1e-5)
    greedy = GreedyActor(1, Actions((), (3,)), (), KEY)  # from what is best there to a softmax
    found = greedy.divergence(jnp.array([1.0, 3.0, 2.0]), log_q)
    assert float(found) == pytest.approx(-np.log(q[1]), rel=1e-5)


def linear(learner, spec):
    """A policy whose actor's outputs are W s + b."""
    policy = replace(learner, hidden=(1,)).init(spec, KEY).policy
    actor = type(policy.actor)(2, spec.actions, (), jax.random.key(3))
    return eqx.tree_at(lambda p: p.actor, policy, actor)


OBS = {"state": jnp.asarray(np.random.default_rng(0).normal(size=(50, 2)), jnp.float32)}


def test_fishers_information_of_a_gaussian_in_closed_form():
    """∂² by the mean is 1 / σ², by log σ it is 2, whatever the state: W takes s² / σ²."""
    policy = linear(*LEARNERS["ppo"])
    policy = eqx.tree_at(lambda p: p.actor.slow_log_std, policy, jnp.full(1, -0.4 / 0.2))
    actor, _, _ = fisher(policy, OBS)
    precision = np.exp(0.8)
    np.testing.assert_allclose(actor.mean.biases[0], [precision], rtol=1e-4)
    square = (np.asarray(policy.encoders(OBS)) ** 2).mean(0)
    np.testing.assert_allclose(actor.mean.weights[0][:, 0], precision * square, rtol=1e-4)
    np.testing.assert_allclose(actor.slow_log_std, [2 * 0.2**2], rtol=1e-4)


def test_fishers_information_of_a_choice_in_closed_form():
    policy = linear(*LEARNERS["ppo, a choice"])
    share = np.asarray(jax.nn.softmax(policy.actor.logits(policy.encoders(OBS))))
    actor, _, _ = fisher(policy, OBS)
    np.testing.assert_allclose(actor.logits.biases[0], (share * (1 - share)).mean(0), rtol=1e-3)


@pytest.mark.parametrize("name", ["sac", "dqn", "ppo"])
def test_fishers_information_is_the_curvature_of_the_divergence(name):
    """½ δᵀ F δ for a small change of one parameter, a hidden one too."""
    learner, spec = LEARNERS[name]
    policy = learner.init(spec, jax.random.key(5)).policy
    diagonal = fisher(policy, OBS)[0].network
    base = policy.actor.outputs(policy.encoders(OBS))
    theirs = 0.01 * base if name == "dqn" else base
    for layer, (row, column) in ((0, (1, 3)), (1, (2, 0))):
        delta = 0.03
        weights = policy.actor.network.weights[layer].at[row, column].add(delta)
        where = {"sac": "mean_and_log_std", "dqn": "values", "ppo": "mean"}[name]
        moved = eqx.tree_at(
            lambda a, w=where, i=layer: getattr(a, w).weights[i], policy.actor, weights
        )
        far = moved.divergence(theirs, moved.outputs(policy.encoders(OBS))).mean()
        expected = 0.5 * delta**2 * float(diagonal.weights[layer][row, column])
        assert float(far) == pytest.approx(expected, rel=0.1, abs=2e-7)


def other(learner, spec):
    """A policy that knows something else."""
    return learner.init(spec, jax.random.key(9)).policy


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("kind", ["kickstart", "clone", "l2", "ewc"])
def test_it_draws_the_policy_near(name, kind):
    """Nothing but the anchor learns, where its weight is large: what it is a distance of falls."""
    learner, spec = LEARNERS[name]
    learner = replace(learner, learning_rate=3e-3)
    states = {n: x.reshape(-1, 2) for n, x in experience(spec, seed=1).steps.obs.items()}
    anchor = Anchoring(kind=kind, weight=1.0).anchor(other(learner, spec), states, KEY)
    heavy = eqx.tree_at(lambda a: a.weight, anchor, jnp.float32(1e4))
    state, seen = learner.init(spec, KEY, total=10_000), []
    for i in range(12):
        rollout = experience(spec, seed=i)
        hooks = Hooks(anchor=heavy)
        state, log = learner.update(
            state, rollout, Progress(32 * i, 1000), hooks, jax.random.key(i)
        )
        seen.append(float(log["anchor"]))
    assert seen[-1] < 0.8 * seen[0]


@pytest.mark.parametrize("kind", ["kickstart", "clone", "l2"])
def test_what_is_set_of_an_actor_is_not_drawn_anywhere(kind):
    """Soft Q-learning's temperature, which a divergence depends on."""
    learner = replace(LEARNERS["dqn"][0], temperature=0.2, n_step=1)
    source = other(replace(learner, temperature=0.5), CHOICE)
    states = {n: x.reshape(-1, 2) for n, x in experience(CHOICE, seed=1).steps.obs.items()}
    anchor = Anchoring(kind=kind, weight=1.0).anchor(source, states, KEY)
    state = learner.init(CHOICE, KEY, total=10_000)
    after, _ = learner.update(
        state, experience(CHOICE), Progress(0, 1000), Hooks(anchor=anchor), KEY
    )
    assert not eqx.tree_equal(after.policy.actor.values, state.policy.actor.values)
    assert float(after.policy.actor.temperature) == pytest.approx(0.2)
    assert float(after.policy.actor.epsilon) == 0


def test_what_is_added_is_the_divergence_in_the_states_of_the_batch():
    learner, spec = LEARNERS["sac"]
    agent, source = learner.init(spec, KEY).agent, other(learner, spec)
    window = jax.tree.map(lambda x: x.reshape(1, 32, *x.shape[2:]), experience(spec).steps)
    batch = learner.batch(window)._replace(weight=jnp.arange(32.0))
    hooks = Hooks(anchor=Kickstart(jnp.float32(0.5), source))
    _, log = learner.step(agent, window, batch, hooks, 0.0, KEY)
    x = window.obs["state"][0]
    far = source.actor.divergence(source.actor.outputs(x), agent.policy.actor.outputs(x))
    expected = (np.arange(32) * far).sum() / np.arange(32).sum()
    assert float(log["anchor"]) == pytest.approx(float(expected), rel=1e-4)


def test_opinions_come_from_what_the_source_remembers():
    learner = PPO(hidden=(8,), memory="gru", memory_size=4)
    source = learner.init(SPEC, jax.random.key(9)).policy
    steps = experience(SPEC)
    told = steps.timesteps()
    found = Kickstart(jnp.float32(1.0), source).opinion(told)
    memory = source.initial(4)
    for t in range(8):
        now = TimeStep(*jax.tree.map(lambda x, t=t: x[t], tuple(told)))
        fresh = source.initial(4)
        memory = jnp.where(now.begins[:, None], fresh, memory)
        x, memory = source.features(now, memory)
        np.testing.assert_allclose(found[t], source.actor.outputs(x), rtol=1e-4, atol=1e-5)


def test_near_in_parameters_by_hand():
    learner, spec = LEARNERS["ppo"]
    source, policy = other(learner, spec), learner.init(spec, KEY).policy
    anchor = Near(
        jnp.float32(3.0), learned_parts(source), jax.tree.map(jnp.ones_like, learned_parts(source))
    )
    loss, log = anchor.loss(policy, jnp.ones((1, 2)), None, jnp.ones(1), KEY)
    pairs = zip(*map(jax.tree.leaves, (learned_parts(source), learned_parts(policy))), strict=True)
    expected = sum(0.5 * ((np.asarray(a) - np.asarray(b)) ** 2).sum() for a, b in pairs)
    assert float(log["anchor"]) == pytest.approx(expected, rel=1e-5)
    assert float(loss) == pytest.approx(3 * expected, rel=1e-5)


def test_clones_are_near_in_the_kept_states_alone():
    learner, spec = LEARNERS["sac"]
    source, policy = other(learner, spec), learner.init(spec, KEY).policy
    kept = {"state": jnp.ones((1, 2))}
    anchor = Anchoring(kind="clone", batch_size=4).anchor(source, kept, KEY)
    assert isinstance(anchor, Clone)
    x = jnp.ones((1, 2))
    far = source.actor.divergence(source.actor.outputs(x), policy.actor.outputs(x))
    elsewhere = jnp.full((3, 2), 7.0)
    loss, _ = anchor.loss(policy, elsewhere, None, jnp.ones(3), KEY)
    assert float(loss) == pytest.approx(float(far[0]), rel=1e-5)


def test_the_weight_falls():
    falling, steady = Anchoring(kind="l2", weight=2.0, until=0.5), Anchoring(weight=2.0, until=0.0)
    assert [falling.weight_at(share) for share in (0.0, 0.25, 0.5, 1.0)] == [2.0, 1.0, 0.0, 0.0]
    assert steady.weight_at(1.0) == 2.0
    for wrong in ({"weight": -1.0}, {"until": 1.5}, {"batch_size": 0}):
        with pytest.raises(HeadstartError, match=next(iter(wrong))):
            Anchoring(**wrong)


def moved(before, after):
    return [
        not np.array_equal(a, b)
        for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)
    ]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_frozen_part_stays_to_the_bit_and_the_rest_learns(name):
    learner, spec = LEARNERS[name]
    state = learner.init(spec, KEY, total=10_000)
    rates = Rates(policy=jnp.float32(0.0))
    before = jax.tree.map(np.asarray, state)
    after, _ = learner.update(state, experience(spec), Progress(0, 100), Hooks(rates=rates), KEY)
    policy = lambda s: s.policy.actor.network if "ppo" in name else s.agent.policy.actor  # noqa: E731
    assert not any(moved(policy(before), policy(after)))
    if name != "dqn":
        critic = lambda s: s.critic.value if "ppo" in name else s.agent.critics  # noqa: E731
        assert all(moved(critic(before), critic(after)))


@pytest.mark.parametrize("name", ["sac", "dqn"])
def test_half_the_rate_is_half_the_step(name):
    learner, spec = LEARNERS[name]
    agent = learner.init(spec, KEY).agent
    window = jax.tree.map(lambda x: x[:3, :4], experience(spec).steps)
    if name == "sac":
        window = jax.tree.map(lambda x: x.reshape(1, 32, *x.shape[2:]), experience(spec).steps)
    batch = learner.batch(window)
    whole, half = (
        learner.step(agent, window, batch, Hooks(rates=rates), 0.0, KEY)[0].policy.actor.network
        for rates in (None, Rates(policy=jnp.float32(0.5)))
    )
    for start, one, other in zip(
        *map(jax.tree.leaves, (agent.policy.actor.network, whole, half)), strict=True
    ):
        np.testing.assert_allclose(other - start, 0.5 * (one - start), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("counts", [True, False])
def test_statistics_may_stop_counting(counts):
    learner, spec = LEARNERS["ppo"]
    state = learner.init(spec, KEY)
    hooks = Hooks(rates=Rates(statistics=counts))
    after, _ = learner.update(state, experience(spec), Progress(0, 100), hooks, KEY)
    assert any(moved(state.policy.encoders, after.policy.encoders)) == counts


@pytest.mark.parametrize("name", ["sac", "dqn"])
def test_a_share_of_each_batch_is_of_what_was_kept(name):
    """Rewards there are 100, and here near 0."""
    learner, spec = LEARNERS[name]
    seen = []

    class Watching(type(learner)):
        def step(self, agent, window, batch, hooks, share, key):
            jax.debug.callback(lambda r: seen.append(np.asarray(r)), batch.reward)
            return super().step(agent, window, batch, hooks, share, key)

    watching = Watching(**{**vars(learner), "hidden": (4,)})
    state = watching.init(spec, KEY, total=10_000)
    there = experience(spec, seed=7).steps._replace(
        reward=jnp.full((8, 4), 100.0), terminated=jnp.ones((8, 4), bool)
    )
    kept = Replay.empty(transition_row(spec), 32, 4, 8).add(there)
    hooks = Hooks(kept=kept, kept_share=0.25)
    state, _ = watching.update(state, experience(spec), Progress(0, 1000), hooks, KEY)
    jax.effects_barrier()
    assert isinstance(state, OffPolicyState)
    assert len(seen) >= 30
    assert all((rewards > 50).sum() == 4 for rewards in seen)  # of 16
