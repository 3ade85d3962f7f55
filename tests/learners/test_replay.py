import jax
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

from headstart import HeadstartError
from headstart.learners.ppo import Transitions
from headstart.learners.replay import Replay

LINE, PUSH = spaces.Box(-np.inf, np.inf, (1,)), spaces.Box(-1, 1, (1,))
drawn = jax.jit(Replay.sample, static_argnums=(1, 4))
REWARDS = [1.0, 2.0, 4.0, 8.0, 16.0]


def experience(rewards, terminated=(), truncated=(), begin=0, action=0.0, copies=1):
    """At time t (and 100 more for each further copy) the observation is t; it leads to t + 0.5."""
    time = begin + np.arange(len(rewards))
    obs = (time[:, None] + 100 * np.arange(copies))[:, :, None].astype(np.float32)

    def column(x, kind=np.float32):
        return np.repeat(np.asarray(x, kind)[:, None], copies, axis=1)

    ends = (column(np.isin(time, which), bool) for which in (terminated, truncated))
    ones = column(np.ones(len(time)))
    return Transitions(
        obs, np.full_like(obs, action), column(rewards), obs + 0.5, *ends, ones, ones
    )


def remembered(*chunks, capacity):
    time, copies = chunks[0].reward.shape
    replay = Replay.empty(LINE, PUSH, capacity, copies, time)
    for chunk in chunks:
        replay = replay.add(chunk)
    return replay


def told(replay, steps, discount=0.5):
    """All that can be sampled: `{obs: (reward, next_obs, discount)}`."""
    sample = drawn(replay, 256, jax.random.key(0), discount, steps)
    columns = sample.obs[:, 0], sample.reward, sample.next_obs[:, 0], sample.discount
    rows = set(zip(*(np.asarray(column).tolist() for column in columns), strict=True))
    assert len({row[0] for row in rows}) == len(rows)
    return {obs: tuple(rest) for obs, *rest in rows}


def test_rewards_are_summed_over_n_steps_by_hand():
    replay = remembered(experience(REWARDS), capacity=5)
    assert told(replay, 1) == {float(t): (2.0**t, t + 0.5, 0.5) for t in range(5)}
    # 1 + 2/2 + 4/4, and so on.
    assert told(replay, 3) == {t: (3.0 * 2**t, t + 2.5, 0.125) for t in (0.0, 1.0, 2.0)}


def test_nothing_is_summed_or_hoped_for_beyond_a_termination():
    replay = remembered(experience(REWARDS, terminated=[1]), capacity=5)
    assert told(replay, 3) == {
        0.0: (2.0, 1.5, 0.0),
        1.0: (2.0, 1.5, 0.0),
        2.0: (12.0, 4.5, 0.125),
    }


def test_a_truncation_is_bootstrapped_from_where_it_was_cut():
    replay = remembered(experience(REWARDS, truncated=[1]), capacity=5)
    assert told(replay, 3) == {
        0.0: (2.0, 1.5, 0.25),
        1.0: (2.0, 1.5, 0.5),
        2.0: (12.0, 4.5, 0.125),
    }


def test_the_oldest_is_overwritten_and_no_sum_crosses_the_seam():
    parts = [experience([2.0**t, 2.0 ** (t + 1)], begin=t) for t in (0, 2, 4, 6)]
    replay = remembered(*parts, capacity=6)
    assert np.asarray(replay.seen.obs)[:, 0, 0].tolist() == [6, 7, 2, 3, 4, 5]
    assert told(replay, 1).keys() == {2.0, 3.0, 4.0, 5.0, 6.0, 7.0}
    assert told(replay, 2) == {float(t): (2.0 * 2**t, t + 1.5, 0.25) for t in range(2, 7)}


def test_experience_shorter_than_n_steps_ends_with_itself():
    replay = remembered(experience([1.0, 2.0]), capacity=6)
    assert told(replay, 3) == {0.0: (2.0, 1.5, 0.25)}


def test_samples_are_uniform_over_times_and_copies():
    parts = [experience([0.0] * 4, begin=t, copies=3) for t in (0, 4, 8)]
    replay = remembered(*parts, capacity=24)
    sample = drawn(replay, 20_000, jax.random.key(0), 0.5)
    which, counts = np.unique(np.asarray(sample.obs), return_counts=True)
    assert which.tolist() == [100 * copy + t for copy in range(3) for t in range(4, 12)]
    assert stats.chisquare(counts).pvalue > 0.01
    assert (np.asarray(sample.weight) == 1).all()


def test_there_is_room_for_the_capacity_in_whole_chunks():
    assert Replay.empty(LINE, PUSH, 5, 2, 2).slots == 4
    assert Replay.empty(LINE, PUSH, 8, 2, 2).slots == 4
    assert Replay.empty(LINE, PUSH, 9, 2, 2).slots == 6


def test_images_stay_bytes_and_discrete_actions_integers():
    image = spaces.Box(0, 255, (4, 4, 3), np.uint8)
    replay = Replay.empty(image, spaces.Discrete(3), 8, 1, 2)
    frames = np.random.default_rng(0).integers(256, size=(2, 1, 4, 4, 3), dtype=np.uint8)
    chunk = experience([0.0, 0.0])._replace(
        obs=frames, next_obs=frames, action=np.array([[2], [2]])
    )
    sample = drawn(replay.add(chunk), 8, jax.random.key(0), 0.9)
    assert sample.obs.dtype == np.uint8
    assert sample.action.tolist() == [2] * 8
    assert {frame.tobytes() for frame in np.asarray(sample.obs)} == {f.tobytes() for f in frames}


def test_actions_that_were_not_executed_are_refused():
    says = r"an action of 1.5 was to be stored, and those executed lie in \[−1, 1\]"
    with pytest.raises(HeadstartError, match=says):
        remembered(experience(REWARDS, action=-1.5), capacity=5)
