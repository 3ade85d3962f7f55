import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart import HeadstartError, studies
from headstart.cli.main import main
from headstart.runs.job import prepare
from headstart.runs.run import run
from headstart.studies import (
    Arm,
    confusion_drive,
    darc_archery,
    darc_cheetah,
    darc_wall,
    diayn_finetune,
    epopt_hopper,
    finetune_collapse,
    first_run,
    maxent_hallway,
    primacy,
    reach_avoid,
    smerl_obstacle,
    source_kept,
)
from small import TRACK as PROBLEM

FIGURE = Path(__file__).parents[2] / "docs" / "studies" / "epopt-hopper.svg"


def test_stored_results_are_complete():
    table = studies.stored("epopt-hopper")
    assert table["policies"].keys() == epopt_hopper.POLICIES.keys()
    for policy in table["policies"].values():
        assert np.shape(policy["returns"]) == (epopt_hopper.SEEDS, 7, 16)
        assert min(policy["source_steps"]) >= 1_000_000
    assert len(table["posterior"]) == epopt_hopper.SEEDS
    assert FIGURE.exists()


def test_check_prints_every_claim_and_says_by_its_status_whether_all_hold(capsys):
    claims = epopt_hopper.claims(studies.stored("epopt-hopper"))
    assert len(claims) == 11
    status = main(["study", "epopt-hopper", "--check"])
    out = capsys.readouterr().out
    assert all(claim.text in out and claim.evidence in out for claim in claims)
    assert status == (0 if all(claim.holds for claim in claims) else 1)


CENTRES = {
    "specialist at 3": 0, epopt_hopper.AT_6: 3, epopt_hopper.QUIET: 3, "specialist at 9": 6,
}  # fmt: skip


def made_up():
    """Results in which every claim holds."""
    table = copy.deepcopy(studies.stored("epopt-hopper"))
    lower = {epopt_hopper.UNMODELLED: 100.0, epopt_hopper.ENSEMBLE: 50.0, epopt_hopper.LOUD: 100.0,
             epopt_hopper.EPOPT: 20.0, epopt_hopper.CONTROL: 10.0}  # fmt: skip
    for name, policy in table["policies"].items():
        curve = np.full(7, 3000.0) - lower.get(name, 0.0)
        if name in CENTRES:
            curve = 3000.0 - 400 * np.abs(np.arange(7) - CENTRES[name]) ** 1.5
        policy["returns"] = np.tile(curve[None, :, None], (5, 1, 16)).tolist()
    for rounds in table["posterior"]:
        rounds[-1]["mean"]["torso_mass"] = 8.9
    return table


def test_claims_follow_the_numbers():
    assert [claim.holds for claim in epopt_hopper.claims(made_up())] == [True] * 11


@pytest.mark.parametrize(
    ("policy", "value", "broken"),
    [
        ("specialist at 3", 3000.0, [0]),
        (epopt_hopper.AT_6, 3000.0, [1, 5, 7]),
        ("specialist at 9", 3000.0, [2]),
        (epopt_hopper.QUIET, 2950.0, [3]),
        (epopt_hopper.LOUD, 500.0, [3]),
        (epopt_hopper.ENSEMBLE, 2500.0, [4]),
        (epopt_hopper.ENSEMBLE, 2990.0, [6]),
        (epopt_hopper.EPOPT, 2000.0, [6]),
        (epopt_hopper.UNMODELLED, 500.0, [7]),
        (epopt_hopper.EPOPT, 3100.0, [9]),
        (epopt_hopper.CONTROL, 3000.0, [10]),
        (epopt_hopper.POSTERIOR, 2985.0, [10]),
    ],
)
def test_each_claim_can_fail(policy, value, broken):
    table = made_up()
    table["policies"][policy]["returns"] = np.full((5, 7, 16), value).tolist()
    holds = [claim.holds for claim in epopt_hopper.claims(table)]
    assert [i for i, held in enumerate(holds) if not held] == broken


def test_a_posterior_far_off_is_seen():
    table = made_up()
    table["posterior"][3][-1]["mean"]["torso_mass"] = 7.2
    assert not epopt_hopper.claims(table)[8].holds


