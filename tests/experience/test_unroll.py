import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, envs
from headstart.experience.unroll import begin, episodes, play, returns, unroll
from headstart.learners.ppo import PPO
from headstart.policies.policy import AbstractPolicy

CARTPOLE = Domain("gym:CartPole-v1")


def policy_for(domain, **options):
    ppo = PPO(hidden=(8,), **options)
    return ppo.policy(ppo.init(envs.spec_of(domain), jax.random.key(0)))


POLICY = policy_for(CARTPOLE)


def start(num, seed=0):
    return envs.start(CARTPOLE, num, seed)


def test_a_rollout_bootstraps_from_where_actions_led():
    running = start(3)
    rollout, after = unroll(POLICY, running, begin(POLICY, running), 60, jax.random.key(0))
    steps = rollout.steps
    ended = steps.terminated | steps.truncated
    assert ended.any()
    follows = (steps.next_obs["state"][:-1] == steps.obs["state"][1:]).all(-1)
    np.testing.assert_array_equal(follows, ~ended[:-1])
    last = ended[-1]
    np.testing.assert_array_equal(
        np.float32(after.told.obs["state"])[~last], steps.next_obs["state"][-1][~last]
    )
    np.testing.assert_array_equal(after.told.begins, last)
    np.testing.assert_array_equal(after.told.last_action, steps.action[-1])
    np.testing.assert_array_equal(after.told.last_reward, steps.reward[-1])


@pytest.mark.parametrize("rounds", [1, 3])
def test_every_copy_gives_its_episodes_whole_and_in_order(rounds):
    tried = episodes(POLICY, start(5), rounds, jax.random.key(0))
    steps = tried.steps
    assert len(tried.returns) == 5 * rounds
    ends = steps.terminated | steps.truncated
    np.testing.assert_array_equal(np.flatnonzero(ends) + 1, tried.starts[1:])
    inside = ~ends[:-1]
    seen, led_to = steps.obs["state"], steps.next_obs["state"]
    np.testing.assert_array_equal(led_to[:-1][inside], seen[1:][inside])
    np.testing.assert_allclose(tried.returns, tried.lengths)  # a reward of 1 a step
    assert len(np.unique(seen, axis=0)) == len(seen)


def test_what_is_stored_is_what_was_played():
    tried = episodes(POLICY, start(4), key=jax.random.key(0))
    steps = tried.steps
    running = start(4)
    running.reset()
    seeds = running._engine._seeds
    for i in range(4):
        env = gymnasium.make("CartPole-v1")
        obs, _ = env.reset(seed=int(seeds[i]))
        for t in range(tried.starts[i], tried.starts[i + 1]):
            np.testing.assert_array_equal(steps.obs["state"][t].astype(np.float32), obs)
            obs, reward, terminated, *_ = env.step(int(steps.action[t]))
            np.testing.assert_array_equal(steps.next_obs["state"][t].astype(np.float32), obs)
            assert (steps.reward[t], steps.terminated[t]) == (reward, terminated)


def test_returns_are_those_of_the_greedy_episodes():
    scored = returns(POLICY, start(4, seed=3), rounds=2)
    tried = episodes(POLICY, start(4, seed=3), rounds=2)
    np.testing.assert_allclose(scored.ravel(), tried.returns)


def test_padding_is_marked_and_weights_are_per_episode():
    tried = episodes(POLICY, start(4), key=jax.random.key(0))
    weight = np.array([0.0, 1.0, 0.0, 2.0])
    rollout = tried.column(16, weight)
    count = len(tried.steps.reward)
    assert rollout.steps.reward.shape == (rollout.valid.size, 1)
    assert rollout.valid.size % 16 == 0
    assert rollout.valid.sum() == count
    np.testing.assert_array_equal(rollout.weight[:count, 0], np.repeat(weight, tried.lengths))
    assert (rollout.weight[count:] == 0).all()


class Counting(AbstractPolicy):
    """Remembers how many steps of its episode it has taken, and chooses a tenth of that number."""

    reads = ("state",)

    def initial(self, num):
        return jnp.zeros(num)

    def step(self, told, memory, key):
        return 0.1 * memory[:, None], memory + 1


