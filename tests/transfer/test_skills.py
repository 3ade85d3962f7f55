"""Skills: what they are paid, how one is taken out, and that they come apart."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from headstart import Domain, HeadstartError
from headstart.envs.spec import SKILL, Actions, EnvSpec, Group
from headstart.envs.vector_env import TimeStep
from headstart.errors import KnowledgeError
from headstart.experience.replay import Batch
from headstart.experience.transition import Rollout, Transition
from headstart.knowledge import Knowledge
from headstart.learners.sac import SAC
from headstart.methods.diayn import Diayn
from headstart.methods.skilled import Skilled
from headstart.methods.smerl import Smerl
from headstart.policies.policy import policy_from
from headstart.runs.checkpointer import Checkpointer
from headstart.runs.job import make_job, prepare
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.runs.run import run
from headstart.transfer.skills import (
    Diversity,
    SkillLook,
    Skills,
    as_skills,
    number_of_skills,
    skill_of,
)
from small import TRACK

KEY, NOW = jax.random.key(0), jnp.int32(0)
SPEC = EnvSpec("here", {"state": Group((3,))}, Actions((2,)), 10)
SAC_SMALL = SAC(hidden=(8,), num_envs=4, batch_size=16)


def batch(skill, next_state, reward=0.0):
    n = len(skill)
    obs = {"state": jnp.zeros((n, 3)), SKILL: jnp.asarray(skill, jnp.int32)[:, None]}
    led = {"state": jnp.asarray(next_state, jnp.float32), SKILL: obs[SKILL]}
    reward, ones = jnp.full(n, reward), jnp.ones(n)
    return Batch(obs, jnp.zeros((n, 2)), reward, led, ones, ones)


def judged(reward, logits):
    """A judge whose classifier gives these logits of every state, and stays as it is."""
    state = reward.init(SPEC, KEY)
    last = jnp.zeros_like(state.classifier.weights[-1])
    return eqx.tree_at(
        lambda s: (s.classifier.weights[-1], s.classifier.biases[-1]),
        state,
        (last, jnp.array(logits)),
    )


STILL = Diversity(hidden=(4,), learning_rate=0.0, weight=2.0)


def test_a_skill_is_paid_for_being_told_by_hand():
    """β (log q(z | s′) + log n), with q = softmax(0, log 3, 0): 1/5, 3/5, 1/5."""
    reward = STILL.reward(SPEC, 3, 3, gate=None)
    seen = batch([0, 1, 2], np.zeros((3, 3)), reward=100.0)
    _, paid, log = reward(judged(reward, [0.0, np.log(3), 0.0]), seen, None, NOW, KEY)
    expected = 2 * np.log(3 * np.array([0.2, 0.6, 0.2]))
    np.testing.assert_allclose(paid.reward, expected, rtol=1e-5)
    assert float(log["skill_loss"]) == pytest.approx(-np.log([0.2, 0.6, 0.2]).mean(), rel=1e-5)


@pytest.mark.parametrize("gate", [5.0, -5.0])
def test_a_skill_is_paid_for_diversity_from_the_gate_on(gate):
    """Of the first nothing is known yet; the second is below, the third is at the gate."""
    reward = STILL.reward(SPEC, 3, 3, gate=gate)
    state = judged(reward, [0.0, np.log(3), 0.0])
    state = eqx.tree_at(lambda s: s.returns, state, jnp.array([np.nan, gate - 1, gate]))
    _, paid, log = reward(state, batch([0, 1, 2], np.zeros((3, 3)), 7.0), None, NOW, KEY)
    np.testing.assert_allclose(paid.reward, [7, 7, 7 + 2 * np.log(0.6)], rtol=1e-5)
    assert float(log["gates_open"]) == pytest.approx(1 / 3)


def test_the_classifier_learns_where_skills_go():
    reward = Diversity(hidden=(16,), learning_rate=0.02).reward(SPEC, 3, 3, None)
    state = reward.init(SPEC, KEY)
    skill = np.arange(30) % 3
    seen = batch(skill, np.eye(3)[skill])
    step = jax.jit(lambda s: reward(s, seen, None, NOW, KEY))
    for _ in range(60):
        state, paid, log = step(state)
    assert float(log["skill_loss"]) < 0.1
    np.testing.assert_allclose(paid.reward, np.log(3), atol=0.1)


def test_skills_may_be_told_by_some_entries_alone():
    reward = replace(STILL, coordinates=("2", "0")).reward(SPEC, 3, 3, None)
    state = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(reward.seen(state), [[2, 0], [5, 3]])
    assert reward.init(SPEC, KEY).classifier.sizes[0] == 2
    with pytest.raises(HeadstartError, match="here has no entry 3 in its state; they are 0, 1, 2"):
        replace(STILL, coordinates=("3",)).entries(SPEC)
    pixels = replace(SPEC, groups={"pixels": Group((24, 24, 3), "image")})
    with pytest.raises(HeadstartError, match="told apart by the group 'state', a vector, and here"):
        STILL.entries(pixels)


def test_entries_go_by_name_or_number():
    named = replace(SPEC, groups={"state": Group((3,), names=("x", "y", "1"))})
    assert replace(STILL, coordinates=("y", "0", "1")).entries(named) == (1, 0, 2)
    assert STILL.entries(named) == (0, 1, 2)
    with pytest.raises(HeadstartError, match="no entry z in its state; they are x, y, 1"):
        replace(STILL, coordinates=("z",)).entries(named)


def test_returns_are_those_of_each_skills_episodes():
    """Two skills in four copies; two steps, then one more."""
    reward = STILL.reward(SPEC, 2, 4, gate=0.0)
    state = reward.init(SPEC, KEY)

    def rollout(rewards, over):
        shape = np.shape(rewards)
        flags = jnp.asarray(over, bool)
        nothing = {"state": jnp.zeros((*shape, 3))}
        steps = Transition(
            nothing, jnp.zeros((*shape, 2)), jnp.asarray(rewards, jnp.float32), nothing, flags,
            jnp.zeros_like(flags),
        )  # fmt: skip
        return Rollout(steps, jnp.ones(4, bool), jnp.zeros((4, 2)), jnp.zeros(4))

    state = reward.witness(
        state, rollout([[1, 2, 3, 4], [10, 20, 30, 40]], [[0] * 4, [1, 0, 1, 0]])
    )
    # Skill 0 is in copies 0 and 2, which returned 11 and 33; skill 1 has finished nothing.
    np.testing.assert_allclose(state.returns, [22, np.nan])
    np.testing.assert_allclose(state.running, [0, 22, 0, 44])
    state = reward.witness(state, rollout([[5, 5, 5, 5]], [[1, 1, 0, 0]]))
    np.testing.assert_allclose(state.returns, [0.9 * 22 + 0.1 * 5, 27], rtol=1e-6)
    np.testing.assert_allclose(state.running, [0, 0, 5, 49])
    free = STILL.reward(SPEC, 2, 4, gate=None)
    assert free.witness(state, rollout([[5, 5, 5, 5]], [[1, 1, 0, 0]])) is state


def test_copies_share_the_skills():
    look = Skills(3)(7, KEY)
    np.testing.assert_array_equal(look.skill, [0, 1, 2, 0, 1, 2, 0])
    told = look({"state": jnp.ones((7, 3))})
    assert told[SKILL].shape == (7, 1)
    assert told[SKILL].dtype == jnp.int32


@pytest.mark.parametrize("before", [True, False])
def test_a_skill_taken_out_acts_and_judges_as_it_did(before):
    """The group of the skill stands before other groups, or after."""
    name = "state" if before else "context"
    spec = replace(SPEC, groups={name: Group((3,)), **({} if before else {"wind": Group((2,))})})
    told = Skills(4).told(spec)
    state = SAC_SMALL.init(told, KEY, total=20_000)
    trained = jax.tree.map(lambda x: x + 0.1, (state.agent.policy.actor, state.agent.critics))
    state = eqx.tree_at(lambda s: (s.agent.policy.actor, s.agent.critics), state, trained)
    knowledge = SAC_SMALL.knowledge(state)
    assert number_of_skills(knowledge) == 4
    obs = {n: jax.random.normal(KEY, (5, *g.shape)) for n, g in spec.groups.items()}
    for skill in (0, 3):
        alone = skill_of(knowledge, skill)
        policy = policy_from(alone)
        assert set(policy.reads) == set(spec.groups)
        whole = SkillLook(jnp.full(5, skill, jnp.int32))(obs)
        time = TimeStep(obs, jnp.zeros((5, 2)), jnp.zeros(5), jnp.ones(5, bool))
        expected, _ = state.policy.step(time._replace(obs=whole), (), None)
        np.testing.assert_allclose(policy.step(time, (), None)[0], expected, rtol=1e-5, atol=1e-6)
        grafted = SAC_SMALL.graft(alone, SAC_SMALL.init(spec, jax.random.key(5), total=20_000))
        values = [
            critic(encoders(shown), jnp.ones((5, 2)))
            for agent, encoders, shown in (
                (state.agent, state.policy.encoders, whole),
                (grafted.agent, grafted.policy.encoders, obs),
            )
            for critic in agent.critics
        ]
        for one, other in zip(values[:2], values[2:], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    with pytest.raises(KnowledgeError, match="there is no skill 4: they are numbered 0 to 3"):
        skill_of(knowledge, 4)
    with pytest.raises(KnowledgeError, match="holds no skills, which diayn and smerl learn"):
        skill_of(alone, 0)


@pytest.mark.parametrize("before", [True, False])
def test_skills_that_begin_as_one_policy_act_and_judge_as_it_does(before):
    name = "state" if before else "context"
    spec = replace(SPEC, groups={name: Group((3,)), **({} if before else {"wind": Group((2,))})})
    alone = SAC_SMALL.knowledge(SAC_SMALL.init(spec, KEY, total=20_000))
    fresh = SAC_SMALL.init(Skills(4).told(spec), jax.random.key(5), total=20_000)
    told = as_skills(alone, SAC_SMALL.knowledge(fresh))
    assert number_of_skills(told) == 4
    for skill in (0, 3):
        again = skill_of(told, skill)
        assert again.metadata == alone.metadata
        for part in ("policy", "critic"):
            for leaf, array in alone.parts[part].items():
                np.testing.assert_allclose(again.parts[part][leaf], array, rtol=1e-6)
    state = SAC_SMALL.graft(told, fresh)
    for leaf, array in told.parts["critic"].items():
        np.testing.assert_array_equal(SAC_SMALL.knowledge(state).parts["critic"][leaf], array)


PROBLEM = replace(TRACK, learner=small.SAC, methods={})


@pytest.mark.parametrize("name", ["diayn", "smerl"])
def test_each_skill_is_tried_once_and_the_best_goes_on(name, tmp_path):
    fields = {"steps": 256, "skills": 2, "episodes_per_update": 4}
    job = make_job(PROBLEM, name, 0, tmp_path, fields)
    prepare(job, resume=False)
    result = run(job)
    assert result.target["episodes"] == 10
    knowledge = Knowledge.load(job.folder / "knowledge")
    assert knowledge.parts["skills"]["returns"].shape == (2,)
    rows = (job.folder / "log.jsonl").read_text()
    assert '"skill_returns"' in rows
    adapted = policy_from(Knowledge.load(job.folder / "adapted"))
    assert adapted.reads == ("state",)
    single = make_job(PROBLEM, f"{name}:warmup=2", 0, tmp_path, fields)
    assert single.pretraining_key == job.pretraining_key


def test_skills_of_a_q_function_may_start_from_the_best(tmp_path):
    problem = replace(
        PROBLEM, source=Domain("grid"), target=Domain("grid", wall=1), learner=small.DQN, sweep={}
    )
    job = make_job(problem, "smerl", 0, tmp_path, {"steps": 256, "skills": 2, "from_optimum": True})
    prepare(job, resume=False)
    assert run(job).target["episodes"] == 10
    assert number_of_skills(Knowledge.load(job.folder / "knowledge")) == 2


def test_what_cannot_be_is_refused(tmp_path):
    for label, fields, says in (
        ("diayn", {"skills": 3}, "2 copies of the source do not share 3 skills evenly"),
        ("diayn", {"skills": 1}, "skills must be at least 2"),
        (
            "smerl",
            {"learner.memory": "gru", "learner.window": 4, "learner.burn_in": 1, "skills": 2},
            "skills are of policies without a mem",
        ),
        ("smerl", {"skills": 2, "tolerance": -1}, "tolerance must be at least 0"),
        (
            "smerl",
            {"skills": 2, "from_optimum": True, "optimum": 3.0},
            "from_optimum needs the policy that optimum was measured with",
        ),
        ("diayn", {"skills": 2, "diversity.coordinates": "9"}, "has no entry 9 in its state"),
        ("smerl", {"skills": 2, "diversity.coordinates": "9"}, "has no entry 9 in its state"),
    ):
        with pytest.raises(HeadstartError, match=says):
            make_job(PROBLEM, label, 0, tmp_path, fields)
    few = replace(PROBLEM, access=replace(PROBLEM.access, shots=(0, 1)))
    with pytest.raises(HeadstartError, match="2 target episodes"):
        make_job(few, "diayn", 0, tmp_path, {"skills": 2})


def test_who_was_tried_is_told():
    method = Diayn(skills=3, learner=SAC_SMALL)
    assert method.recipe == "3 skills, each tried once on the target; afresh: optimiser"
    assert method.notes([{"phase": "adapt"}]) == []
    row = {"skill": 1, "skill_returns": {"0": -3.0, "1": 18.52, "2": 4.0}}
    assert method.notes([{"phase": "pretrain"}, row]) == [
        "skill 1 (18.52) returned most when tried, and was gone on with; 2 (4), 0 (-3)"
    ]


def test_smerl_measures_what_can_be_had_unless_it_is_told(monkeypatch):
    gates, begun = [], []

    def skilled(self, learner, source, steps, gate, stage, key, start_from=None):
        gates.append((steps, gate))
        begun.append(start_from)
        return Knowledge()

    monkeypatch.setattr(Skilled, "_skilled", skilled)
    target = MeteredTarget(TRACK.target, Allowance(Meter()))
    told = Smerl(steps=100, optimum=-20.0, tolerance=0.1, learner=SAC_SMALL)
    told.pretrain(CountedSource(TRACK.source), target, KEY)
    assert gates == [(100, pytest.approx(-22.0))]
    assert begun == [None]
    small_enough = replace(SAC_SMALL, learning_starts=32, rollout_length=8)
    finds_out = Smerl(steps=128, skills=2, learner=small_enough)
    for method in (finds_out, replace(finds_out, from_optimum=True)):
        method.pretrain(CountedSource(TRACK.source), target, KEY)
    assert gates[1] == gates[2]
    assert gates[1][0] == 64
    assert begun[1] is None
    assert set(begun[2].parts) >= {"policy", "critic"}


def test_smerl_that_goes_on_does_not_measure_again(monkeypatch, tmp_path):
    """The checkpoint of its second half holds the gate."""
    found = []

    class Half(CountedSource):
        def at_mean(self):
            return self

    class Saved(Checkpointer):
        def load(self):
            return {"loop/stage": np.array(1)}

    def skilled(self, learner, source, steps, gate, stage, key, start_from=None):
        found.append((steps, gate))
        return Knowledge()

    monkeypatch.setattr(Skilled, "_skilled", skilled)
    target = MeteredTarget(TRACK.target, Allowance(Meter()))
    source = Half(TRACK.source, Meter(), None, Saved(tmp_path, {}))
    Smerl(steps=100, learner=SAC_SMALL).pretrain(source, target, KEY)
    assert found == [(50, 0.0)]
    assert source.steps == 0
