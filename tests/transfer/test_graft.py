"""Policies and critics in spaces that they were not trained in."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain, envs
from headstart.envs.spec import Actions, EnvSpec, Group
from headstart.errors import KnowledgeError
from headstart.learners.dqn import DQN
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.policies.policy import policy_from
from headstart.transfer.graft import graft, join

KEY = jax.random.key(0)
OLD = EnvSpec(
    "old", {"state": Group((3,), names=("a", "b", "c"))}, Actions((2,), names=("left", "right")), 10
)
NEW = EnvSpec(
    "new", {"state": Group((4,), names=("c", "d", "a", "b"))},
    Actions((2,), names=("right", "left")), 10,
)  # fmt: skip
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
CHOICES = Actions((), (2,), names=("go", "stay"))
LEARNERS = {
    "ppo": (PPO(hidden=(8, 8)), OLD.actions),
    "sac": (SAC(hidden=(8, 8)), OLD.actions),
    "ppo, a choice": (PPO(hidden=(8,)), CHOICES),
    "dqn": (DQN(hidden=(8,)), CHOICES),
}


def as_old(x):
    """The old observation that a new one holds."""
    return x[:, [2, 3, 0]]


def learned(name, spec=OLD):
    """A state in which no number is what it was at the start."""
    learner, actions = LEARNERS[name]
    state = learner.init(replace(spec, actions=actions), KEY)

    def shaken(leaf):
        noise = 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)
        return leaf + jnp.abs(noise) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    where = (lambda s: (s.policy, s.critic)) if "ppo" in name else (lambda s: s.agent)
    return learner, eqx.tree_at(where, state, jax.tree.map(shaken, where(state)))


def outputs(policy, x):
    return policy.actor.outputs(policy.encoders({"state": x}))


@pytest.mark.parametrize("name", LEARNERS)
def test_with_more_inputs_in_another_order_it_acts_as_before(name):
    learner, state = learned(name)
    actions = LEARNERS[name][1]
    found, rows = graft(learner.knowledge(state), replace(NEW, actions=actions))
    policy = policy_from(found)
    new, old = (jnp.asarray(x) for x in (X, as_old(X)))
    outputs = [
        p.actor.outputs(p.encoders({"state": x})) for p, x in ((policy, new), (state.policy, old))
    ]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)
    fates = {row.tensor: row.fate for row in rows}
    assert fates.keys() == {
        f"{part}/{leaf}"
        for part, leaves in learner.knowledge(state).parts.items()
        for leaf in leaves
    }
    first = next(
        row for row in rows if row.tensor.startswith("policy") and "weights/0" in row.tensor
    )
    assert first.fate == "resized"
    assert first.why == "state: new: d; in another order"
    assert "optimiser" not in found.parts
    assert {fates[t] for t in fates if t.startswith("optimiser")} == {"left behind"}
    fresh = learner.init(replace(NEW, actions=actions), jax.random.key(4))
    learner.graft(found, fresh)  # which holds every shape against what is needed


def test_a_new_input_counts_from_nothing():
    """100 steps of it are all that is known of it, and next to nothing beside what was known."""
    learner, state = learned("ppo")
    many = eqx.tree_at(lambda s: s.policy.encoders.by_group["state"].count, state, jnp.full(3, 1e6))
    found, _ = graft(learner.knowledge(many), NEW)
    before = policy_from(found).encoders.by_group["state"]
    np.testing.assert_array_equal(before.count, [1e6, 0, 1e6, 1e6])
    seen = np.tile(50 + np.arange(100.0, dtype=np.float32)[:, None], 4)
    after = before.merge(jnp.asarray(seen), jnp.ones(100))
    assert float(after.mean[1]) == pytest.approx(99.5)
    assert float(after.var[1]) == pytest.approx(np.arange(100).var(), rel=1e-4)
    np.testing.assert_allclose(after.mean[0], before.mean[0], atol=0.02)


def test_critics_judge_as_before():
    for name in ("ppo", "sac"):
        learner, state = learned(name)
        found, _ = graft(learner.knowledge(state), NEW)
        after = learner.graft(found, learner.init(NEW, jax.random.key(4)))
        new, old = (jnp.asarray(x) for x in (X, as_old(X)))
        if name == "ppo":
            values = [
                s.critic.value(s.policy.encoders({"state": x}))
                for s, x in ((after, new), (state, old))
            ]
            np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)
            continue
        action = jnp.asarray(X[:, :2])  # left and right, which are now right and left
        for one, other in zip(after.agent.critics, state.agent.critics, strict=True):
            values = one(new, action[:, ::-1]), other(old, action)
            np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_actions_go_by_their_names_and_a_new_one_is_nothing(name):
    learner, state = learned(name)
    three = replace(OLD, actions=Actions((3,), names=("right", "up", "left")))
    found, rows = graft(learner.knowledge(state), three)
    both = state.policy, policy_from(found)
    before, after = (p.actor.mode(p.encoders({"state": jnp.asarray(X[:, :3])})) for p in both)
    np.testing.assert_allclose(after[:, 2], before[:, 0], rtol=1e-5)
    np.testing.assert_allclose(after[:, 0], before[:, 1], rtol=1e-5)
    np.testing.assert_allclose(after[:, 1], 0.0, atol=1e-7)
    assert any(row.why == "actions: new: up; in another order" for row in rows)
    learner.graft(found, learner.init(three, jax.random.key(4)))


@pytest.mark.parametrize("name", ["ppo, a choice", "dqn"])
def test_a_new_choice_is_never_the_best(name):
    learner, state = learned(name)
    three = replace(OLD, actions=Actions((), (3,), names=("wave", "go", "stay")))
    found, _ = graft(learner.knowledge(state), three)
    x = jnp.asarray(X[:, :3])
    before, after = (
        p.actor.outputs(p.encoders({"state": x})) for p in (state.policy, policy_from(found))
    )
    np.testing.assert_allclose(after[:, 1:], before, rtol=1e-5)
    np.testing.assert_allclose(after[:, 0], before.mean(1), rtol=1e-4, atol=1e-5)


def test_an_input_that_is_gone_is_at_its_mean():
    """A walker's policy in a hopper: its other leg stands still where it was on average."""
    walker, hopper = (envs.spec_of(Domain(name)) for name in ("walker", "hopper"))
    learner = PPO(hidden=(8,))
    state = learner.init(walker, KEY)
    mean = jnp.arange(17.0) / 10
    state = eqx.tree_at(lambda s: s.policy.encoders.by_group["state"].mean, state, mean)
    found, rows = graft(learner.knowledge(state), hopper)
    names = walker.groups["state"].names
    seen = np.random.default_rng(1).normal(size=(4, 11)).astype(np.float32)
    whole = np.tile(np.asarray(mean), (4, 1))
    for i, name in enumerate(hopper.groups["state"].names):
        whole[:, names.index(name)] = seen[:, i]
    before, after = (
        p.actor.mode(p.encoders({"state": jnp.asarray(x)}))
        for p, x in ((state.policy, whole), (policy_from(found), seen))
    )
    np.testing.assert_allclose(after, before[:, :3], rtol=1e-4, atol=1e-6)
    (why,) = {row.why for row in rows if row.tensor == "statistics/state/mean"}
    assert why.startswith("state: gone: thigh_left_joint, leg_left_joint, foot_left_joint, thigh_l")


