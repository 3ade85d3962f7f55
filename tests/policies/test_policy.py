import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.envs.vector_env import TimeStep
from headstart.errors import HeadstartError, KnowledgeError
from headstart.knowledge import Knowledge
from headstart.policies import policy
from headstart.policies.actors import ACTORS, CategoricalActor, GaussianActor
from headstart.policies.encoders import Identity, encoders_for
from headstart.policies.memory import MEMORIES
from headstart.policies.policy import (
    AbstractPolicy,
    ExpertPolicy,
    UniformPolicy,
    act,
    blanked,
    check_reads,
    described,
    knowledge_of,
    policy_for,
    policy_from,
)

VECTOR, IMAGE = Group((3,)), Group((24, 27, 3), "image")
CONTINUOUS, DISCRETE = Actions((2,)), Actions((), (2,))
SUITS = {
    "gaussian": CONTINUOUS, "squashed-gaussian": CONTINUOUS, "categorical": DISCRETE,
    "greedy": DISCRETE,
}  # fmt: skip


def policy_with(actor, groups, vectors="identity", memory="none", chosen=()):
    spec = EnvSpec("here", groups, SUITS[actor], 10)
    keys = jax.random.split(jax.random.key(1), 3)
    encoders = encoders_for(spec, vectors, chosen, keys[0])
    remembers = MEMORIES.find(memory)(encoders.size, spec.actions.width, 5, keys[1])
    head = ACTORS.find(actor)(remembers.size, spec.actions, (8,), keys[2])
    return policy_for(spec, head, encoders, remembers)


def told_of(policy, env=4, begins=False):
    """Random observations, actions and rewards."""
    rng = np.random.default_rng(0)

    def drawn(kind, shape, choices=()):
        if kind == "image":
            return rng.integers(256, size=(env, *shape), dtype=np.uint8)
        if choices:
            return rng.integers(choices, size=(env, *shape)).astype(np.int32)
        return rng.normal(size=(env, *shape)).astype(np.float32)

    obs = {name: drawn(g.kind, g.shape, g.choices) for name, g in policy.groups}
    last = drawn("vector", policy.actions.shape, policy.actions.choices)
    return TimeStep(obs, last, drawn("vector", ()), np.full(env, begins))


THREE = {"pixels": IMAGE, "place": VECTOR, "wheel": Group((2,), "choice", (2, 3))}


@pytest.mark.parametrize("actor", SUITS)
@pytest.mark.parametrize(
    ("groups", "vectors", "memory"),
    [
        ({"state": VECTOR}, "identity", "none"),
        ({"state": VECTOR}, "statistics", "gru"),
        ({"pixels": IMAGE}, "identity", "none"),
        (THREE, "statistics", "gru"),
    ],
    ids=["vector", "normalised", "image", "three groups"],
)
def test_a_policy_made_from_its_knowledge_acts_alike(actor, groups, vectors, memory):
    policy = policy_with(actor, groups, vectors, memory)
    policy = jax.tree.map(lambda x: x + 0.1, policy)
    again = policy_from(knowledge_of(policy))
    assert eqx.tree_equal(policy, again)
    told, memory = told_of(policy), jax.tree.map(lambda x: x + 0.5, policy.initial(4))
    for a, b in zip(*(jax.tree.leaves(act(p, told, memory, None, 0)) for p in (policy, again)),
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)


def test_a_policy_without_its_encoder_is_refused():
    policy = policy_with("greedy", {"pixels": IMAGE})
    with pytest.raises(KnowledgeError, match="has no 'encoder': it holds policy"):
        policy_from(knowledge_of(policy).only(["policy"]))


def test_knowledge_without_a_policy_or_with_a_spoilt_description_is_refused():
    with pytest.raises(KnowledgeError, match="holds no policy"):
        policy_from(Knowledge({}, {}))
    known = knowledge_of(policy_with("greedy", {"state": VECTOR}))
    described = {k: v for k, v in known.metadata["policy"].items() if k != "actions"}
    with pytest.raises(KnowledgeError, match="describes no policy: KeyError"):
        policy_from(Knowledge(known.parts, {"policy": described}))


