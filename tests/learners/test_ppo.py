from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.transition import Rollout, Transition
from headstart.experience.unroll import begin, episodes, returns, unroll
from headstart.learners.learner import NO_HOOKS, Progress
from headstart.learners.popart import rescaled
from headstart.learners.ppo import (
    PPO,
    ActorCritic,
    _prepared,
    advantages,
    clipped_surrogate,
)
from headstart.learners.train import train
from headstart.policies.policy import policy_from
from headstart.runs.metering import CountedSource

SMALL = PPO(
    hidden=(16,), num_envs=8, rollout_length=16, minibatch_size=32, epochs=4, learning_rate=3e-3
)
STATE = {"state": Group((3,))}
SPEC = EnvSpec("here", STATE, Actions((2,)), 10)
CHOICE = EnvSpec("here", STATE, Actions((), (2,)), 10)
START = Progress(0, 1)


def gae(reward, value, next_value, terminated, truncated, discount=0.5, gae_lambda=0.5):
    def column(x, kind=jnp.float32):
        return jnp.array(x, kind)[:, None]

    flags = column(terminated, bool), column(truncated, bool)
    values = column(reward), column(value), column(next_value)
    return np.asarray(advantages(*values, *flags, discount, gae_lambda))[:, 0].tolist()


def test_advantages_by_hand():
    # δ = r + γ V′ − V: 1 + 0.5·2 − 1 = 1, 2 + 0.5·4 − 2 = 2; A₁ = 2, A₀ = 1 + 0.25·2.
    assert gae([1, 2], [1, 2], [2, 4], [0, 0], [0, 0]) == [1.5, 2.0]


def test_a_termination_has_no_value_after_it():
    # δ₀ = 1 + 0 − 1 = 0; the second step belongs to another episode.
    assert gae([1, 2], [1, 2], [8, 4], [1, 0], [0, 0]) == [0.0, 2.0]


def test_a_truncation_has_the_value_of_its_final_observation():
    # δ₀ = 1 + 0.5·8 − 1 = 4; nothing flows back from the next episode.
    assert gae([1, 2], [1, 2], [8, 4], [0, 0], [1, 0]) == [4.0, 2.0]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope", "outside"),
    [
        # With ε = 0.2: −min(ρ A, clip(ρ) A), and its derivative by log ρ, −ρ A or 0.
        (1.5, 2.0, -2.4, 0.0, 1),  # too much of what is good: cut at 1.2
        (1.1, 2.0, -2.2, -2.2, 0),
        (0.9, 2.0, -1.8, -1.8, 0),
        (0.5, 2.0, -1.0, -1.0, 1),  # too little of it: not cut
        (0.5, -2.0, 1.6, 0.0, 1),  # little enough of what is bad: cut at 0.8
        (0.9, -2.0, 1.8, 1.8, 0),
        (1.1, -2.0, 2.2, 2.2, 0),
        (1.5, -2.0, 3.0, 3.0, 1),  # too much of it: not cut
    ],
)
def test_the_clipped_surrogate_and_its_gradient_by_hand(ratio, advantage, loss, slope, outside):
    one = jnp.ones(1)

    def surrogate(log_ratio):
        return clipped_surrogate(log_ratio, advantage * one, one, 0.2, one.sum())

    log_ratio = jnp.log(ratio * one)
    (value, share), gradient = jax.value_and_grad(surrogate, has_aux=True)(log_ratio)
    assert float(value) == pytest.approx(loss, rel=1e-5)
    assert float(gradient[0]) == pytest.approx(slope, rel=1e-5)
    assert float(share) == outside


def test_the_surrogate_is_a_weighted_mean():
    log_ratio = jnp.log(jnp.array([1.5, 0.9, 2.0]))
    advantage, weight = jnp.array([2.0, -1.0, 5.0]), jnp.array([1.0, 3.0, 0.0])
    loss, outside = clipped_surrogate(log_ratio, advantage, weight, 0.2, weight.sum())
    assert float(loss) == pytest.approx((-2.4 + 3 * 0.9) / 4, rel=1e-5)
    assert float(outside) == 0.25


