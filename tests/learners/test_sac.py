from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from headstart import Domain, HeadstartError, envs
from headstart.envs.archery import DISTANCE, WIDEST
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.transition import Transition
from headstart.experience.unroll import begin, unroll
from headstart.learners.learner import NO_HOOKS, Progress
from headstart.learners.sac import SAC
from headstart.learners.train import train
from headstart.policies.policy import UniformPolicy, policy_from
from headstart.runs.metering import CountedSource

SMALL = SAC(
    hidden=(16,), num_envs=4, rollout_length=10, batch_size=32, buffer_size=256,
    learning_starts=120, updates_per_step=0.5, learning_rate=3e-3, temperature=0.3,
    reward_scale=0.5, discount=0.9,
)  # fmt: skip
SPEC = EnvSpec("here", {"state": Group((2,))}, Actions((1,)), 10)
WIDE = EnvSpec("wide", {"state": Group((2,))}, Actions((2,)), 10)
SIZE = 32
TERMINATED, TRUNCATED = np.arange(SIZE) % 2 == 0, np.arange(SIZE) % 3 == 1


def log_density(u, mean, std):
    """log π(tanh u), with tanh′ u = 4 / (eᵘ + e⁻ᵘ)², over all dimensions of an action."""
    u = np.asarray(u, np.float64)
    normal = stats.norm(np.asarray(mean, float), np.asarray(std, float)).logpdf(u)
    return (normal - (np.log(4) - 2 * np.logaddexp(u, -u))).sum(-1)


