"""What is said of results whose answer is known."""

from pathlib import Path

import pytest
from rich.console import Console

from headstart import Access, Domain, TransferProblem
from headstart.methods.epopt_posterior import EPOptPosterior
from headstart.methods.finetune import Finetune
from headstart.methods.scratch import Scratch
from headstart.report.compared import Compared
from headstart.report.table import meanings, rows, summary, warnings
from headstart.result import Result, Shot, threshold_from
from headstart.runs.job import Job

PROBLEM = TransferProblem(
    "cold", source=Domain("archery"), target=Domain("archery"), access=Access(shots=(0, 20))
)


def runs(method, first, last, drawn=0.0):
    """Three seeds whose returns differ by ±1; sampled actions return `drawn` more."""
    shift = (-1.0, 0.0, 1.0)
    return [
        Result(
            "cold", method, seed, {"steps": 1000}, {"steps": 5, "episodes": 20, "observations": 0},
            [
                Shot(episodes, 0, [score + shift[seed]] * 2, [score + shift[seed] + drawn] * 2)
                for episodes, score in ((0, first), (20, last))
            ],
            {}, {},
        )
        for seed in range(3)
    ]  # fmt: skip


RESULTS = {
    "scratch": runs("scratch", 0, 20),
    "source-only": runs("source-only", 50, 50),
    "finetune": runs("finetune", 50, 90),
    "epopt": runs("epopt", 40, 40),
    "oracle": runs("oracle", 100, 100),
}


def test_every_method_gets_its_sentence():
    said = meanings(RESULTS, PROBLEM)
    assert said["scratch"] == "without any source, returns 20 [18, 22] after 20 target episodes."
    assert said["source-only"] == (
        "returns 50 [48, 52] before any target episode, above a policy that knows nothing by 50. "
        "That is 50 % of the oracle's return."
    )
    assert said["finetune"] == (
        "returns 50 [48, 52] before any target episode, not clearly different from source-only; "
        "90 [88, 92] after 20 target episodes, above scratch by 70. That is 90 % of the oracle's "
        "return."
    )
    assert "below source-only by 10" in said["epopt"]
    assert said["oracle"] == "trained on the target itself, returns 100 [98, 102]: what can be had."


def test_the_table_says_what_was_kept():
    adapted = runs("finetune", 50, 90)
    for run, after in zip(adapted, (20.0, 30.0, 40.0), strict=True):
        first, last = run.shots
        first.source[:], last.source[:] = [80.0], [after]
        first.entropy[:], last.entropy[:] = [-1.0, 0.5, 1.0], [0.0, 1.0, 1.25]
    row, other = rows({"finetune": adapted, "epopt": runs("epopt", 40, 40)}, None, {})
    assert row["source_first"] == "80 [80, 80]"
    assert row["source_last"] == "30 [5, 55]"
    assert row["backward"] == "-50 [-75, -25]"
    assert (row["entropy_first"], row["entropy_last"]) == (
        "0.50 [-1.00, 1.00]",
        "1.00 [0.00, 1.25]",
    )
    assert other["backward"] == other["entropy_first"] == "–"


@pytest.mark.parametrize(
    ("method", "told"), [(Finetune(pretrained="lost"), True), (Scratch(), False)]
)
def test_who_starts_from_a_folder_has_a_source_to_forget(method, told):
    adapted = runs("finetune", 50, 90)
    for run in adapted:
        run.source["steps"] = 0
        run.shots[0].source[:], run.shots[1].source[:] = [80.0], [30.0]
    job = Job(PROBLEM, "finetune", method, 0, Path(), ())
    (row,) = rows({"finetune": adapted}, None, {"finetune": job})
    assert row["backward"] == ("-50 [-50, -50]" if told else "–")


def test_one_seed_decides_nothing():
    single = {label: results[:1] for label, results in RESULTS.items()}
    assert "10 below source-only (few seeds: it may be luck)" in meanings(single, PROBLEM)["epopt"]


