import copy
from pathlib import Path

import numpy as np
import pytest

from headstart import studies
from headstart.cli import main
from headstart.studies import epopt_hopper

FIGURE = Path(__file__).parents[1] / "docs" / "studies" / "epopt-hopper.svg"


def test_stored_results_are_complete():
    table = studies.stored("epopt-hopper")
    assert table["policies"].keys() == epopt_hopper.POLICIES.keys()
    for policy in table["policies"].values():
        assert np.shape(policy["returns"]) == (5, 7, 16)
        assert min(policy["source_steps"]) >= 1_000_000
    assert len(table["posterior"]) == 5
    assert FIGURE.exists()


def test_check_prints_every_claim_and_says_by_its_status_whether_all_hold(capsys):
    claims = epopt_hopper.claims(studies.stored("epopt-hopper"))
    assert len(claims) == 7
    status = main(["study", "epopt-hopper", "--check"])
    out = capsys.readouterr().out
    assert all(claim.text in out and claim.evidence in out for claim in claims)
    assert status == (0 if all(claim.holds for claim in claims) else 1)


def made_up():
    """Results in which every claim holds."""
    table = copy.deepcopy(studies.stored("epopt-hopper"))
    flat = {"specialist at 3": 0, "specialist at 6": 3, "specialist at 9": 6}
    for name, policy in table["policies"].items():
        curve = np.full(7, 3000.0)
        if name in flat:
            curve = 3000.0 - 400 * np.abs(np.arange(7) - flat[name]) ** 1.5
        if "mass not varied" in name:
            curve -= 100.0
        if name.startswith("ensemble"):
            curve -= 50.0
        policy["returns"] = np.tile(curve[None, :, None], (5, 1, 16)).tolist()
    for rounds in table["posterior"]:
        rounds[-1]["mean"]["torso_mass"] = 8.9
    return table


def test_claims_follow_the_numbers():
    assert [claim.holds for claim in epopt_hopper.claims(made_up())] == [True] * 7


@pytest.mark.parametrize(
    ("policy", "value", "broken"),
    [
        ("specialist at 3", 3000.0, 0),
        ("specialist at 9", 3000.0, 2),
        ("ensemble (ε = 1)", 2500.0, 3),
        ("EPOpt (ε = 0.1)", 2000.0, 4),
        ("EPOpt, mass not varied", 500.0, 5),
    ],
)
def test_each_claim_can_fail(policy, value, broken):
    table = made_up()
    table["policies"][policy]["returns"] = np.full((5, 7, 16), value).tolist()
    holds = [claim.holds for claim in epopt_hopper.claims(table)]
    assert not holds[broken]


def test_a_posterior_far_off_is_seen():
    table = made_up()
    table["posterior"][3][-1]["mean"]["torso_mass"] = 7.2
    assert not epopt_hopper.claims(table)[6].holds


def test_every_study_is_a_module_with_its_five_functions():
    for name in studies.STUDIES:
        module = studies.find(name)
        assert all(hasattr(module, f) for f in ("arms", "collect", "draw", "shown", "claims"))