class Doubled(Identity):
    def __call__(self, x):
        return 2 * x


def test_code_of_others_is_imported_only_where_it_is_trusted():
    chosen = "test_policy:Doubled"
    policy = policy_with("greedy", {"state": VECTOR}, chosen=(f"state={chosen}",))
    knowledge = knowledge_of(policy)
    with pytest.raises(KnowledgeError, match="encoder 'test_policy:Doubled' is code that did not"):
        policy_from(knowledge)
    assert eqx.tree_equal(policy_from(knowledge, [chosen]), policy)


class Recording(AbstractPolicy):
    """Acts as it was told, and counts the steps of an episode from 10."""

    reads = ()

    def initial(self, num):
        return jnp.full(num, 10.0)

    def step(self, told, memory, key):
        return jnp.stack([told.last_action[:, 0], told.last_reward, memory], 1), memory + 1


def test_where_an_episode_begins_nothing_is_remembered_of_the_one_before():
    told = TimeStep({}, jnp.array([[5.0], [6.0]]), jnp.array([7.0, 8.0]), jnp.array([False, True]))
    action, memory = act(Recording(), told, jnp.array([20.0, 30.0]), None, 0)
    np.testing.assert_array_equal(action, [[5, 7, 20], [0, 0, 10]])
    np.testing.assert_array_equal(memory, [21, 11])


def test_blanks_fit_rows_of_any_shape():
    begins = np.array([[True, False], [False, True]])
    told = TimeStep({}, np.full((2, 2, 3), 4.0), np.full((2, 2), 5.0), begins)
    found = blanked(told)
    np.testing.assert_array_equal(found.last_action[..., 0], [[0, 4], [4, 0]])
    np.testing.assert_array_equal(found.last_reward, [[0, 5], [5, 0]])


def test_one_key_draws_anew_at_every_time():
    policy = policy_with("gaussian", {"state": VECTOR})
    told, key = told_of(policy), jax.random.key(0)
    first, again, second = (np.asarray(act(policy, told, (), key, t)[0]) for t in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second)


def test_a_recurrent_policy_is_told_its_last_action():
    policy = policy_with("categorical", {"state": VECTOR}, memory="gru")
    told, memory = told_of(policy), policy.initial(4)
    _, zero = act(policy, told._replace(last_action=np.zeros(4, np.int32)), memory, None, 0)
    _, one = act(policy, told._replace(last_action=np.ones(4, np.int32)), memory, None, 0)
    x = np.concatenate([told.obs["state"], np.tile([[0.0, 1.0]], (4, 1))], 1)
    by_hand = jax.vmap(policy.memory.cell)(jnp.asarray(x, jnp.float32), memory)
    np.testing.assert_allclose(one, by_hand, atol=1e-6)
    assert not np.allclose(zero, one, atol=1e-3)


def test_actions_are_described_to_networks():
    np.testing.assert_array_equal(described(jnp.array([[0.5, -1.0]]), CONTINUOUS), [[0.5, -1.0]])
    np.testing.assert_array_equal(described(jnp.array([1, 0, -1]), DISCRETE),
                                  [[0, 1], [1, 0], [0, 0]])  # fmt: skip
    np.testing.assert_array_equal(described(jnp.array([[1, 2]]), Actions((2,), (2, 3))),
                                  [[0, 1, 0, 0, 1]])  # fmt: skip


