"""What experience is told in hindsight, against what its episodes achieved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from headstart import envs
from headstart.envs.goals import ACHIEVED, DESIRED, Near
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.hindsight import STRATEGIES, Hindsight, sooner
from headstart.experience.replay import Places, Replay, transition_row
from headstart.experience.transition import Transition
from headstart.experience.unroll import begin, unroll
from headstart.learners.dqn import DQN
from headstart.learners.train import train
from headstart.policies.encoders import AbstractEncoder
from headstart.policies.policy import UniformPolicy
from headstart.problem import Domain
from headstart.runs.metering import CountedSource

ENDS = {0: (3, 4, 9), 1: (6,)}
"""When episodes end, by copy; 12 steps of each, of which the last are under way."""
GROUPS = {name: Group((1,)) for name in ("observation", ACHIEVED, DESIRED)}
SPEC = EnvSpec("line", GROUPS, Actions((1,)), 7)


def line(first=0, steps=12):
    """At time t copy c has achieved t + 100 c, and its step leads to that plus 1."""
    time = first + np.arange(steps)
    number = (time[:, None] + 100 * np.arange(2))[..., None].astype(np.float32)
    ends = np.stack([np.isin(time, ENDS[c]) for c in range(2)], axis=1)
    wanted = np.full_like(number, -1)
    obs = {"observation": number, ACHIEVED: number, DESIRED: wanted}
    led = {"observation": number + 1, ACHIEVED: number + 1, DESIRED: wanted}
    action, reward = np.zeros_like(number), np.full((steps, 2), -1, np.float32)
    return Transition(obs, action, reward, led, np.zeros((steps, 2), bool), ends)


def told_at(hindsight, replay, places, key):
    """What is drawn at these places, told goals."""
    chosen = hindsight.choose(replay, places, key)
    return hindsight(replay, replay.transitions_at(places), chosen)


def allowed(strategy, t, copy, oldest=0):
    """What may be told of the step at time t, by hand."""
    ends = [e for e in ENDS[copy] if e >= t]
    last = ends[0] if ends else 11
    first = max([e + 1 for e in ENDS[copy] if e < t], default=0)
    begun = max(first, oldest)
    times = {
        "future": range(t, last + 1), "final": [last], "episode": range(begun, last + 1),
    }.get(strategy)  # fmt: skip
    if times is None:
        return {x + 1.0 + 100 * c for x in range(oldest, 12) for c in range(2)}
    return {x + 1.0 + 100 * copy for x in times}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("capacity", [24, 16])
def test_goals_are_those_of_the_strategy_and_all_of_them(strategy, capacity):
    replay = Replay.empty(transition_row(SPEC), capacity, 2, 4)
    for first in (0, 4, 8):
        replay = replay.add(jax.tree.map(lambda x, f=first: x[f : f + 4], line()))
    oldest = 12 - capacity // 2
    hindsight = Hindsight(Near(0.5), SPEC.horizon, strategy, share=1.0)
    places = replay.places(4096, 1, jax.random.key(0))
    told = told_at(hindsight, replay, places, jax.random.key(1))
    found = {}
    for number, goal, reward, led in zip(
        *(np.asarray(x[0]).ravel() for x in (
            told.obs["observation"], told.obs[DESIRED], told.reward, told.next_obs[ACHIEVED],
        )), strict=True,
    ):  # fmt: skip
        found.setdefault(number, set()).add(goal)
        assert reward == (0 if led == goal else -1)
    times = range(oldest, 12)
    assert found == {
        t + 100.0 * c: allowed(strategy, t, c, oldest) for t in times for c in range(2)
    }


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.9, 0.999])
def test_sooner_goals_are_likelier_by_the_discount_and_of_the_same_episode(
    discount,
):
    """Achieved k steps later with probability γᵏ / Σ γᵏ, the sum up to the episode's last step."""
    replay = Replay.empty(transition_row(SPEC), 24, 2, 12).add(line())
    hindsight = Hindsight(Near(0.5), SPEC.horizon, share=1.0, discount=discount)
    many = 4000
    ages, env = np.meshgrid(np.arange(12), np.arange(2))
    ages, env = (jnp.asarray(np.repeat(x.ravel(), many)) for x in (ages, env))
    places = Places(ages[None], env)
    told = told_at(hindsight, replay, places, jax.random.key(0))
    goals = np.asarray(told.obs[DESIRED][0, :, 0]).reshape(2, 12, many)
    for copy, time in np.ndindex(2, 12):
        times = np.array(sorted(allowed("future", time, copy)))
        expected = discount ** np.arange(len(times)) / (discount ** np.arange(len(times))).sum()
        found = (goals[copy, time][:, None] == times).mean(0)
        assert found.sum() == pytest.approx(1)
        np.testing.assert_allclose(found, expected, atol=0.035)


def test_numbers_that_fall_geometrically_are_as_many_as_stated():
    """By chi squared, of 20,000 numbers up to 3 and 40."""
    for most in (3, 40):
        found = sooner(jnp.full(20_000, most), 0.9, jax.random.key(most))
        share = 0.9 ** np.arange(most + 1)
        counts = np.bincount(np.asarray(found), minlength=most + 1)
        assert stats.chisquare(counts, 20_000 * share / share.sum()).pvalue > 0.01


