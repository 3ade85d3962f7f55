from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError, envs
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.replay import Batch
from headstart.experience.transition import Transition
from headstart.experience.unroll import nothing_told
from headstart.learners.dqn import DQN
from headstart.learners.learner import NO_HOOKS, Progress
from headstart.policies.actors import GreedyActor
from headstart.policies.policy import UniformPolicy, act, policy_from

SMALL = DQN(
    hidden=(16,), num_envs=8, rollout_length=4, batch_size=32, buffer_size=512, learning_starts=64,
    updates_per_step=0.5, learning_rate=3e-3, discount=0.9, tau=0.05,
)  # fmt: skip
LINE = EnvSpec("line", {"state": Group((1,))}, Actions((), (2,)), 10)
GENTLE = replace(SMALL, learning_rate=0.01, tau=0.25, reward_scale=2.0, discount=0.5)


def linear(slope, offset):
    """Q(s, ·) = slope · s + offset, in the place of the policy's layers."""
    policy = GENTLE.init(LINE, jax.random.key(0)).policy
    actor = GreedyActor(1, LINE.actions, (), jax.random.key(0))
    actor = eqx.tree_at(
        lambda a: (a.values.weights[0], a.values.biases[0]),
        actor,
        (jnp.array([slope]), jnp.array(offset)),
    )
    return eqx.tree_at(lambda p: p.actor, policy, actor)


def agent_with(policy, slow):
    return eqx.tree_at(lambda a: a.slow_policy, GENTLE._agent(policy, None), slow)


def as_window(batch):
    """Steps that would make such a batch; only recurrent learners look at them."""
    flags = jnp.zeros(batch.reward.shape, bool)
    steps = Transition(batch.obs, batch.action, batch.reward, batch.next_obs, flags, flags)
    return jax.tree.map(lambda x: x[None], steps)


@jax.jit
def stepped(agent, batch):
    return GENTLE.step(agent, as_window(batch), batch, NO_HOOKS, 0.0, jax.random.key(0))


def test_the_target_is_the_slow_value_of_the_action_that_looks_best():
    agent = agent_with(linear([1.0, -1.0], [0.0, 1.0]), linear([0.0, 0.0], [5.0, 7.0]))
    batch = Batch(
        obs={"state": jnp.array([[3.0], [3.0], [0.0]])},
        action=jnp.array([0, 1, 1]),
        reward=jnp.array([0.25, 1.0, 0.25]),
        # where Q is (2, −1), (−1, 2) and (2, −1)
        next_obs={"state": jnp.array([[2.0], [-1.0], [2.0]])},
        discount=jnp.array([0.5, 0.25, 0.0]),
        weight=jnp.array([1.0, 2.0, 1.0]),
    )
    # Q(s, a) = 3, −2, 1; y = 2 r + γ Q̄ = 0.5 + 0.5 · 5, 2 + 0.25 · 7, 0.5.
    errors = np.array([0.0, -5.75, 0.5])
    huber = np.array([0.0, 5.25, 0.125])
    after, log = stepped(agent, batch)
    assert float(log["value"]) == pytest.approx(np.mean([3, -2, 1]))
    assert float(log["value_loss"]) == pytest.approx((huber * [1, 2, 1]).mean())
    # Adam's first step is the sign of the gradient: Q(3, 1) is too low, Q(0, 1) too high.
    gradient = np.clip(errors, -1, 1) * [1, 2, 1]
    assert gradient[1:].sum() < 0
    moved = after.policy.actor.values.biases[0]
    np.testing.assert_allclose(moved, [0.0, 1.01], atol=1e-5)
    # The gradient itself, of which Adam's first mean holds a tenth: nothing of the first action.
    slope = after.opt_state[1][0].mu[0].values.biases[0] * 10
    np.testing.assert_allclose(slope, [0.0, gradient[1:].sum() / 3], atol=1e-5)
    slow = after.slow_policy.actor.values.biases[0]
    np.testing.assert_allclose(slow, [5 - 0.25 * 5, 7 - 0.25 * (7 - 1.01)], rtol=1e-5)


