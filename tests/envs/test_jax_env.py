import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, HeadstartError, Uniform, envs
from headstart.envs.spec import Group
from headstart.errors import AllowanceSpent, SimulationError
from headstart.experience.unroll import Carry, begin, nothing_told, unroll
from headstart.learners.dqn import DQN
from headstart.learners.ppo import PPO
from headstart.learners.train import train
from headstart.policies.policy import ExpertPolicy, UniformPolicy, act, described
from headstart.runs.metering import (
    Allowance,
    CountedSource,
    Meter,
    MeteredTarget,
    MeteredVectorEnv,
)

SLIPPERY = Domain("grid", slip=Uniform(0.0, 0.6))
GEARS = Domain("probes:Gears", rate=Uniform(0.5, 2.5), slack=Uniform(0.0, 1.0))
SHOWN = Domain(
    "probes:Gears", ["slack", "rate"], ["rate"], rate=Uniform(0.5, 2.5), slack=Uniform(0.0, 1.0)
)
CLIMB = Domain("probes:Climb")
DOMAINS = {
    "grid": SLIPPERY,
    "archery": Domain("archery", wind=Uniform(-1.0, 1.0)),
    "dot": Domain("probes:Dot", tint=Uniform(0.0, 1.0)),
    "climb": CLIMB,
    "gears": SHOWN,
}
PLAYED = [(name, "none") for name in DOMAINS] + [("climb", "gru"), ("gears", "gru")]
KEY = jax.random.key(5)
LEVERS = Domain("probes:Levers")
SMALL = {
    PPO: PPO(hidden=(8,), num_envs=4, rollout_length=8, minibatch_size=16, epochs=2),
    DQN: DQN(hidden=(8,), num_envs=4, rollout_length=8, batch_size=16, learning_starts=32),
}


@pytest.fixture
def step_by_step(monkeypatch):
    """Call it, and there are no compiled rollouts from then on."""

    def host_alone(self, inner, meter, rewards=True):
        original(self, inner, meter, rewards)
        self.scan = lambda *_: None

    original = MeteredVectorEnv.__init__
    return lambda: monkeypatch.setattr(MeteredVectorEnv, "__init__", host_alone)


