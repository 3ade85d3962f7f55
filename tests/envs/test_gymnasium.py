import gc
import tomllib

import gymnasium
import jax
import numpy as np
import pytest

import probes
from headstart import Domain, HeadstartError, Uniform, envs
from headstart.envs import vector_env
from headstart.envs.environment import check_domain
from headstart.envs.spec import Actions, Group
from headstart.errors import SimulationError
from headstart.experience.unroll import begin, episodes, unroll
from headstart.learners.ppo import PPO
from headstart.policies.policy import UniformPolicy


def test_cartpole_is_gymnasiums_own():
    running = envs.start(Domain("gym:CartPole-v1"), 3, seed=0)
    obs = running.reset()["state"]
    theirs = [gymnasium.make("CartPole-v1") for _ in range(3)]
    for env, seed, first in zip(theirs, running._engine._seeds, obs, strict=True):
        np.testing.assert_array_equal(env.reset(seed=int(seed))[0], first.astype(np.float32))
    rng = np.random.default_rng(0)
    for _ in range(8):
        action = rng.integers(2, size=3)
        step = running.step(action)
        for i, env in enumerate(theirs):
            obs, reward, terminated, truncated, _ = env.step(int(action[i]))
            np.testing.assert_array_equal(step.next_obs["state"][i].astype(np.float32), obs)
            assert (step.reward[i], step.terminated[i], step.truncated[i]) == (
                reward, terminated, truncated,
            )  # fmt: skip


def test_next_obs_is_where_it_led_and_obs_is_what_follows():
    running = envs.start(Domain("probes:Track"), 2, seed=0)
    running.reset()
    for t in range(1, 11):
        step = running.step(np.zeros((2, 1)))
        assert step.next_obs["state"][0, 1] == pytest.approx(t / 10)
        assert step.truncated.all() == (t == 10)
        assert not step.terminated.any()
    assert (step.obs["state"][:, 1] == 0).all()
    assert (running.age == 0).all()


def test_actions_are_scaled_to_the_bounds():
    running = envs.start(Domain("gym:Pendulum-v1"), 3, seed=0)
    running.reset()
    running.step(np.array([[-1.0], [0.5], [7.0]]))
    torque = [env.unwrapped.last_u for env in running._engine._envs]
    assert torque == [-2.0, 1.0, 2.0]


def test_restored_copies_play_their_episodes_again():
    domain = Domain("probes:Track", wind={"uniform": [-0.5, 0.5]})
    first, second = envs.start(domain, 3, 0), envs.start(domain, 3, 1)
    first.reset(), second.reset()
    rng = np.random.default_rng(0)
    for _ in range(17):
        first.step(rng.uniform(-1, 1, (3, 1)))
    second.restore(first.state())
    for _ in range(25):
        action = rng.uniform(-1, 1, (3, 1))
        same(first.step(action), second.step(action))


def same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_images_stay_bytes():
    running = envs.start(Domain("probes:Camera"), 2, seed=0)
    first = running.reset()["pixels"]
    assert (first.shape, first.dtype) == ((2, 4, 5, 3), np.uint8)
    running.step(np.array([1, 2]))
    step = running.step(np.array([2, 2]))
    assert step.next_obs["pixels"][:, 0, 0, 0].tolist() == [253, 254]
    step = running.step(np.array([2, 1]))
    assert step.terminated.tolist() == [True, True]
    next_obs, obs = step.next_obs["pixels"], step.obs["pixels"]
    assert next_obs.dtype == obs.dtype == np.uint8
    assert (next_obs == 255).all()
    assert (obs == 250).all()


def numbers(*shape):
    return Group(shape)


def choice(*choices):
    return Group((len(choices),), "choice", choices)