@pytest.mark.parametrize(
    ("actions", "low", "high"),
    [(CONTINUOUS, [-1, -1], [1, 1]), (DISCRETE, 0, 1), (Actions((2,), (2, 4)), [0, 0], [1, 3])],
)
def test_uniform_actions_fill_their_range(actions, low, high):
    told = TimeStep({}, None, None, jnp.zeros(4000, bool))
    drawn = np.asarray(UniformPolicy(actions).step(told, (), jax.random.key(0))[0])
    assert drawn.shape == (4000, *actions.shape)
    assert drawn.dtype == actions.dtype
    np.testing.assert_allclose(drawn.min(0), low, atol=0.01)
    np.testing.assert_allclose(drawn.max(0), high, atol=0.01)
    np.testing.assert_allclose(drawn.mean(0), (np.array(low) + high) / 2, atol=0.08)
    with pytest.raises(ValueError, match="give a key"):
        UniformPolicy(actions).step(told, (), None)


def test_an_expert_does_what_the_group_says():
    told = TimeStep({"expert": np.array([2, 0])}, None, None, np.zeros(2, bool))
    assert ExpertPolicy().step(told, (), None)[0].tolist() == [2, 0]


def test_a_policy_in_a_domain_that_it_does_not_fit_is_refused():
    policy = policy_with("gaussian", {"state": VECTOR})
    check_reads(policy, EnvSpec("there", {"state": VECTOR, "more": VECTOR}, CONTINUOUS, 10))
    with pytest.raises(HeadstartError, match="reads the group 'state', and there shows pixels"):
        check_reads(policy, EnvSpec("there", {"pixels": IMAGE}, CONTINUOUS, 10))
    with pytest.raises(HeadstartError, match=r"reads state as numbers of shape \[3\]"):
        check_reads(policy, EnvSpec("there", {"state": Group((4,))}, CONTINUOUS, 10))
    with pytest.raises(HeadstartError, match="the policy chooses numbers .* takes one of 2"):
        check_reads(policy, EnvSpec("there", {"state": VECTOR}, DISCRETE, 10))
    with pytest.raises(HeadstartError, match="reads the group 'expert'"):
        check_reads(ExpertPolicy(), EnvSpec("there", {"state": VECTOR}, DISCRETE, 10))


def test_the_names_of_actors_are_those_of_their_classes():
    assert ACTORS.find("gaussian") is GaussianActor
    assert ACTORS.find("categorical") is CategoricalActor


STATED = {"shape": [3], "kind": "vector", "choices": [], "encoder": "identity"}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("hidden", [2**20, 2**20]),
        ("hidden", [10**30]),
        ("hidden", [8] * 101),
        ("hidden", [-8]),
        ("memory_size", 2**31),
        ("groups", {"state": STATED | {"shape": [2**19]}}),
        ("groups", {"state": STATED | {"shape": [1], "kind": "choice", "choices": [2**20]}}),
        ("groups", {"state": STATED | {"shape": [0]}}),
        ("actions", {"shape": [2**19], "choices": []}),
        ("actions", {"shape": [], "choices": [2**64]}),
        ("actions", {"shape": [-1], "choices": []}),
    ],
)
def test_a_network_is_not_made_as_large_as_its_description_claims(place, value):
    """The arrays that are there are counted first; 2²⁰ by 2²⁰ numbers would be four terabytes."""
    held = knowledge_of(policy_with("gaussian", {"state": VECTOR}))
    stated = dict(held.metadata["policy"]) | {place: value}
    with pytest.raises(KnowledgeError, match="describes no policy|is needed|lacks|unknown"):
        policy_from(Knowledge(held.parts, {"policy": stated}))


def test_what_does_not_fit_is_refused_before_anything_is_made(monkeypatch):
    held = knowledge_of(policy_with("gaussian", {"state": VECTOR}))
    stated = dict(held.metadata["policy"]) | {"hidden": [9]}
    made = []
    monkeypatch.setattr(policy, "grafted", lambda *_: made.append(True))
    with pytest.raises(KnowledgeError, match=r"has shape \[3, 8\], and \[3, 9\] is needed"):
        policy_from(Knowledge(held.parts, {"policy": stated}))
    assert not made
