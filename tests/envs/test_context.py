"""What is shown of parameters, in every form."""

import jax.numpy as jnp
import numpy as np
import pytest

from headstart import envs
from headstart.envs.context import Told
from headstart.envs.environment import check_domain
from headstart.envs.sentences import embedded
from headstart.errors import HeadstartError
from headstart.problem import Domain, mixture
from headstart.problem.distributions import Choice, Uniform

TEXTS = ((0.0, "run east"), (90.0, "run north"))


@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_every_form_by_hand(xp):
    values = xp.asarray(np.array([0.0, 90.0, 180.0]))
    number = Told("a", "number", -90.0, 270.0)(values, xp)
    np.testing.assert_allclose(number[:, 0], [-0.5, 0, 0.5])
    angle = Told("a", "angle", 0.0, 360.0)(values, xp)
    np.testing.assert_allclose(angle, [[1, 0], [0, 1], [-1, 0]], atol=1e-6)
    one_hot = Told("a", "one-hot", 2.0, 4.0)(xp.asarray(np.array([3.0, 2.0])), xp)
    np.testing.assert_array_equal(one_hot, [[0, 1, 0], [1, 0, 0]])
    text = Told("a", "text", 0.0, 90.0, TEXTS)(values[:2], xp)
    np.testing.assert_array_equal(text, [embedded("run east"), embedded("run north")])


def test_texts_that_share_words_are_near():
    east, also, other = map(embedded, ("run to the east", "Run  to the West", "pick up a red cup"))
    assert np.linalg.norm(east) == pytest.approx(1)
    assert east @ also > 0.5 > abs(east @ other) + 0.2
    assert (embedded("run") == embedded("  RUN ")).all()


def test_tasks_are_told_by_their_texts():
    tasks = [Domain("hopper", text="hop"), Domain("walker", text="walk")]
    running = envs.start(mixture(tasks, shows=["task:text"]), 16, 0)
    shown, task = running.reset()["context"], running.values[:, 0]
    np.testing.assert_array_equal(shown, [embedded(("hop", "walk")[int(k)]) for k in task])


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        (Domain("hopper", shows=["speed"]), "unknown parameter of hopper to show 'speed'"),
        (Domain("hopper", shows=["gravity:onehot"]), "unknown form of gravity 'onehot'"),
        (Domain("hopper", shows=["gravity:one-hot"]), "show it as gravity:number"),
        (Domain("hopper", shows=["gravity:text"]), "hopper.gravity has no texts"),
        (Domain("hopper", shows=["gravity", "gravity:number"]), "show gravity twice"),
        (mixture([Domain("hopper"), Domain("walker")], shows=["task:text"]), "task has no texts"),
        (
            mixture([Domain("hopper", text="hop"), Domain("walker")], shows=["task:text"]),
            "task has no text for 1",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(domain, said):
    with pytest.raises(HeadstartError) as refused:
        check_domain(envs.of(domain), domain)
    assert said in str(refused.value)


def test_a_text_needs_values_that_have_one():
    texts = {"5": "on the moon", "10": "on the earth"}
    declares = {"g": {"attribute": "g", "nominal": 10, "low": 5, "high": 15, "texts": texts}}

    def shown(drawn):
        return Domain("gym:Pendulum-v1", ["g:text"], declares=declares, g=drawn)

    domain = shown(Choice((5.0, 10.0)))
    check_domain(envs.of(domain), domain)
    assert domain.as_table()["parameters"]["g"]["texts"] == texts
    for drawn, said in ((Uniform(5, 10), "any of a range"), (7.0, "no text for 7")):
        with pytest.raises(HeadstartError, match=said):
            check_domain(envs.of(shown(drawn)), shown(drawn))