def same(first, second, tolerance=1e-5):
    """Choices, counts and ends alike; numbers to a few roundings, for the two loops are different
    programs, and XLA does not promise that those round alike."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def same_bits(first, second):
    same(first, second, tolerance=0)


def policy_for(domain, memory="none"):
    learner = PPO(hidden=(8,), memory=memory, memory_size=5)
    return learner.init(envs.spec_of(domain), jax.random.key(0)).policy


def rollouts(policy, running):
    """Two in succession, of 12 steps, and where they stand then."""
    seen, carry = [], begin(policy, running)
    for i in range(2):
        rollout, carry = unroll(policy, running, carry, 12, jax.random.key(i))
        seen.append(rollout)
    return seen, carry


@pytest.mark.parametrize(("name", "memory"), PLAYED)
def test_a_compiled_rollout_is_what_the_steps_would_have_been(name, memory, step_by_step):
    domain = DOMAINS[name]
    policy = policy_for(domain, memory)

    def played():
        source = CountedSource(domain)
        inner = envs.start(domain, 4, seed=3)
        seen, carry = rollouts(policy, MeteredVectorEnv(inner, source.meter))
        return seen, carry, source.meter.counts(), inner.state()

    compiled = played()
    step_by_step()
    same(compiled, played())
    seen, carry, counts, _ = compiled
    assert counts["steps"] == 2 * 12 * 4
    ended = [steps.terminated | steps.truncated for steps, *_ in seen]
    assert counts["episodes"] == 4 + sum(int(over.sum()) for over in ended)
    assert jax.tree.leaves(carry.memory) == [] or carry.memory.shape == (4, 5)


@pytest.mark.parametrize("name", [*DOMAINS, "levers"])
def test_what_is_written_over_a_spent_rollout_is_what_would_have_been_written_anew(name):
    def played(reuse, first_steps=12):
        domain = DOMAINS.get(name, LEVERS)  # whose actions are as what is observed
        running = MeteredVectorEnv(envs.start(domain, 4, seed=3), CountedSource(CLIMB).meter)
        policy = UniformPolicy(running.spec.actions)
        first, carry = unroll(policy, running, begin(policy, running), first_steps, KEY)
        kept = jax.tree.map(np.array, first)
        places = where(first)
        second, carry = unroll(policy, running, carry, 12, KEY, first if reuse else None)
        return kept, second, carry, places == where(second), first

    def where(rollout):
        groups = [*rollout.steps.obs.values(), *rollout.steps.next_obs.values()]
        return [group.unsafe_buffer_pointer() for group in groups]

    *anew, _, first = played(reuse=False)
    same_bits(first, anew[0])  # who does not give a rollout away keeps it
    *over, reused, first = played(reuse=True)
    assert reused
    assert all(group.is_deleted() for group in first.steps.obs.values())
    same_bits(anew[:3], over[:3])
    *_, reused, _ = played(reuse=True, first_steps=8)  # another shape cannot be written over
    assert not reused


def test_what_others_saw_is_not_written_over():
    """Its numbers could be of another width, which would leave some of them standing."""
    spent = None
    for domain in (Domain("cart-pole"), CLIMB):
        running = envs.start(domain, 4, 0)
        policy = UniformPolicy(running.spec.actions)
        spent, _ = unroll(policy, running, begin(policy, running), 12, KEY, spent)
    assert spent.steps.obs["state"].shape == (12, 4, 2)


def test_who_looks_at_a_spent_rollout_still_sees_it():
    running = envs.start(CLIMB, 4, seed=3)
    policy = UniformPolicy(running.spec.actions)
    first, carry = unroll(policy, running, begin(policy, running), 12, KEY)
    looking = [np.asarray(seen["state"]) for seen in (first.steps.obs, first.steps.next_obs)]
    before = [seen.copy() for seen in looking]
    unroll(policy, running, carry, 12, KEY, first)
    np.testing.assert_array_equal(looking, before)


def test_training_writes_each_rollout_over_the_one_before(monkeypatch):
    places = []

    def noted(*arguments):
        rollout, carry = unroll(*arguments)
        places.append(rollout.steps.obs["state"].unsafe_buffer_pointer())
        return rollout, carry

    monkeypatch.setattr("headstart.learners.train.unroll", noted)
    train(SMALL[PPO], CountedSource(CLIMB), 160, jax.random.key(0))
    assert len(places) == 5
    assert len(set(places)) == 1


def test_memory_lasts_as_long_as_an_episode():
    policy = policy_for(GEARS, "gru")
    running = envs.start(GEARS, 4, seed=3)
    (first, second), _ = rollouts(policy, running)
    assert (first.memory == 0).all()
    assert (second.memory != 0).any(1).all()
    steps = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b]), first.timesteps(), second.timesteps()
    )
    # As a network is trained: the whole column at once, from its observations and actions.
    x = policy.encoders(steps.obs)
    last = described(steps.last_action, policy.actions)
    _, states = policy.memory.unroll(x, last, steps.begins, first.memory)
    np.testing.assert_allclose(states[11], second.memory, rtol=1e-5, atol=1e-6)
    begun = np.argwhere(np.asarray(steps.begins[1:]))[:, 0] + 1
    assert len(np.unique(begun)) >= 3


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_training_through_it_gives_the_same_parameters(kind, step_by_step):
    def trained():
        source = CountedSource(SLIPPERY)
        return train(SMALL[kind], source, 128, jax.random.key(1)), source.meter.counts()

    compiled = trained()
    step_by_step()
    same(compiled, trained())


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_what_the_rollouts_say_is_what_the_policy_was_told(memory):
    """A policy that is told it again does the same again."""
    policy = policy_for(SHOWN, memory)
    (first, second), _ = rollouts(policy, envs.start(SHOWN, 4, seed=3))
    for number, rollout in enumerate((first, second)):
        told, remembered = rollout.timesteps(), rollout.memory
        for t in range(12):
            now = jax.tree.map(lambda column, t=t: column[t], told)
            action, remembered = act(policy, now, remembered, jax.random.key(number), t)
            np.testing.assert_array_equal(action, rollout.steps.action[t])


def test_heights_by_hand():
    running = envs.start(Domain("probes:Climb", rate=0.5), 2, seed=0)
    assert running.reset()["state"].tolist() == [[0, 0.5], [0, 0.5]]
    step = running.step(np.array([[0.25], [7.0]]))  # scaled to [−2, 2], and clipped
    assert step.reward.tolist() == [1.0, 2.5]
    assert step.next_obs["state"][:, 0].tolist() == [1.0, 2.5]
    assert running.age.tolist() == [1, 1]


def test_every_kind_of_group_by_hand():
    running = envs.start(Domain("probes:Gears", rate=1.5), 2, seed=0)
    assert running.spec.groups == {
        "seen.lamp": Group((20, 20, 1), "image"),
        "seen.dial": Group((4,)),
        "tooth": Group((1,), "choice", (8,)),
        "switches": Group((2,)),
        "pair.0": Group((2,), "choice", (3, 4)),
        "pair.1": Group((1,), "choice", (2,)),
    }
    obs = running.reset()
    for name, group in running.spec.groups.items():
        assert (obs[name].shape, obs[name].dtype) == ((2, *group.shape), group.dtype)
    for _ in range(6):
        turn = np.asarray(running._running.state["turn"])
        # Gears 2 and 3; pushes −1 and 1, then 1 and 0.
        step = running.step(np.array([[0, 0, 2], [1, 2, 1]]), np.arange(2))
        gear, pushed = np.array([2, 3]), np.array([-1.5 + 0.5, 1.5])
        turn = (turn + gear * pushed) % 8
        tooth, seen = np.floor(turn).astype(int), step.next_obs
        assert (seen["seen.lamp"] == 30 * tooth[:, None, None, None]).all()
        noise = seen["seen.dial"] - turn[:, None] * [1, 2, 3, 4]
        np.testing.assert_allclose(noise, noise[:, :1].repeat(4, 1), atol=1e-5)
        assert (np.abs(noise) < 0.5).all()
        assert seen["tooth"].tolist() == tooth[:, None].tolist()
        assert seen["switches"].tolist() == [[tooth[0] % 2, 0], [tooth[1] % 2, 1]]
        assert seen["pair.0"].tolist() == [[n % 3, n % 3] for n in tooth]
        assert seen["pair.1"].tolist() == (tooth[:, None] // 4).tolist()
        assert step.reward.tolist() == [2 - 1 + 1 - tooth[0], 3 + 1 + 0 - tooth[1]]
        if step.terminated.any():
            break


def test_actions_of_several_axes_are_scaled_to_bounds_of_their_own():
    running = envs.start(Domain("probes:Levers"), 3, seed=0)
    assert running.spec.actions.shape == (4,)
    assert running.reset()["state"].tolist() == [[0] * 4] * 3
    step = running.step(np.array([[-1.0] * 4, [1, 0, 0.5, -0.5], [9, -9, 9, -9]]))
    moved = [[0, -1, -2, 10], [1, 0, 4, 12.5], [1, -1, 6, 10]]
    assert step.next_obs["state"].tolist() == moved
    assert step.reward.tolist() == [sum(levers) for levers in moved]


def test_what_is_shown_of_the_parameters_changes_with_every_episode():
    """`slack` lies in [0, 4], `rate` in [0.5, 2.5], and the order is the domain's."""
    running = envs.start(SHOWN, 3, seed=0)
    assert running.spec.groups["context"] == Group((2,))
    assert running.spec.groups["privileged"] == Group((1,))
    obs, drawn = running.reset(), []
    for _ in range(25):
        rate, slack = running.values.T
        np.testing.assert_allclose(
            obs["context"], np.stack([slack / 2 - 1, rate - 1.5], 1), atol=1e-6
        )
        np.testing.assert_allclose(obs["privileged"], rate[:, None] - 1.5, atol=1e-6)
        drawn.append(obs["context"])
        step = running.step(np.tile([0, 1, 1], (3, 1)))
        np.testing.assert_array_equal(step.next_obs["context"], obs["context"])
        ended = step.terminated | step.truncated
        assert ((step.obs["context"] != obs["context"]).all(1) == ended).all()
        obs = step.obs
    assert len(np.unique(np.concatenate(drawn), axis=0)) >= 3 * 4