SEEN = {
    "probes:nested": {
        "camera": (Group((20, 20, 1), "image"), np.full((2, 20, 20, 1), [[[[3]]], [[[5]]]])),
        "body.speed": (numbers(2), [[3, -0.5], [5, -0.5]]),
        "body.legs.0": (choice(4), [[3], [1]]),
        "body.legs.1": (numbers(4), [[1, 1, 0, 1], [1, 1, 0, 1]]),
        "gear": (choice(3, 2, 5, 4), [[0, 1, 4, 3], [2, 1, 4, 3]]),
    },
    "probes:pair": {"0": (numbers(1), [[0], [1]]), "1": (choice(3), [[0], [1]])},
    "probes:discrete": {"state": (choice(4), [[0], [2]])},
    "probes:multi_discrete": {"state": (choice(3, 5), [[0, 4], [2, 1]])},
    "probes:multi_binary": {"state": (numbers(3), [[1, 0, 1], [0, 0, 1]])},
    "probes:several_axes": {"state": (numbers(6), [[1, 2, 3, 4, 5, 6], [-1] * 6])},
    "probes:pictures_of_floats": {"state": (numbers(6), [[1] * 6] * 2)},
}
"""Groups, and the first two observations of each."""


@pytest.mark.parametrize("name", SEEN)
def test_every_kind_of_observation_by_hand(name):
    running = envs.start(Domain(name), 3, seed=0)
    assert running.spec.groups == {group: described for group, (described, _) in SEEN[name].items()}
    first = running.reset()
    step = running.step(np.array([0, 1]), np.array([2, 0]))
    assert first.keys() == step.next_obs.keys() == SEEN[name].keys()
    for group, (described, expected) in SEEN[name].items():
        begun, then = np.asarray(expected)
        assert first[group].shape == (3, *described.shape)
        np.testing.assert_array_equal(first[group], np.stack([begun] * 3))
        np.testing.assert_array_equal(step.next_obs[group], np.stack([then] * 2))
        kinds = {"vector": np.float64, "image": np.uint8, "choice": np.int32}
        assert first[group].dtype == step.next_obs[group].dtype == kinds[described.kind]


def test_every_group_of_an_ended_episode_is_followed_by_a_new_ones():
    running = envs.start(Domain("probes:nested"), 2, seed=0)
    begun = running.reset()
    running.step(np.zeros(2, int), np.array([1]))
    running.step(np.zeros(2, int))
    step = running.step(np.zeros(2, int), np.array([0]))
    assert not step.terminated.any()
    running.reset(np.array([1]))
    step = running.step(np.zeros(2, int))
    assert step.terminated.tolist() == [True, False]
    assert step.next_obs["gear"].tolist() == [[1, 1, 4, 3], [2, 1, 4, 3]]
    for name, group in step.obs.items():
        np.testing.assert_array_equal(group[0], begun[name][0])
        np.testing.assert_array_equal(group[1], step.next_obs[name][1])


ACTED = {
    "probes:acts_in_a_box": (
        Actions((4,)),
        [[-1.0] * 4, [0.5, 0, -0.5, 0], [1.0] * 4, [7, -7, 7, -7]],
        [[[-1, 0], [2, -3]], [[0.5, 0.35], [3, 0]], [[1, 0.7], [6, 3]], [[1, 0], [6, -3]]],
    ),
    "probes:acts_from_a_start": (Actions((), (3,)), [0, 1, 2], [-1, 0, 1]),
    "probes:acts_in_choices": (
        Actions((4,), (3, 2, 4, 5)),
        [[0, 0, 0, 0], [2, 1, 3, 4], [1, 0, 2, 3]],
        [[[0, 1], [-2, 0]], [[2, 2], [1, 4]], [[1, 1], [0, 3]]],
    ),
    "probes:acts_in_switches": (
        Actions((4,), (2, 2, 2, 2)), [[0, 1, 1, 0], [1] * 4], [[[0, 1], [1, 0]], [[1, 1], [1, 1]]]
    ),
}  # fmt: skip
"""What an action is, some of a policy's, and as elements of the space."""


@pytest.mark.parametrize("name", ACTED)
def test_every_kind_of_action_by_hand(name):
    described, chosen, meant = ACTED[name]
    running = envs.start(Domain(name), 1, seed=0)
    assert running.spec.actions == described
    running.reset()
    for action in chosen:
        running.step(np.array([action]))
    done = running._engine._envs[0].done
    np.testing.assert_array_equal(done, np.asarray(meant, np.asarray(done).dtype))


