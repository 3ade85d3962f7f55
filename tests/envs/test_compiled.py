import jax
import numpy as np
import pytest

from headstart import Domain, HeadstartError, Uniform, envs
from headstart.errors import AllowanceSpent, SimulationError
from headstart.learners import rollout
from headstart.learners.dqn import DQN
from headstart.learners.ppo import PPO
from headstart.learners.train import train
from headstart.target import Counted, Meter, Source, Target

SLIPPERY = Domain("grid", slip=Uniform(0.0, 0.6))
DOMAINS = [
    SLIPPERY,
    Domain("archery", wind=Uniform(-1.0, 1.0)),
    Domain("worlds:Dot", tint=Uniform(0.0, 1.0)),
    Domain("worlds:Climb"),
]
SMALL = {
    PPO: PPO(hidden=(8,), environments=4, steps=8, minibatch=16, epochs=2),
    DQN: DQN(hidden=(8,), environments=4, steps=8, batch=16, random_steps=32),
}


@pytest.fixture
def step_by_step(monkeypatch):
    """Call it, and there are no compiled chunks from then on."""
    return lambda: monkeypatch.setattr(Counted, "chunk", lambda *_: None)


def same(first, second):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-6, atol=1e-6)


def policy_for(domain):
    environment = envs.find(domain.environment)
    space = environment.observation_space, environment.action_space
    return PPO(hidden=(8,)).init(*space, jax.random.key(0)).policy


def chunks(policy, batch):
    """Two in succession, of 12 steps."""
    seen, obs = [], batch.reset()
    for i in range(2):
        taken, obs = rollout.chunk(policy, batch, obs, 12, jax.random.key(i))
        seen.append(taken)
    return seen, np.asarray(obs)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_a_compiled_chunk_is_what_the_steps_would_have_been(domain, step_by_step):
    def played():
        source = Source(domain)
        batch = source.start(4, seed=3)
        seen = chunks(policy_for(domain), batch)
        state = batch.state()
        return seen, source.meter.counts(), batch.finished(), state

    compiled = played()
    step_by_step()
    same(compiled, played())
    assert compiled[1]["steps"] == 2 * 12 * 4
    assert compiled[1]["episodes"] == 4 + sum(
        int(seen.terminated[:last].sum() + seen.truncated[:last].sum())
        for seen, last in zip(compiled[0][0], (12, 11), strict=True)
    )


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_training_through_it_gives_the_same_parameters(kind, step_by_step):
    def trained():
        source = Source(SLIPPERY)
        return train(SMALL[kind], source, 128, jax.random.key(1)), source.meter.counts()

    compiled = trained()
    step_by_step()
    same(compiled, trained())


def test_heights_by_hand():
    batch = envs.start(Domain("worlds:Climb", rate=0.5), 2, seed=0)
    assert batch.reset().tolist() == [[0, 0.5], [0, 0.5]]
    step = batch.step(np.array([[0.25], [7.0]]))  # scaled to [−2, 2], and clipped
    assert step.reward.tolist() == [1.0, 2.5]
    assert step.next_obs[:, 0].tolist() == [1.0, 2.5]
    assert batch.age.tolist() == [1, 1]


@pytest.mark.parametrize(("top", "terminates"), [(3.0, 3), (5.0, 5), (6.0, None)])
def test_what_ends_by_itself_is_not_truncated(top, terminates):
    batch = envs.start(Domain("worlds:Climb", top=top), 2, seed=0)
    batch.reset()
    for t in range(1, (terminates or 5) + 1):
        step = batch.step(np.zeros((2, 1)))
        assert step.terminated.all() == (t == terminates)
        assert step.truncated.all() == (terminates is None and t == 5)
    assert (step.next_obs[:, 0] == t).all()
    assert (step.obs[:, 0] == 0).all()
    assert (batch.age == 0).all()


def test_only_the_rows_that_are_asked_for_are_stepped_and_an_ended_one_waits():
    batch = envs.start(Domain("worlds:Climb"), 3, seed=0)
    batch.reset()
    ends = np.array([2, 0])
    for t in range(1, 6):
        step = batch.step(np.array([[0.5], [0.0]]), ends)
        np.testing.assert_allclose(step.next_obs[:, 0], [2 * t, t])
    assert step.truncated.all()
    np.testing.assert_array_equal(step.obs, step.next_obs)
    assert batch.age.tolist() == [5, 0, 5]
    with pytest.raises(SimulationError, match="must be reset"):
        batch.step(np.zeros((1, 1)), np.array([2]))
    with pytest.raises(SimulationError, match="must be reset"):
        batch.step(np.zeros((3, 1)))
    with pytest.raises(SimulationError, match="must be reset"):
        batch.scan(policy_for(Domain("worlds:Climb")), np.zeros((3, 2)), 2, jax.random.key(0))
    assert batch.reset(np.array([2])).tolist() == [[0, 1]]
    assert batch.age.tolist() == [5, 0, 0]
    assert batch.step(np.zeros((2, 1)), np.array([1, 2])).reward.tolist() == [1.0, 1.0]


