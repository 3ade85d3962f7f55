"""Comparing methods from Python."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

import headstart
from headstart import Access, HeadstartError
from headstart.result import Result, estimate
from small import TRACK

QUICK = replace(TRACK, sweep={}, access=Access(shots=(0, 4)), episodes=2)
HERE = {"seeds": 2, "engine": "own:InProcess"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return headstart.compare(
        QUICK, ["scratch", "source-only"], out=str(tmp_path_factory.mktemp("r")), **HERE
    )


def test_its_table_is_the_results(made):
    table = made.table()
    assert list(zip(table["method"], table["seed"], table["episodes"], strict=True)) == [
        (label, seed, shot)
        for label in ("scratch", "source-only") for seed in (0, 1) for shot in (0, 4)
    ]  # fmt: skip
    run = Result.read(made.folder / "source-only" / "1" / "result.json")
    row = table[(table["method"] == "source-only") & (table["seed"] == 1)].iloc[1]
    assert row["return"] == run.shots[1].score
    assert row["source_return"] == run.shots[1].source_score
    assert row["source_steps"] == run.source["steps"]
    mean = table.groupby(["method", "episodes"])["return"].mean()["scratch", 4]
    runs = made.runs.results["scratch"]
    assert mean == pytest.approx(estimate([r.shots[1].score for r in runs]).value)


def test_it_is_drawn_reported_and_shown(made):
    figure = made.plot()
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}
    plt.close(figure)
    assert lines.keys() == {"scratch", "source-only"}
    ends = [run.shots[1].score for run in made.runs.results["scratch"]]
    assert lines["scratch"][1] == pytest.approx(estimate(ends).value)
    assert made.report().read_text().startswith("<!")
    shown = made._repr_html_()
    assert shown.startswith("<svg")
    assert "<th>source-only</th>" in shown
    assert "after 4 episodes" in shown


def test_of_all_methods_those_run_that_can(tmp_path, monkeypatch):
    plain = replace(QUICK, methods={})
    found = headstart.compare(plain, out=tmp_path, seeds=1, engine="own:Nothing")
    assert "no knowledge is named" in found.left_out["pretrained"]
    assert {failure.job.label for failure in found.failures} >= {"scratch", "source-only"}
    stored = json.loads((tmp_path / "track" / "left_out.json").read_bytes())
    assert stored == found.left_out
    with pytest.raises(HeadstartError, match="holds no finished run"):
        found.table()
    with pytest.raises(HeadstartError, match="no knowledge is named"):
        headstart.compare(plain, ["pretrained"], out=tmp_path)
    with pytest.raises(HeadstartError, match="unknown problem 'hooper-mass': did you mean"):
        headstart.compare("hooper-mass")