@pytest.mark.parametrize(("top", "terminates"), [(3.0, 3), (5.0, 5), (6.0, None)])
def test_what_ends_by_itself_is_not_truncated(top, terminates):
    running = envs.start(Domain("probes:Climb", top=top), 2, seed=0)
    running.reset()
    for t in range(1, (terminates or 5) + 1):
        step = running.step(np.zeros((2, 1)))
        assert step.terminated.all() == (t == terminates)
        assert step.truncated.all() == (terminates is None and t == 5)
    assert (step.next_obs["state"][:, 0] == t).all()
    assert (step.obs["state"][:, 0] == 0).all()
    assert (running.age == 0).all()


def test_only_the_rows_that_are_asked_for_are_stepped_and_an_ended_one_waits():
    running = envs.start(CLIMB, 3, seed=0)
    running.reset()
    ends = np.array([2, 0])
    for t in range(1, 6):
        step = running.step(np.array([[0.5], [0.0]]), ends)
        np.testing.assert_allclose(step.next_obs["state"][:, 0], [2 * t, t])
    assert step.truncated.all()
    np.testing.assert_array_equal(step.obs["state"], step.next_obs["state"])
    assert running.age.tolist() == [5, 0, 5]
    with pytest.raises(SimulationError, match="must be reset"):
        running.step(np.zeros((1, 1)), np.array([2]))
    with pytest.raises(SimulationError, match="must be reset"):
        running.step(np.zeros((3, 1)))
    with pytest.raises(SimulationError, match="must be reset"):
        unroll(policy_for(CLIMB), running, nowhere(running), 2, jax.random.key(0))
    assert running.reset(np.array([2]))["state"].tolist() == [[0, 1]]
    assert running.age.tolist() == [5, 0, 0]
    assert running.step(np.zeros((2, 1)), np.array([1, 2])).reward.tolist() == [1.0, 1.0]