def test_every_episode_draws_its_parameters():
    batch = envs.start(Domain("worlds:Climb", rate=Uniform(0.5, 1.5)), 4, seed=0)
    rates = [batch.reset()[:, 1]]
    for t in range(1, 16):
        step = batch.step(np.zeros((4, 1)))
        np.testing.assert_array_equal(step.next_obs[:, 1], rates[-1])
        np.testing.assert_array_equal(batch.values[:, 0], step.obs[:, 1])
        if t % 5 == 0:
            rates.append(step.obs[:, 1])
    rates = np.stack(rates)
    assert len(np.unique(rates)) == rates.size == 16
    assert ((rates > 0.5) & (rates < 1.5)).all()
    assert rates.std() == pytest.approx(1 / 12**0.5, rel=0.4)


def test_pinned_parameters_stay():
    batch = envs.start(Domain("worlds:Climb", rate=Uniform(0.5, 1.5)), 3, seed=0)
    pinned = np.array([[0.5], [0.75], [1.5]])
    batch.pin(pinned)
    policy = policy_for(Domain("worlds:Climb"))
    columns, _ = batch.scan(policy, batch.reset(), 12, jax.random.key(0))
    assert (np.asarray(columns.obs)[:, :, 1] == pinned[:, 0]).all()
    assert (batch.values[:, 0] == pinned[:, 0]).all()


@pytest.mark.parametrize("domain", DOMAINS[:3], ids=str)
def test_a_restored_batch_goes_on_with_the_same_bits(domain):
    policy = policy_for(domain)
    first, second = (Source(domain).start(4, seed) for seed in (0, 1))
    _, obs = chunks(policy, first)
    second.restore(first.state())
    a, b = (rollout.chunk(policy, x, obs, 12, jax.random.key(5))[0] for x in (first, second))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("meter", [Meter(step_limit=120), Meter(episode_limit=8)])
def test_a_limit_stops_it_where_it_stops_the_steps(meter, step_by_step):
    """Of 4 copies: in the third chunk of 12 steps, and after two episodes of five steps."""
    domain = Domain("worlds:Climb")

    def spent():
        own = Meter(step_limit=meter.step_limit, episode_limit=meter.episode_limit)
        batch = Target(domain, own).start(4, seed=0)
        with pytest.raises(AllowanceSpent) as caught:  # noqa: PT012
            obs = batch.reset()
            for i in range(3):
                _, obs = rollout.chunk(policy_for(domain), batch, obs, 12, jax.random.key(i))
        return own.counts(), batch.finished(), str(caught.value)

    counts, returns, says = spent()
    step_by_step()
    again, host_returns, host_says = spent()
    assert counts == again
    assert says == host_says
    np.testing.assert_allclose(returns, host_returns, rtol=1e-6)
    steps = 120 if meter.step_limit else 40
    assert counts == {"observations": 0, "steps": steps, "episodes": -(-steps // 20) * 4}


def test_hidden_rewards_are_nan_in_a_chunk_too():
    batch = Target(Domain("worlds:Climb"), Meter(), rewards=False).start(2, seed=0)
    taken, _ = rollout.chunk(
        policy_for(Domain("worlds:Climb")), batch, batch.reset(), 6, jax.random.key(0)
    )
    assert np.isnan(taken.reward).all()
    assert batch.finished() == []


def test_nan_is_named_in_both_loops():
    domain = Domain("worlds:Climb", crack=2.5)
    says = "Climb met a reward that is not finite: narrow the range of its parameters"
    batch = envs.start(domain, 2, seed=0)
    obs = batch.reset()
    with pytest.raises(SimulationError, match=says):
        batch.scan(policy_for(domain), obs, 4, jax.random.key(0))
    batch.reset()
    batch.step(np.zeros((2, 1)))
    batch.step(np.zeros((2, 1)))
    with pytest.raises(SimulationError, match=says):
        batch.step(np.zeros((2, 1)))
    with pytest.raises(SimulationError, match="action that is not finite: learning has diverged"):
        batch.step(np.full((2, 1), np.nan))


def test_pictures_where_the_world_draws_itself():
    batch = envs.start(Domain("grid", wall=1), 2, seed=0)
    batch.reset()
    picture = batch.picture()
    assert picture.shape[2] == 3
    assert picture.dtype == np.uint8
    before = picture
    batch.step(np.full(2, 2))
    assert not np.array_equal(batch.picture(), before)
    assert envs.start(Domain("worlds:Climb"), 1, seed=0).picture() is None


def test_a_state_cannot_be_told_from_an_observation():
    batch = envs.start(Domain("grid"), 2, seed=0)
    with pytest.raises(HeadstartError, match="grid cannot be started from an observation"):
        batch.start_from(batch.reset())


def test_a_demonstrator_sees_the_state():
    batch = envs.start(Domain("worlds:Dot"), 16, seed=0)
    batch.reset()
    place = np.asarray(batch._running.state)
    expected = np.where(place > 0.15, 0, np.where(place < -0.15, 2, 1))
    np.testing.assert_array_equal(batch.demonstrated("centre"), expected)
