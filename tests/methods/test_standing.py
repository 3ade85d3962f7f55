"""Methods whose policy stands on the source's."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from headstart import Access, Domain, HeadstartError, TransferProblem
from headstart.knowledge import Knowledge
from headstart.methods.progressive import Progressive
from headstart.policies.networks import MLP
from headstart.policies.policy import policy_from
from headstart.policies.standing import ProgressiveMLP, ResidualMLP
from headstart.runs.evaluation import evaluate
from headstart.runs.job import make_job, prepare
from headstart.runs.run import run
from small import TRACK

DQN = {
    "algorithm": "dqn", "hidden": [16], "num_envs": 4, "rollout_length": 4, "learning_starts": 64,
    "batch_size": 16, "updates_per_step": 0.25,
}  # fmt: skip
PROBLEMS = {
    "ppo": replace(TRACK, methods={}),
    "sac": replace(TRACK, learner=small.SAC, methods={}),
    "dqn": TransferProblem(
        name="rooms", source=Domain("grid"), target=Domain("grid", wall=1), learner=DQN,
        access=Access(shots=(0, 3, 10)), episodes=4,
    ),
}  # fmt: skip
X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)


def base(hidden=(4, 6)):
    network = MLP((3, *hidden, 2), 1.0, jax.random.key(0))
    biases = [jax.random.normal(jax.random.key(i), b.shape) for i, b in enumerate(network.biases)]
    return eqx.tree_at(lambda n: n.biases, network, biases)


@pytest.mark.parametrize("kind", [ResidualMLP, ProgressiveMLP])
@pytest.mark.parametrize("hidden", [(4,), (4, 6), (4, 6, 5)])
def test_it_begins_by_giving_what_the_frozen_one_gives(kind, hidden):
    network = kind(base(hidden), jax.random.key(7))
    np.testing.assert_allclose(network(X), base(hidden)(X), rtol=1e-5, atol=1e-6)
    assert network.sizes == (3, *hidden, 2)


@pytest.mark.parametrize("kind", [ResidualMLP, ProgressiveMLP])
def test_no_gradient_reaches_the_frozen_one_and_all_else_learns(kind):
    network = kind(base(), jax.random.key(7))
    awake = jax.tree.map(lambda x: x + 0.1, network)  # where nothing is 0 any more
    gradient = jax.grad(lambda n: (n(X) ** 2).sum())(awake)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient.base))
    rest = eqx.tree_at(lambda g: g.base, gradient, None)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(rest))


def test_columns_by_hand():
    """Each layer of the new column sees both columns' layers before it."""
    frozen = base()
    columns = jax.tree.map(lambda x: x + 0.1, ProgressiveMLP(frozen, jax.random.key(7)))
    network, x = jax.tree.map(np.asarray, columns), np.asarray(X)
    w, u, b = network.weights, network.laterals, network.biases
    first = np.tanh(x @ network.base.weights[0] + network.base.biases[0])
    second = np.tanh(first @ network.base.weights[1] + network.base.biases[1])
    own = np.tanh(x @ w[0] + b[0])
    own = np.tanh(own @ w[1] + first @ u[0] + b[1])
    expected = own @ w[2] + second @ u[1] + b[2]
    np.testing.assert_allclose(columns(X), expected, rtol=1e-4)


def test_a_residual_by_hand():
    network = jax.tree.map(lambda x: x + 0.1, ResidualMLP(base(), jax.random.key(7)))
    np.testing.assert_allclose(network(X), network.base(X) + network.own(X), rtol=1e-6)


def finished(name, learner, out, **fields):
    job = make_job(PROBLEMS[learner], name, 0, out, {"steps": 256, "log_std": "none", **fields})
    prepare(job, resume=False)
    return job, run(job)


@pytest.mark.parametrize("learner", PROBLEMS)
@pytest.mark.parametrize("name", ["residual", "progressive"])
def test_it_learns_on_what_stays_as_it_was(name, learner, tmp_path):
    job, result = finished(name, learner, tmp_path)
    plain, expected = finished("finetune", learner, tmp_path)
    assert plain.pretraining_key == job.pretraining_key
    np.testing.assert_allclose(result.shots[0].returns, expected.shots[0].returns, rtol=1e-4)
    source, adapted = (
        policy_from(Knowledge.load(job.folder / f)) for f in ("knowledge", "adapted")
    )
    assert eqx.tree_equal(adapted.actor.network.base, source.actor.network)
    assert eqx.tree_equal(adapted.encoders, source.encoders)
    obs = {n: jnp.ones((2, *g.shape), g.dtype) for n, g in source.groups}
    features = source.encoders(obs)
    before, after = (p.actor.outputs(features) for p in (source, adapted))
    assert np.abs(np.asarray(after - before)).max() > 1e-5


@pytest.mark.parametrize("learner", PROBLEMS)
def test_columns_forget_nothing_to_the_bit(learner, tmp_path):
    job, result = finished("progressive", learner, tmp_path)
    before, *_, after = (shot.source for shot in result.shots)
    assert before == after
    source = policy_from(Knowledge.load(job.folder / "knowledge"))
    problem = PROBLEMS[learner]
    assert before == evaluate(problem.source, source, problem.episodes, 0).tolist()
    adapted = policy_from(Knowledge.load(job.folder / "adapted"))
    assert evaluate(problem.source, adapted, problem.episodes, 0).tolist() != before or (
        learner == "dqn"  # whose best action may be the same
    )


@pytest.mark.parametrize("name", ["residual", "progressive", "jump-start"])
def test_moments_of_the_sources_network_are_never_carried(name, tmp_path):
    job = make_job(TRACK, name, 0, tmp_path, {"fresh": ""})
    assert "optimiser" in job.method.afresh
    assert "optimiser" in job.method.recipe.partition(";")[0]


def test_what_stands_on_nothing_is_refused(tmp_path):
    for fields, says in (
        (
            {"fresh": "policy"},
            "stands on the source's policy as it is: leave out fresh",
        ),
        ({"reset_every": 5}, "leave out reset_every, or use finetune"),
        ({"anchor.kind": "l2"}, "leave out anchor.kind l2"),
        ({"rates": "statistics=1"}, "leave out rates of statistics and encoder"),
        ({"learner.memory": "gru"}, "progressive takes policies without a memory: set learner.mem"),
    ):
        with pytest.raises(HeadstartError, match=says):
            make_job(PROBLEMS["ppo"], "progressive", 0, tmp_path, fields)
    plain = policy_from(Knowledge.load(finished("finetune", "ppo", tmp_path)[0].folder / "adapted"))
    with pytest.raises(TypeError, match="no columns: MLP"):
        Progressive().in_source(plain)