def test_every_study_is_a_module_with_its_five_functions():
    for name in studies.STUDIES:
        module = studies.find(name)
        assert all(hasattr(module, f) for f in ("arms", "collect", "draw", "shown", "claims"))


def test_results_of_a_problem_that_has_changed_since_are_refused(monkeypatch):
    arms = darc_wall.arms()

    def posed(**changes):
        changed = {n: replace(a, problem=replace(a.problem, **changes)) for n, a in arms.items()}
        monkeypatch.setattr(darc_wall, "arms", lambda: changed)

    fewer = {n: replace(a, seeds=3) if n == "DARC" else a for n, a in arms.items()}
    monkeypatch.setattr(darc_wall, "arms", lambda: fewer)
    with pytest.raises(HeadstartError, match="the arm DARC has changed since"):
        studies.stored("darc-wall")
    posed(methods=arms["DARC"].problem.methods | {"finetune": {"steps": 7}})  # not among its arms
    assert studies.stored("darc-wall")["problems"].keys() == {"wall", "wall-reversed"}
    for changed in ({"episodes": 7}, {"name": "fence"}):
        posed(**changed)
        with pytest.raises(HeadstartError, match="problem (wall|fence) has changed since"):
            studies.stored("darc-wall")


def rows(module, returns, key="returns"):
    """A table in which every arm has what `returns(name)` gives, for each of its seeds."""
    arms = {
        name: {
            key: [float(returns(name))] * arm.seeds,
            "target_steps": [8000] * arm.seeds,
            "target_observations": [1000] * arm.seeds,
            "source_steps": [80_000] * arm.seeds,
            "seconds": [1] * arm.seeds,
        }
        for name, arm in module.arms().items()
    }
    return {"arms": arms, "versions": {}}


def cheetah(name):
    body, _, arm = name.partition(": ")
    if "reversed" in body:
        return {"source-only": 3000, "DARC": 2500, "oracle": 4000}[arm]
    return {"DARC": 4000, "oracle": 4200, "source-only": 2000}.get(arm, 1000)


def cheetahs(returns):
    """With the oracles, which are not runs of their own."""
    table = rows(darc_cheetah, returns)
    for body in ("broken", "broken, reversed", "obstacle", "obstacle, reversed"):
        oracle = {"returns": [float(returns(f"{body}: oracle"))] * 3, "target_steps": [80_000]}
        table["arms"][f"{body}: oracle"] = oracle
    return table


def test_what_is_trained_in_the_source_is_worth_there_what_it_is_without_a_shift(tmp_path):
    home = replace(PROBLEM, name="home", target=PROBLEM.source)
    away, stays = (Arm(problem, "source-only:steps=200", 2) for problem in (PROBLEM, home))
    for job in (*away.jobs(tmp_path), *stays.jobs(tmp_path)):
        prepare(job, resume=False)
        run(job)
    found = darc_cheetah._at_home(away, tmp_path)
    assert found == [round(r.shots[0].score, 1) for r in stays.results(tmp_path)]
    assert found != [round(r.shots[0].score, 1) for r in away.results(tmp_path)]


def test_the_cheetahs_claims_follow_the_numbers():
    table = cheetahs(cheetah)
    assert [claim.holds for claim in darc_cheetah.claims(table)] == [True] * 12
    assert "broken, reversed: DARC" in darc_cheetah.shown(table)


@pytest.mark.parametrize(
    ("arm", "value", "broken"),
    [
        ("broken: source-only", 3500, [0]),
        ("obstacle: RL on the target, as many target steps", 4500, [7]),
        ("broken: no classifier on (s, a)", 4100, [3]),
        ("broken: no noise", 4100, [4]),
        ("broken, reversed: DARC", 3900, [5]),
        ("obstacle: no noise", 4100, [10]),
        ("obstacle, reversed: oracle", 2000, [11]),
        ("broken: RL on the target, ten times the updates", 4500, [2]),
    ],
)
def test_each_of_the_cheetahs_claims_can_fail(arm, value, broken):
    table = cheetahs(lambda name: value if name == arm else cheetah(name))
    holds = [claim.holds for claim in darc_cheetah.claims(table)]
    assert [i for i, held in enumerate(holds) if not held] == broken