def test_where_nothing_differs_all_is_copied():
    learner, state = learned("ppo")
    found, rows = graft(learner.knowledge(state), OLD)
    assert {row.fate for row in rows} == {"copied"}
    assert eqx.tree_equal(policy_from(found), state.policy)


def test_a_table_says_what_names_do_not():
    plain = replace(OLD, groups={"state": Group((3,))}, actions=Actions((), (2,)))
    learner = DQN(hidden=(8,))
    state = learner.init(plain, KEY)
    larger = replace(plain, groups={"state": Group((4,))}, actions=Actions((), (3,)))
    knowledge = learner.knowledge(state)
    with pytest.raises(
        KnowledgeError, match="state: there were 3 and are 4, and no names say which"
    ):
        graft(knowledge, larger)
    tables = {"state": {0: 2, 2: 0, 3: 1}, "actions": {"1": 0, "2": 1}}
    policy = policy_from(graft(knowledge, larger, tables).knowledge)
    values = policy.actor.values(jnp.asarray(X))
    np.testing.assert_allclose(
        values[:, 1:], state.policy.actor.values(jnp.asarray(as_old(X))), rtol=1e-5
    )


PIXELS = Group((24, 24, 3), "image")


def test_vectors_beside_images_are_not_joined():
    seen = replace(OLD, groups={**OLD.groups, "pixels": PIXELS}, actions=CHOICES)
    learner = PPO(hidden=(8,))
    knowledge = learner.knowledge(learner.init(seen, KEY))
    wider = replace(seen, groups={**NEW.groups, "pixels": PIXELS})
    with pytest.raises(KnowledgeError, match="vectors that are seen beside images are not joined"):
        graft(knowledge, wider)
    assert graft(knowledge, seen).knowledge.parts


