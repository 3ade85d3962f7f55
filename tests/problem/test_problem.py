import contextlib
import json
import re
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
)
from headstart.problem.named import PROBLEMS, find
from headstart.problem.problem import from_table, read
from headstart.runs.job import make_job

TOML = """
description = "heavier"
[source]
environment = "hopper"
torso_mass = {normal = [6, 1.5, 3, 9]}
gravity = 9.0
shows = ["gravity"]
shows_critic = ["torso_mass", "armature"]
[target]
environment = "hopper"
torso_mass = 8
shows = ["gravity"]
[access]
shots = [0, 2, 10]
[sweep]
torso_mass = [3, 6, 9]
[learner]
algorithm = "ppo"
memory = "gru"
[methods.epopt]
steps = 1000
learner.num_envs = 8
"""


def written(tmp_path, text):
    path = tmp_path / "heavy.toml"
    path.write_text(text)
    return path


def test_a_toml_file_says_what_python_says(tmp_path):
    stated = TransferProblem(
        name="heavy",
        description="heavier",
        source=Domain(
            "hopper",
            ["gravity"],
            ["torso_mass", "armature"],
            torso_mass=Normal(6, 1.5, 3, 9),
            gravity=9.0,
        ),
        target=Domain("hopper", ["gravity"], torso_mass=8.0),
        access=Access(shots=(0, 2, 10)),
        sweep={"torso_mass": (3, 6, 9)},
        learner={"algorithm": "ppo", "memory": "gru"},
        methods={"epopt": {"steps": 1000, "learner": {"num_envs": 8}}},
    )
    found = read(written(tmp_path, TOML))
    assert found == stated
    assert from_table(found.as_table()) == stated
    assert find(str(tmp_path / "heavy.toml")) == stated


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
        ('shows = ["gravity"]', 'shows = "gravity"', "shows must be a list of parameters"),
        ('shows = ["gravity"]', "shows = [1]", "shows must be a list of parameters"),
        ('["torso_mass", "armature"]', '["armature", "armature"]', "shows_critic must be a list"),
        ("[learner]", "[learners]", "did you mean 'learner'"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, old, new, says):
    assert old in TOML
    with pytest.raises(HeadstartError, match="heavy.toml") as caught:
        read(written(tmp_path, TOML.replace(old, new)))
    assert says in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(HeadstartError, match=r"cannot read no/such.toml: No such file"):
        find("no/such.toml")


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
    ("source", "shows"), ("target", "shows_critic"), ("learner",), ("learner", "algorithm"),
    ("learner", "memory"), ("learner", "hidden"), ("methods", "epopt", "learner"),
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


def test_what_a_domain_shows_stays_with_it():
    domain = Domain("hopper", ["gravity"], ["armature"], torso_mass=Uniform(3, 9))
    for other in (domain.at_mean(), domain.with_parameters(gravity=5)):
        assert (other.shows, other.shows_critic) == (("gravity",), ("armature",))
    assert domain != Domain("hopper", ["gravity"], torso_mass=Uniform(3, 9))
    assert domain != Domain("hopper", ["armature"], ["gravity"], torso_mass=Uniform(3, 9))
    assert hash(domain) == hash(
        Domain("hopper", ("gravity",), ("armature",), torso_mass=Uniform(3, 9))
    )
    assert "shows" not in Domain("hopper").as_table()


@pytest.mark.parametrize("shown", ["gravity", [1], ["gravity", "gravity"], None, {"gravity": 1}, 3])
def test_what_is_shown_is_a_list_of_names(shown):
    for name in ("shows", "shows_critic"):
        with pytest.raises(HeadstartError, match=f"{name} must be a list of parameters"):
            Domain("hopper", **{name: shown})


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (Domain("hopper", ["gravitas"]), Domain("hopper", ["gravity"]), "to show 'gravitas'"),
        (Domain("hopper", ["gravity"]), Domain("hopper", ["gravitas"]), "to show 'gravitas'"),
        (Domain("hopper", ["gravity"]), Domain("hopper"), "add shows to .target. too"),
        (
            Domain("hopper", ["gravity"]),
            Domain("hopper", ["armature"]),
            "gravity and the target armature",
        ),
        (
            Domain("hopper", ["gravity", "armature"]),
            Domain("hopper", ["armature", "gravity"]),
            "source shows gravity, armature and the target armature, gravity: a policy",
        ),
    ],
)
def test_what_the_target_does_not_show_as_the_source_does_is_named(source, target, says):
    problem = TransferProblem("shown", source, target)
    with pytest.raises(HeadstartError, match=says):
        make_job(problem, "source-only", 0, Path("nowhere"))


