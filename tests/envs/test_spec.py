import numpy as np
import pytest
from gymnasium import spaces

from headstart import Domain, HeadstartError, envs
from headstart.envs.spec import (
    Actions,
    EnvSpec,
    Group,
    action_for,
    actions_of,
    check_alike,
    grouped,
    groups_of,
    is_plain,
)

NUMBERS, IMAGE = spaces.Box(-1.0, 1.0, (3,)), spaces.Box(0, 255, (4, 5, 3), np.uint8)
NUMBER = Group((1,))


@pytest.mark.parametrize(
    ("space", "groups"),
    [
        (NUMBERS, {"state": Group((3,))}),
        (spaces.Box(-1.0, 1.0, ()), {"state": NUMBER}),
        (spaces.Box(-1.0, 1.0, (2, 3, 4)), {"state": Group((24,))}),
        (spaces.Box(0, 255, (4, 5), np.uint8), {"state": Group((20,))}),
        (IMAGE, {"pixels": Group((4, 5, 3), "image")}),
        (spaces.Discrete(4, start=2), {"state": Group((1,), "choice", (4,))}),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), {"state": Group((4,), "choice", (2, 3, 4, 5))}),
        (spaces.MultiBinary(3), {"state": Group((3,))}),
        (spaces.MultiBinary([2, 3]), {"state": Group((6,))}),
        (
            spaces.Dict({"eye": IMAGE, "legs": NUMBERS}),
            {"eye": Group((4, 5, 3), "image"), "legs": Group((3,))},
        ),
        (
            spaces.Tuple((NUMBERS, spaces.Tuple((spaces.Discrete(2), NUMBERS)))),
            {"0": Group((3,)), "1.0": Group((1,), "choice", (2,)), "1.1": Group((3,))},
        ),
        (
            spaces.Dict({"a": spaces.Dict({"b": spaces.Dict({"c": NUMBERS})})}),
            {"a.b.c": Group((3,))},
        ),
    ],
    ids=str,
)
def test_groups_of_a_space_and_of_its_elements(space, groups):
    assert groups_of("x", space) == groups
    for seed in range(5):
        space.seed(seed)
        found = grouped(space, space.sample())
        assert found.keys() == groups.keys()
        for name, group in groups.items():
            assert found[name].shape == group.shape
            if group.kind == "choice":
                assert (found[name] >= 0).all()
                assert (found[name] < group.choices).all()


@pytest.mark.parametrize(
    ("space", "plain"),
    [
        (NUMBERS, True),
        (IMAGE, True),
        (spaces.Box(-1.0, 1.0, (2, 2)), False),
        (spaces.Discrete(3), False),
        (spaces.Dict({"state": NUMBERS}), False),
    ],
    ids=str,
)
def test_what_is_one_array_already(space, plain):
    assert is_plain(space) == plain


@pytest.mark.parametrize(
    ("space", "actions", "width"),
    [
        (spaces.Box(-2.0, 1.0, (3,)), Actions((3,)), 3),
        (spaces.Box(-2.0, 1.0, (2, 3)), Actions((6,)), 6),
        (spaces.Discrete(4, start=-2), Actions((), (4,)), 4),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), Actions((4,), (2, 3, 4, 5)), 14),
        (spaces.MultiBinary(3), Actions((3,), (2, 2, 2)), 6),
        (spaces.MultiBinary([2, 2]), Actions((4,), (2, 2, 2, 2)), 8),
    ],
    ids=str,
)
def test_what_an_action_is_and_its_width(space, actions, width):
    assert actions_of("x", space) == actions
    assert actions.width == width
    assert actions.discrete == (not isinstance(space, spaces.Box))
    rng = np.random.default_rng(0)
    for _ in range(20):
        if actions.discrete:
            action = rng.integers(actions.choices if actions.shape else actions.choices[0])
        else:
            action = rng.uniform(-2, 1, actions.shape)
        assert space.contains(action_for(space, np.asarray(action)))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Text(3),
        spaces.Sequence(NUMBERS),
        spaces.Dict({"a": spaces.Text(3), "b": NUMBERS}),
        spaces.Tuple((spaces.Dict({"a": spaces.Sequence(NUMBERS)}),)),
    ],
    ids=str,
)
def test_what_no_network_can_observe_is_refused(space):
    with pytest.raises(HeadstartError, match=r"x observes (Text|Sequence).*wrap the environment"):
        groups_of("x", space)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, 1.0, (2,)),
        spaces.Box(np.float32([0, 0]), np.float32([1, np.inf])),
        spaces.Dict({"a": NUMBERS}),
        spaces.Text(3),
    ],
    ids=str,
)
def test_what_no_policy_can_do_is_refused(space):
    with pytest.raises(HeadstartError, match="x acts in .*finite bounds: wrap the environment"):
        actions_of("x", space)


def spec(actions=None, **groups):
    return EnvSpec("x", groups, actions or Actions((2,)), 10)


def test_what_is_alike():
    check_alike(spec(state=NUMBER), spec(state=NUMBER))
    check_alike(spec(a=NUMBER, b=NUMBER), spec(b=NUMBER, a=NUMBER))
    # Critics alone read it; and what the source lacks, no policy reads.
    check_alike(spec(state=NUMBER, privileged=NUMBER), spec(state=NUMBER))
    check_alike(spec(state=NUMBER), spec(state=NUMBER, context=NUMBER))


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (
            spec(state=NUMBER, context=NUMBER),
            spec(state=NUMBER),
            r"shows the group 'context', and the target does not: add shows to \[target\] too",
        ),
        (
            spec(eye=NUMBER, ear=NUMBER),
            spec(eye=NUMBER, nose=NUMBER),
            "the source shows the group 'ear', and the target does not: the target has eye, nose",
        ),
        (
            spec(state=NUMBER),
            spec(state=Group((2,))),
            r"observations \(state\) are numbers of shape \[1\] and the target's numbers of shape",
        ),
        (
            spec(eye=Group((2, 2, 3))),
            spec(eye=Group((2, 2, 3), "image")),
            r"observations \(eye\) are numbers .* and the target's bytes of shape \[2, 2, 3\]",
        ),
        (
            spec(state=Group((1,), "choice", (3,))),
            spec(state=Group((1,), "choice", (4,))),
            r"observations \(state\) are one of 3 and the target's one of 4",
        ),
        (
            spec(Actions((2,)), state=NUMBER),
            spec(Actions((), (2,)), state=NUMBER),
            r"actions are numbers of shape \[2\] and the target's one of 2",
        ),
        (
            spec(Actions((2,), (2, 3)), state=NUMBER),
            spec(Actions((2,), (3, 2)), state=NUMBER),
            "actions are one of 2, 3 and the target's one of 3, 2",
        ),
    ],
)
def test_what_is_not_alike_is_named(source, target, says):
    with pytest.raises(HeadstartError, match=says):
        check_alike(source, target)


def test_domains_that_show_parameters_are_held_against_each_other():
    plain, shown, hidden = (
        envs.spec_of(Domain("probes:Track", **kwargs))
        for kwargs in ({}, {"shows": ["wind"]}, {"shows_critic": ["wind"]})
    )
    check_alike(shown, shown)
    check_alike(hidden, plain)
    check_alike(plain, shown)
    with pytest.raises(HeadstartError, match=r"group 'context'.*or use shows_critic"):
        check_alike(shown, plain)
    both = envs.spec_of(Domain("probes:Track", ["wind", "mass"]))
    with pytest.raises(
        HeadstartError, match=r"observations \(context\) are numbers of shape \[1\]"
    ):
        check_alike(shown, both)
