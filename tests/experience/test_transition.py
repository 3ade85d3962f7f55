import numpy as np
import pytest

from headstart.experience.transition import Episodes, Rollout, Transition, narrowed


def steps_of(rewards, actions, terminated, truncated):
    """`[time, env]`; the observation at time t of copy i is 10 t + i."""
    time, env = np.shape(rewards)
    obs = (10.0 * np.arange(time)[:, None] + np.arange(env))[..., None].astype(np.float32)
    ends = (np.array(flags, bool) for flags in (terminated, truncated))
    return Transition({"state": obs}, np.array(actions, np.float32)[..., None],
                      np.array(rewards, np.float32), {"state": obs + 0.5}, *ends)  # fmt: skip


ROLLOUT = Rollout(
    steps_of(
        rewards=[[1, 2], [3, 4], [5, 6], [7, 8]],
        actions=[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]],
        terminated=[[0, 0], [1, 0], [0, 0], [0, 1]],
        truncated=[[0, 1], [0, 0], [0, 0], [0, 0]],
    ),
    begins=np.array([False, True]),
    last_action=np.array([[-0.9], [-0.8]], np.float32),
    last_reward=np.array([90, 80], np.float32),
)


def test_episodes_begin_after_ends_within_a_rollout():
    """The first copy's ends by itself at the second step, the second's is cut at the first."""
    expected = [[False, True], [False, True], [True, False], [False, False]]
    np.testing.assert_array_equal(ROLLOUT.starts(), expected)


def test_what_was_told_before_every_step_by_hand():
    told = ROLLOUT.timesteps()
    np.testing.assert_array_equal(told.obs["state"][:, 1, 0], [1, 11, 21, 31])
    np.testing.assert_array_equal(told.begins[:, 0], [False, False, True, False])
    # Where an episode begins, nothing is told of the one before.
    last = np.array([[-0.9, 0], [0.1, 0], [0, 0.4], [0.5, 0.6]], np.float32)
    np.testing.assert_array_equal(np.asarray(told.last_action)[..., 0], last)
    np.testing.assert_array_equal(told.last_reward, [[90, 0], [1, 0], [0, 4], [5, 6]])


def whole(lengths, discrete=False):
    """Episodes of these lengths: step i has the reward i, and i as its observation."""
    count, starts = sum(lengths), np.cumsum([0, *lengths])
    number = np.arange(count, dtype=np.float64)
    ends = np.isin(np.arange(count) + 1, starts)
    action = np.arange(count) % 3 if discrete else number[:, None] / 100
    steps = Transition({"state": number[:, None]}, action, number, {"state": number[:, None] + 0.5},
                       ends & (number < 3), ends & (number >= 3))  # fmt: skip
    return Episodes(steps, starts)


def test_returns_and_lengths_by_hand():
    tried = whole([3, 1, 2])
    assert tried.returns.tolist() == [0 + 1 + 2, 3, 4 + 5]
    assert tried.lengths.tolist() == [3, 1, 2]


def test_joined_sets_keep_their_episodes():
    both = Episodes.joined([whole([3, 1]), whole([2, 2])])
    assert both.starts.tolist() == [0, 3, 4, 6, 8]
    assert both.returns.tolist() == [3, 3, 1, 5]
    assert both.steps.obs["state"][:, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_what_comes_after_the_first_steps_of_each():
    later = whole([3, 1, 2, 4]).after(2)
    assert later.starts.tolist() == [0, 1, 3]
    assert later.steps.reward.tolist() == [2, 8, 9]
    assert whole([3, 1]).after(0).returns.tolist() == [3, 3]
    for beyond in (4, np.inf):
        assert whole([3, 1]).after(beyond).starts.tolist() == [0]


def test_a_column_is_padded_to_a_power_of_four_of_minibatches():
    for count, size in ((2, 2), (3, 8), (8, 8), (9, 32)):
        assert whole([count]).column(2).steps.reward.shape == (size, 1)
    tried = whole([3, 1, 2])
    rollout = tried.column(2, np.array([0.5, 0.0, 2.0]))
    assert rollout.weight[:, 0].tolist() == [0.5, 0.5, 0.5, 0, 2, 2, 0, 0]
    assert rollout.valid[:, 0].tolist() == [1] * 6 + [0] * 2
    assert rollout.steps.reward[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert rollout.starts()[:6, 0].tolist() == [True, False, False, True, True, False]
    plain = tried.column(2)
    assert plain.weight[:, 0].tolist() == [1] * 6 + [0] * 2


@pytest.mark.parametrize("discrete", [False, True])
def test_columns_hold_one_episode_each(discrete):
    """Lengths 3, 1, 2 make columns of 4 steps; two columns make a minibatch of 8."""
    tried = whole([3, 1, 2], discrete)
    rollout = tried.columns(8, np.array([0.5, 1.0, 2.0]))
    assert rollout.steps.reward.shape == (4, 4)
    np.testing.assert_array_equal(
        rollout.valid, [[1, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(
        rollout.steps.reward, [[0, 3, 4, 0], [1, 0, 5, 0], [2, 0, 0, 0], [0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(rollout.steps.obs["state"][..., 0], rollout.steps.reward)
    np.testing.assert_array_equal(
        rollout.weight, [[0.5, 1, 2, 0], [0.5, 0, 2, 0], [0.5, 0, 0, 0], [0, 0, 0, 0]]
    )
    assert rollout.begins.tolist() == [True] * 4
    assert rollout.steps.terminated[:, 0].tolist() == [False, False, True, False]
    assert rollout.steps.truncated[:, 1].tolist() == [True, False, False, False]
    action = rollout.steps.action
    assert action.shape == ((4, 4) if discrete else (4, 4, 1))
    assert rollout.last_action.shape == action.shape[1:]
    told = rollout.timesteps()
    # The fourth row is padding, after the episode's end.
    expected = [0, 0, 1, 0] if discrete else np.float32([0, 0, 0.01, 0])
    np.testing.assert_array_equal(np.asarray(told.last_action)[:, 0].ravel(), expected)


def test_a_minibatch_smaller_than_an_episode_is_one_column():
    assert whole([5, 3]).columns(4).steps.reward.shape == (8, 2)
    assert whole([5, 3, 1]).columns(4).steps.reward.shape == (8, 4)


def test_numbers_are_narrowed_to_32_bits_and_others_left():
    assert narrowed(np.zeros(1)).dtype == np.float32
    assert narrowed(np.zeros(1, np.int64)).dtype == np.int32
    assert narrowed(np.zeros(1, np.uint8)).dtype == np.uint8
    assert narrowed(np.zeros(1, bool)).dtype == bool
