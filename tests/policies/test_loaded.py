"""A policy in its user's hands does what it does in Headstart's."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import headstart
from headstart import Domain, HeadstartError, envs
from headstart.envs.spec import check_alike
from headstart.experience.unroll import begin, play
from headstart.learners.ppo import PPO
from headstart.learners.sac import SAC
from headstart.policies.policy import check_reads, knowledge_of, policy_from
from headstart.transfer.graft import graft

DISCRETE = ["discrete", "multi_discrete", "multi_binary", "several_axes", "nested", "pair"]
ACTING = ["acts_in_a_box", "acts_from_a_start", "acts_in_choices", "acts_in_switches"]


def policy_in(domain, memory="none", learner=PPO):
    """A policy that nothing was learned by, and whose outputs are large."""
    spec = envs.spec_of(domain)
    state = learner(hidden=(8,), memory=memory, memory_size=4).init(spec, jax.random.key(1))
    knowledge = knowledge_of(state.policy)
    louder = {name: np.asarray(jnp.sign(a) * 0.9) for name, a in knowledge.parts["policy"].items()}
    return policy_from(replace(knowledge, parts={**knowledge.parts, "policy": louder}))


def saved(policy, folder):
    knowledge_of(policy).save(folder)
    return folder


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("name", [*DISCRETE, *ACTING, "has_a_context"])
def test_from_the_environments_own_observations_to_its_own_actions(name, memory, tmp_path):
    domain = Domain(f"probes:{name}")
    policy = policy_in(domain, memory)
    running = envs.start(domain, 1, 0)
    world = running._engine._envs[0].unwrapped
    loaded = headstart.load(saved(policy, tmp_path / "policy"))
    for _ in range(2):  # episodes
        loaded.reset()
        for i, _ in enumerate(play(policy, running, begin(policy, running), None)):
            if i + 1 == len(world.elements) - 1:
                break
        done = list(world.done)
        assert done
        for seen, taken in zip(world.elements, done, strict=False):
            action = loaded(seen)
            assert world.action_space.contains(action)
            np.testing.assert_array_equal(action, taken)


@pytest.mark.parametrize("learner", [PPO, SAC])
def test_the_bounds_are_the_environments(learner, tmp_path):
    """The pendulum's are ±2, and what is in between is in proportion."""
    domain = Domain("gym:Pendulum-v1")
    policy = policy_in(domain, learner=learner)
    loaded = headstart.load(str(saved(policy, tmp_path / "policy")))
    raw = envs.start(domain, 1, 0)
    taken = []
    for seen in play(policy, raw, begin(policy, raw), None):
        taken.append((loaded(seen.obs["state"][0]), np.clip(seen.action[0], -1, 1)))
        if len(taken) == 50:
            break
    actions, unit = map(np.array, zip(*taken, strict=True))
    np.testing.assert_allclose(actions, 2 * unit, rtol=1e-6)
    assert np.abs(actions).max() > 1
    assert actions.dtype == np.float32


def test_what_it_is_shown_is_said_in_its_unit(tmp_path):
    domain = Domain("cart-pole", ["gravity", "pole_mass"], gravity=9.0, pole_mass=0.2)
    policy = policy_in(domain)
    loaded = headstart.load(saved(policy, tmp_path / "policy"))
    running = envs.start(domain, 1, 0)
    for i, seen in enumerate(play(policy, running, begin(policy, running), None)):
        action = loaded(np.asarray(seen.obs["state"])[0], gravity=9.0, pole_mass=0.2)
        np.testing.assert_array_equal(action, running.spec.actions.element(seen.action[0]))
        if i == 20:
            break
    obs = np.zeros(running.spec.groups["state"].shape)
    low, high = (getattr(running.environment.parameters["gravity"], end) for end in ("low", "high"))
    for given, says in (
        (
            {},
            "the policy is shown gravity, pole_mass: say what each is, as in policy.obs, gravity=",
        ),
        ({"gravity": 9.0}, "the policy is shown gravity, pole_mass"),
        ({"gravity": 9.0, "pole_mass": 0.2, "mass": 1}, "shown 'mass': did you mean 'pole_mass'"),
        ({"gravity": 1e3, "pole_mass": 0.2}, rf"gravity lies in \[{low:g}, {high:g}\], got 1000"),
    ):
        with pytest.raises(HeadstartError, match=says):
            loaded(obs, **given)


def test_what_it_cannot_read_is_refused(tmp_path):
    loaded = headstart.load(saved(policy_in(Domain("probes:Track")), tmp_path / "policy"))
    for obs, says in (
        (np.zeros(3), r"reads state as numbers of shape \[2\], all finite, and got array"),
        (np.array([0.0, np.nan]), r"all finite, and got"),
        ({"speed": np.zeros(2)}, "reads state, and the observation has speed"),
    ):
        with pytest.raises(HeadstartError, match=says):
            loaded(obs)


def test_knowledge_that_does_not_say_its_bounds_is_refused(tmp_path):
    held = knowledge_of(policy_in(Domain("probes:Track")))
    stated = held.metadata["policy"]
    older = {k: v for k, v in stated["actions"].items() if k in ("shape", "choices", "names")}
    replace(held, metadata={"policy": stated | {"actions": older}}).save(tmp_path / "older")
    with pytest.raises(HeadstartError, match="did not save the bounds of actions: train again"):
        headstart.load(tmp_path / "older")


def test_a_run_is_loaded_as_it_ended(tmp_path):
    policy = policy_in(Domain("probes:Track"))
    saved(policy, tmp_path / "adapted")
    assert headstart.load(tmp_path).actions == policy.actions


def test_other_bounds_are_other_actions():
    """The same number would be another force there: in a problem, in evaluation, in a graft."""
    narrow, wide = (envs.spec_of(Domain(f"probes:{n}")) for n in ("Track", "strong_track"))
    says = r"action 0 lies in \[-1.0, 1.0\] and .*'s in \[-3.0, 3.0\].*RescaleAction"
    with pytest.raises(HeadstartError, match=says):
        check_alike(narrow, wide)
    policy = policy_in(Domain("probes:Track"))
    with pytest.raises(HeadstartError, match=says):
        check_reads(policy, wide)
    with pytest.raises(HeadstartError, match=says):
        graft(knowledge_of(policy), wide)
    assert policy.actions == wide.actions  # of the same shape
