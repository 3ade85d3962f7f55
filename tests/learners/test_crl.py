"""CRL, against numbers worked by hand and the occupancy of a random walk."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import small
from headstart import Access, Domain, HeadstartError, TransferProblem
from headstart.envs.goals import ACHIEVED, DESIRED, Near
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.experience.transition import Rollout, Transition
from headstart.learners.crl import CRL, closeness, info_nce
from headstart.learners.learner import NO_HOOKS, Hooks, Progress, Rates
from headstart.learners.train import train
from headstart.methods.finetune import Finetune
from headstart.runs.evaluation import scored
from headstart.runs.job import configured, make_job
from headstart.runs.metering import CountedSource
from headstart.testing import check_method
from headstart.transfer.graft import graft

GROUPS = {"observation": Group((1,)), ACHIEVED: Group((1,)), DESIRED: Group((1,))}
SPEC = EnvSpec("walk", GROUPS, Actions((1,)), 50, goals=Near(0.1))
SMALL = CRL(
    hidden=(32,), representation=8, num_envs=8, rollout_length=400, batch_size=64,
    learning_starts=0, updates_per_step=0.5, learning_rate=3e-3, discount=0.8, buffer_size=3200,
    temperature=0.3,
)  # fmt: skip
N = 9
"""Places of the walk."""


def test_how_close_is_minus_the_distance_of_every_pair():
    rng = np.random.default_rng(0)
    done, goal = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    goal[2] = done[1]
    found = closeness(jnp.asarray(done, jnp.float32), jnp.asarray(goal, jnp.float32))
    expected = -np.linalg.norm(done[:, None] - goal[None], axis=-1)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    slope = jax.grad(lambda x: closeness(x, x).sum())(jnp.ones((3, 2)))
    assert np.isfinite(slope).all()


def test_the_loss_of_the_critic_by_hand():
    """Goals are told apart for each row and rows for each goal; sums over goals are held near 1."""
    logits = np.array([[0.5, -1.0, -2.0], [0.0, 0.25, -3.0], [-1.5, -0.5, -0.75]])
    goals = np.array([np.log(np.exp(row).sum()) for row in logits])
    rows = np.array([np.log(np.exp(column).sum()) for column in logits.T])
    own = np.array([0.5, 0.25, -0.75])
    for penalty in (0.0, 0.1, 2.0):
        expected = (goals - own).mean() + (rows - own).mean() + penalty * (goals**2).mean()
        assert float(info_nce(jnp.asarray(logits), penalty)) == pytest.approx(expected, rel=1e-5)


def experience(seed=0):
    """Eight random walks over `N` places, a goal for each among them, in episodes of 50 steps; an
    action's sign is where it leads, if a wall is not there."""
    rng, time = np.random.default_rng(seed), SMALL.rollout_length
    at, places, led, actions = rng.integers(0, N, 8), [], [], []
    for t in range(time):
        at = rng.integers(0, N, 8) if t % 50 == 0 else at
        action = rng.uniform(-1, 1, 8)
        places.append(at)
        at = np.clip(at + np.sign(action).astype(int), 0, N - 1)
        led.append(at), actions.append(action)
    here, there = (as_seen(np.array(x)) for x in (places, led))
    wanted = as_seen(rng.integers(0, N, (time, 8)))
    obs, next_obs = ({"observation": x, ACHIEVED: x, DESIRED: wanted} for x in (here, there))
    ends = jnp.asarray(np.arange(time)[:, None] % 50 == 49) & jnp.ones((1, 8), bool)
    action = jnp.asarray(actions, jnp.float32)[..., None]
    steps = Transition(obs, action, jnp.zeros((time, 8)), next_obs, jnp.zeros_like(ends), ends)
    return Rollout(steps, jnp.ones(8, bool), jnp.zeros((8, 1)), jnp.zeros(8))


def as_seen(place):
    return jnp.asarray(place, jnp.float32)[..., None] / (N - 1) * 2 - 1


def occupancy():
    """p_γ(g | s, a) = (1 − γ) Σ γᵏ p(s_{k+1} = g | s, a) of the walk, `[action, s, g]`."""
    moves = np.zeros((2, N, N))
    for i, step in enumerate((-1, 1)):
        moves[i, np.arange(N), np.clip(np.arange(N) + step, 0, N - 1)] = 1
    walk = moves.mean(0)
    return 0.2 * moves @ np.linalg.inv(np.eye(N) - 0.8 * walk)


def learned(**changes):
    """An agent after 1,600 gradient steps on these walks, whose policy stood still."""
    learner = replace(SMALL, **changes)
    state = learner.init(SPEC, jax.random.key(0), total=3200)
    frozen = Hooks(rates=Rates(policy=0.0))
    return learner.update(state, experience(), Progress(0, 3200), frozen, jax.random.key(1))