def test_a_share_is_told_another_goal_and_the_rest_is_as_it_was():
    replay = Replay.empty(transition_row(SPEC), 24, 2, 12).add(line())
    places = replay.places(8192, 2, jax.random.key(0))
    window = replay.transitions_at(places)
    hindsight = Hindsight(Near(0.5), SPEC.horizon, share=0.25)
    told = told_at(hindsight, replay, places, jax.random.key(1))
    other = np.asarray(told.obs[DESIRED][..., 0] != -1)
    assert other[0].mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(other[0], other[1])  # one goal for a window
    np.testing.assert_array_equal(told.next_obs[DESIRED], told.obs[DESIRED])
    same = ~other[0]
    for one, before in zip(jax.tree.leaves(told), jax.tree.leaves(window), strict=True):
        np.testing.assert_array_equal(one[:, same], before[:, same])


@pytest.mark.parametrize("strategy", ["future", "random"])
def test_rewards_and_ends_are_those_that_the_environment_would_have_given(strategy):
    domain = Domain("bit-flip", bits=3)
    running = envs.start(domain, 8, 0)
    policy = UniformPolicy(running.spec.actions)
    rollout, _ = unroll(policy, running, begin(policy, running), 64, jax.random.key(0))
    replay = Replay.empty(transition_row(running.spec), 512, 8, 64).add(rollout.steps)
    assert np.asarray(rollout.steps.terminated).any()
    goals = running.spec.goals
    places = replay.places(2048, 1, jax.random.key(1))
    before = replay.transitions_at(places)
    told = told_at(Hindsight(goals, 3, strategy), replay, places, jax.random.key(2))
    bits, wanted = (np.asarray(told.next_obs[name][0]) for name in (ACHIEVED, DESIRED))
    met = (bits == wanted).all(-1)
    np.testing.assert_array_equal(told.reward[0], np.where(met, 0.0, -1.0))
    np.testing.assert_array_equal(told.terminated[0], met)
    was, ends = before.terminated[0] | before.truncated[0], told.terminated[0] | told.truncated[0]
    np.testing.assert_array_equal(ends, was | met)  # nothing follows where nothing followed
    assert 0.1 < met.mean() < 0.9


@pytest.mark.parametrize("kind", ["Reach", "NumberedReach", "SeenReach"])
def test_goals_of_any_kind_are_worth_what_their_environment_says(kind):
    """Vectors, choices and images, of which rows `[time, batch]` are asked for at once."""
    running = envs.start(Domain(f"probes:{kind}"), 4, 0)
    policy = UniformPolicy(running.spec.actions)
    rollout, _ = unroll(policy, running, begin(policy, running), 24, jax.random.key(0))
    steps = jax.tree.map(jnp.asarray, rollout.steps)
    found = running.spec.goals.reward(steps.next_obs[ACHIEVED], steps.next_obs[DESIRED])
    np.testing.assert_array_equal(found, steps.reward)
    assert 0 < np.mean(np.asarray(found) == 0) < 1


def test_an_end_for_another_reason_stays_one():
    window = jax.tree.map(lambda x: jnp.asarray(x[:1]), line())
    fallen = window._replace(terminated=jnp.ones((1, 2), bool))
    told = Hindsight(Near(0.5, ends=True), 7).told(fallen, jnp.zeros((2, 1)), jnp.ones(2, bool))
    assert told.terminated.all()


@pytest.mark.parametrize(
    ("goals", "discount", "bounds"),
    [
        (Near(0.1), 0.9, (-10, 0)),
        (Near(0.1), 1.0, (-7, 0)),
        (Near(0.1, ends=True), 0.9, (-10, 0)),
        (Near(0.1, rewards=(0, 1)), 0.9, (0, 10)),
        (Near(0.1, ends=True, rewards=(-2, 1)), 0.9, (-20, 10)),
        (Near(0.1, ends=True, rewards=(1, 3)), 0.9, (1, 30)),
        (Near(0.1, ends=True, rewards=(-3, -1)), 0.9, (-30, -1)),
    ],
)
def test_backups_are_held_within_what_returns_can_be(goals, discount, bounds):
    backup = jnp.array([-1000.0, -0.5, 1000.0])
    held = Hindsight(goals, 7).held(backup, discount, 2.0)
    np.testing.assert_allclose(held, np.clip(backup, *(2 * np.array(bounds))), rtol=1e-5)
    soft = Hindsight(goals, 7).held(backup, discount, 2.0, soft=True)
    np.testing.assert_allclose(soft, np.maximum(backup, 2 * bounds[0]), rtol=1e-5)
    assert (Hindsight(goals, 7, clipped=False).held(backup, discount, 2.0) == backup).all()


class Twice(AbstractEncoder):
    """Codes of twice a number."""

    size = 1

    def __call__(self, x):
        return 2.0 * x


def test_a_step_is_worth_how_near_its_codes_have_it_to_the_goal():
    """It leads to 1 and 101, and −1 is wanted."""
    window = jax.tree.map(lambda x: jnp.asarray(x[:1]), line())
    judged = Hindsight(Near(0.5), 7, latent=True).judged(window, Twice())
    np.testing.assert_allclose(judged.reward, [[-4.0, -204.0]])
    assert judged.obs is window.obs
    held = Hindsight(Near(0.5), 7, latent=True).held(jnp.array([-1000.0, 5.0]), 0.9, 2.0)
    np.testing.assert_array_equal(held, [-1000, 0])


def test_an_environment_that_sets_no_horizon_has_episodes_as_long_as_what_is_kept():
    source = CountedSource(Domain("probes:EndlessReach"))
    learner = DQN(hidden=(8,), num_envs=4, rollout_length=4, learning_starts=32, n_step=1)
    told = Hindsight(source.spec.goals, source.spec.horizon)
    state = train(learner, source, 256, jax.random.key(0), hindsight=told)
    assert learner.policy(state).reads == ("desired_goal", "observation")