@pytest.mark.parametrize("name", ACTED)
def test_whatever_a_policy_chooses_is_an_element_of_the_space(name):
    """The environment itself refuses what is not."""
    running = envs.start(Domain(name), 5, seed=0)
    random, fresh = UniformPolicy(running.spec.actions), fresh_policy(running.spec)
    for policy in (random, fresh):
        carry = begin(policy, running)
        rollout, _ = unroll(policy, running, carry, 30, jax.random.key(0))
        assert rollout.steps.action.dtype == running.spec.actions.dtype
        assert rollout.steps.action.shape == (30, 5, *running.spec.actions.shape)
        least, most = rollout.steps.action.min((0, 1)), rollout.steps.action.max((0, 1))
        assert (least < most).all()
        if running.spec.actions.discrete:
            assert (least == 0).all()
            assert (most == np.array(running.spec.actions.choices) - 1).all()


def fresh_policy(spec, memory="none"):
    learner = PPO(hidden=(8,), memory=memory, memory_size=5)
    return learner.init(spec, jax.random.key(0)).policy


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_a_policy_sees_every_group(memory):
    running = envs.start(Domain("probes:nested", ["load"], load=Uniform(0.0, 4.0)), 2, seed=0)
    policy = fresh_policy(running.spec, memory)
    assert policy.reads == (
        "body.legs.0", "body.legs.1", "body.speed", "camera", "context", "gear",
    )  # fmt: skip
    assert policy.encoders.size == 4 + 4 + 2 + 128 + 1 + 14
    tried = episodes(policy, running, 2, jax.random.key(0))
    assert tried.lengths.tolist() == [3] * 4
    load = 2 * tried.steps.obs["context"][:, 0] + 2
    np.testing.assert_allclose(tried.steps.reward, load)
    assert len(np.unique(load)) == 4


def test_what_is_shown_of_the_parameters_by_hand():
    """`mass` lies in [0.5, 2], `wind` in [−0.5, 0.5], and the order is the domain's."""
    domain = Domain("probes:Track", ["mass", "wind"], wind=0.25, mass=0.875)
    running = envs.start(domain, 2, seed=0)
    assert running.spec.groups == {"state": numbers(2), "context": numbers(2)}
    np.testing.assert_allclose(running.reset()["context"], [[-0.5, 0.5]] * 2)
    turned = envs.start(Domain("probes:Track", ["wind", "mass"], wind=0.25, mass=0.875), 2, seed=0)
    np.testing.assert_allclose(turned.reset()["context"], [[0.5, -0.5]] * 2)
    nominal = envs.start(Domain("probes:Track", ["mass"], ["wind"]), 2, seed=0)
    assert nominal.spec.groups["privileged"] == numbers(1)
    obs = nominal.reset()
    np.testing.assert_allclose(obs["context"], [[-1 / 3]] * 2, atol=1e-7)
    np.testing.assert_allclose(obs["privileged"], [[0]] * 2)


@pytest.mark.parametrize(
    ("name", "value", "shown"), [("wind", -0.5, -1), ("wind", 0.5, 1), ("mass", 2.0, 1)]
)
def test_the_ends_of_a_range_are_shown_as_minus_one_and_one(name, value, shown):
    running = envs.start(Domain("probes:Track", [name], **{name: value}), 1, seed=0)
    assert running.reset()["context"].tolist() == [[shown]]


def test_what_is_shown_changes_with_every_episode():
    domain = Domain("probes:Track", ["wind"], ["mass"], wind=Uniform(-0.5, 0.5))
    running = envs.start(domain, 3, seed=0)
    obs, drawn = running.reset(), []
    for t in range(1, 41):
        np.testing.assert_allclose(obs["context"], 2 * running.values[:, :1])
        np.testing.assert_allclose(obs["privileged"], [[-1 / 3]] * 3, atol=1e-7)
        drawn.append(obs["context"])
        step = running.step(np.zeros((3, 1)))
        np.testing.assert_array_equal(step.next_obs["context"], obs["context"])
        assert (step.obs["context"] != obs["context"]).all() == (t % 10 == 0)
        obs = step.obs
    assert len(np.unique(np.concatenate(drawn))) == 3 * 4


def test_nan_is_named_with_the_parameters_that_gave_it():
    running = envs.start(Domain("probes:Broken", wind=0.4), 2, 0)
    running.reset()
    says = r"Broken returned a reward that is not finite at step 5 .*wind=0.4, mass=1"
    with pytest.raises(SimulationError, match=says):  # noqa: PT012
        for _ in range(10):
            running.step(np.zeros((2, 1)))