def test_the_cheetahs_figure_has_every_arm_in_the_row_of_its_name(monkeypatch):
    drawn = []
    monkeypatch.setattr("headstart.report.figures.save", lambda fig, path: drawn.append(fig))
    table = cheetahs(cheetah)
    for i, arm in enumerate(table["arms"].values()):
        arm["returns"] = [float(i)] * len(arm["returns"])
    darc_cheetah.draw(table, Path("unused.svg"))
    axes = drawn[0].axes
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    found = {}
    for axis, body in zip(axes, darc_cheetah.BODIES, strict=True):
        for name, patch in zip(names, axis.patches, strict=True):
            joined = ", " if name.startswith("reversed") else ": "
            found[body + joined + name] = patch.get_width()
    assert found == {name: arm["returns"][0] for name, arm in table["arms"].items()}


def drive(name):
    returns = {
        "source-only": 30,
        "oracle": 110,
        "random-convolution": 60,
        "domain-randomization": 70,
    }
    return 50 if name == confusion_drive.BAD else returns.get(name.split(": ")[1], 100)


def test_the_drivers_claims_follow_the_numbers():
    table = rows(confusion_drive, drive)
    assert [claim.holds for claim in confusion_drive.claims(table)] == [True] * 21
    assert confusion_drive.closed(table, "rain: reversal") == pytest.approx(70 / 80)
    for arm, value, broken in [
        ("dusk: source-only", 95, [7, 9, 10, 11]),
        ("rain: uniform", 80, [4]),
        ("dusk: random-convolution", 105, [12]),
        ("rain: domain-randomization", 105, [6]),
        ("fog: reversal", 80, [16]),
        ("low sun: reversal", 25, [18, 19]),
        (confusion_drive.BAD, 105, [20]),
    ]:
        table = rows(confusion_drive, lambda n, a=arm, v=value: v if n == a else drive(n))
        holds = [claim.holds for claim in confusion_drive.claims(table)]
        assert [i for i, held in enumerate(holds) if not held] == broken


def wall(detour=22, success=1.0):
    def arm(name, seeds):
        good = name != "source-only"
        steps = 10 if name == "reversed: oracle" else detour
        return {
            "success": [success if name == "DARC" else float(good)] * seeds,
            "target_steps": [0] * seeds,
            "source_steps": [0] * seeds,
            "paths": [[[0.0, 0.0]] * (steps + 1)] * seeds,
        }

    return {"arms": {name: arm(name, a.seeds) for name, a in darc_wall.arms().items()}}


def test_the_walls_claims_follow_the_numbers():
    assert [claim.holds for claim in darc_wall.claims(wall())] == [True] * 3
    assert [claim.holds for claim in darc_wall.claims(wall(success=0.9))] == [True, False, True]
    assert [claim.holds for claim in darc_wall.claims(wall(detour=10))] == [True, True, False]


def archery(soft=0.0, paid=-0.6, weighted=0.0):
    angles = darc_archery.ANGLES
    tops = {"source": -0.8185, "target": 0.0, "soft": soft, "mean": -0.82}
    values = {kind: (-2.0 * (angles - top) ** 2).tolist() for kind, top in tops.items()}
    chosen = {"source-only": -0.8, "DARC": -0.8, "importance weighting": weighted, "oracle": 0.0}
    arms = {name: {"angle": [a] * 5, "returns": [-0.55] * 5} for name, a in chosen.items()}
    arms["DARC"]["returns"] = [paid] * 5
    return {"angles": angles.tolist(), "arms": arms, "values": [values] * 5}


def test_the_arrows_claims_follow_the_numbers():
    assert darc_archery.best(archery(soft=0.1), "soft") == pytest.approx([0.1] * 5)
    assert [claim.holds for claim in darc_archery.claims(archery())] == [True] * 4
    assert [c.holds for c in darc_archery.claims(archery(soft=-0.5))] == [True, False, True, True]
    assert [c.holds for c in darc_archery.claims(archery(paid=-0.1))] == [True, True, False, True]
    assert not darc_archery.claims(archery(weighted=-0.4))[3].holds