@pytest.mark.parametrize("domain", ["probes:Track", "probes:Climb"])
def test_memory_and_what_is_told_run_on_between_rollouts_and_begin_with_episodes(domain):
    """Episodes of ten and of five steps, rollouts of four; the host steps the one, compiled code
    the other."""
    length = {"probes:Track": 10, "probes:Climb": 5}[domain]
    running, policy = envs.start(Domain(domain), 2, 0), Counting()
    carry, done = begin(policy, running), 0
    for _ in range(4):
        rollout, carry = unroll(policy, running, carry, 4, jax.random.key(0))
        age = (done + np.arange(4)) % length
        chosen = np.float32(0.1) * np.float32(age)
        np.testing.assert_allclose(rollout.steps.action[:, 0, 0], chosen, rtol=1e-6)
        np.testing.assert_array_equal(rollout.starts()[:, 1], age == 0)
        # The memory before the first step is still that of an episode that has just ended.
        before = 0 if done == 0 else (done - 1) % length + 1
        np.testing.assert_array_equal(rollout.memory, [before] * 2)
        told = rollout.timesteps()
        expected = np.where(age == 0, 0, np.float32(0.1) * np.float32(age - 1))
        np.testing.assert_allclose(np.asarray(told.last_action)[:, 0, 0], expected, atol=1e-6)
        rewards = np.concatenate([np.asarray(rollout.last_reward)[None], rollout.steps.reward[:-1]])
        np.testing.assert_array_equal(told.last_reward, np.where(rollout.starts(), 0, rewards))
        done += 4


def test_episodes_begin_with_nothing_remembered():
    tried = episodes(Counting(), envs.start(Domain("probes:Track"), 2, 0), 2, jax.random.key(0))
    expected = np.tile(np.float32(0.1) * np.arange(10, dtype=np.float32), 4)
    np.testing.assert_allclose(tried.steps.action[:, 0], expected, rtol=1e-6)


def test_who_takes_over_from_a_policy_of_another_kind_remembers_nothing():
    running = envs.start(Domain("probes:Track"), 2, 0)
    plain = policy_for(Domain("probes:Track"))
    _, carry = unroll(plain, running, begin(plain, running), 3, jax.random.key(0))
    rollout, _ = unroll(Counting(), running, carry, 2, jax.random.key(0))
    np.testing.assert_array_equal(rollout.memory, [0, 0])
    np.testing.assert_allclose(rollout.steps.action[:, 0, 0], [0.0, 0.1], rtol=1e-6)
    assert not rollout.starts().any()


def test_the_host_and_compiled_code_give_the_same_rollout():
    """A recurrent policy in Climb, stepped one at a time and scanned."""
    domain = Domain("probes:Climb", top={"uniform": [2.0, 20.0]})
    policy = policy_for(domain, memory="gru", memory_size=4)
    scanned = envs.start(domain, 3, 0)
    found, after = unroll(policy, scanned, begin(policy, scanned), 12, jax.random.key(1))
    stepped = envs.start(domain, 3, 0)
    carry, rows = begin(policy, stepped), []
    for t, played in enumerate(play(policy, stepped, carry, jax.random.key(1))):
        rows.append((played.obs["state"], played.action, *played.step[:1], *played.step[2:4]))
        if t == 11:
            break
    assert found.steps.terminated.any()
    assert found.steps.truncated.any()
    obs, action, reward, terminated, truncated = (np.stack(c) for c in zip(*rows, strict=True))
    # Two programs, which some processors round differently.
    np.testing.assert_allclose(found.steps.obs["state"], obs, rtol=1e-5)
    np.testing.assert_allclose(found.steps.action, action, rtol=1e-5)
    np.testing.assert_allclose(found.steps.reward, reward, rtol=1e-5)
    np.testing.assert_array_equal(found.steps.terminated, terminated)
    np.testing.assert_array_equal(found.steps.truncated, truncated)
    np.testing.assert_allclose(after.memory, played.carry.memory, rtol=1e-5)
