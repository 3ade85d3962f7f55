import equinox as eqx
import jax
import numpy as np

from headstart import Domain
from headstart.learners.imitation import Imitation
from headstart.learners.policy import greedy
from headstart.learners.ppo import PPO
from headstart.methods.random_convolution import FeatureMatching
from headstart.target import Meter, Source, Target

DOT = Domain("worlds:Dot")


def test_a_student_keeps_what_its_teacher_does_while_its_features_change():
    """The teacher is made up, and decided: it tells places apart by weights at random."""
    source = Source(DOT)
    space = source.environment.observation_space, source.environment.action_space
    teacher = PPO(hidden=(16,)).init(*space, jax.random.key(3)).policy
    decided = teacher.actor.logits.weights[-1] * 1000
    teacher = eqx.tree_at(lambda p: p.actor.logits.weights[-1], teacher, decided)
    small = Imitation(frames=256, updates=20, batch=32, learning_rate=1e-3)
    matching = FeatureMatching(weight=0.1, samples=16)
    student = small.student(teacher, source, jax.random.key(0), matching)
    assert source.meter.steps == 256
    fresh = Target(DOT, Meter()).observations(400, seed=9)
    chosen, wanted = (np.asarray(greedy(policy, fresh)) for policy in (student, teacher))
    assert len(np.unique(wanted)) > 1
    assert (chosen == wanted).mean() > 0.9
    assert float(abs(student.encoder.dense - teacher.encoder.dense).max()) > 1e-3