def first(**changed):
    """Nine seeds a method, a little apart: the returns of each shot."""
    at = {
        "scratch": (0, 0, 15, 60, 80), "source-only": (60,) * 5, "finetune": (60, 60, 70, 120, 170),
        "domain-randomization": (150,) * 5, "epopt-posterior": (150, 160, 170, 170, 170),
        "oracle": (175,) * 5,
    } | changed  # fmt: skip
    wobble = [-1, 0, 1] * first_run.TRIPLES
    methods = {
        label: {
            "seeds": list(range(20, 29)),
            "returns": [[score + w for score in returns] for w in wobble],
            "source_steps": [0 if label == "oracle" else 700_000] * 9,
            "target_steps": [1_200_000 if label == "oracle" else 0] * 9,
        }
        for label, returns in at.items()
    }
    return {"shots": [0, 5, 20, 100, 200], "methods": methods}


def test_the_first_comparisons_claims_follow_the_numbers():
    each, triples = 6, first_run.TRIPLES
    assert [claim.holds for claim in first_run.claims(first())] == [True] * (each * triples + 1)
    for changed, broken in (
        ({"scratch": (60, 60, 60, 60, 80)}, {0}),
        ({"domain-randomization": (61,) * 5}, {1}),
        ({"epopt-posterior": (150, 160, 61, 170, 170)}, {2}),
        ({"finetune": (60, 60, 60, 60, 61)}, {3, 4}),
        ({"domain-randomization": (180,) * 5}, {5}),
    ):
        holds = [claim.holds for claim in first_run.claims(first(**changed))][:-1]
        assert {i % each for i, held in enumerate(holds) if not held} == broken
    table = first()
    table["methods"]["finetune"]["target_steps"] = [600_000] * 9
    assert not first_run.claims(table)[-1].holds


def test_arms_may_begin_at_a_later_seed(tmp_path):
    arm = Arm(PROBLEM, "source-only", 2, first=7)
    assert [job.seed for job in arm.jobs(tmp_path)] == [7, 8]
    assert [folder.name for folder in arm.folders(tmp_path)] == ["7", "8"]


def hallway(maxent=20, settled=80, scratch=None, entropy=1.0, zero=10.0):
    """Ten seeds an arm, with these episodes to the threshold."""

    def arm(episodes, entropy=-2.0, zero=0.0):
        levels = [entropy] * 5
        returns = [[zero + w, *[40.0] * 8] for w in (-0.5, 0.5) * 5]
        return {"returns": returns, "episodes": [episodes] * 10, "entropy": [levels] * 10}

    arms = {"scratch": arm(scratch), "oracle": arm(0), maxent_hallway.ADAPTIVE: arm(40),
            maxent_hallway.SETTLED: arm(settled),
            maxent_hallway.MAXENT: arm(maxent, entropy, zero)}  # fmt: skip
    return {"shots": maxent_hallway.SHOTS, "threshold": 30.0, "arms": arms}


def test_the_hallways_claims_follow_the_numbers():
    assert [claim.holds for claim in maxent_hallway.claims(hallway())] == [True] * 4
    for changed, broken in (
        ({"entropy": -2.0}, [0]),
        ({"settled": 40}, [1]),
        ({"scratch": 20}, [2]),
        ({"zero": 0.0}, [3]),
        ({"maxent": None}, [1, 2]),  # a threshold never reached counts as all the episodes
    ):
        holds = [claim.holds for claim in maxent_hallway.claims(hallway(**changed))]
        assert [i for i, held in enumerate(holds) if not held] == broken
    assert "never" in maxent_hallway.shown(hallway())


def kept(**changed):
    """Ten seeds an arm: returns on the target and in the source at the end."""
    at = dict.fromkeys(source_kept.LABELS, (30.0, 39.0))
    at |= {source_kept.NAIVE: (30.0, 15.0)} | changed
    arms = {
        name: {"target": [[2.0, target]] * 10, "source": [[40.0, source]] * 10, "same": [True] * 10}
        for name, (target, source) in at.items()
    }
    return {"shots": (0, 40), "arms": arms}


