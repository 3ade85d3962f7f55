"""What a person sees who does not sit at a terminal."""

import pytest

from headstart.runs import progress
from headstart.runs.job import make_job
from headstart.runs.progress import Every, bars, board
from small import TRACK


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)


def test_a_run_says_how_far_it_is_and_what_it_returns(at_once, tmp_path, capsys):
    with bars("epopt, seed 0", tmp_path) as show:
        show("pretrain", 10, 100)
        rows = '{"train_return": 3.0}\n{"train_return": -1234.56, "x": 1}\n{"x": 2}\n'
        (tmp_path / "log.jsonl").write_text("{}\n" * 4000 + rows)
        show("adapt", 30, 60)
    assert capsys.readouterr().err.splitlines() == [
        "epopt, seed 0: pretrain, 10%", "epopt, seed 0: adapt, return -1235, 50%",
    ]  # fmt: skip


def test_so_does_a_comparison(at_once, tmp_path, capsys):
    job = make_job(TRACK, "source-only", 3, tmp_path)
    job.folder.mkdir(parents=True)
    (job.folder / "log.jsonl").write_text('{"train_return": 7.25}\n')
    with board(9) as watch:
        watch({job: 0.5}, 2, 9)
        watch({}, 9, 9)
    said = "2 of 9 runs: source-only, seed 3, return 7.25, 50%\n"
    assert capsys.readouterr().err == said


def test_lines_are_some_time_apart(capsys, tmp_path):
    with bars("epopt, seed 0", tmp_path) as show:
        show("pretrain", 10, 100)
    assert capsys.readouterr().err == ""
    due = Every(1e6)
    assert not due()