def test_an_exception_is_named():
    running = envs.start(Domain("probes:Raising"), 2, 0)
    running.reset()
    with pytest.raises(SimulationError, match="ZeroDivisionError: the motor is gone"):  # noqa: PT012
        for _ in range(10):
            running.step(np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hoper", "unknown environment 'hoper': did you mean 'hopper'"),
        ("gym:CartPoll-v1", "Gymnasium has no 'CartPoll-v1'"),
        ("probes:reads_text", r"reads_text observes Text.*and Headstart takes Box, Discrete"),
        ("probes:acts_without_bounds", "acts_without_bounds acts in Box.*with finite bounds"),
        ("nowhere:env", "no module 'nowhere'"),
        ("probes:Trak", "did you mean 'Track'"),
    ],
)
def test_what_does_not_exist_or_suit_is_named(name, says):
    with pytest.raises(HeadstartError, match=says):
        envs.find(name)


@pytest.mark.parametrize(
    ("domain", "says"),
    [
        (
            Domain("probes:Track", ["wid"]),
            "parameter of probes:Track to show 'wid': did you mean 'wind'",
        ),
        (Domain("probes:Track", shows_critic=["x"]), "parameter of probes:Track to show 'x'"),
        (Domain("probes:Track", wid=0.1), "unknown parameter of probes:Track 'wid'"),
        (Domain("probes:has_a_context", ["load"]), "observes a group 'context' of its own"),
    ],
)
def test_what_cannot_be_shown_is_named(domain, says):
    with pytest.raises(HeadstartError, match=says):
        envs.start(domain, 2, seed=0)
    with pytest.raises(HeadstartError, match=says):
        check_domain(envs.find(domain.environment), domain) or envs.spec_of(domain)


def test_a_group_by_the_name_of_one_that_is_added_is_fine_where_none_is():
    assert envs.spec_of(Domain("probes:has_a_context")).groups.keys() == {"context", "state"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "declares_a_tuple",
            r"declares_a_tuple.wind is \(0.0, -1.0, 1.0\): declare it as in param",
        ),
        ("declares_a_list", "parameters of probes:declares_a_list must be a mapping, as in"),
        ("Undeclared", "probes:Undeclared has set_parameters and declares no parameters: do so"),
    ],
)
def test_parameters_that_would_be_ignored_are_refused(name, says):
    with pytest.raises(HeadstartError, match=says):
        envs.find(f"probes:{name}")


def test_a_wrappers_parameter_acts():
    """The pendulum that is pushed by 1 is the one whose every action is 1 more."""
    still, pushed = (
        envs.start(Domain("probes:windy_pendulum", gust=gust), 1, seed=0) for gust in (0.0, 0.5)
    )
    still.reset()
    pushed.reset()
    for action in (-0.5, 0.25, 0.75):
        one = still.step(np.array([[action]]))
        other = pushed.step(np.array([[action - 0.25]]))  # of ±2
        np.testing.assert_allclose(one.next_obs["state"], other.next_obs["state"], rtol=1e-6)


@pytest.mark.parametrize("environment", ["probes:Perpetual", "gym:Pendulum-v1", "cart-pole"])
def test_a_domain_may_set_the_horizon(environment):
    domain = Domain(environment, horizon=7)
    assert envs.spec_of(domain).horizon == 7
    running = envs.start(domain, 2, seed=0)
    running.reset()
    still = np.zeros((2, *running.spec.actions.shape), running.spec.actions.dtype)
    ends = [running.step(still).truncated.tolist() for _ in range(14)]
    assert [t for t, ended in enumerate(ends, 1) if ended == [True, True]] == [7, 14]
    assert sum(map(sum, ends)) == 4
    assert domain.with_parameters().horizon == domain.at_mean().horizon == 7
    assert Domain.of(environment, {}, horizon=7) == domain != Domain(environment)
    assert domain.as_table() == {"environment": environment, "horizon": 7}


def test_a_horizon_beyond_the_environments_own_is_refused():
    with pytest.raises(HeadstartError, match="Pendulum-v1 end after 200 steps: .* got 201"):
        envs.start(Domain("gym:Pendulum-v1", horizon=201), 1, seed=0)
    for horizon in (0, -1, 1.5, True, "9"):
        with pytest.raises(HeadstartError, match="horizon must be a whole number of steps"):
            Domain("gym:Pendulum-v1", horizon=horizon)