def test_what_is_kept_of_the_source_follows_the_numbers():
    assert [claim.holds for claim in source_kept.claims(kept())] == [True] * 11
    keepers = [*source_kept.KEEPERS, source_kept.COLUMNS]
    assert len(keepers) == 5
    assert not source_kept.claims(kept(naive=(30.0, 40.0)))[0].holds
    for i, name in enumerate(keepers):
        holds = [claim.holds for claim in source_kept.claims(kept(**{name: (26.0, 39.0)}))]
        assert [j for j, held in enumerate(holds) if not held] == [6 + i]
        if name != source_kept.COLUMNS:
            holds = [claim.holds for claim in source_kept.claims(kept(**{name: (30.0, 14.0)}))]
            assert [j for j, held in enumerate(holds) if not held] == [1 + i]
    table = kept()
    table["arms"][source_kept.COLUMNS]["same"][3] = False
    assert not source_kept.claims(table)[5].holds
    assert "backward transfer" in source_kept.shown(table)


def collapsed(**changed):
    """Returns over shots, and in the source, by arm, the same for both robots; five seeds."""
    at = dict.fromkeys(finetune_collapse.LABELS, (1000.0, 950.0, 900.0, 850.0))
    at |= {
        finetune_collapse.SCRATCH: (0.0, 100.0, 200.0, 300.0),
        finetune_collapse.AS_IT_CAME: (1000.0, 1000.0, 1000.0, 1000.0),
        finetune_collapse.NAIVE: (1000.0, 100.0, 300.0, 900.0),
        finetune_collapse.RECIPE: (1000.0, 990.0, 1100.0, 1200.0),
    } | {finetune_collapse.__dict__[name]: curve for name, curve in changed.items()}
    arms = {}
    for robot, problem in finetune_collapse.PROBLEMS.items():
        shots = problem.access.shots
        for name, curve in at.items():
            target = [[score + seed for score in curve[: len(shots)]] for seed in range(5)]
            means = [float(np.mean(curve)) + seed for seed in range(5)]
            arms[f"{robot}: {name}"] = {
                "shots": list(shots), "target": target, "mean": means, "source": means,
            }  # fmt: skip
    return {"arms": arms}


def test_the_collapse_follows_the_numbers():
    def holds(**changed):
        found = [claim.holds for claim in finetune_collapse.claims(collapsed(**changed))]
        assert found[:13] == found[13:]
        return found[:13]

    assert holds() == [True] * 13
    assert holds(NAIVE=(1000.0, 995.0, 995.0, 995.0))[:3] == [False, True, False]
    assert holds(RECIPE=(1000.0, 850.0, 1500.0, 1500.0))[1] is False
    assert holds(SCRATCH=(2000.0, 2000.0, 2000.0, 2000.0))[3] is False
    assert holds(AS_IT_CAME=(2000.0, 2000.0, 2000.0, 2000.0))[4] is False
    assert holds(NAIVE=(1000.0, 2000.0, 2000.0, 2000.0))[5:8] == [False] * 3
    assert holds(RECIPE=(1000.0, 940.0, 890.0, 840.0))[8:] == [False] * 5
    assert "half-cheetah: return after episodes" in finetune_collapse.shown(collapsed())


def walled(best=34.0, alone=18.0, tuned=18.0):
    """The same for each change; ten seeds an arm, a little apart."""
    scores = {smerl_obstacle.SAC: alone, smerl_obstacle.TUNED: tuned, smerl_obstacle.SMERL: best}
    arms = {
        f"{change}: {name}": {
            "returns": [score + w for w in (-0.3, 0.3) * 5],
            "at_home": [39.0] * 10,
        }
        for change in smerl_obstacle.PROBLEMS
        for name, score in scores.items()
    }
    tried = [[18.0, 18.2, 34.0, 17.9, 18.1]] * 10
    return {"arms": arms, "skills": dict.fromkeys(smerl_obstacle.PROBLEMS, tried)}


def test_claims_of_many_ways_follow_the_numbers():
    def holds(**changed):
        past, *above = [claim.holds for claim in smerl_obstacle.claims(walled(**changed))]
        assert above == above[:2] * 3
        return [past, *above[:2]]

    assert holds() == [True] * 3
    assert holds(best=22.1) == [False, True, True]
    assert holds(alone=34.0) == [False, False, True]
    assert holds(tuned=34.0) == [True, True, False]
    assert "17.9   18.0   18.1   18.2   34.0" in smerl_obstacle.shown(walled())