def test_the_soft_target_by_hand():
    """Where Q is (1, −1) and α = ½, π is e^{2, −2} / Σ: its entropy counts ½ a nat."""
    soft = replace(GENTLE, temperature=0.5, n_step=1)
    agent = soft._agent(linear([1.0, -1.0], [0.0, 0.0]), None)
    agent = eqx.tree_at(lambda a: a.slow_policy, agent, linear([0.0, 0.0], [5.0, 7.0]))
    batch = Batch(
        obs={"state": jnp.array([[3.0]])}, action=jnp.array([0]), reward=jnp.array([2.0]),
        next_obs={"state": jnp.array([[1.0]])}, discount=jnp.array([0.5]), weight=jnp.ones(1),
    )  # fmt: skip
    share = np.exp([2.0, -2.0]) / np.exp([2.0, -2.0]).sum()
    entropy = -(share * np.log(share)).sum()
    backup = 4.0 + 0.5 * (share @ [5.0, 7.0] + 0.5 * entropy)
    _, log = soft.step(agent, as_window(batch), batch, NO_HOOKS, 0.0, jax.random.key(0))
    assert float(log["value_loss"]) == pytest.approx(backup - 3 - 0.5, rel=1e-5)
    at_three = np.exp([6.0, -6.0]) / np.exp([6.0, -6.0]).sum()
    assert float(log["entropy"]) == pytest.approx(-(at_three * np.log(at_three)).sum(), rel=1e-3)


def test_with_a_temperature_it_explores_by_itself():
    soft = replace(SMALL, temperature=2.0, n_step=1)
    state = soft.init(LINE, jax.random.key(0))
    explorer = soft.behaviour(state, Progress(64, 1000))
    assert (float(explorer.actor.epsilon), float(explorer.actor.temperature)) == (0.0, 2.0)
    cold = soft.held_at(0.0)
    assert float(cold.graft(soft.knowledge(state), state).policy.actor.temperature) == 0
    assert float(cold.behaviour(state, Progress(64, 1000)).actor.epsilon) > 0.7
    with pytest.raises(HeadstartError, match=r"n_step to 1, not 3"):
        SMALL.held_at(0.1)


def test_the_target_over_n_steps_with_an_end_inside_by_hand():
    """γ = ½, three steps: no end; a termination at the second; a truncation at the second; an end
    at the third, which still counts its reward."""
    policy, slow = linear([1.0, -1.0], [0.0, 0.0]), linear([0.0, 0.0], [4.0, 8.0])
    rows = np.zeros((3, 4), bool)
    terminated, truncated = rows.copy(), rows.copy()
    terminated[1, 1] = truncated[1, 2] = terminated[2, 3] = True
    # Where actions led: −1 at the second step, +1 at the third. Q looks best at 1 and at 0.
    next_obs = np.array([0.5, -1.0, 1.0], np.float32)[:, None, None] * np.ones((1, 4, 1))
    window = Transition(
        {"state": jnp.ones((3, 4, 1))},
        jnp.zeros((3, 4), jnp.int32),
        jnp.asarray([1.0, 10.0, 100.0])[:, None] * jnp.ones((1, 4)),
        {"state": jnp.asarray(next_obs, jnp.float32)},
        jnp.asarray(terminated),
        jnp.asarray(truncated),
    )
    batch = GENTLE.batch(window)
    rewards = [1 + 5 + 25, 1 + 5, 1 + 5, 1 + 5 + 25]
    np.testing.assert_allclose(batch.reward, rewards)
    np.testing.assert_allclose(batch.discount, [1 / 8, 0, 1 / 4, 0])
    np.testing.assert_allclose(batch.next_obs["state"][:, 0], [1, -1, -1, 1])
    # At +1 the best action is 0, worth 4 slowly; at −1 it is 1, worth 8.
    targets = 2 * np.array(rewards) + np.array([4 / 8, 0, 8 / 4, 0])
    _, log = stepped(agent_with(policy, slow), batch)
    # Q(1, 0) = 1, and the Huber loss of an error e > 1 is e − ½.
    assert float(log["value_loss"]) == pytest.approx((targets - 1 - 0.5).mean(), rel=1e-6)
    assert (GENTLE.length, GENTLE.windows) == (3, 32)


