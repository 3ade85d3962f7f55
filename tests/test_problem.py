import contextlib
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart import (
    Access,
    Choice,
    Domain,
    HeadstartError,
    Normal,
    TransferProblem,
    Uniform,
    problems,
)
from headstart.problem import from_table, read
from headstart.run import make_job

TOML = """
description = "heavier"
[source]
environment = "hopper"
torso_mass = {normal = [6, 1.5, 3, 9]}
gravity = 9.0
[target]
environment = "hopper"
torso_mass = 8
[access]
shots = [0, 2, 10]
[sweep]
torso_mass = [3, 6, 9]
[methods.epopt]
steps = 1000
"""


def written(tmp_path, text):
    path = tmp_path / "heavy.toml"
    path.write_text(text)
    return path


def test_a_toml_file_says_what_python_says(tmp_path):
    stated = TransferProblem(
        name="heavy",
        description="heavier",
        source=Domain("hopper", torso_mass=Normal(6, 1.5, 3, 9), gravity=9.0),
        target=Domain("hopper", torso_mass=8.0),
        access=Access(shots=(0, 2, 10)),
        sweep={"torso_mass": (3, 6, 9)},
        methods={"epopt": {"steps": 1000}},
    )
    found = read(written(tmp_path, TOML))
    assert found == stated
    assert from_table(found.as_table()) == stated
    assert problems.find(str(tmp_path / "heavy.toml")) == stated


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[access]", "[acess]", "unknown key 'acess': did you mean 'access'"),
        ("shots =", "shotz =", "did you mean 'shots'"),
        ("[0, 2, 10]", "[0, 10, 2]", "rising order"),
        ("[0, 2, 10]", "3", "must be a list"),
        ('environment = "hopper"\ntorso_mass = 8', "torso_mass = 8", "names no environment"),
        ("{normal = [6, 1.5, 3, 9]}", "{normal = [6, 1.5, 9, 3]}", "no mass"),
        ("gravity = 9.0", 'gravity = "strong"', "not 'strong'"),
        ("[source]", "[source", "is not TOML"),
        ('description = "heavier"', 'name = "../heavier"', "made of letters"),
        ("torso_mass = [3, 6, 9]", "torso_mass = 3", "must be a list"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, old, new, says):
    assert old in TOML
    with pytest.raises(HeadstartError, match="heavy.toml") as caught:
        read(written(tmp_path, TOML.replace(old, new)))
    assert says in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(HeadstartError, match=r"cannot read no/such.toml: No such file"):
        problems.find("no/such.toml")


def test_a_domain_at_its_mean_is_one_mdp():
    domain = Domain("hopper", torso_mass=Uniform(3, 9), gravity=5)
    assert domain.varied == ("torso_mass",)
    assert domain.at_mean() == Domain("hopper", torso_mass=6.0, gravity=5.0)
    assert domain.at_mean().varied == ()
    assert Domain("hopper", action_delay=Choice((0, 1, 5))).at_mean() == Domain(
        "hopper", action_delay=1.0
    )


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = [
    ("name",), ("description",), ("episodes",), ("source",), ("source", "environment"),
    ("source", "torso_mass"), ("target",), ("target", "gravity"), ("access",), ("access", "shots"),
    ("access", "steps"), ("access", "rewards"), ("sweep",), ("sweep", "torso_mass"), ("methods",),
    ("methods", "epopt"), ("methods", "epopt", "steps"), ("other",), ("source", "self"),
]  # fmt: skip


@given(place=st.sampled_from(PLACES), value=values)
@settings(max_examples=400, deadline=None)
def test_any_value_in_any_place_is_a_problem_or_an_error_never_a_crash(place, value):
    table = tomllib.loads(TOML)
    inner = table
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with contextlib.suppress(HeadstartError):
        stated = from_table(table)
        make_job(stated, "epopt", 0, Path("nowhere"))
        assert from_table(json.loads(json.dumps(stated.as_table()))) == stated


def test_access_refuses_what_is_not_a_count():
    for wrong in ({"steps": -1}, {"observations": 2.5}, {"shots": ()}, {"rewards": 1}):
        with pytest.raises(HeadstartError, match=r"access\."):
            Access(**wrong)