def nowhere(running):
    return Carry(nothing_told(running), ())


def test_every_episode_draws_its_parameters():
    running = envs.start(Domain("probes:Climb", rate=Uniform(0.5, 1.5)), 4, seed=0)
    rates = [running.reset()["state"][:, 1]]
    for t in range(1, 16):
        step = running.step(np.zeros((4, 1)))
        np.testing.assert_array_equal(step.next_obs["state"][:, 1], rates[-1])
        np.testing.assert_array_equal(running.values[:, 0], step.obs["state"][:, 1])
        if t % 5 == 0:
            rates.append(step.obs["state"][:, 1])
    rates = np.stack(rates)
    assert len(np.unique(rates)) == rates.size == 16
    assert ((rates > 0.5) & (rates < 1.5)).all()
    assert rates.std() == pytest.approx(1 / 12**0.5, rel=0.4)


def test_copies_that_end_together_begin_anew_each_in_its_own_way():
    """Two at a time, since a 32nd of the copies begin together."""
    running = envs.start(Domain("cart-pole", horizon=3), 64, seed=0)
    policy = UniformPolicy(running.spec.actions)
    rollout, _ = unroll(policy, running, begin(policy, running), 7, KEY)
    assert rollout.steps.truncated[2].all()
    begun = np.asarray(rollout.steps.obs["state"])[[0, 3, 6]]
    assert len(np.unique(begun.reshape(3 * 64, -1), axis=0)) == 3 * 64


def test_pinned_parameters_stay():
    running = envs.start(Domain("probes:Climb", rate=Uniform(0.5, 1.5)), 3, seed=0)
    pinned = np.array([[0.5], [0.75], [1.5]])
    running.pin(pinned)
    policy = policy_for(CLIMB)
    rollout, _ = unroll(policy, running, begin(policy, running), 12, jax.random.key(0))
    assert (np.asarray(rollout.steps.obs["state"])[:, :, 1] == pinned[:, 0]).all()
    assert (running.values[:, 0] == pinned[:, 0]).all()


@pytest.mark.parametrize(
    ("name", "memory"),
    [("archery", "none"), ("gears", "gru")],
)
def test_restored_copies_go_on_with_the_same(name, memory):
    domain = DOMAINS[name]
    policy = policy_for(domain, memory)
    first, second = (envs.start(domain, 4, seed) for seed in (0, 1))
    _, carry = rollouts(policy, first)
    second.restore(first.state())
    a, b = (unroll(policy, x, carry, 12, jax.random.key(5)) for x in (first, second))
    same_bits(a, b)
    same_bits(first.state(), second.state())