def test_rescaling_keeps_what_the_critic_says():
    value = SMALL.init(CHOICE, jax.random.key(0)).critic.value
    x = jax.random.normal(jax.random.key(1), (5, 3))
    before = value(x)[:, 0] * 2.0 + 7.0
    after = rescaled(value, jnp.array(2.0 / 3.0), jnp.array((7.0 - 1.0) / 3.0))(x)[:, 0]
    np.testing.assert_allclose(after * 3.0 + 1.0, before, rtol=1e-5)


def experience(size, seed=0):
    """One column of random steps, the last of which is truncated."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=(size, 1, *shape)).astype(np.float32)

    ones, never = np.ones((size, 1), np.float32), np.zeros((size, 1), bool)
    ends = never.copy()
    ends[-1] = True
    obs, action, reward = {"state": draw(3)}, draw(2), draw()
    steps = Transition(obs, action, reward, {"state": draw(3)}, never, ends)
    nothing = np.zeros((1, 2), np.float32), np.zeros(1, np.float32)
    return Rollout(steps, np.ones(1, bool), *nothing, weight=ones, valid=ones)


def updated(ppo, state, rollout, key=1):
    return ppo.update(state, rollout, START, NO_HOOKS, jax.random.key(key))


def close(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def test_padding_changes_nothing():
    ppo = replace(SMALL, minibatch_size=32, epochs=1)
    state, data = ppo.init(SPEC, jax.random.key(0)), experience(32)

    def padded(x):
        return np.concatenate([x, np.full((96, *x.shape[1:]), 5, x.dtype)])

    valid = np.concatenate([data.valid, np.zeros((96, 1), np.float32)])
    bigger = data._replace(
        steps=jax.tree.map(padded, data.steps), weight=padded(data.weight), valid=valid
    )
    a, _ = updated(ppo, state, data)
    b, _ = updated(ppo, state, bigger)
    close(a, b, rtol=2e-4, atol=2e-5)


def test_experience_that_no_minibatches_fill_is_refused():
    state = SMALL.init(SPEC, jax.random.key(0))
    with pytest.raises(HeadstartError, match="1 environments × 40 steps is not a multiple"):
        updated(SMALL, state, experience(40))


def test_a_weight_of_zero_moves_the_critic_and_not_the_policy():
    state, data = SMALL.init(SPEC, jax.random.key(0)), experience(32)
    half = (np.arange(32) < 16).astype(np.float32)[:, None]
    strange = data.steps.action + 1e3 * (1 - half)[:, :, None]  # ratios of these would overflow
    odd = data.steps._replace(action=strange.astype(np.float32))
    a, log = updated(SMALL, state, data._replace(weight=half, steps=odd))
    b, _ = updated(SMALL, state, data._replace(weight=half))
    assert all(np.isfinite(value) for value in log.values())
    close(a.policy.actor, b.policy.actor, rtol=1e-5, atol=1e-6)
    assert not np.allclose(a.critic.value.weights[0], state.critic.value.weights[0])


def without_advantages(spec, ppo, rollout):
    """A critic that says 0, and rewards of 0: nothing speaks for any action."""
    state = ppo.init(spec, jax.random.key(0))
    last = state.critic.value.weights[-1]
    state = eqx.tree_at(lambda s: s.critic.value.weights[-1], state, jnp.zeros_like(last))
    steps = rollout.steps._replace(reward=np.zeros_like(rollout.steps.reward))
    return state, rollout._replace(steps=steps)


ENTROPIC = replace(SMALL, entropy_coef=0.01, epochs=1, minibatch_size=64, learning_rate=0.01)


def test_the_entropy_bonus_widens_a_gaussian_by_hand():
    """dH / d(log σ / 0.2) = 0.2, so the gradient is g = −0.002, and Adam's first step is
    −g / (|g| + 10⁻⁵) of the rate; H rises by 0.2 of it for each of the two actions."""
    state, rollout = without_advantages(SPEC, ENTROPIC, experience(64))
    after, log = updated(ENTROPIC, state, rollout)
    moved = 0.01 * 0.002 / (0.002 + 1e-5)
    found = after.policy.actor.slow_log_std - state.policy.actor.slow_log_std
    np.testing.assert_allclose(found, [moved] * 2, rtol=1e-3)
    obs, action = jnp.zeros((1, 3)), jnp.zeros((1, 2))
    entropies = [float(s.policy.actor.log_prob_and_entropy(obs, action)[1]) for s in (state, after)]
    assert entropies[1] - entropies[0] == pytest.approx(2 * 0.2 * moved, rel=1e-2)
    # H = Σ (log σ + ½ log 2πe), at first with σ = e^−½.
    assert float(log["entropy"]) == pytest.approx(np.log(2 * np.pi * np.e) - 1.0, rel=1e-4)
    close(after.policy.actor.mean, state.policy.actor.mean, atol=1e-6)
    still, _ = updated(replace(ENTROPIC, entropy_coef=0.0), state, rollout)
    close(still.policy.actor, state.policy.actor, atol=1e-6)


def test_the_entropy_bonus_evens_out_choices():
    """dH / d logit_k = −p_k (log p_k + H): up where the choice is unlikely, else down."""
    rollout = experience(64)
    choices = rollout.steps._replace(action=np.zeros((64, 1), np.int32))
    rollout = rollout._replace(steps=choices, last_action=np.zeros(1, np.int32))
    state, rollout = without_advantages(CHOICE, ENTROPIC, rollout)
    uneven = jnp.array([1.5, 0.0])
    state = eqx.tree_at(lambda s: s.policy.actor.logits.biases[-1], state, uneven)
    after, log = updated(ENTROPIC, state, rollout)
    found = after.policy.actor.logits.biases[-1] - uneven
    np.testing.assert_allclose(found, [-0.01, 0.01], rtol=0.02)
    _, then = updated(ENTROPIC, after, rollout)
    assert float(then["entropy"]) > float(log["entropy"]) + 1e-3


def stopping(epochs, max_kl=1e9):
    """All steps in one minibatch, and gradients as they are: to clip them ties actor and critic."""
    return replace(
        SMALL, minibatch_size=128, epochs=epochs, max_kl=max_kl, learning_rate=1e-2,
        max_grad_norm=1e9,
    )  # fmt: skip


def test_the_policy_stands_still_from_the_minibatch_that_exceeds_max_kl():
    """The divergence is seen before a step, and every epoch is a single minibatch: the second
    exceeds, so that one step is taken. The critic takes all three."""
    state, data = stopping(3).init(SPEC, jax.random.key(0)), experience(128)
    once, twice, thrice = (updated(stopping(n), state, data) for n in (1, 2, 3))
    seen = float(twice[1]["kl"])
    assert abs(float(once[1]["kl"])) < 1e-6
    assert seen > 1e-4
    held, log = updated(stopping(3, seen / 2), state, data)
    close(held.policy.actor, once[0].policy.actor, rtol=1e-4, atol=1e-6)
    far = held.policy.actor.mean.weights[0] - thrice[0].policy.actor.mean.weights[0]
    assert np.abs(far).max() > 1e-3
    assert float(log["kl"]) == pytest.approx(seen, rel=1e-3)
    close(held.critic.value, thrice[0].critic.value, rtol=1e-4, atol=1e-5)
    further = held.critic.value.weights[0] - once[0].critic.value.weights[0]
    assert np.abs(further).max() > 1e-3
    moves, _ = updated(stopping(3, seen * 1.001), state, data)
    assert not np.allclose(moves.policy.actor.mean.weights[0], held.policy.actor.mean.weights[0])


def test_once_the_policy_stands_still_it_does_so_for_the_rest_of_the_update():
    """Two samples count, each a minibatch of its own, and at the second of them the policy has
    moved: it stops in the first epoch. The others diverge by nothing, and Adam's momentum would
    carry it on."""
    ppo = replace(SMALL, minibatch_size=1, epochs=1, max_kl=0.0, learning_rate=1e-2)
    state, data = ppo.init(SPEC, jax.random.key(0)), experience(16)
    data = data._replace(weight=(np.arange(16) < 2).astype(np.float32)[:, None])
    keys = jax.random.split(jax.random.key(1), 3)
    assert (keys[:1] == jax.random.split(jax.random.key(1), 1)).all()  # the first epoch is alike
    once, _ = updated(ppo, state, data)
    thrice, _ = updated(replace(ppo, epochs=3), state, data)
    assert not np.allclose(once.policy.actor.mean.weights[0], state.policy.actor.mean.weights[0])
    close(thrice.policy.actor, once.policy.actor, atol=0)
    assert not np.allclose(thrice.critic.value.weights[0], once.critic.value.weights[0])


def test_the_log_is_of_the_last_minibatch_that_counts():
    """Of four, two are padding."""
    ppo = replace(SMALL, minibatch_size=32, epochs=1)
    state, data = ppo.init(SPEC, jax.random.key(0)), experience(128)
    counts = (np.arange(128) < 64).astype(np.float32)[:, None]
    _, log = updated(ppo, state, data._replace(valid=counts))
    assert float(log["value_loss"]) > 0


def test_the_divergence_by_hand():
    """E[ρ − 1 − log ρ] of the policies after one epoch and before it, normalised alike."""
    state, data = stopping(2).init(SPEC, jax.random.key(0)), experience(128)
    after, _ = updated(stopping(1), state, data)
    _, log = updated(stopping(2), state, data)
    x = state.policy.encoders({"state": jnp.asarray(data.steps.obs["state"][:, 0])})

    def log_prob(actor):
        mean, log_std = np.asarray(actor.mean(x), float), np.asarray(actor.log_std, float)
        z = (data.steps.action[:, 0] - mean) / np.exp(log_std)
        return (-0.5 * z**2 - log_std - 0.5 * np.log(2 * np.pi)).sum(-1)

    log_ratio = log_prob(after.policy.actor) - log_prob(state.policy.actor)
    expected = (np.exp(log_ratio) - 1 - log_ratio).mean()
    assert float(log["kl"]) == pytest.approx(expected, rel=1e-2)
    assert expected > 1e-4
    share = (np.abs(np.exp(log_ratio) - 1) > 0.2).mean()
    assert float(log["clipped"]) == pytest.approx(share, abs=0.01)


def test_the_step_size_falls_to_a_tenth():
    ppo = replace(stopping(1), final_std=10.0)  # bounds nothing
    state, data = ppo.init(SPEC, jax.random.key(0)), experience(128)
    moves = []
    for progress in (Progress(0, 10), Progress(5, 10), Progress(10, 10), Progress(5, 10, (0, 0.5))):
        after, _ = ppo.update(state, data, progress, NO_HOOKS, jax.random.key(1))
        moves.append(float(after.policy.actor.slow_log_std[0] - state.policy.actor.slow_log_std[0]))
    np.testing.assert_allclose(np.array(moves) / moves[0], [1, 0.55, 0.1, 0.775], rtol=1e-3)


def test_the_deviation_is_bounded_towards_the_end():
    """By 1 until seven tenths are done, then geometrically; what is narrower stays."""
    ppo = replace(stopping(1), final_std=0.25, learning_rate=0.0)
    state, data = ppo.init(SPEC, jax.random.key(0)), experience(128)
    log_std = jnp.log(jnp.array([0.6, 0.1])[: state.policy.actor.log_std.size])
    wide = eqx.tree_at(lambda s: s.policy.actor.slow_log_std, state, log_std / 0.2)

    def ends(done):
        after, _ = ppo.update(wide, data, Progress(done, 100), NO_HOOKS, jax.random.key(1))
        return np.exp(float(after.policy.actor.log_std[0]))

    assert [ends(done) for done in (0, 70, 85, 100)] == pytest.approx([0.6, 0.6, 0.5, 0.25])


def test_the_policy_stops_where_max_kl_says():
    free = replace(SMALL, max_kl=1e9, learning_rate=3e-2)
    held = replace(free, max_kl=1e-3)
    state, data = free.init(SPEC, jax.random.key(0)), experience(128)
    far, _ = updated(free, state, data)
    near, _ = updated(held, state, data)

    def distance(after):
        changes = jax.tree.map(lambda x, y: jnp.sum((x - y) ** 2), after, state.policy.actor)
        return float(sum(jax.tree.leaves(changes)))

    assert 0 < distance(near.policy.actor) < 0.1 * distance(far.policy.actor)


def test_actor_and_critic_remember_each_in_their_own_way():
    fresh = replace(SMALL, memory="gru", memory_size=4).init(SPEC, jax.random.key(0))
    own, critics = (jax.tree.leaves(part.memory) for part in (fresh.policy, fresh.critic))
    assert any((a != b).any() for a, b in zip(own, critics, strict=True))


def test_grafting_carries_only_what_is_held():
    old = SMALL.init(SPEC, jax.random.key(0))
    mean = jnp.array([1.0, 2.0, 3.0])
    old = eqx.tree_at(lambda s: s.policy.encoders.by_group["state"].mean, old, mean)
    old = eqx.tree_at(lambda s: s.returns.count, old, jnp.array([7.0]))
    old = eqx.tree_at(lambda s: s.opt_state[1].count, old, jnp.int32(5))
    new = SMALL.init(SPEC, jax.random.key(1))
    knowledge = SMALL.knowledge(old)
    parts = {"policy", "critic", "statistics", "returns", "optimiser"}
    assert knowledge.parts.keys() == parts <= set(PPO.parts)
    carried = SMALL.graft(knowledge.only(["policy"]), new)
    assert eqx.tree_equal(carried.policy.actor, old.policy.actor)
    assert eqx.tree_equal(carried.critic, new.critic)
    assert eqx.tree_equal(carried.policy.encoders, new.policy.encoders)
    everything = SMALL.graft(knowledge, new)
    for part in ("policy", "critic", "returns", "opt_state"):
        assert eqx.tree_equal(getattr(everything, part), getattr(old, part))


def test_what_a_recurrent_one_knows_is_put_back_whole():
    ppo = replace(SMALL, memory="gru", memory_size=4)
    old, new = (ppo.init(SPEC, jax.random.key(seed)) for seed in (0, 1))
    knowledge = ppo.knowledge(old)
    carried = ppo.graft(knowledge, new)
    assert eqx.tree_equal(carried.policy, old.policy)
    assert eqx.tree_equal(carried.critic, old.critic)
    assert eqx.tree_equal(policy_from(knowledge), old.policy)


def test_a_policy_learns_a_task_that_needs_the_state():
    source = CountedSource(Domain("probes:Track"))
    state = train(SMALL, source, 12_000, jax.random.key(0))
    scores = returns(state.policy, source.start(16, seed=9))
    fresh = SMALL.init(source.spec, jax.random.key(0))
    untrained = returns(fresh.policy, source.start(16, seed=9))
    assert scores.mean() > 0.5 * untrained.mean()  # returns are negative distances


prepared = jax.jit(_prepared, static_argnums=0)
RECURRENT = PPO(
    hidden=(8,), memory="gru", memory_size=5, num_envs=4, rollout_length=16, minibatch_size=32,
    epochs=1, learning_rate=1e-2,
)  # fmt: skip


def by_hand(state, rollout, memory):
    """Log-probabilities, what the critic sees, and the memories after, one step of one copy after
    another: GRU cells are called as acting calls them."""
    policy, critic = state.policy, state.critic
    time, env = rollout.steps.reward.shape
    begins = np.asarray(rollout.begins).copy()
    last = np.asarray(rollout.last_action, np.float32).copy()
    own, critics = (np.array(m) for m in memory)
    log_prob, value = np.zeros((time, env)), np.zeros((time, env))
    scale = np.sqrt(float(state.returns.var[0]))
    cells = [eqx.filter_jit(m.cell) for m in (policy.memory, critic.memory)]
    for t in range(time):
        seen = np.asarray(policy.encoders({"state": jnp.asarray(rollout.steps.obs["state"][t])}))
        for i in range(env):
            if begins[i]:
                own[i], critics[i], last[i] = 0, 0, 0
            told = np.concatenate([seen[i], last[i]])
            own[i], critics[i] = cells[0](told, own[i]), cells[1](told, critics[i])
        actor_sees = jnp.concatenate([seen, own], -1)
        mean = np.asarray(policy.actor.mean(actor_sees))
        std = np.exp(np.asarray(policy.actor.log_std))
        action = np.asarray(rollout.steps.action[t])
        z = (action - mean) / std
        log_prob[t] = (-0.5 * z**2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(-1)
        said = np.asarray(critic.value(jnp.concatenate([seen, critics], -1)))[:, 0]
        value[t] = said * scale + float(state.returns.mean[0])
        begins = np.asarray(rollout.steps.terminated[t] | rollout.steps.truncated[t])
        last = action.copy()
    return log_prob, value, (own, critics)


@pytest.mark.parametrize("domain", ["probes:Track", "probes:Climb"])
def test_memories_run_again_in_the_update_give_what_acting_gave(domain):
    """Three rollouts of 16 steps with an update after each; episodes of ten steps, and of five, end
    inside. Both the policy's memory and the critic's are carried over."""
    domain = Domain(domain)
    running = envs.start(domain, 4, 0)
    state = RECURRENT.init(envs.spec_of(domain), jax.random.key(0))
    strong = 30 * state.policy.actor.mean.weights[-1]  # so that what is remembered shows in actions
    state = eqx.tree_at(lambda s: s.policy.actor.mean.weights[-1], state, strong)
    policy = RECURRENT.behaviour(state, START)
    assert isinstance(policy, ActorCritic)
    carry = begin(policy, running)
    frozen = replace(RECURRENT, learning_rate=0.0, epochs=2)
    for i in range(3):
        policy = RECURRENT.behaviour(state, START)
        expected = carry.memory
        rollout, carry = unroll(policy, running, carry, 16, jax.random.key(i))
        close(rollout.memory, expected, atol=0)
        assert rollout.starts()[1:].any()
        log_prob, value, after = by_hand(state, rollout, rollout.memory)
        close(carry.memory, after, atol=1e-5)
        columns, returns_, _ = prepared(RECURRENT, state, rollout)
        samples = columns.turned()
        np.testing.assert_allclose(samples.log_prob, log_prob, rtol=1e-5, atol=1e-5)
        # In the minibatch everything is computed once more, from each column's start.
        still, log = frozen.update(state, rollout, START, NO_HOOKS, jax.random.key(i))
        assert abs(float(log["kl"])) < 1e-6
        assert float(log["clipped"]) == 0
        close(still.policy.actor, state.policy.actor, atol=0)
        # Targets of the critic: V + A, of which A is by hand from V along each copy.
        next_value = np.concatenate([value[1:], np.full((1, 4), np.nan)])
        targets = samples.value * np.sqrt(returns_.var[0] + 1e-8) + returns_.mean[0]
        steps = rollout.steps
        ended = np.asarray(steps.terminated | steps.truncated)
        # Where the next step does not end and is not the last, A_t = δ_t + γλ A_{t+1}.
        advantage = np.asarray(targets) - value
        inside = ~ended[:-1]
        delta = steps.reward[:-1] + RECURRENT.discount * next_value[:-1] - value[:-1]
        decay = RECURRENT.discount * RECURRENT.gae_lambda
        np.testing.assert_allclose(
            advantage[:-1][inside], (delta + decay * advantage[1:])[inside], rtol=1e-3, atol=1e-3
        )
        state, _ = RECURRENT.update(state, rollout, START, NO_HOOKS, jax.random.key(i))


def test_whole_episodes_of_a_recurrent_policy_begin_with_nothing_remembered():
    """The log-probabilities of columns are those of a rollout in which the episodes were played."""
    domain = Domain("probes:Track")
    state = RECURRENT.init(envs.spec_of(domain), jax.random.key(0))
    policy = RECURRENT.behaviour(state, START)
    tried = episodes(policy, envs.start(domain, 4, 0), key=jax.random.key(0))
    rollout = RECURRENT.arranged(tried)
    assert rollout.steps.reward.shape == (16, 4)  # ten steps, padded
    columns, _, _ = prepared(RECURRENT, state, rollout)
    samples = columns.turned()
    nothing = tuple(np.zeros((4, 5), np.float32) for _ in range(2))
    log_prob, _, _ = by_hand(state, rollout, nothing)
    np.testing.assert_allclose(samples.log_prob[:10], log_prob[:10], rtol=1e-5, atol=1e-5)