def test_an_episode_that_does_not_end_says_so(monkeypatch):
    monkeypatch.setattr(vector_env, "ENDLESS", 50)
    running = envs.start(Domain("probes:Perpetual"), 1, seed=0)
    running.reset()
    for _ in range(49):
        running.step(np.zeros((1, 1)))
    with pytest.raises(SimulationError, match="has not ended after 50 steps: give its domain a ho"):
        running.step(np.zeros((1, 1)))
    longer = envs.start(Domain("probes:Perpetual", horizon=60), 1, seed=0)
    longer.reset()
    assert [bool(longer.step(np.zeros((1, 1))).truncated[0]) for _ in range(60)].count(True) == 1


@pytest.mark.parametrize("entry", [probes.Track, "probes:Track", lambda: probes.Track()])
def test_the_module_of_what_is_registered_is_that_of_what_makes_it(entry, monkeypatch):
    spec = gymnasium.envs.registration.EnvSpec("Registered-v0", entry_point=entry)
    monkeypatch.setitem(gymnasium.registry, "Registered-v0", spec)
    made_here = not isinstance(entry, str) and entry is not probes.Track
    assert envs.module_of("gym:Registered-v0") == (__name__ if made_here else "probes")


G = {"attribute": "g", "nominal": 10, "low": 5, "high": 15}


def test_a_stock_environments_attribute_is_a_parameter_that_its_domain_declares():
    domain = Domain("gym:Pendulum-v1", declares={"g": G}, g=Uniform(5, 15), shows=["g"])
    running = envs.start(domain, 2, seed=0)
    obs = running.reset()
    assert obs["context"].ravel().tolist() == pytest.approx(((running.values - 10) / 5).ravel())
    push = np.array([[0.4], [-0.7]])
    step = running.step(push)
    for row in range(2):
        theirs = gymnasium.make("Pendulum-v1", g=running.values[row, 0])
        theirs.reset(seed=int(running._engine._seeds[row]))
        there, reward, *_ = theirs.step(np.float32(2 * push[row]))
        np.testing.assert_array_equal(step.next_obs["state"][row].astype(np.float32), there)
        assert step.reward[row] == reward
    assert running.values[0, 0] != running.values[1, 0]


def test_an_argument_is_a_parameter_for_which_the_environment_is_made_anew():
    own = {"g": {**G, "argument": "g"}}
    del own["g"]["attribute"]
    by_argument = envs.start(Domain("gym:Pendulum-v1", declares=own, g=Uniform(5, 15)), 2, 0)
    attribute = Domain("gym:Pendulum-v1", declares={"g": G}, g=Uniform(5, 15))
    by_attribute = envs.start(attribute, 2, 0)
    same(by_argument.reset(), by_attribute.reset())
    for _ in range(205):  # over the end of an episode, with other values in the next
        same(by_argument.step(np.ones((2, 1))), by_attribute.step(np.ones((2, 1))))
    other = envs.start(attribute, 2, 1)
    other.reset()
    other.restore(by_attribute.state())
    same(other.step(np.ones((2, 1))), by_argument.step(np.ones((2, 1))))


def test_what_lies_inside_of_an_attribute_is_reached():
    own = {"wind": {"attribute": "unwrapped.pull[1].down", "nominal": 1, "low": 0, "high": 2}}
    domain = Domain("probes:Nested", declares=own, wind=2.0)
    running = envs.start(domain, 1, 0)
    running.reset()
    assert running._engine._envs[0].pull[1].down == 2.0
    spec = {"attribute": "pull[0]", "nominal": 3, "low": 0, "high": 4, "integer": True}
    running = envs.start(Domain("probes:Nested", declares={"first": spec}, first=4), 1, 0)
    running.reset()
    assert running._engine._envs[0].pull[0] == 4