@pytest.mark.parametrize("meter", [Meter(step_limit=120), Meter(episode_limit=8)])
def test_a_limit_stops_it_where_it_stops_the_steps(meter, step_by_step):
    """Of 4 copies: in the third rollout of 12 steps, and after two episodes of five steps."""

    def spent():
        own = Meter(step_limit=meter.step_limit, episode_limit=meter.episode_limit)
        running, policy = MeteredTarget(CLIMB, Allowance(own)).start(4, seed=0), policy_for(CLIMB)
        seen = []
        with pytest.raises((AllowanceSpent, SimulationError)) as caught:  # noqa: PT012
            carry = begin(policy, running)
            for i in range(6):
                rollout, carry = unroll(policy, running, carry, 6, jax.random.key(i))
                seen.append(rollout)
        return own.counts(), seen, type(caught.value), str(caught.value)

    counts, seen, kind, says = spent()
    step_by_step()
    again, host_seen, host_kind, host_says = spent()
    assert counts == again
    assert (kind, says) == (host_kind, host_says)
    same(seen, host_seen)
    if meter.step_limit:
        assert kind is AllowanceSpent
        assert counts == {"observations": 0, "steps": 120, "episodes": 4 * 7}
    else:
        assert counts == {"observations": 0, "steps": 44, "episodes": 8}


def test_hidden_rewards_are_nan_in_a_rollout_too():
    running = MeteredTarget(CLIMB, Allowance(Meter(), rewards=False)).start(2, seed=0)
    policy = policy_for(CLIMB)
    rollout, carry = unroll(policy, running, begin(policy, running), 6, jax.random.key(0))
    assert np.isnan(rollout.steps.reward).all()
    assert np.isnan(carry.told.last_reward).all()


def test_nan_is_named_in_both_loops():
    domain = Domain("probes:Climb", crack=2.5)
    says = "Climb met a reward that is not finite: narrow the range of its parameters"
    running, policy = envs.start(domain, 2, seed=0), policy_for(CLIMB)
    with pytest.raises(SimulationError, match=says):
        unroll(policy, running, begin(policy, running), 4, jax.random.key(0))
    running.reset()
    running.step(np.zeros((2, 1)))
    running.step(np.zeros((2, 1)))
    with pytest.raises(SimulationError, match=says):
        running.step(np.zeros((2, 1)))
    with pytest.raises(SimulationError, match="Lost met an observation that is not finite"):
        envs.start(Domain("probes:Lost"), 2, seed=0).reset()
    with pytest.raises(SimulationError, match="action that is not finite: learning has diverged"):
        running.step(np.full((2, 1), np.nan))


def test_pictures_where_the_environment_draws_itself():
    running = envs.start(Domain("grid", wall=1), 2, seed=0)
    running.reset()
    picture = running.picture()
    assert picture.shape[2] == 3
    assert picture.dtype == np.uint8
    before = picture
    running.step(np.full(2, 2))
    assert not np.array_equal(running.picture(), before)
    assert envs.start(CLIMB, 1, seed=0).picture() is None


def test_a_state_cannot_be_told_from_an_observation():
    running = envs.start(Domain("grid"), 2, seed=0)
    with pytest.raises(HeadstartError, match="grid cannot be started from an observation"):
        running.start_from(running.reset())


def test_an_expert_sees_the_state(step_by_step):
    """What it would do is shown beside the observation, and done by who follows it."""

    def followed():
        source = CountedSource(Domain("probes:Dot"))
        running = source.start(16, seed=0, expert="centre")
        assert running.spec.groups["expert"] == Group((), "choice", (3,))
        assert "expert" not in source.spec.groups
        return unroll(ExpertPolicy(), running, begin(ExpertPolicy(), running), 12, None)[0]

    running = envs.start(Domain("probes:Dot"), 16, seed=0, expert="centre")
    obs = running.reset()
    for _ in range(12):
        place = np.asarray(running._running.state)
        expected = np.where(place > 0.15, 0, np.where(place < -0.15, 2, 1))
        np.testing.assert_array_equal(obs["expert"], expected)
        obs = running.step(expected).obs
    compiled = followed()
    np.testing.assert_array_equal(compiled.steps.action, compiled.steps.obs["expert"])
    step_by_step()
    same(compiled, followed())


def test_random_actions_take_every_choice():
    running = envs.start(GEARS, 4, seed=0)
    policy = UniformPolicy(running.spec.actions)
    actions = np.asarray(rollouts(policy, running)[0][0].steps.action)
    assert [np.unique(actions[:, :, i]).tolist() for i in range(3)] == [
        [0, 1],
        [0, 1, 2],
        [0, 1, 2],
    ]