def test_what_only_the_critic_is_shown_may_differ():
    source = Domain("hopper", ["gravity"], ["armature"], gravity=Uniform(8, 10))
    problem = TransferProblem("shown", source, Domain("hopper", ["gravity"]))
    make_job(problem, "source-only", 0, Path("nowhere"))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_named_problems_survive_a_table(name):
    problem = find(name)
    assert problem.name == name
    assert from_table(json.loads(json.dumps(problem.as_table()))) == problem


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("heavyhopper", "unknown problem 'heavyhopper'"),
        ("probes:Track", "probes:Track is a type, not a TransferProblem"),
    ],
)
def test_a_problem_that_does_not_exist_is_named(name, says):
    with pytest.raises(HeadstartError, match=says):
        find(name)


STOCK = """
[source]
environment = "gym:Pendulum-v1"
parameters.g = {attribute = "g", nominal = 10, low = 5, high = 15}
g = {uniform = [5, 15]}
[target]
environment = "gym:Pendulum-v1"
g = 14
"""


def test_parameters_that_a_domain_declares_are_written_and_read_again(tmp_path):
    problem = read(written(tmp_path, STOCK))
    assert problem.source.declares["g"].attribute == "g"
    assert problem.target.declares == problem.source.declares  # declared once, for both
    assert from_table(json.loads(json.dumps(problem.as_table()))) == problem
    assert problem.source.at_mean().declares == problem.source.declares
    undeclared = Domain("gym:Pendulum-v1", g=14)
    assert hash(undeclared) != hash(problem.target)
    assert undeclared != problem.target
    make_job(problem, "source-only", 0, tmp_path)
    for end in ("low = 10", "high = 10"):
        text = re.sub(f"{end.split()[0]} = [0-9]+", end, STOCK)
        assert read(written(tmp_path, text)).source.declares["g"].nominal == 10


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("low = 5, ", "", r"parameters.g needs low, as in {attribute"),
        ("nominal = 10", "nominal = 20", "low ≤ nominal ≤ high"),
        ('attribute = "g", ', "", "needs attribute, or else an argument"),
        (
            'attribute = "g", ',
            'attribute = "g", argument = "g", ',
            "attribute, or else an argument",
        ),
        ('attribute = "g"', 'attribute = "g()"', r"got 'g\(\)'"),
        ('attribute = "g"', "attribute = 3", "attribute must be a text, got 3"),
        ("high = 15", 'high = "much"', "high must be a finite number, got 'much'"),
        ("high = 15", "high = inf", "high must be a finite number, got inf"),
        ("high = 15", "hihg = 15", "did you mean 'high'"),
        ("parameters.g = {", "parameters = {", "parameters.attribute must be a table"),
        ("parameters.g = ", "parameters = 3 #", "parameters must be a table, got 3"),
        ("parameters.g = ", "parameters.g = 9 #", "parameters.g must be a table"),
        ("parameters.g", "declares.g", "'declares': known: parameters"),
        ("g = 14", "parameters.g = {attribute = 'g', nominal = 10, low = 1, high = 15}", "once"),
    ],
)
def test_a_wrong_declaration_is_named(tmp_path, was, now, said):
    assert was in STOCK
    with pytest.raises(HeadstartError, match=said):
        read(written(tmp_path, STOCK.replace(was, now)))


def test_a_parameter_that_changes_nothing_is_named_before_anything_is_trained(tmp_path):
    idle = STOCK.replace("gym:Pendulum-v1", "probes:Idle").split("parameters.g")[0]
    idle += "gravity = {uniform = [5, 15]}\n[target]\nenvironment = 'probes:Idle'\nwind = 0.4\n"
    said = "probes:Idle.gravity changes nothing: 60 steps of random actions are the same at 5 and"
    with pytest.raises(HeadstartError, match=said):
        make_job(read(written(tmp_path, idle)), "source-only", 0, tmp_path)
    fixed = idle.replace("{uniform = [5, 15]}", "12")
    with pytest.raises(HeadstartError, match=r"the same at 9.8 and at 12"):
        make_job(read(written(tmp_path, fixed)), "source-only", 0, tmp_path)
    swept = idle.replace("gravity = {uniform = [5, 15]}", "") + "[sweep]\ngravity = [5, 9, 12]\n"
    with pytest.raises(HeadstartError, match=r"the same at 5 and at 12"):
        make_job(read(written(tmp_path, swept)), "source-only", 0, tmp_path)
    nominal = idle.replace("{uniform = [5, 15]}", "9.8")
    make_job(read(written(tmp_path, nominal)), "source-only", 0, tmp_path)