UNLIKE = {
    "reads the group 'state', and old shows pixels": (replace(OLD, groups={"pixels": PIXELS}), {}),
    "change size or channels by a wrapper": (replace(OLD, groups={"state": PIXELS}), {}),
    "a choice cannot become a number": (replace(OLD, actions=CHOICES), {}),
    "nothing joins them: they were a, b, c and are aa, z .the nearest: aa to a, z to .": (
        replace(OLD, groups={"state": Group((2,), names=("aa", "z"))}), {},
    ),
    "there were 3 .a, b, c. and are 4, and no names say which is which": (
        replace(OLD, groups={"state": Group((4,))}), {},
    ),
    "actions: nothing joins them: they were left, right and are 0, 1, 2": (
        replace(OLD, actions=Actions((3,))), {"actions": {}},
    ),
    "actions: the table takes left 2 times": (NEW, {"actions": {"left": 0, "right": 0}}),
    "state: the table takes a 2 times, and what it does would count 2 times": (
        NEW, {"state": {"a": "a", "d": "a"}},
    ),
    "a table for 'stat', and the policy reads state: name one of these": (NEW, {"stat": {}}),
    "the table has 'dd', and there are c, d, a, b: did you mean 'd'?": (
        NEW, {"state": {"dd": "a"}},
    ),
    "the table has 7, and there are a, b, c": (NEW, {"state": {"d": 7}}),
}  # fmt: skip


@pytest.mark.parametrize("says", UNLIKE)
def test_what_cannot_be_joined_is_refused(says):
    learner, state = learned("ppo")
    spec, tables = UNLIKE[says]
    with pytest.raises(KnowledgeError, match=says):
        graft(learner.knowledge(state), spec, tables)


def test_memories_are_refused():
    learner = PPO(hidden=(8,), memory="gru", memory_size=3)
    knowledge = learner.knowledge(learner.init(OLD, KEY))
    with pytest.raises(KnowledgeError, match="a policy with a gru cannot be grafted"):
        graft(knowledge, NEW)


def test_what_a_join_says():
    assert str(join("state", (("a",), 1), (("a",), 1))) == "state: the same"
    assert str(join("state", ((), 2), ((), 2))) == "state: the same"
    found = join("state", ((), 2), ((), 2), {0: 1})
    assert found.entries == (1, None)
    assert str(found) == "state: new: 1; gone: 0; taken: 1 as 0"


def test_a_table_comes_before_names_which_join_the_rest():
    old = ("a", "b", "c"), 3
    assert join("state", old, (("a", "b", "z"), 3), {"z": "c"}).entries == (0, 1, 2)
    assert join("state", old, (("a", "b", "z"), 3), {"a": "b"}).entries == (1, None, None)
    assert join("actions", old, (("a", "z"), 2), {"z": "a"}).entries == (None, 0)
    assert join("actions", old, ((), 3), {0: 1, 2: 1}, once=False).entries == (1, None, 1)


@pytest.mark.parametrize("learner", [PPO(hidden=(8,), heads=True), SAC(hidden=(8,), heads=True)])
def test_heads_stay_in_their_own_spaces(learner):
    told = envs.spec_of(Domain("runner", shows=["pay"])).groups["context"]
    told = replace(told, told=(replace(told.told[0], form="one-hot", low=0, high=1),))
    context = replace(told, shape=(2,), names=("pay=0", "pay=1"))
    spec = replace(OLD, groups={"context": context, **OLD.groups})
    held = learner.knowledge(learner.init(spec, KEY))
    graft(held, spec)
    with pytest.raises(KnowledgeError, match="a head for each task cannot be grafted"):
        graft(held, replace(NEW, groups={"context": context, **NEW.groups}))