@pytest.mark.parametrize(("drawn", "warned"), [(0.0, False), (1.5, False), (-10.0, True)])
def test_it_warns_where_drawn_actions_return_something_else(drawn, warned):
    """The interval of three scores one apart reaches 2.5 either way."""
    found = warnings({"epopt": runs("epopt", 40, 40, drawn)}, PROBLEM)
    assert len(found) == (2 if warned else 0)  # at the first shot and the last
    if warned:
        assert found[0].startswith("epopt, after 0 episodes")
        assert "the return is 30 [28, 32], not 40 [38, 42]" in found[0]


def test_it_warns_where_the_oracle_is_no_measure():
    below = {"scratch": runs("scratch", 50, 60), "oracle": runs("oracle", 40, 40)}
    (found,) = warnings(below, PROBLEM)
    assert found.startswith("the oracle returns 40, which is not above scratch's first policy")
    assert threshold_from(below) is None


def test_it_warns_where_scratch_passes_what_the_oracle_had():
    late = {"scratch": runs("scratch", 50, 90), "oracle": runs("oracle", 60, 60)}
    (found,) = warnings(late, PROBLEM)
    assert found.startswith("the oracle returns 60, and scratch 70 on average over its episodes")


def test_it_warns_where_the_oracle_is_not_clearly_above():
    """Three scores one apart each: a difference of 1 is within the noise, one of 10 is not."""
    (found,) = warnings(
        {"scratch": runs("scratch", 50, 50), "oracle": runs("oracle", 51, 51)}, PROBLEM
    )
    assert found.startswith("the oracle is not clearly above scratch's first policy, apart by 1")
    clear = {"scratch": runs("scratch", 50, 50), "oracle": runs("oracle", 60, 60)}
    assert warnings(clear, PROBLEM) == []


def test_it_does_not_warn_where_drawn_actions_return_anything():
    """Their mean is outside the others' interval, and their own interval holds the others' mean."""
    spread = runs("epopt", 40, 40)
    for run, returned in zip(spread, (0.0, 20.0, 70.0), strict=True):
        for shot in run.shots:
            shot.sampled[:] = [returned] * 2
    assert warnings({"epopt": spread}, PROBLEM) == []


def test_a_first_shot_after_some_episodes_is_not_called_zero_shot():
    later = TransferProblem(
        "cold", source=Domain("archery"), target=Domain("archery"), access=Access(shots=(5, 20))
    )
    compared = Compared(
        Path(), later, {"epopt": runs("epopt", 40, 40)}, {}, {"epopt": [[]] * 3}, {}, {}
    )
    assert "zero-shot" not in said(compared._replace(jobs={"epopt": Posed()}))


class Posed:
    """A job, as far as the summary is concerned."""

    method = EPOptPosterior()


def said(compared):
    console = Console(width=100)
    with console.capture() as captured:
        console.print(summary(compared))
    return captured.get()


def test_the_summary_has_a_line_for_every_method():
    logs = {label: [[]] * 3 for label in RESULTS}
    text = said(Compared(Path(), PROBLEM, RESULTS, dict.fromkeys(RESULTS, Posed()), logs, {}, {}))
    assert "zero-shot" in text
    line = next(line for line in text.splitlines() if line.strip().startswith("finetune"))
    assert line.split() == ["finetune", "50", "[48,", "52]", "90", "[88,", "92]", "1,000", "20"]


def test_a_posterior_says_whether_it_explains_the_target():
    row = {"phase": "posterior", "episodes": 5, "mean": {"mass": 9.0, "drag": 1.0},
           "std": {"mass": 0.1, "drag": 0.0}, "beta": 1.0, "chi2": 0.9}  # fmt: skip
    method = EPOptPosterior()
    assert method.notes([{"phase": "adapt"}]) == []
    assert method.notes([row]) == ["after 5 target episodes it inferred mass 9 ± 0.1."]
    assert "no parameters of the source explain the target" in method.notes([row | {"chi2": 3}])[0]
    assert "ended at β = 0.3" in method.notes([row | {"beta": 0.3}])[0]
