from dataclasses import replace

import jax
import pytest

from headstart import Domain, HeadstartError
from headstart.errors import AllowanceSpent
from headstart.knowledge import Knowledge
from headstart.learners.dqn import DQN
from headstart.learners.imitation import Imitation
from headstart.methods import domain_confusion
from headstart.methods.domain_confusion import DomainConfusion
from headstart.methods.source_only import SourceOnly
from headstart.problem import with_access
from headstart.runs.checks import check
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from small import DOT


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"layers": ("pool",)}, "unknown layer of the encoder 'pool': known: conv1, conv2, dense"),
        (
            {"layers": ("conv2", "dens")},
            "unknown layer of the encoder 'dens': did you mean 'dense'",
        ),
        ({"layers": ()}, "name one layer at least, each once, got ''"),
        ({"layers": ("dense", "dense")}, "each once, got 'dense, dense'"),
        ({"observations": 0}, "observations must be at least 5, got 0"),
        ({"hidden": (8, -3)}, "hidden must be at least 1, got -3"),
    ],
)
def test_what_it_cannot_do_is_said_when_it_is_made(fields, says):
    with pytest.raises(HeadstartError, match=says):
        DomainConfusion(**fields)


@pytest.mark.parametrize("learner", [DQN(hidden=(16,)), Imitation(expert="centre")])
@pytest.mark.parametrize(
    ("limit", "behaviour", "says"),
    [
        (0, "random", "takes 500 target observations, and access allows 0: raise access.obs"),
        (500, "centr", "unknown expert of probes:Dot 'centr': did you mean 'centre'"),
    ],
)
def test_frames_that_may_not_be_had_are_missed_before_it_runs(learner, limit, behaviour, says):
    method = DomainConfusion(learner=learner)
    check(with_access(DOT, observations=500), method, "domain-confusion")
    problem = with_access(DOT, observations=limit, behaviour=behaviour)
    with pytest.raises(HeadstartError, match=says):
        check(problem, method, "domain-confusion")


@pytest.mark.parametrize(
    "learner", [DQN(hidden=(16,)), Imitation(expert="centre", updates_per_step=0.1)]
)
def test_frames_that_may_not_be_had_after_all_stop_it_before_it_trains(learner):
    """A student learns to act without a frame of the target; its alignment takes them."""
    source, meter = CountedSource(Domain("probes:Dot")), Meter(0, 0, 0)
    target = MeteredTarget(Domain("probes:Dot", tint=1.0), Allowance(meter))
    method = DomainConfusion(learner=learner, steps=64)
    stage = method.pretrain
    if method.pretraining is not method:
        small = replace(learner, num_envs=8, rollout_length=8)
        made = replace(method.pretraining, learner=small)
        known = made.pretrain(source, target, jax.random.key(0))
        stage = lambda *given: next(method.adapt(known, *given))  # noqa: E731
    taken = source.steps
    with pytest.raises(AllowanceSpent, match="asked for 500 target observations, 0 of 0 are left"):
        stage(source, target, jax.random.key(0))
    assert source.steps == taken


@pytest.mark.parametrize("alignment", [0.001, 0.999])
def test_a_student_is_trained_and_aligned(alignment):
    method = DomainConfusion(steps=64, alignment=alignment, learner=Imitation(expert="centre"))
    with pytest.raises(HeadstartError, match="of 64 steps, (0|64) align a .* between 0 and 1"):
        check(with_access(DOT, observations=500), method, "domain-confusion")


def test_one_frame_in_five_is_held_out():
    target = MeteredTarget(Domain("probes:Dot", tint=1.0), Allowance(Meter(10, 0, 0)))
    method = DomainConfusion(observations=10, learner=DQN(hidden=(16,)))
    adversary = method.adversary(CountedSource(Domain("probes:Dot")), target, jax.random.key(0))
    assert len(adversary.frames["pixels"]) == 8
    assert len(adversary.held_out["pixels"]) == 2


def test_a_student_is_aligned_gently(monkeypatch):
    calls = []

    def train(learner, source, steps, key, **more):
        calls.append((learner.learning_rate, steps, more["knowledge"]))
        return "aligned"

    monkeypatch.setattr(domain_confusion, "train", train)
    monkeypatch.setattr(Imitation, "policy", lambda learner, state: state)
    learner = Imitation(expert="centre", learning_rate=1e-3)
    method = DomainConfusion(observations=10, steps=64, alignment=0.25, learner=learner)
    assert method.pretraining == SourceOnly(steps=48, learner=learner)
    target = MeteredTarget(Domain("probes:Dot", tint=1.0), Allowance(Meter(10, 0, 0)))
    source = CountedSource(Domain("probes:Dot"))
    known = Knowledge()
    assert list(method.adapt(known, source, target, jax.random.key(0))) == ["aligned"]
    assert calls == [(pytest.approx(3e-4), 16, known)]