def experience(time=1, size=SIZE, act=1, seed=0):
    """Windows `[time, size]` of random steps; a half of them are terminated, others truncated."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=(time, size, *shape)), jnp.float32)

    ends = (jnp.asarray(rng.uniform(size=(time, size)) < share) for share in (0.5, 0.3))
    if time == 1:
        ends = jnp.asarray(TERMINATED[None]), jnp.asarray(TRUNCATED & ~TERMINATED)[None]
    obs, action, reward = {"state": draw(2)}, jnp.tanh(draw(act)), draw()
    return Transition(obs, action, reward, {"state": draw(2)}, *ends)


WEIGHT = jnp.asarray(np.random.default_rng(1).uniform(0, 2, SIZE), jnp.float32)


@jax.jit
def learn(agent, window, weight, key):
    batch = SMALL.batch(window)._replace(weight=weight)
    return SMALL.step(agent, window, batch, NO_HOOKS, 0.0, key)


def gradients(agent):
    """Of the agent's one and only step: Adam's first mean is a tenth of it."""
    (actor, _), critics, log_temperature = jax.tree.map(
        lambda mu: np.asarray(mu) * 10, agent.opt_state[0].mu
    )
    return actor, critics, log_temperature


def q_values(critics, obs, action):
    """Of each critic."""
    x = jnp.concatenate([obs, action], -1)
    return [np.asarray(critic.value(x))[:, 0] for critic in critics]


def drawn(actor, obs, key):
    """u ~ N(μ, σ²), and μ and σ."""
    out = np.asarray(actor.mean_and_log_std(obs), np.float64)
    mean, std = np.split(out, 2, axis=-1)
    std = np.exp(std)
    return mean + std * np.asarray(jax.random.normal(key, mean.shape), float), mean, std


def backup_by_hand(agent, slow, window, key):
    """y = r + γ (min_i Q̄_i(s′, a′) − α log π(a′ | s′)), or r where the episode terminated."""
    next_obs = window.next_obs["state"][0]
    u, mean, std = drawn(agent.policy.actor, next_obs, jax.random.split(key)[0])
    first, second = q_values(slow, next_obs, jnp.tanh(jnp.asarray(u, jnp.float32)))
    assert (first < second).any()
    assert (first > second).any()
    soft = np.minimum(first, second) - 0.3 * log_density(u, mean, std)
    return 0.5 * np.asarray(window.reward[0]) + 0.9 * np.where(TERMINATED, 0, soft)


def with_other_slow_critics(spec=SPEC):
    agent, other = (SMALL.init(spec, jax.random.key(seed)).agent for seed in (0, 1))
    return eqx.tree_at(lambda a: a.slow_critics, agent, other.critics)


def test_the_critics_target_by_hand():
    """Terminated steps have no value after them; truncated ones have that of where they led."""
    agent, window, key = with_other_slow_critics(), experience(), jax.random.key(2)
    slow = agent.slow_critics
    after, log = learn(agent, window, WEIGHT, key)
    backup = backup_by_hand(agent, slow, window, key)
    taken = q_values(agent.critics, window.obs["state"][0], window.action[0])
    weight = np.asarray(WEIGHT)
    expected = sum((weight * (value - backup) ** 2).mean() for value in taken)
    assert float(log["critic_loss"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(log["value"]) == pytest.approx(float(taken[0].mean()), rel=1e-4)
    # dL / d bias of the last layer is 2 E[w (Q − y)], critic by critic.
    for value, gradient in zip(taken, gradients(after)[1], strict=True):
        slope = 2 * (weight * (value - backup)).mean()
        assert float(gradient.value.biases[-1][0]) == pytest.approx(slope, rel=1e-3)


def test_the_slow_critics_follow_by_tau():
    agent = with_other_slow_critics()
    after, _ = learn(agent, experience(), WEIGHT, jax.random.key(2))
    for slow, new, moved in zip(
        *map(jax.tree.leaves, (agent.slow_critics, after.critics, after.slow_critics)), strict=True
    ):
        np.testing.assert_allclose(moved, slow + 0.005 * (new - slow), rtol=1e-5, atol=1e-6)
        assert np.abs(np.asarray(new - slow)).max() == 0 or not np.array_equal(moved, slow)


@pytest.mark.parametrize("spec", [SPEC, WIDE], ids=["one action", "two"])
def test_the_actors_loss_and_gradient_by_hand(spec):
    """E[w (α log π(a | s) − min_i Q_i(s, a))] with a = tanh(μ + σ z): the derivative by the bias of
    μ is that of finite differences in double precision, with the critics held."""
    act = spec.actions.shape[0]
    agent, window, key = with_other_slow_critics(spec), experience(act=act), jax.random.key(2)
    after, log = learn(agent, window, WEIGHT, key)
    obs = np.asarray(window.obs["state"][0], float)
    z = np.asarray(jax.random.normal(jax.random.split(key)[1], (SIZE, act)), float)

    def layers(network, x):
        weights, biases = (list(map(np.float64, p)) for p in (network.weights, network.biases))
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0)
        return x @ weights[-1] + biases[-1]

    def loss(shift):
        out = layers(agent.policy.actor.mean_and_log_std, obs) + shift
        mean, std = out[:, :act], np.exp(out[:, act:])
        u = mean + std * z
        pair = np.concatenate([obs, np.tanh(u)], 1)
        values = [layers(critic.value, pair)[:, 0] for critic in agent.critics]
        return (np.asarray(WEIGHT) * (0.3 * log_density(u, mean, std) - np.minimum(*values))).mean()

    assert float(log["actor_loss"]) == pytest.approx(loss(np.zeros(2 * act)), rel=1e-3, abs=1e-4)
    found = gradients(after)[0].mean_and_log_std.biases[-1]
    for i, unit in enumerate(np.eye(2 * act)):
        slope = (loss(1e-5 * unit) - loss(-1e-5 * unit)) / 2e-5
        assert float(found[i]) == pytest.approx(slope, rel=1e-2, abs=1e-3)


def of_spread(spec, std):
    """An agent whose policy is the same squashed Gaussian everywhere, with mean 0."""
    agent = SMALL.init(spec, jax.random.key(0)).agent
    last, act = agent.policy.actor.mean_and_log_std, spec.actions.shape[0]
    still = jnp.zeros_like(last.weights[-1]), jnp.repeat(jnp.array([0.0, np.log(std)]), act)
    return eqx.tree_at(
        lambda a: (
            a.policy.actor.mean_and_log_std.weights[-1], a.policy.actor.mean_and_log_std.biases[-1],
        ),
        agent, (still[0], still[1].astype(jnp.float32)),
    )  # fmt: skip


@pytest.mark.parametrize(("std", "rises"), [(0.02, True), (1.0, False)])
def test_the_temperature_rises_where_the_entropy_is_too_low(std, rises):
    """The entropy is to be −1: that of σ = 0.02 is about −2.5, that of σ = 1 about 0.6."""
    agent = of_spread(SPEC, std)
    after, log = learn(agent, experience(), WEIGHT, jax.random.key(0))
    assert (float(log["entropy"]) < -1) == rises
    assert (after.log_temperature > agent.log_temperature) == rises
    moved = float(after.log_temperature - agent.log_temperature)
    assert abs(moved) == pytest.approx(3e-3, rel=1e-2)
    assert float(log["temperature"]) == pytest.approx(0.3)


@pytest.mark.parametrize("std", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("spec", [SPEC, WIDE], ids=["one action", "two"])
def test_the_temperatures_gradient_by_hand(spec, std):
    """d L / d log α = −E[w (log π + H)] with H = −dim a."""
    act, key = spec.actions.shape[0], jax.random.key(3)
    agent = of_spread(spec, std)
    after, log = learn(agent, experience(act=act), WEIGHT, key)
    u = std * np.asarray(jax.random.normal(jax.random.split(key)[1], (SIZE, act)), float)
    log_prob = log_density(u, 0.0, std)
    assert float(log["entropy"]) == pytest.approx(-log_prob.mean(), rel=1e-4)
    excess = (np.asarray(WEIGHT) * (log_prob - act)).mean()
    assert float(gradients(after)[2]) == pytest.approx(-excess, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("entropy", [-1.0, 0.25])
def test_the_entropy_that_is_kept_is_per_dimension(entropy):
    agent, kept = of_spread(WIDE, 0.5), replace(SMALL, entropy=entropy)
    window = experience(act=2)
    after, log = kept.step(agent, window, kept.batch(window), NO_HOOKS, 0.0, jax.random.key(3))
    slope = float(log["entropy"]) - 2 * entropy
    assert float(gradients(after)[2]) == pytest.approx(slope, rel=1e-3)


def test_a_temperature_that_is_held_stays():
    for asked, held in ((0.3, 0.3), (0.0, 1e-6)):
        learner = SMALL.held_at(asked)
        agent, window = learner.init(SPEC, jax.random.key(0)).agent, experience()
        after, log = learner.step(
            agent, window, learner.batch(window), NO_HOOKS, 0.0, jax.random.key(3)
        )
        assert float(after.log_temperature) == float(agent.log_temperature)
        assert float(log["temperature"]) == pytest.approx(held)


RECURRENT = replace(SMALL, memory="gru", memory_size=3, window=6, burn_in=2, batch_size=12)


def test_windows_of_a_recurrent_one_by_hand():
    """Two windows of six steps, of which the first two only fill the memories: losses are of the
    last four, with every memory stepped by its GRU cell from nothing, afresh at each episode."""
    agents = [RECURRENT.init(SPEC, jax.random.key(seed)).agent for seed in (0, 1)]
    agent = eqx.tree_at(lambda a: a.slow_critics, agents[0], agents[1].critics)
    window, key = experience(6, 2, seed=5), jax.random.key(2)
    ended = np.asarray(window.terminated | window.truncated)
    assert ended[:2].any()
    assert ended[2:5].any()

    @jax.jit
    def once(agent, window):
        batch = RECURRENT.batch(window)
        return batch, RECURRENT.step(agent, window, batch, NO_HOOKS, 0.0, key)

    batch, (after, log) = once(agent, window)

    def flat(x):
        return np.asarray(x)[2:].reshape(8, *x.shape[2:])

    np.testing.assert_array_equal(batch.obs["state"], flat(window.obs["state"]))
    np.testing.assert_array_equal(batch.reward, flat(window.reward))
    ends = flat(window.terminated)
    np.testing.assert_allclose(batch.discount, np.where(ends, 0, 0.9), rtol=1e-6)

    def seen(cell):
        """What heads see of every step, and of where its action led."""
        cell = eqx.filter_jit(cell)
        here, there = np.zeros((6, 2, 5), np.float32), np.zeros((6, 2, 5), np.float32)
        for i in range(2):
            state, last = np.zeros(3), np.zeros(1)
            for t in range(6):
                obs, led_to, action = (
                    np.asarray(x[t, i])
                    for x in (window.obs["state"], window.next_obs["state"], window.action)
                )
                state = cell(jnp.concatenate([obs, last]), jnp.asarray(state))
                here[t, i] = np.concatenate([obs, state])
                peeked = cell(jnp.concatenate([led_to, action]), state)
                there[t, i] = np.concatenate([led_to, peeked])
                last = action
                if ended[t, i]:
                    state, last = np.zeros(3), np.zeros(1)
        return jnp.asarray(flat(here)), jnp.asarray(flat(there))

    own = seen(agent.policy.memory.cell)
    u, mean, std = drawn(agent.policy.actor, own[1], jax.random.split(key)[0])
    next_action = jnp.tanh(jnp.asarray(u, jnp.float32))
    slow = [q_values([c], seen(c.memory.cell)[1], next_action)[0] for c in agent.slow_critics]
    soft = np.minimum(*slow) - 0.3 * log_density(u, mean, std)
    backup = 0.5 * flat(window.reward) + 0.9 * np.where(ends, 0, soft)
    told = [seen(c.memory.cell)[0] for c in agent.critics]
    action = flat(window.action)
    taken = [q_values([c], x, action)[0] for c, x in zip(agent.critics, told, strict=True)]
    expected = sum(((value - backup) ** 2).mean() for value in taken)
    assert float(log["critic_loss"]) == pytest.approx(float(expected), rel=1e-4)

    u, mean, std = drawn(agent.policy.actor, own[0], jax.random.split(key)[1])
    chosen = jnp.tanh(jnp.asarray(u, jnp.float32))
    values = [q_values([c], x, chosen)[0] for c, x in zip(agent.critics, told, strict=True)]
    expected = (0.3 * log_density(u, mean, std) - np.minimum(*values)).mean()
    assert float(log["actor_loss"]) == pytest.approx(float(expected), rel=1e-3, abs=1e-4)
    # Actor and critics learn their own memories.
    moved = [
        np.abs(np.asarray(a.cell.weight_ih - b.cell.weight_ih)).max()
        for a, b in zip(
            (after.policy.memory, after.critics[0].memory, after.critics[1].memory),
            (agent.policy.memory, agent.critics[0].memory, agent.critics[1].memory),
            strict=True,
        )
    ]
    assert min(moved) > 1e-3


def test_it_does_what_it_is_asked():
    source = CountedSource(Domain("probes:asked_continuous"))
    state = train(SMALL, source, 1200, jax.random.key(0))
    obs = {"state": jnp.array([[1.0], [-1.0]])}
    actions = np.asarray(state.policy.actor.mode(state.policy.encoders(obs))).ravel()
    assert (actions > 0.05).tolist() == [True, False]
    assert (actions < -0.05).tolist() == [False, True]


def test_it_finds_the_angle_that_the_wind_asks_for():
    source = CountedSource(Domain("archery", wind=1.0))
    state = train(replace(SMALL, discount=0.99), source, 4000, jax.random.key(0))
    angle = WIDEST * float(state.policy.actor.mode(jnp.zeros((1, 2)))[0, 0])
    assert angle == pytest.approx(-np.degrees(np.arcsin(1 / DISTANCE)), abs=0.25)


def test_what_it_knows_is_put_back_whole():
    old, new = (SMALL.init(SPEC, jax.random.key(seed)) for seed in (0, 1))
    agent, _ = learn(old.agent, experience(), WEIGHT, jax.random.key(2))
    old = eqx.tree_at(lambda s: s.agent, old, agent)
    knowledge = SMALL.knowledge(old)
    assert knowledge.parts.keys() == {"policy", "critic", "temperature", "optimiser"}
    assert eqx.tree_equal(SMALL.graft(knowledge, new).agent.opt_state, agent.opt_state)
    knowledge = knowledge.without("optimiser")
    everything = SMALL.graft(knowledge, new).agent
    assert eqx.tree_equal(everything.policy, agent.policy)
    assert eqx.tree_equal(everything.critics, agent.critics)
    assert eqx.tree_equal(everything.slow_critics, agent.critics)
    assert everything.log_temperature == agent.log_temperature != new.agent.log_temperature
    held = replace(SMALL, entropy=None, temperature=0.7).graft(knowledge, new).agent
    assert held.log_temperature == new.agent.log_temperature  # of whoever holds it
    assert int(everything.opt_state[0].count) == 0
    assert eqx.tree_equal(policy_from(knowledge), agent.policy)
    carried = SMALL.graft(knowledge.only(["critic"]), new).agent
    assert eqx.tree_equal(carried.policy, new.policy)
    assert eqx.tree_equal(carried.critics, agent.critics)
    assert carried.log_temperature == new.agent.log_temperature


def test_it_acts_at_random_first():
    state = SMALL.init(SPEC, jax.random.key(0))
    assert isinstance(SMALL.behaviour(state, Progress(119, 1000)), UniformPolicy)
    assert SMALL.behaviour(state, Progress(120, 1000)) is state.policy


def test_critics_may_see_what_the_policy_does_not():
    """The parameter that only critics are shown moves their values and not the actions."""
    domain = Domain("probes:Track", wind={"uniform": [-0.5, 0.5]}, shows_critic=["wind"])
    spec = envs.spec_of(domain)
    state = SMALL.init(spec, jax.random.key(0))
    assert state.policy.reads == ("state",)
    assert state.agent.critics[0].value.sizes[0] == 2 + 1 + 1
    obs, wind = jnp.zeros((1, SIZE, 2)), jnp.linspace(-1, 1, SIZE)[None, :, None]
    groups = {"state": obs, "privileged": wind}
    window = experience()._replace(obs=groups, next_obs=groups)
    _, log = learn(state.agent, window, WEIGHT, jax.random.key(0))
    taken = jnp.concatenate([obs[0], wind[0]], -1)
    value = q_values(state.agent.critics, taken, window.action[0])[0]
    assert float(log["value"]) == pytest.approx(float(value.mean()), rel=1e-4, abs=1e-6)


def test_what_it_cannot_act_in_is_refused():
    choices = EnvSpec("choices", {"state": Group((2,))}, Actions((), (2,)), 10)
    with pytest.raises(HeadstartError, match="SAC takes continuous actions, and choices has"):
        SMALL.init(choices, jax.random.key(0))


def test_images_are_read_by_codes_or_refused():
    seen = EnvSpec("seen", {"pixels": Group((24, 24, 3), "image")}, Actions((1,)), 10)
    with pytest.raises(HeadstartError, match=r'and pixels of seen .* \["pixels=codes"\]'):
        SMALL.init(seen, jax.random.key(0))
    state = replace(SMALL, encoders=("pixels=codes",)).init(seen, jax.random.key(0))
    assert state.policy.encoders.size == 8


def test_windows_that_do_not_fit_are_refused():
    with pytest.raises(HeadstartError, match="a batch of 32 is not made of windows of 5"):
        replace(SMALL, memory="gru", window=5, burn_in=2)
    with pytest.raises(HeadstartError, match="burn_in must be between 0 and 5"):
        replace(SMALL, memory="gru", window=6, burn_in=6, batch_size=12)
    long = replace(SMALL, memory="gru", window=128, batch_size=128)
    with pytest.raises(HeadstartError, match="a window of 128 steps is longer than the 70"):
        long.init(SPEC, jax.random.key(0))


def test_nothing_is_learned_before_learning_starts():
    state = SMALL.init(SPEC, jax.random.key(0))
    running = envs.start(Domain("probes:Track"), 4, 0)
    uniform = UniformPolicy(SPEC.actions)
    rollout, _ = unroll(uniform, running, begin(uniform, running), 10, jax.random.key(0))
    before = state.policy
    state, log = SMALL.update(state, rollout, Progress(80, 1000), NO_HOOKS, jax.random.key(0))
    assert log == {}
    assert eqx.tree_equal(state.policy, before)
    assert int(state.replay.filled) == 10
    state, log = SMALL.update(state, rollout, Progress(120, 1000), NO_HOOKS, jax.random.key(0))
    assert set(log) >= {"critic_loss", "temperature"}
    assert not eqx.tree_equal(state.policy, before)
