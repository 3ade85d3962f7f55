"""Who is told a task in the episodes of another does what is told, or does not listen."""

import numpy as np
import pytest

import headstart
from headstart import Domain, HeadstartError, mixture
from headstart.problem.distributions import Choice, Uniform
from headstart.runs.listening import Listening

EAST, WEST = "run to the east", "run to the west"
BOTH = mixture(
    [Domain("runner", direction=0, text=EAST), Domain("runner", direction=180, text=WEST)],
    shows=["task:text"],
)
RUNNER = {
    "algorithm": "sac", "hidden": [32], "batch_size": 64, "num_envs": 4, "rollout_length": 10,
    "learning_starts": 200, "learning_rate": 3e-3, "discount": 0.9, "updates_per_step": 0.5,
}  # fmt: skip


def test_a_policy_that_is_told_in_words_goes_where_it_is_told(tmp_path):
    """In an episode that pays for the east, and is told the west, it runs west; paraphrases that it
    never heard are near to what it knows."""
    made = headstart.train(BOTH, RUNNER, steps=1600, out=tmp_path)
    texts = ["go to the west", "go to the east"]
    heard = headstart.listening(made.folder, BOTH, texts=texts, episodes=8)
    returns = heard.returns.mean(axis=-1)
    assert returns.shape == (4, 2)
    assert min(returns[0, 0], returns[1, 1]) > 35  # 47.5 is full speed
    assert max(returns[0, 1], returns[1, 0]) < -35
    assert heard.gain.above_zero
    assert returns[2, 1] > 25 > -25 > returns[2, 0]
    assert returns[3, 0] > 25 > -25 > returns[3, 1]
    assert heard.told == (EAST, WEST, *texts)
    assert "told go to the west" in str(heard)


def test_who_is_not_shown_its_task_does_the_same_whatever_is_said(tmp_path):
    learner = {**RUNNER, "encoders": ["context=blank"]}
    made = headstart.train(BOTH, learner, steps=280, out=tmp_path)
    heard = headstart.listening(made.folder, BOTH, episodes=8)
    np.testing.assert_array_equal(heard.returns[0], heard.returns[1])
    assert heard.gain.value == 0
    assert not heard.gain.above_zero


def test_what_it_is_worth_to_be_told_by_hand():
    """Two tasks, two episodes: told its own, 10 and 8 or 6 and 4; told the other, 1 and 2 or 3 and
    4. A further text counts for nothing."""
    returns = np.array([[[10, 8], [3, 4]], [[1, 2], [6, 4]], [[9, 9], [9, 9]]])
    heard = Listening("task", (0.0, 1.0), (0.0, 1.0, "what"), returns)
    # By episode: ((10 - 1) + (6 - 3)) / 2 and ((8 - 2) + (4 - 4)) / 2.
    assert heard.gain.value == pytest.approx((6 + 3) / 2)
    assert str(heard).splitlines()[3].split() == ["told", "what", "9.0", "9.0"]


def test_three_numbers_are_told_as_any_context(tmp_path):
    domain = Domain("runner", direction=Choice((0.0, 90.0, 180.0)), shows=["direction"])
    made = headstart.train(domain, RUNNER, steps=280, out=tmp_path)
    heard = headstart.listening(made.folder / "knowledge", domain, episodes=2)
    assert heard.returns.shape == (3, 3, 2)
    assert heard.tasks == heard.told == (0.0, 90.0, 180.0)
    with pytest.raises(HeadstartError, match="direction lies in"):
        headstart.listening(made.folder, domain, texts=["go west"])
    for other, said in (
        (Domain("runner", direction=Uniform(0, 90), shows=["direction"]), "tells direction, and"),
        (domain.with_parameters(direction=90), "where one parameter of two or more values"),
    ):
        with pytest.raises(HeadstartError, match=said):
            headstart.listening(made.folder, other)
    with pytest.raises(HeadstartError, match="context"):
        headstart.listening(made.folder, domain.showing())