def test_the_critic_knows_how_often_each_place_comes_after_an_action():
    """f is log p_γ(g | s, a) / p(g) up to a constant: it orders goals and actions as that does."""
    state, log = learned()
    place = as_seen(np.arange(N))
    pairs = (jnp.concatenate([place, jnp.full((N, 1), side)], -1) for side in (-0.5, 0.5))
    critic = state.agent.critic
    found = np.array([closeness(critic.action(pair), critic.goal(place)) for pair in pairs])
    after = occupancy()
    ratio = np.log(after / after.mean((0, 1))[None, None])
    for view, truth in zip(found.reshape(-1, N), ratio.reshape(-1, N), strict=True):
        assert stats.spearmanr(view, truth).statistic > 0.9
    left, right = found
    here, there = np.nonzero(np.abs(np.subtract.outer(np.arange(N), np.arange(N))) == 1)
    better = right[here, there] > left[here, there]
    np.testing.assert_array_equal(better, there > here)  # a step to the right leads there
    assert 0.05 < float(log["accuracy"]) < 0.5


def log_density(u, mean, std):
    """log π(tanh u), with tanh′ u = 4 / (eᵘ + e⁻ᵘ)²."""
    normal = stats.norm(mean, std).logpdf(u)
    return (normal - (np.log(4) - 2 * np.logaddexp(u, -u))).sum(-1)


def layers(network, x):
    weights, biases = (list(map(np.float64, p)) for p in (network.weights, network.biases))
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = np.maximum(x @ weight + bias, 0)
    return x @ weights[-1] + biases[-1]


def test_the_losses_and_their_gradients_by_hand():
    """E[α log π(a | s, g) + ‖φ(s, a) − ψ(g)‖] with a = tanh(μ + σ z): the derivative by the bias of
    μ is that of finite differences in double precision, with the critic held."""
    agent, key = SMALL.init(SPEC, jax.random.key(0), total=3200).agent, jax.random.key(2)
    window = jax.tree.map(lambda x: x[7:8], experience().steps)
    after, log = SMALL.step(agent, window, SMALL.batch(window), NO_HOOKS, 0.0, key)
    seen, wanted = (np.float64(window.obs[name][0]) for name in ("observation", DESIRED))
    taken, z = np.float64(window.action[0]), np.float64(jax.random.normal(key, (8, 1)))
    goal = layers(agent.critic.goal, wanted)

    def distance(action, goal):
        return np.linalg.norm(
            layers(agent.critic.action, np.hstack([seen, action])) - goal, axis=-1
        )

    logits = -np.stack([distance(taken, one[None]) for one in goal], axis=1)
    sums = [special.logsumexp(logits, axis=axis) for axis in (1, 0)]
    critic_loss = sum((total - logits.diagonal()).mean() for total in sums)
    critic_loss += 0.1 * (sums[0] ** 2).mean()
    assert float(log["critic_loss"]) == pytest.approx(critic_loss, rel=1e-3)
    right = (logits.argmax(1) == np.arange(8)).mean()
    assert float(log["accuracy"]) == pytest.approx(right)

    def parts(shift):
        out = layers(agent.policy.actor.network, np.hstack([wanted, seen])) + shift
        mean, std = out[:, :1], np.exp(out[:, 1:])
        u = mean + std * z
        return log_density(u, mean, std), distance(np.tanh(u), goal)

    def loss(shift):
        log_prob, missed = parts(shift)
        return (0.3 * log_prob + missed).mean()

    assert float(log["actor_loss"]) == pytest.approx(loss(np.zeros(2)), rel=1e-3)
    moments = jax.tree.map(lambda mu: np.asarray(mu) * 10, after.opt_state[0].mu)
    for i, unit in enumerate(np.eye(2)):
        slope = (loss(1e-5 * unit) - loss(-1e-5 * unit)) / 2e-5
        found = moments.actor.network.biases[-1][i]
        assert float(found) == pytest.approx(slope, rel=1e-2, abs=1e-4)

    def judged(shift):
        logits = -np.stack([distance(taken, (one + shift)[None]) for one in goal], axis=1)
        return float(info_nce(jnp.asarray(logits, jnp.float32), 0.1))

    for i, unit in enumerate(np.eye(8)):  # the actor's loss does not move the critic
        slope = (judged(1e-2 * unit) - judged(-1e-2 * unit)) / 2e-2
        found = moments.critic.goal.biases[-1][i]
        assert float(found) == pytest.approx(slope, rel=1e-2, abs=1e-3)
    excess = parts(np.zeros(2))[0].mean() - 1
    assert float(moments.log_temperature) == pytest.approx(-excess, rel=1e-3)


