import jax
import numpy as np
import pytest

from headstart import Domain
from headstart.errors import AllowanceSpent, HeadstartError
from headstart.evaluation import evaluate
from headstart.journal import Journal
from headstart.learners.imitation import Imitation, train
from headstart.methods.random_convolution import FeatureMatching
from headstart.target import Meter, Source, Target

DOT = Domain("worlds:Dot")
SMALL = Imitation(
    teacher="centre", hidden=(16,), rounds=5, updates=1000, batch=64, learning_rate=3e-3
)


@pytest.mark.parametrize("auxiliary", [None, FeatureMatching(weight=0.1, samples=16)])
def test_a_student_that_sees_pixels_does_what_the_teacher_does_who_sees_the_state(auxiliary):
    """The teacher's mean return, from a place in [−1, 1], by hand: it moves 0.3 a step while it is
    further than 0.15 from the middle."""
    source = Source(DOT)
    student = train(SMALL, source, 3_000, jax.random.key(0), auxiliary)
    assert source.meter.steps == 3_200  # 64 copies, 5 rounds: whole chunks of 10 steps
    places = np.linspace(-1, 1, 20_001)
    teacher = np.zeros_like(places)
    for _ in range(10):
        places = np.where(abs(places) > 0.15, places - 0.3 * np.sign(places), places)
        teacher -= abs(places)
    returns = evaluate(DOT, student.policy, 256, seed=1)
    assert returns.mean() == pytest.approx(teacher.mean(), abs=3 * returns.std() / 16)


def test_the_teacher_acts_in_the_first_round_and_the_student_after_it(tmp_path, monkeypatch):
    """A student that learns nothing wanders: its episodes are worth less than the teacher's."""
    journal = Journal(tmp_path)
    rows = []
    monkeypatch.setattr(journal, "log", lambda **row: rows.append(row))
    idle = Imitation(teacher="centre", rounds=3, updates=3, learning_rate=0.0)
    train(idle, Source(DOT, journal), 64 * 10 * 3, jax.random.key(0))
    first, second, third = (row["train_return"] for row in rows)
    assert first > second + 1.0
    assert first > third + 1.0


def test_what_cannot_be_imitated_is_said():
    with pytest.raises(HeadstartError, match=r"demonstrator of worlds:Dot 'good': known: centre"):
        train(Imitation(), Source(DOT), 64, jax.random.key(0))
    with pytest.raises(HeadstartError, match="imitation is of discrete actions"):
        train(SMALL, Source(Domain("worlds:Track")), 64, jax.random.key(0))


def test_the_states_of_a_limited_target_are_not_told():
    target = Target(DOT, Meter(observation_limit=100, step_limit=10_000))
    with pytest.raises(AllowanceSpent, match="access gives none of the target's"):
        train(SMALL, target, 64, jax.random.key(0))
    train(SMALL, Target(DOT, Meter()), 64, jax.random.key(0))  # the oracle's