def skilled(where, **reached):
    """Five seeds an arm, which reach the threshold after so many episodes, or never."""
    arms = {}
    for name, until in (dict.fromkeys(diayn_finetune.LABELS, 1000) | reached).items():
        shots = diayn_finetune.PROBLEMS[where].access.shots
        returns = [0.0, *(1e4 * (n >= until) for n in shots[1:])]
        arms[f"{where}: {name}"] = {"shots": list(shots), "returns": [returns] * 5}
    return arms


def test_what_skills_are_worth_follows_the_numbers():
    def holds(**reached):
        arms = {}
        for where in diayn_finetune.PROBLEMS:
            arms |= skilled(where, **{diayn_finetune.__dict__[k]: v for k, v in reached.items()})
        table = {"arms": arms}
        assert "episodes to 28" in diayn_finetune.shown(table)
        found = [claim.holds for claim in diayn_finetune.claims(table)]
        assert found == found[:2] * len(diayn_finetune.PROBLEMS)
        return found[:2]

    assert holds(DIAYN=20) == [True, True]
    assert holds(DIAYN=30, SCRATCH=20, FRESH=30) == [False, False]
    assert holds(SCRATCH=20) == [False, False]
    assert holds() == [False, False]


def primed(**changed):
    """Five seeds an arm, a little apart after the last episode, and all the same before."""
    at = {"FRESH": 2500.0, "FEW": 2400.0, "BIASED": -600.0, "RESET": 1500.0} | changed
    arms = {
        getattr(primacy, name): {
            "returns": [[-400.0] * 6 + [score + w] for w in (-50, -20, 0, 20, 50)],
            "temperature": [0.1] * 5,
        }
        for name, score in at.items()
    }
    return {"shots": primacy.SHOTS, "arms": arms}


@pytest.mark.parametrize(
    ("changed", "fails"),
    [
        ({}, []),
        ({"FRESH": -600.0}, [0]),
        ({"FEW": -620.0}, [1]),
        ({"RESET": -590.0}, [2]),
        ({"BIASED": 2500.0}, [0, 1, 2]),
    ],
)
def test_the_primeds_claims_follow_the_numbers(changed, fails):
    claims = primacy.claims(primed(**changed))
    assert [i for i, claim in enumerate(claims) if not claim.holds] == fails
    assert "-600" in primacy.shown(primed())


def test_a_damaged_table_is_refused(tmp_path):
    path = tmp_path / "primacy.json"
    whole = (Path(studies.__file__).parent / "primacy.json").read_text()
    path.write_text(whole)
    assert "digest" not in studies.stored("primacy", tmp_path)
    for damaged in (whole[:-9], whole.replace("1", "2", 1), "[]", "{}", whole.replace("4", "NaN")):
        path.write_text(damaged)
        with pytest.raises(HeadstartError, match="is damaged"):
            studies.stored("primacy", tmp_path)


def room(**changes):
    """Results in which every claim about green and red holds, but for what is changed."""
    seeds = [0.0] * reach_avoid.SEEDS
    goals = {"return": -10.0, "green": 1, "red": 20, "clean": 0, "best": 14.0}
    oracle = {"return": 33.0, "green": 1, "red": 0}
    goals |= {name: value for name, value in changes.items() if name in goals}
    oracle |= {name[7:]: v for name, v in changes.items() if name.startswith("oracle_")}
    arms = {
        name: {column: [value for _ in seeds] for column, value in arm.items()}
        for name, arm in ((reach_avoid.GOALS, goals), (reach_avoid.ORACLE, oracle))
    }
    arms[reach_avoid.GOALS] |= {"returns": [[goals["return"], goals["best"]]] * len(seeds)}
    arms[reach_avoid.GOALS] |= {"tuned": seeds}
    return {"arms": arms}


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"green": 0}, [0]),
        ({"red": 8}, [1]),
        ({"return": 3.0}, [2]),
        ({"clean": 1}, [3]),
        ({"best": 17.0}, [4]),
        ({"oracle_green": 0}, [5]),
        ({"oracle_red": 2}, [6]),
    ],
)
def test_the_claims_of_reaching_and_avoiding_follow_the_numbers(changes, broken):
    table = room(**changes)
    holds = [claim.holds for claim in reach_avoid.claims(table)]
    assert [i for i, held in enumerate(holds) if not held] == broken
    assert "told the place that is best" in reach_avoid.shown(table)