def state_with_values(values):
    state = SMALL.init(LINE, jax.random.key(0))
    return eqx.tree_at(lambda s: s.agent.policy.actor.values.biases[-1], state, jnp.array(values))


@pytest.mark.parametrize(
    ("share", "epsilon"), [(0.0, 1.0), (0.15, 0.525), (0.3, 0.05), (1.0, 0.05)]
)
def test_the_share_of_random_actions_falls_linearly(share, epsilon):
    state = state_with_values([0.0, 100.0])
    total = 10**6
    progress = Progress(int(share * total) + (64 if share == 0 else 0), total)
    explorer = SMALL.behaviour(state, progress)
    assert float(explorer.actor.epsilon) == pytest.approx(epsilon, abs=1e-3)
    actions = explorer.actor.sample(jnp.zeros((4000, 1)), jax.random.key(0))
    assert float((actions == 0).mean()) == pytest.approx(epsilon / 2, abs=0.03)
    told = nothing_told(envs.start(Domain("probes:asked"), 8, 0))
    assert (np.asarray(act(explorer, told, (), None, 0)[0]) == 1).all()


def test_without_exploration_it_is_low_from_the_start():
    state = SMALL.init(LINE, jax.random.key(0))
    explorer = replace(SMALL, exploration=0.0).behaviour(state, Progress(64, 1000))
    assert float(explorer.actor.epsilon) == pytest.approx(0.05)


def test_it_acts_at_random_before_it_learns_and_what_it_learned_is_greedy():
    state = SMALL.init(LINE, jax.random.key(0))
    assert isinstance(SMALL.behaviour(state, Progress(63, 1000)), UniformPolicy)
    assert float(SMALL.policy(state).actor.epsilon) == 0


def test_what_it_knows_is_put_back_whole():
    old, new = (SMALL.init(LINE, jax.random.key(seed)) for seed in (0, 1))
    knowledge = SMALL.knowledge(old)
    assert knowledge.parts.keys() == {"policy", "optimiser"}
    assert eqx.tree_equal(SMALL.graft(knowledge, new).agent.opt_state, old.agent.opt_state)
    carried = SMALL.graft(knowledge, new).agent
    assert eqx.tree_equal(carried.policy, old.policy)
    assert eqx.tree_equal(carried.slow_policy, old.policy)
    assert eqx.tree_equal(policy_from(knowledge), old.policy)


def test_images_are_seen_through_convolutions_that_learn():
    spec = envs.spec_of(Domain("probes:Dot"))
    state = SMALL.init(spec, jax.random.key(0))
    frames = {"pixels": jax.random.bits(jax.random.key(1), (8, 24, 24, 3), jnp.uint8)}
    assert jax.eval_shape(state.policy.encoders, frames).shape == (8, 128)
    assert SMALL.knowledge(state).parts.keys() == {"policy", "encoder", "optimiser"}
    ones = jnp.ones(8)
    batch = Batch(frames, jnp.arange(8) % 3, ones, frames, 0.9 * ones, ones)
    window, key = as_window(batch), jax.random.key(0)
    after, _ = jax.jit(lambda agent: SMALL.step(agent, window, batch, NO_HOOKS, 0.0, key))(
        state.agent
    )
    for part in (
        lambda p: p.encoders.by_group["pixels"].convolutions[0].weight,
        lambda p: p.actor.values.weights[0],
    ):
        assert not np.allclose(part(after.policy), part(state.policy), atol=1e-5)
        moved = part(after.policy) - part(state.policy)
        slow = part(after.slow_policy) - part(state.policy)
        np.testing.assert_allclose(slow, 0.05 * moved, rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("actions", [Actions((1,)), Actions((2,), (2, 3))], ids=str)
def test_other_actions_are_refused(actions):
    spec = EnvSpec("line", {"state": Group((1,))}, actions, 10)
    with pytest.raises(HeadstartError, match="DQN takes one choice for an action, and line takes"):
        SMALL.init(spec, jax.random.key(0))
