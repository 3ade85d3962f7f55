"""Environments of EnvPool."""

import jax
import numpy as np
import pytest

from headstart import envs
from headstart.envs import pool
from headstart.envs.goals import ACHIEVED, DESIRED
from headstart.errors import HeadstartError
from headstart.experience.unroll import begin, episodes, unroll
from headstart.learners.ppo import PPO
from headstart.learners.train import train
from headstart.policies.policy import UniformPolicy
from headstart.problem import Domain, TransferProblem
from headstart.runs.evaluation import explore
from headstart.runs.job import versions
from headstart.runs.metering import CountedSource

MAZE, REACH = "pool:PointMaze_UMaze-v3", "pool:FetchReach-v4"


def rollout(domain, steps, seed=0, num=3):
    running = envs.start(domain, num, seed)
    policy = UniformPolicy(running.spec.actions)
    return unroll(policy, running, begin(policy, running), steps, jax.random.key(1))[0].steps


def test_steps_are_envpools_own():
    running = envs.start(Domain(REACH), 3, 7)
    first = running.reset()
    alone = pool.make("FetchReach-v4", 3, running._engine._seed)
    np.testing.assert_array_equal(first["observation"], alone.reset()[0]["observation"])
    rng = np.random.default_rng(0)
    for _ in range(49):
        action = rng.uniform(-1, 1, (3, 4)).astype(np.float32)
        one, (obs, reward, terminated, truncated, _) = running.step(action), alone.step(action)
        for name in obs:
            np.testing.assert_array_equal(one.next_obs[name], obs[name])
        np.testing.assert_array_equal(one.reward, reward)
        assert not (one.terminated | one.truncated | terminated | truncated).any()
    last, theirs = running.step(action), alone.step(action)
    assert last.truncated.all()
    assert not last.terminated.any()
    np.testing.assert_array_equal(last.next_obs["observation"], theirs[0]["observation"])
    again, _, *ends, _ = alone.step(action)  # which begins the next episode
    np.testing.assert_array_equal(last.obs["observation"], again["observation"])
    assert not np.any(ends)


def test_an_episode_that_ends_is_followed_by_another_at_once_and_none_is_a_step_of_it():
    steps = rollout(Domain("pool:CartPole-v1"), 300)
    for copy in range(3):
        ends = np.flatnonzero(steps.terminated[:, copy])
        assert len(ends) > 5
        assert (steps.reward[:, copy] == 1).all()  # a step that only begins one would earn 0
        assert (np.abs(steps.obs["state"][ends + 1, copy][:-1]) <= 0.05).all()
        assert (np.abs(steps.next_obs["state"][ends, copy][:, [0, 2]]) > [[2.4, 0.2]]).any(1).all()


def test_ends_of_both_kinds_are_told_apart():
    cut = rollout(Domain("pool:CartPole-v1", horizon=9), 60)
    assert cut.truncated.sum() > 5
    assert not (cut.truncated & cut.terminated).any()
    maze = rollout(Domain(MAZE), 301)
    assert maze.truncated[299].all()
    assert not maze.terminated.any()


@pytest.mark.parametrize("name", [MAZE, REACH])
def test_goals_are_worth_what_envpool_says(name):
    running = envs.start(Domain(name), 64, 0)
    goals = running.spec.goals
    steps = episodes(UniformPolicy(running.spec.actions), running, 1, jax.random.key(0)).steps
    achieved, wanted = (np.float32(steps.next_obs[group]) for group in (ACHIEVED, DESIRED))
    np.testing.assert_array_equal(jax.jit(goals.reward)(achieved, wanted), steps.reward)
    assert len(set(np.unique(steps.reward))) == 2


def test_seeds_and_copies_differ():
    one, same, other = (rollout(Domain(REACH), 5, seed).obs[DESIRED] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any(-1).all()
    assert (one[:, 0] != one[:, 1]).any()


def test_the_goal_of_metaworld_is_shown():
    obs = envs.start(Domain("pool:MetaWorld/Reach-v3"), 4, 0).reset()["state"]
    assert (obs[:, -3:] != 0).all()


def test_who_goes_on_from_a_checkpoint_is_told_that_episodes_are_others():
    running, again = (envs.start(Domain("pool:CartPole-v1"), 2, 0) for _ in range(2))
    running.reset()
    again.restore(running.state())
    assert not again.alike
    assert again.step(np.zeros(2, np.int32)).reward.shape == (2,)


def test_what_is_not_there_is_said(monkeypatch):
    with pytest.raises(HeadstartError, match="did you mean 'FetchReach-v4'"):
        envs.find("pool:FetchReach-v5")
    monkeypatch.setattr(pool, "find_spec", lambda name: None)
    with pytest.raises(HeadstartError, match=r"pip install 'headstart\[pool\]'"):
        envs.find("pool:FetchSlide-v4")


def test_an_environment_that_needs_the_system_says_what():
    with pytest.raises(HeadstartError, match=r"CoinrunEasy-v0' here: .*apt install"):
        envs.find("pool:CoinrunEasy-v0")


def test_results_say_by_which_versions_and_rewards_they_were_made():
    problem = TransferProblem("far", Domain("pool:MetaWorld/Reach-v3"), Domain(REACH))
    found = versions((problem.source, problem.target))
    assert found["metaworld-reward"] == "v2"
    assert found["envpool"] == pool.version("envpool")
    assert "envpool" not in versions((Domain("hopper"),))
    running = envs.start(problem.source, 8, 0)
    obs, best = running.reset()["state"], 0.0
    for _ in range(300):  # the reward of that version is 10 where the task is solved
        action = np.zeros((8, 4), np.float32)
        action[:, :3] = np.clip(10 * (obs[:, -3:] - obs[:, :3]), -1, 1)
        step = running.step(action)
        obs, best = step.obs["state"], max(best, step.reward.max())
        np.testing.assert_array_equal(step.succeeded, step.reward >= 10)
    assert best == 10


def test_a_grid_is_learned():
    """Returns are 1 − 0.9 · steps / 100, so 0.9 is within ten steps; random actions get 0.3."""
    grid = Domain("pool:MiniGrid-Empty-Random-5x5-v0")
    learner = PPO(
        hidden=(64,), num_envs=16, rollout_length=128, minibatch_size=256, epochs=4,
        learning_rate=1e-3, entropy_coef=0.01,
    )  # fmt: skip
    state = train(learner, CountedSource(grid), 60_000, jax.random.key(0))
    assert explore(grid, learner.policy(state), 64, 0)[0].mean() > 0.85
