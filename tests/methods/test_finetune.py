"""How learning on the target begins, with something carried and with nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from headstart import Domain
from headstart.learners.ppo import PPO
from headstart.methods import finetune, scratch
from headstart.methods.finetune import Finetune
from headstart.methods.scratch import Scratch
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget

LEARNER = PPO(hidden=(4,))
TRACK = Domain("probes:Track")


def begun(method, log_std=-2.0):
    """The first policy of a method that carries a narrow one."""
    target = MeteredTarget(TRACK, Allowance(Meter(episode_limit=2)))
    state = LEARNER.init(target.spec, jax.random.key(0))
    actor = state.policy.actor.narrowed(log_std)
    knowledge = LEARNER.knowledge(state).with_part(
        "policy", {"actor": actor, "memory": state.policy.memory}
    )
    return next(iter(method.adapt(knowledge, CountedSource(TRACK), target, jax.random.key(1))))


@pytest.mark.parametrize(
    ("method", "log_std"),
    [
        (Finetune(learner=LEARNER), -0.7),
        (Finetune(learner=LEARNER, log_std=-1.0), -1.0),
        (Finetune(learner=LEARNER, log_std=None), -2.0),
    ],
)
def test_the_deviation_that_ended_small_is_raised(method, log_std):
    np.testing.assert_allclose(begun(method).actor.log_std, jnp.full(1, log_std), rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "method", "explores"),
    [
        (scratch, Scratch(learner=LEARNER), True),
        (finetune, Finetune(learner=LEARNER), False),
        (finetune, Finetune(learner=LEARNER, carry=("critic",)), True),
    ],
)
def test_who_carries_no_policy_explores(monkeypatch, module, method, explores):
    told = []

    def improve(learner, target, state, episodes_per_update, key, explores=False):
        told.append(explores)
        yield learner.policy(state)

    monkeypatch.setattr(module, "improve", improve)
    begun(method)
    assert told == [explores]
