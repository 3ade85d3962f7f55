import jax
import numpy as np
import pytest
from scipy import stats

from headstart import HeadstartError
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.replay import (
    Replay,
    added,
    check_executed,
    n_step,
    transition_row,
    window_rollout,
)
from headstart.experience.transition import Transition

SPEC = EnvSpec("line", {"state": Group((1,))}, Actions((1,)), 10)
ROW = transition_row(SPEC)
places = jax.jit(Replay.places, static_argnums=(1, 2))
transitions = jax.jit(Replay.transitions, static_argnums=(1, 2))
REWARDS = [1.0, 2.0, 4.0, 8.0, 16.0]


def experience(rewards, terminated=(), truncated=(), begin=0, action=0.0, copies=1):
    """At time t (and 100 more for each further copy) the observation is t; it leads to t + 0.5."""
    time = begin + np.arange(len(rewards))
    obs = (time[:, None] + 100 * np.arange(copies))[:, :, None].astype(np.float32)

    def column(x, kind=np.float32):
        return np.repeat(np.asarray(x, kind)[:, None], copies, axis=1)

    ends = (column(np.isin(time, which), bool) for which in (terminated, truncated))
    return Transition(
        {"state": obs}, np.full_like(obs, action), column(rewards), {"state": obs + 0.5}, *ends
    )


def remembered(*rollouts, capacity):
    time, copies = rollouts[0].reward.shape
    replay = Replay.empty(ROW, capacity, copies, time)
    for rollout in rollouts:
        replay = replay.add(rollout)
    return replay


def told(replay, steps, discount=0.5):
    """All that can be drawn: `{obs: (reward, next_obs, discount)}`."""
    batch = n_step(transitions(replay, 256, steps, jax.random.key(0)), discount)
    columns = (
        batch.obs["state"][:, 0], batch.reward, batch.next_obs["state"][:, 0], batch.discount,
    )  # fmt: skip
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
    kept = np.asarray(replay.columns.obs["state"])[:, 0, 0]
    assert kept.tolist() == [6, 7, 2, 3, 4, 5]
    assert told(replay, 1).keys() == {2.0, 3.0, 4.0, 5.0, 6.0, 7.0}
    assert told(replay, 2) == {float(t): (2.0 * 2**t, t + 1.5, 0.25) for t in range(2, 7)}


def test_experience_shorter_than_n_steps_ends_with_itself():
    replay = remembered(experience([1.0, 2.0]), capacity=6)
    assert told(replay, 3) == {0.0: (2.0, 1.5, 0.25)}


def test_windows_are_consecutive_and_of_one_copy_and_their_newest_row_is_marked():
    parts = [experience([0.0] * 4, begin=t, copies=3) for t in (0, 4, 8)]
    replay = remembered(*parts, capacity=24)
    where = places(replay, 500, 3, jax.random.key(0))
    window, newest = replay.at(where), where.ages == replay.filled - 1
    seen = np.asarray(window.obs["state"])[..., 0]
    assert (np.diff(seen, axis=0) == 1).all()
    first = seen[0] % 100
    assert set(first) == set(range(4, 10))
    assert set(seen[0] - first) == {0.0, 100.0, 200.0}
    np.testing.assert_array_equal(newest, seen % 100 == 11)
    cut = transitions(replay, 500, 3, jax.random.key(0))
    np.testing.assert_array_equal(cut.truncated, newest)


def test_windows_are_uniform_over_times_and_copies():
    parts = [experience([0.0] * 4, begin=t, copies=3) for t in (0, 4, 8)]
    replay = remembered(*parts, capacity=24)
    batch = n_step(transitions(replay, 20_000, 1, jax.random.key(0)), 0.5)
    which, counts = np.unique(np.asarray(batch.obs["state"]), return_counts=True)
    assert which.tolist() == [100 * copy + t for copy in range(3) for t in range(4, 12)]
    assert stats.chisquare(counts).pvalue > 0.01
    assert (np.asarray(batch.weight) == 1).all()


def test_there_is_room_for_the_capacity_in_whole_rollouts():
    assert Replay.empty(ROW, 5, 2, 2).slots == 4
    assert Replay.empty(ROW, 8, 2, 2).slots == 4
    assert Replay.empty(ROW, 9, 2, 2).slots == 6
    assert Replay.empty(ROW, 9, 2, 2).num_envs == 2


def test_adding_in_place_is_adding():
    rollout = experience(REWARDS)
    one, other = Replay.empty(ROW, 10, 1, 5).add(rollout), Replay.empty(ROW, 10, 1, 5)
    other = added(other, rollout)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (int(other.head), int(other.filled)) == (5, 5)


def test_images_stay_bytes_and_discrete_actions_integers():
    spec = EnvSpec("seen", {"pixels": Group((4, 4, 3), "image")}, Actions((), (3,)), 10)
    replay = Replay.empty(transition_row(spec), 8, 1, 2)
    frames = np.random.default_rng(0).integers(256, size=(2, 1, 4, 4, 3), dtype=np.uint8)
    rollout = experience([0.0, 0.0])._replace(
        obs={"pixels": frames}, next_obs={"pixels": frames}, action=np.array([[2], [2]])
    )
    drawn = n_step(transitions(replay.add(rollout), 8, 1, jax.random.key(0)), 0.9)
    seen = drawn.obs["pixels"]
    assert seen.dtype == np.uint8
    assert drawn.action.dtype == np.int32
    assert drawn.action.tolist() == [2] * 8
    assert {frame.tobytes() for frame in np.asarray(seen)} == {f.tobytes() for f in frames}


def test_actions_that_were_not_executed_are_refused():
    says = r"an action of 1.5 was to be stored, and those executed lie in \[−1, 1\]"
    with pytest.raises(HeadstartError, match=says):
        check_executed(window_rollout(experience(REWARDS, action=-1.5)))
    check_executed(window_rollout(experience(REWARDS, action=-1.0)))


def test_a_window_begins_with_nothing_told():
    window = experience(REWARDS, terminated=[2], action=0.5, copies=2)
    said = window_rollout(window).timesteps()
    assert np.asarray(said.begins)[:, 0].tolist() == [True, False, False, True, False]
    assert np.asarray(said.last_action)[:, 1, 0].tolist() == [0, 0.5, 0.5, 0, 0.5]
    assert np.asarray(said.last_reward)[:, 0].tolist() == [0, 1, 2, 0, 8]
