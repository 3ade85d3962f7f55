"""Texts as numbers, by a model of sentences."""

import jax
import numpy as np
import pytest
from model2vec import StaticModel
from tokenizers import Tokenizer, models, pre_tokenizers

from headstart import Domain, envs, mixture
from headstart.envs import sentences
from headstart.envs.context import Told
from headstart.envs.sentences import embedded
from headstart.errors import HeadstartError, KnowledgeError
from headstart.learners.sac import SAC
from headstart.policies.policy import knowledge_of, policy_from

WORDS = {"[UNK]": (0, 0, 0), "run": (0, 0, 3), "west": (2, 0, 0), "left": (2, 0, 0),
         "east": (-2, 0, 0), "dance": (0, 2, 0)}  # fmt: skip
TASKS = (
    Domain("runner", direction=180, text="run west"),
    Domain("runner", direction=0, text="run east"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that knows five words, of which two mean the same."""
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    path = tmp_path_factory.mktemp("sentences")
    StaticModel(np.array(list(WORDS.values()), np.float32), tokenizer).save_pretrained(path)
    return str(path)


def test_a_text_is_the_mean_of_its_words_of_length_one(folder):
    np.testing.assert_allclose(embedded("run west", folder), np.array([2, 0, 3]) / 13**0.5)
    np.testing.assert_allclose(embedded("run left", folder), embedded("run west", folder))
    assert np.dot(embedded("run left"), embedded("run west")) < 0.6  # share no such pieces
    assert sentences.size_of(folder) == 3


def test_tasks_are_told_by_the_model_and_so_is_a_policy_that_was_saved(folder):
    domain = mixture(TASKS, shows=[f"task:text={folder}"])
    running = envs.start(domain, 16, 0)
    shown, task = running.reset()["context"], running.values[:, 0].astype(int)
    told = np.array([embedded(one.text, folder) for one in TASKS])
    np.testing.assert_array_equal(shown, told[task])
    learner = SAC(hidden=(8,))
    state = learner.init(running.spec, jax.random.key(0))
    one = running.spec.groups["context"].told[0]
    (again,) = dict(policy_from(knowledge_of(state.policy)).groups)["context"].told
    assert again == one
    np.testing.assert_array_equal(again.alone("run left"), told[0])


def test_a_model_of_another_width_than_was_saved_is_said(folder):
    saved = Told("task", "text", 0.0, 1.0, ((0.0, "run west"),), model=folder, size=4)
    with pytest.raises(HeadstartError, match="told as 4 numbers, and the model in .* makes 3"):
        saved.alone("run east")


@pytest.mark.parametrize("size", [3, 0, 2**30])
def test_knowledge_that_tells_a_text_in_an_odd_size_is_refused(size):
    spec = envs.spec_of(mixture(TASKS, shows=["task:text"]))
    state = SAC(hidden=(8,)).init(spec, jax.random.key(0))
    knowledge = knowledge_of(state.policy)
    knowledge.metadata["policy"]["groups"]["context"]["told"][0]["size"] = size
    with pytest.raises(KnowledgeError, match=f"a text as {size} numbers"):
        policy_from(knowledge)


@pytest.mark.parametrize(
    ("shows", "said"),
    [
        ("task:text=nowhere/at-all", "'nowhere/at-all' is not a folder with a model of sentences"),
        ("task:text=", "names no model of sentences"),
        ("task:one-hot=here", "names no model of sentences"),
    ],
)
def test_a_model_that_is_not_there_is_said_before_anything_is_spent(shows, said):
    with pytest.raises(HeadstartError, match=said):
        envs.spec_of(mixture(TASKS, shows=[shows]))


def test_a_folder_without_a_model_and_a_missing_package_are_said(tmp_path, monkeypatch, folder):
    with pytest.raises(HeadstartError, match="cannot be read"):
        envs.spec_of(mixture(TASKS, shows=[f"task:text={tmp_path}"]))
    monkeypatch.setattr(sentences, "find_spec", lambda name: None)
    sentences._model.cache_clear()
    with pytest.raises(HeadstartError, match=r"pip install 'headstart\[text\]'"):
        envs.spec_of(mixture(TASKS, shows=[f"task:text={folder}"]))
