import hashlib
import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save

from headstart.errors import HeadstartError, KnowledgeError
from headstart.knowledge import Knowledge, digest


@pytest.fixture
def knowledge():
    rng = np.random.default_rng(0)
    policy = {"actor/0": rng.normal(size=(3, 4)).astype(np.float32), "actor/1": np.float32(2.0)}
    return Knowledge({"policy": policy, "critic": {"w": np.arange(3)}}, {"hidden": [4]})


def test_what_is_saved_is_loaded(knowledge, tmp_path):
    knowledge.save(tmp_path / "k")
    found = Knowledge.load(tmp_path / "k")
    assert found.metadata == {"hidden": [4]}
    assert found.parts.keys() == {"policy", "critic"}
    for part, leaves in knowledge.parts.items():
        for name, array in leaves.items():
            np.testing.assert_array_equal(found.parts[part][name], array)
            assert found.parts[part][name].shape == np.shape(array)


def test_graft_puts_leaves_in_place_or_says_why_not(knowledge):
    onto = {"w": np.zeros(3, int)}
    assert knowledge.graft("critic", onto)["w"].tolist() == [0, 1, 2]
    with pytest.raises(KnowledgeError, match=r"shape \[3\], and \[5\]"):
        knowledge.graft("critic", {"w": np.zeros(5, int)})
    with pytest.raises(KnowledgeError, match="lacks 'v'"):
        knowledge.graft("critic", {"w": np.zeros(3, int), "v": np.zeros(1)})
    with pytest.raises(KnowledgeError, match="holds policy, critic"):
        knowledge.graft("model", onto)
    with pytest.raises(HeadstartError, match="did you mean 'critic'"):
        knowledge.only(["critik"])
    assert knowledge.only(["critic"]).parts.keys() == {"critic"}


def damage_truncate(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def damage_flip(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def damage_pickle(folder):
    (folder / "weights.safetensors").write_bytes(pickle.dumps({"w": Trap()}))


def damage_version(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def damage_old(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))


def damage_manifest(folder):
    forged(folder, parts={"policy": ["nothing"]})


def damage_facts(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("hidden", "hiddem"))


def damage_deep(folder):
    (folder / "manifest.json").write_text('{"a":' * 99_999)


def damage_long(folder):
    (folder / "manifest.json").write_text('{"format": ' + "9" * 9999 + "}")


def damage_infinite(folder):
    (folder / "manifest.json").write_text('{"format": 1e400}')


def damage_list(folder):
    (folder / "manifest.json").write_text("[4]")


def damage_weights(folder):
    """Whole, and with a digest that fits, but not finite."""
    weights = save({"policy/w": np.array([1.0, np.inf])})
    (folder / "weights.safetensors").write_bytes(weights)
    forged(folder, sha256=hashlib.sha256(weights).hexdigest(), parts={"policy": ["w"]})


def forged(folder, **changes):
    """A manifest with a digest that fits, as a stranger could make it."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(manifest | {"digest": digest(manifest)}))


def damage_json(folder):
    (folder / "manifest.json").write_text("{")


def damage_missing(folder):
    (folder / "weights.safetensors").unlink()


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_truncate, "damaged: .* bytes"),
        (damage_flip, "do not match the manifest"),
        (damage_pickle, "pickle, which could run code"),
        (damage_version, "format 99, and this version of Headstart reads 4"),
        (damage_old, r"format 2, .* reads 4 \(Headstart 0.1 reads 2\)"),
        (damage_manifest, "does not fit the weights"),
        (damage_json, "manifest.json is damaged: Expecting property name"),
        (damage_facts, "manifest.json is damaged: it does not match its own digest"),
        (damage_deep, "manifest.json is damaged: maximum recursion"),
        (damage_long, "manifest.json is damaged: Exceeds the limit"),
        (damage_infinite, "manifest.json is damaged: 1e400 is not a finite number"),
        (damage_list, "manifest.json is damaged: it holds no object"),
        (damage_weights, "policy/w holds numbers that are not finite"),
        (damage_missing, "it has no weights.safetensors"),
    ],
)
def test_damage_is_named_and_runs_nothing(knowledge, tmp_path, damage, says):
    knowledge.save(tmp_path / "k")
    damage(tmp_path / "k")
    with pytest.raises(KnowledgeError, match=says):
        Knowledge.load(tmp_path / "k")
    assert not Trap.sprung


def test_what_is_not_finite_is_not_saved(tmp_path):
    learned = Knowledge({"policy": {"w": np.array([0.0, np.nan])}})
    with pytest.raises(
        KnowledgeError, match="policy/w holds numbers that are not finite: learning"
    ):
        learned.save(tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_another_type_are_refused(knowledge):
    with pytest.raises(KnowledgeError, match="critic/w holds int64, and float32 is needed"):
        knowledge.graft("critic", {"w": np.zeros(3, np.float32)})