@pytest.mark.parametrize(
    ("environment", "table", "said"),
    [
        ("gym:Pendulum-v1", {**G, "attribute": "gravity"}, "'gravity' of PendulumEnv, which is no"),
        ("gym:Pendulum-v1", {**G, "nominal": 9}, "is 10.0, and declared as nominal 9.0"),
        ("gym:Pendulum-v1", {**G, "attribute": "spec"}, "which is no number there"),
        ("gym:Pendulum-v1", {**G, "attribute": "np_random[0]"}, "which is no number there"),
        ("probes:Track", {**G, "attribute": "x"}, "which is no number there"),
        ("cart-pole", G, "cart-pole declares its parameters itself"),
    ],
)
def test_what_is_not_there_cannot_be_declared(environment, table, said):
    with pytest.raises(HeadstartError, match=said.replace("[", r"\[")):
        envs.spec_of(Domain(environment, declares={"g": table}))


def test_an_argument_that_is_not_taken_cannot_be_declared():
    table = {"argument": "gravity", "nominal": 10, "low": 5, "high": 15}
    with pytest.raises(HeadstartError, match="argument 'gravity' of PendulumEnv, which cannot be"):
        envs.spec_of(Domain("gym:Pendulum-v1", declares={"g": table}))
    table = {"argument": "g", "nominal": 9, "low": 5, "high": 15}
    with pytest.raises(HeadstartError, match="is 10.0, and declared as nominal 9.0"):
        envs.spec_of(Domain("gym:Pendulum-v1", declares={"g": table}))


def test_what_declares_a_parameter_is_not_overruled():
    table = {"attribute": "wind", "nominal": 0, "low": -1, "high": 1}
    with pytest.raises(HeadstartError, match="declares wind itself"):
        envs.spec_of(Domain("probes:Track", declares={"wind": table}))


def test_the_error_for_an_unknown_parameter_says_how_it_would_be_known():
    domain = Domain("gym:Pendulum-v1", g=7)
    with pytest.raises(
        HeadstartError, match=r'parameters.g = {attribute = "g", nominal = 10.0, low'
    ):
        check_domain(envs.of(domain), domain)
    domain = Domain("gym:FrozenLake-v1", success_rate=0.5)
    with pytest.raises(HeadstartError, match=r'{argument = "success_rate", nominal = 0.333'):
        check_domain(envs.of(domain), domain)
    domain = Domain("gym:Pendulum-v1", gravity=7)
    with pytest.raises(HeadstartError, match=r'parameters.gravity = {attribute = "…", nominal'):
        check_domain(envs.of(domain), domain)


def test_an_argument_that_changes_what_is_observed_is_refused():
    own = {"size": {"argument": "size", "nominal": 2, "low": 2, "high": 4, "integer": True}}
    running = envs.start(Domain("probes:Sized", declares=own, size=4), 1, 0)
    with pytest.raises(HeadstartError, match="must leave the spaces as they are"):
        running.reset()


def test_what_the_error_suggests_is_what_can_be_declared():
    domain = Domain("gym:CartPole-v1", theta_threshold_radians=0.1)
    with pytest.raises(HeadstartError) as caught:
        check_domain(envs.of(domain), domain)
    said = (
        str(caught.value)
        .partition("parameters.")[2]
        .replace("low = …, high = …", "low = 0, high = 1")
    )
    told = tomllib.loads(said)["theta_threshold_radians"]
    assert envs.spec_of(Domain("gym:CartPole-v1", declares={"theta_threshold_radians": told}))


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("shared[0]", "lies in something that all copies of the environment share"),
        ("fixed", "cannot be set"),
        ("pair[0]", "cannot be set"),
    ],
)
def test_an_attribute_that_a_copy_cannot_have_for_itself_is_refused(attribute, said):
    table = {"attribute": attribute, "nominal": 1, "low": 0, "high": 2}
    with pytest.raises(HeadstartError, match=said):
        envs.spec_of(Domain("probes:Shared", declares={"it": table}))


def test_an_argument_that_changes_the_actions_is_refused():
    own = {"n": {"argument": "n", "nominal": 2, "low": 2, "high": 4, "integer": True}}
    running = envs.start(Domain("probes:Choosing", declares=own, n=4), 1, 0)
    with pytest.raises(HeadstartError, match=r"it has Discrete\(4\), and else Discrete\(2\)"):
        running.reset()


def test_copies_are_closed_once_nobody_has_them(monkeypatch):
    closed = []
    monkeypatch.setattr(probes.Track, "close", lambda self: closed.append(self))
    running = envs.start(Domain("probes:Track"), 3, 0)
    closed.clear()
    del running
    gc.collect()
    assert len(closed) == 3