def test_goals_that_the_domain_asked_for_and_rewards_play_no_part():
    """In the replay there are others; what is learned from was achieved."""
    rollout = experience()
    steps = rollout.steps
    unasked = {DESIRED: steps.obs[DESIRED] * 0 + 9.0}
    other = rollout._replace(
        steps=steps._replace(
            obs=steps.obs | unasked, next_obs=steps.next_obs | unasked, reward=steps.reward + 7.0
        )
    )
    few = replace(SMALL, updates_per_step=0.003)
    agents = []
    for each in (rollout, other):
        state = few.init(SPEC, jax.random.key(0), total=3200)
        state, _ = few.update(state, each, Progress(0, 3200), NO_HOOKS, jax.random.key(1))
        agents.append(state.agent)
    for one, two in zip(*map(jax.tree.leaves, agents), strict=True):
        np.testing.assert_array_equal(one, two)


def test_it_learns_to_reach_goals_without_a_reward():
    domain = Domain("probes:Slide")
    source = CountedSource(domain)
    learner = replace(
        SMALL, num_envs=4, rollout_length=10, learning_starts=200, updates_per_step=0.5,
        temperature=0.1,
    )  # fmt: skip
    state = train(learner, source, 2000, jax.random.key(0))
    begun = learner.init(source.spec, jax.random.key(0))
    before, after = (scored(domain, learner.policy(s), 64, 1)[1].mean() for s in (begun, state))
    assert before < 0.3
    assert after > 0.9


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ("archery", "CRL learns to reach goals, and archery has none: use an environment"),
        ("bit-flip", "CRL takes vectors and continuous actions, and bit-flip has .* use dqn"),
    ],
)
def test_what_it_cannot_learn_in_is_refused_before_anything_runs(environment, says, tmp_path):
    stated = TransferProblem(
        name="odd", source=Domain(environment), target=Domain(environment), learner=small.CRL,
        access=Access(shots=(0,)), methods=small.FIELDS,
    )  # fmt: skip
    with pytest.raises(HeadstartError, match=says):
        make_job(stated, "source-only", 0, tmp_path)


def test_a_memory_and_goals_from_elsewhere_are_refused(tmp_path):
    stated = replace(MAZE, learner=small.CRL | {"memory": "gru"})
    with pytest.raises(HeadstartError, match="crl has no 'memory': ppo and sac have it"):
        make_job(stated, "source-only", 0, tmp_path)
    own = replace(MAZE, methods={"her": {"steps": 256, "learner": small.CRL}})
    with pytest.raises(HeadstartError, match="her cannot use CRL, which knows no 'hindsight'"):
        make_job(own, "her", 0, tmp_path)


MAZE = TransferProblem(
    name="maze", source=Domain("point-maze", wall=0.0), target=Domain("point-maze"),
    access=Access(shots=(0, 3, 10)), episodes=4, learner=small.CRL,
)  # fmt: skip


@pytest.mark.parametrize(
    "fields", [{}, {"replay": 0.5, "kept": 64, "warmup": 5, "reset_every": 5}], ids=["plain", "all"]
)
def test_methods_carry_it_to_a_target_and_go_on_there(fields):
    method = Finetune(steps=256, learner=configured(MAZE, "finetune", {}).learner, **fields)
    result = check_method(method, MAZE)
    assert all(len(shot.success) == 4 for shot in result.shots)


def test_all_that_it_learned_is_carried():
    learner, there = SMALL, SMALL.init(SPEC, jax.random.key(9), total=3200)
    state, _ = learned(updates_per_step=0.01)
    knowledge = learner.knowledge(state)
    assert tuple(knowledge.parts) == learner.parts
    carried = learner.graft(knowledge, there)
    for one, two in zip(*(jax.tree.leaves(s.agent) for s in (state, carried)), strict=True):
        np.testing.assert_array_equal(one, two)
    fresh = learner.graft(knowledge.without("optimiser"), there).agent.opt_state
    assert not any(np.asarray(x).any() for x in jax.tree.leaves(fresh))


def test_a_critic_judges_as_before_where_more_is_observed():
    """And where the goal's numbers come in another order."""
    old = replace(SPEC, groups={
        "observation": Group((2,), names=("x", "y")),
        ACHIEVED: Group((2,), names=("x", "y")), DESIRED: Group((2,), names=("x", "y")),
    })  # fmt: skip
    new = replace(old, groups={
        "observation": Group((3,), names=("y", "z", "x")),
        ACHIEVED: Group((2,), names=("y", "x")), DESIRED: Group((2,), names=("y", "x")),
    })  # fmt: skip
    state = SMALL.init(old, jax.random.key(0), total=3200)
    found = graft(SMALL.knowledge(state), new).knowledge
    after = SMALL.graft(found, SMALL.init(new, jax.random.key(4), total=3200)).agent.critic
    x, y, z, action = jax.random.normal(jax.random.key(1), (4, 6, 1))
    before = state.agent.critic
    pairs = [
        (before.action(jnp.hstack([x, y, action])), after.action(jnp.hstack([y, z, x, action]))),
        (before.goal(jnp.hstack([x, y])), after.goal(jnp.hstack([y, x]))),
    ]
    for one, two in pairs:
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
