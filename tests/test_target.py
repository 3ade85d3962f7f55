import numpy as np
import pytest

from headstart import Domain, HeadstartError
from headstart.errors import AllowanceSpent, SimulationError
from headstart.target import Meter, Source, Target

TRACK = Domain("worlds:Track")


def test_nothing_is_counted_when_a_limit_would_be_passed():
    meter = Meter(step_limit=10)
    meter.charge(steps=8)
    with pytest.raises(
        AllowanceSpent, match="asked for 3 target steps, 2 of 10 are left"
    ) as caught:
        meter.charge(steps=3)
    assert "raise access.steps" in str(caught.value)
    assert meter.steps == 8
    meter.charge(steps=2)


def test_episodes_are_charged_when_asked_for_or_at_their_first_step():
    target = Target(TRACK, Meter(episode_limit=2))
    batch = target.start(2, seed=0)
    batch.reset()
    assert target.meter.episodes == 2
    for _ in range(10):
        batch.step(np.zeros((2, 1)))
    assert (target.meter.episodes, target.meter.steps, target.episodes_left) == (2, 20, 0)
    with pytest.raises(AllowanceSpent, match="0 of 2 are left"):
        batch.step(np.zeros((2, 1)))
    assert target.meter.steps == 20


def test_zero_allowance_is_zero_steps():
    target = Target(TRACK, Meter(0, 0, 0))
    batch = target.start(1, seed=0)
    with pytest.raises(AllowanceSpent):
        batch.reset()
    with pytest.raises(AllowanceSpent):
        batch.step(np.zeros((1, 1)), np.arange(1))
    with pytest.raises(AllowanceSpent):
        target.observations(1, seed=0)
    assert target.meter.counts() == {"observations": 0, "steps": 0, "episodes": 0}


def test_an_episode_cannot_be_prolonged_or_had_twice():
    target = Target(TRACK, Meter(episode_limit=2))
    batch = target.start(1, seed=0)
    batch.reset()
    for _ in range(10):
        batch.step(np.zeros((1, 1)), np.arange(1))
    with pytest.raises(SimulationError, match="must be reset"):
        batch.step(np.zeros((1, 1)), np.arange(1))
    with pytest.raises(AllowanceSpent, match="cannot be put back"):
        batch.restore(batch.state())
    with pytest.raises(ValueError, match="given back"):
        target.meter.charge(observations=-1)
    assert target.observations(0, seed=0).shape == (0, 2)
    assert not hasattr(target, "domain")


def test_hidden_rewards_are_nan():
    batch = Target(TRACK, Meter(), rewards=False).start(3, seed=0)
    batch.reset()
    assert np.isnan(batch.step(np.zeros((3, 1))).reward).all()


def test_observations_are_counted_and_come_from_the_target():
    target = Target(Domain("worlds:Track", wind=0.5), Meter(observation_limit=12))
    seen = target.observations(12, seed=0)
    assert seen.shape == (12, 2)
    assert target.meter.observations == 12
    assert len(np.unique(seen, axis=0)) == 12


def test_observations_are_recorded_far_apart():
    """An episode of the track takes ten steps, and it is observed after every eighth."""
    clock = Target(TRACK, Meter()).observations(48, seed=0)[:, 1].reshape(6, 8)
    np.testing.assert_allclose(clock, np.array([0.0, 0.8, 0.6, 0.4, 0.2, 0.0])[:, None] + 0 * clock)


def test_a_source_counts_what_its_variations_use():
    source = Source(Domain("worlds:Track", wind={"uniform": [-0.5, 0.5]}))
    batch = source.at(source.domain.at_mean()).start(4, seed=0)
    batch.reset()
    for _ in range(10):
        batch.step(np.zeros((4, 1)))
    assert source.meter.counts() == {"observations": 0, "steps": 40, "episodes": 4}
    assert len(batch.finished()) == 4
    assert batch.finished() == []


DOT = Domain("worlds:Dot")


def test_observations_of_a_demonstrator_are_where_it_leads():
    """From wherever the dot was, it is in the middle after four steps, and stays; an observation is
    recorded at every eighth step, and an episode takes ten."""
    target = Target(DOT, Meter(), behaviour="centre")
    seen = target.observations(72, seed=0)
    assert (seen.shape, seen.dtype) == ((72, 24, 24, 3), np.uint8)
    assert target.meter.counts() == {"observations": 72, "steps": 0, "episodes": 0}
    age = 8 * np.arange(9) % 10
    late = seen.reshape(9, 8, 24, 24, 3)[age >= 4, :, 0, :, 0]  # a row of pixels, by step and copy
    places = np.linspace(-1, 1, 24) @ late.swapaxes(1, 2) / late.sum(2).clip(1)
    assert (np.abs(places) <= 0.3).all()
    aimless = Target(DOT, Meter()).observations(72, seed=0).reshape(9, 8, 24, 24, 3)
    assert not np.array_equal(aimless[age >= 4, :, 0, :, 0], late)
    np.testing.assert_array_equal(aimless[0], seen[:8])


def test_an_unknown_demonstrator_is_named_and_costs_nothing():
    target = Target(DOT, Meter(observation_limit=10), behaviour="center")
    with pytest.raises(HeadstartError, match=r"demonstrator of .*Dot 'center': did you mean 'cent"):
        target.observations(10, seed=0)
    assert target.meter.observations == 0
    with pytest.raises(HeadstartError, match="demonstrator of .*Track 'centre': known: none"):
        Target(TRACK, Meter(), behaviour="centre").observations(1, seed=0)


@pytest.mark.parametrize("n", [0, 1, 7, 9, 100])
def test_exactly_as_many_observations_as_asked_for(n):
    target = Target(Domain("worlds:Climb"), Meter(observation_limit=n))
    assert target.observations(n, seed=0).shape == (n, 2)
    assert target.meter.observations == n
    with pytest.raises(AllowanceSpent, match=f"asked for 1 target observations, 0 of {n} are left"):
        target.observations(1, seed=0)


def test_what_a_meter_covers():
    meter = Meter(step_limit=10, episode_limit=2)
    meter.charge(steps=4, episodes=1)
    assert meter.covers(6, 1)
    assert not meter.covers(7, 0)
    assert not meter.covers(0, 2)
    assert meter.steps_left == 6
    assert Meter().covers(10**9, 10**9)


def test_where_steps_are_paid_for_a_batch_can_be_put_back():
    target = Target(TRACK, Meter(step_limit=40, episode_limit=40))
    batch = target.start(1, seed=0)
    batch.reset()
    state = batch.state()
    first = [batch.step(np.ones((1, 1))).next_obs for _ in range(10)]
    batch.restore(state)
    again = [batch.step(np.ones((1, 1))).next_obs for _ in range(10)]
    np.testing.assert_array_equal(first, again)
    assert target.meter.steps == 20
