"""Mixtures: several environments as one MDP."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import envs
from headstart.envs.spec import ACTION_MASK, CONTEXT, MASK
from headstart.errors import HeadstartError
from headstart.experience.unroll import begin, episodes, unroll
from headstart.learners.dqn import DQN
from headstart.learners.ppo import PPO
from headstart.learners.train import train
from headstart.policies.loaded import LoadedPolicy
from headstart.policies.policy import UniformPolicy
from headstart.problem import Domain, from_table, mixture
from headstart.problem.distributions import Choice, Fixed, Uniform
from headstart.runs.metering import CountedSource

CHOICES = [Domain("gym:CartPole-v1"), Domain("gym:Acrobot-v1", horizon=60)]


def rollout(domain, steps, num=6):
    running = envs.start(domain, num, 3)
    policy = UniformPolicy(running.spec.actions)
    return unroll(policy, running, begin(policy, running), steps, jax.random.key(1))[0]


@pytest.mark.parametrize(
    "domain",
    [
        Domain("runner", east=Uniform(1, 5), shows=["east"]),
        Domain("hopper", torso_mass=Uniform(3, 6), shows=["torso_mass"], horizon=9),
        Domain("gym:CartPole-v1"),
    ],
    ids=str,
)
def test_a_mixture_of_one_is_its_domain_bit_for_bit(domain):
    assert mixture([domain]) == domain
    alone, joint = rollout(domain, 130), rollout(mixture([domain]), 130)
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(joint), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("names", [("runner", "navigation"), ("hopper", "walker", "runner")])
def test_the_task_is_drawn_by_weight_and_stays_for_the_episode(names):
    weights = range(1, len(names) + 1)
    domain = mixture([Domain(name) for name in names], weights, shows=["task"], horizon=20)
    running = envs.start(domain, 300, 0)
    tried = episodes(UniformPolicy(running.spec.actions), running, 2, jax.random.key(0))
    task = tried.steps.obs[CONTEXT].argmax(1)
    for start, end in zip(tried.starts, tried.starts[1:], strict=False):
        assert (task[start:end] == task[start]).all()
    shares = np.bincount(task[tried.starts[:-1]]) / 600
    np.testing.assert_allclose(shares, np.array(weights) / sum(weights), atol=0.06)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_in_a_mixture_a_task_goes_as_it_does_alone(number):
    names = ["hopper", "walker", "runner"]
    own = Domain(names[number], horizon=30)
    domain = mixture([Domain(name, horizon=30) for name in names])
    running = envs.start(domain.with_parameters(task=number), 3, 5)
    alone = envs.start(own, 3, 5 + number)
    width, size = alone.spec.actions.width, alone.spec.groups["state"].shape[0]
    np.testing.assert_array_equal(running.reset()["state"][:, :size], alone.reset()["state"])
    rng, rows = np.random.default_rng(0), np.arange(3)
    for _ in range(40):  # past the end of the episode
        action = rng.uniform(-1, 1, (3, running.spec.actions.width)).astype(np.float32)
        one, other = running.step(action, rows), alone.step(action[:, :width], rows)
        np.testing.assert_array_equal(one.reward, np.float64(other.reward))
        np.testing.assert_array_equal(one.truncated, other.truncated)
        np.testing.assert_array_equal(one.terminated, other.terminated)
        ended = np.flatnonzero(one.truncated | one.terminated)
        pairs = [(one.obs["state"], other.obs["state"])]
        if len(ended):
            pairs.append((running.reset(ended)["state"], alone.reset(ended)["state"]))
        for joint, own_state in pairs:
            np.testing.assert_array_equal(joint[:, :size], own_state)
            assert (joint[:, size:] == 0).all()
        entries = np.arange(running.spec.groups[MASK].shape[0]) < size
        np.testing.assert_array_equal(one.obs[MASK], np.tile(entries, (3, 1)))


def test_each_environment_keeps_its_horizon():
    domain = mixture(
        [Domain("runner", horizon=7), Domain("navigation", horizon=30)], shows=["task"]
    )
    running = envs.start(domain, 40, 0)
    tried = episodes(UniformPolicy(running.spec.actions), running, 1, jax.random.key(0))
    task = tried.steps.obs[CONTEXT].argmax(1)[tried.starts[:-1]]
    assert (tried.lengths[task == 0] == 7).all()
    assert tried.lengths[task == 1].max() == 30


def test_a_mixture_on_the_host_goes_on_from_its_state():
    domain = mixture([Domain("hopper", torso_mass=Uniform(3, 6)), Domain("walker")], shows=["task"])
    running, again = (envs.start(domain, 4, seed) for seed in (0, 1))
    running.reset()
    again.reset()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (80, 4, 6)).astype(np.float32)
    for action in actions[:40]:
        running.step(action)
    again.restore(running.state())
    for action in actions[40:]:
        one, other = running.step(action), again.step(action)
        np.testing.assert_array_equal(one.obs["state"], other.obs["state"])
        np.testing.assert_array_equal(one.obs[CONTEXT], other.obs[CONTEXT])


@pytest.mark.parametrize(
    "learner",
    [
        PPO(num_envs=8, rollout_length=16, minibatch_size=64, hidden=(16,)),
        DQN(num_envs=8, rollout_length=4, learning_starts=64, hidden=(16,), updates_per_step=0.1),
        DQN(num_envs=8, rollout_length=4, learning_starts=64, hidden=(16,), updates_per_step=0.1,
            temperature=0.1, n_step=1),
    ],
)  # fmt: skip
def test_an_action_that_a_game_lacks_is_never_chosen(learner):
    source = CountedSource(mixture(CHOICES, shows=["task"]))
    state = train(learner, source, 1024, jax.random.key(0))
    running = envs.start(source.domain, 64, 0)
    assert running.spec.actions.choices == (3,)
    for policy in (learner.policy(state), UniformPolicy(running.spec.actions)):
        tried = episodes(policy, running, 1, jax.random.key(0))
        lacking = tried.steps.obs[ACTION_MASK][:, 2] == 0
        assert lacking.any()
        assert not lacking.all()
        assert tried.steps.action[lacking].max() <= 1
    assert tried.steps.action[~lacking].max() == 2  # at random


def test_what_one_domain_shows_is_zero_in_those_that_lack_it_and_shared_by_those_that_have_it():
    near, far = (Domain("runner", west=Uniform(*ends)) for ends in ((51, 60), (90, 99)))
    domain = mixture([near, Domain("navigation"), far.showing(["west"])])
    running = envs.start(domain, 96, 0)
    shown = running.reset()[CONTEXT][:, 0]
    task = running.values[:, 0]
    assert (shown[task == 1] == 0).all()
    assert (shown[task == 0] > 0).all()
    assert (shown[task == 0] < 0.25).all()
    assert (shown[task == 2] > 0.7).all()
    assert len(set(shown[task == 0])) > 10


def test_a_mixture_comes_back_from_its_table():
    table = {
        "source": [
            {"environment": "hopper", "weight": 3, "shows": ["task:text"], "text": "hop"},
            {"environment": "walker", "torso_mass": {"uniform": [3, 4]}, "text": "walk"},
        ],
        "target": {"task": 1},
    }
    problem = from_table(table)
    assert problem.source.parameters["task"] == Choice((0, 1), (0.75, 0.25))
    assert problem.target == problem.source.with_parameters(task=1)
    assert from_table(problem.as_table()) == problem
    assert problem.source.apart()[1] == Domain("walker", torso_mass=Uniform(3, 4), text="walk")
    assert problem.source.at_mean().parameters["task"] == Fixed(0)


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([Domain("drive"), Domain("hopper")], "drive shows pixels (bytes"),
        ([Domain("grid"), Domain("runner")], "grid takes one of 4"),
    ],
)
def test_what_cannot_be_joined_is_refused(tasks, said):
    with pytest.raises(HeadstartError) as refused:
        envs.of(mixture(tasks))
    assert said in str(refused.value)


@pytest.mark.parametrize("weights", [[1], [0, 0], [-1, 2], [True, 1], [float("nan"), 1]])
def test_weights_are_checked(weights):
    with pytest.raises(HeadstartError, match="weights of 2 domains"):
        mixture([Domain("hopper"), Domain("walker")], weights)


def test_each_environment_keeps_the_end_that_its_parameters_set():
    domain = mixture([Domain("bit-flip", bits=9), Domain("bit-flip", bits=12)], shows=["task"])
    running = envs.start(domain, 32, 0)
    assert running.spec.goals is not None
    tried = episodes(UniformPolicy(running.spec.actions), running, 1, jax.random.key(0))
    task = tried.steps.obs[CONTEXT].argmax(1)[tried.starts[:-1]]
    assert tried.lengths[task == 0].max() == 9
    assert tried.lengths[task == 1].max() == 12


def test_a_restored_mixture_of_gymnasiums_is_alike():
    running, again = (envs.start(mixture(CHOICES), 4, 0) for _ in range(2))
    running.reset()
    for _ in range(5):
        running.step(np.zeros(4, np.int32))
    again.restore(running.state())
    assert again.alike
    one, other = running.step(np.ones(4, np.int32)), again.step(np.ones(4, np.int32))
    np.testing.assert_array_equal(one.obs["state"], other.obs["state"])


def test_a_mask_of_actions_is_read_as_it_is():
    spec = envs.spec_of(mixture(CHOICES))
    with pytest.raises(HeadstartError, match="leave it out of learner.encoders"):
        DQN(encoders=("action_mask=blank",)).init(spec, jax.random.key(0))


def test_a_mask_that_is_no_mask_of_actions_is_refused():
    with pytest.raises(HeadstartError, match="give it one entry for each"):
        envs.spec_of(Domain("probes:OddMask"))


def test_a_loaded_policy_is_told_nothing_of_what_its_task_lacks():
    domain = mixture(
        [Domain("runner", direction=Choice((0, 90)), shows=["direction"]), Domain("navigation")],
        shows=["task"],
    )
    learner = PPO(num_envs=8, rollout_length=16, minibatch_size=64, hidden=(16,))
    state = train(learner, CountedSource(domain), 256, jax.random.key(0))
    policy = LoadedPolicy(learner.policy(state))
    running = envs.start(domain, 16, 0)
    told = running.reset()
    for row in range(16):
        number, direction = (float(running.values[row, i]) for i in (0, 5))
        name = list(running.environment.parameters)[5]
        assert name == "runner.direction"
        shown = {"task": number} | ({"direction": direction} if number == 0 else {})
        policy.reset()
        action = policy(told["state"][row], **shown)
        obs = {n: jnp.float32(group[row : row + 1]) for n, group in told.items()}
        acting = learner.policy(state)
        mode = np.clip(acting.actor.mode(acting.encoders(obs))[0], -1, 1)
        np.testing.assert_allclose(action, mode, atol=1e-5)
    with pytest.raises(HeadstartError, match=r"task 1\.0 has no direction"):
        policy(told["state"][0], task=1.0, direction=0.0)
