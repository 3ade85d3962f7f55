"""The report, looked at in a real browser."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from headstart import Access, Domain, HeadstartError, Normal, TransferProblem
from headstart.report import write
from headstart.report.compared import read
from headstart.report.figures import bent, figure, legend, svg
from headstart.runs.job import make_job, prepare
from headstart.runs.run import run
from small import FIELDS, PPO

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
PROBLEM = TransferProblem(
    name="hopper-tiny",
    description='From many masses to one <heavier> & "other" one',
    source=Domain("hopper", torso_mass=Normal(6.0, 1.5, 3.0, 9.0)),
    target=Domain("hopper", torso_mass=8.0),
    access=Access(shots=(0, 2, 6)),
    sweep={"torso_mass": (4, 6, 8)},
    episodes=2,
    sweep_episodes=1,
    learner=PPO,
    methods=FIELDS,
)
METHODS = ["scratch", "oracle", "finetune", "epopt", "epopt-posterior"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        for name in METHODS:
            job = make_job(PROBLEM, name, seed, out)
            prepare(job, resume=False)
            result = run(job)
            if name == "epopt-posterior":
                assert result.target["episodes"] == 4
    prepare(make_job(PROBLEM, "scratch", 2, out), resume=False)  # never run
    failed = make_job(PROBLEM, "scratch", 3, out)
    prepare(failed, resume=False)
    traceback = "Traceback (most recent call last)\n  File\nZeroDivisionError: the motor is gone\n"
    (failed.folder / "worker.err").write_text(traceback)
    left_out = json.dumps({"darc": "no steps <of the target>"})
    (out / PROBLEM.name / "left_out.json").write_text(left_out)
    return write(read(out / PROBLEM.name))


def browse(page, folder, *arguments):
    assert BROWSER, "this test needs a browser: apt-get install chromium"
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", f"--user-data-dir={folder}", *arguments, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_everything_is_inside(report):
    html = report.read_text()
    outside = re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*|url\((?!#)[^)]*|@import[^;]*", html)
    assert outside == []
    assert html.count("<svg") == 5
    assert html.count("data:image/webp;base64,") == 2 * len(METHODS)
    assert html.count("data:image/png;base64,") == 2
    assert "From many masses to one &lt;heavier&gt; &amp;" in html
    for name in METHODS:
        assert f"</span>{name}</td>" in html
    assert "scratch/2</b>: not run to its end" in html
    assert "scratch/3</b>: ZeroDivisionError: the motor is gone (where, is in" in html
    assert "<dt>darc</dt><dd>no steps &lt;of the target&gt;</dd>" in html
    assert html.count("without a limit</span>") == 1  # the oracle's episodes
    rows = r"<tr><td>([\w.]+)</td><td>(.*?)</td><td class=\"soft\">(.*?)</td></tr>"
    fields = re.findall(
        rows, html.partition("<summary>epopt</summary>")[2].partition("</table>")[0]
    )
    assert ("trajectories", "<b>8</b>", "set") in fields
    assert ("learner.hidden", "<b>16</b>", "set") in fields
    assert ("epsilon", "0.1", "as it comes") in fields
    ids = re.findall(r"\bid=\"([^\"]+)\"", html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:href=\"|url\()#([^\")]+)", html)) <= set(ids)


@pytest.mark.parametrize("width", [1280, 420])
def test_it_looks_right_in_a_browser(report, width, tmp_path):
    picture = tmp_path / "report.png"
    browse(report, tmp_path / "a", f"--screenshot={picture}", f"--window-size={width},3000")
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape[1] == width
    inked = (np.abs(pixels - 255).sum(2) > 60).mean(1) > 0.01
    assert inked[:2000].mean() > 0.2  # text and figures all the way down, no blank page

    probe = tmp_path / "probe.html"
    script = """<script>addEventListener('load', () => {
      const wide = [...document.querySelectorAll('body *')].filter(e =>
        !e.closest('svg') && !e.closest('.wide') && !e.closest('figure')
        && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName);
      const broken = [...document.images].filter(i => !i.complete || !i.naturalWidth).length;
      const svgs = [...document.querySelectorAll('figure > svg')].map(
        s => s.getBoundingClientRect().height > 100).join();
      document.title = `wide=${document.documentElement.scrollWidth - innerWidth} `
        + `over=${wide} broken=${broken} images=${document.images.length} svgs=${svgs}`;
    });</script>"""
    probe.write_text(report.read_text().replace("</body>", script + "</body>"))
    dom = browse(probe, tmp_path / "b", "--dump-dom", f"--window-size={width},3000",
                 "--virtual-time-budget=4000")  # fmt: skip
    said = re.search(r"<title>(.*?)</title>", dom).group(1)
    wide = int(re.search(r"wide=(-?\d+)", said).group(1))
    assert wide <= 0, said
    assert "over= " in said
    assert "broken=0" in said
    assert f"images={2 * len(METHODS) + 2}" in said  # and source and target
    assert "svgs=true,true,true" in said


def test_pictures_move(report):
    import base64
    import io

    html = report.read_text()
    movies = re.findall(r"data:image/webp;base64,([^\"]+)", html)
    for movie in movies:
        image = Image.open(io.BytesIO(base64.b64decode(movie)))
        assert image.n_frames > 3
        first = np.asarray(image.convert("RGB")).astype(int)
        image.seek(image.n_frames - 1)
        last = np.asarray(image.convert("RGB")).astype(int)
        assert (np.abs(first - last).sum(2) > 60).mean() > 0.005


def test_the_table_has_the_columns_that_the_problem_has(report, tmp_path):
    def heads(page):
        return re.findall(r"<th>(.*?)</th>", page.read_text().partition("<details>")[0])

    tried = ["return after the last shot", "jumpstart over scratch",
             "mean over the shots (area)", "forward transfer",
             "episodes to the threshold"]  # fmt: skip
    steps = ["source steps", "target steps", "target episodes"]
    kept = ["method", "source return, before", "source return, after", "backward transfer",
            "entropy, before", "entropy, after"]  # fmt: skip
    assert heads(report) == ["method", "zero-shot return", *tried, *steps, *kept]
    for observations, seen in ((0, []), (64, ["target observations"])):
        access = Access(shots=(0,), observations=observations)
        once = replace(PROBLEM, name=f"once-{observations}", access=access, sweep={})
        job = make_job(once, "source-only", 0, tmp_path)
        prepare(job, resume=False)
        run(job)
        expected = ["method", "zero-shot return", steps[0], *seen, *steps[1:]]
        kept = ["method", "source return", "entropy"]
        assert heads(write(read(tmp_path / once.name))) == expected + kept


def test_a_log_that_is_not_the_one_that_a_run_ended_with_is_not_drawn(report, tmp_path):
    shutil.copytree(report.parent, tmp_path / "copy")
    log = tmp_path / "copy" / "scratch" / "0" / "log.jsonl"
    whole = log.read_bytes()
    for damaged in (whole.replace(b"1", b"2", 1), whole[:-1], b""):
        log.write_bytes(damaged)
        with pytest.raises(HeadstartError, match=r"log.jsonl is damaged: it is not the file that"):
            read(tmp_path / "copy")
    log.unlink()
    with pytest.raises(HeadstartError, match=r"cannot read .*log.jsonl"):
        read(tmp_path / "copy")


def test_a_scale_is_bent_only_where_something_lies_far_below():
    for values, ticks in (([-800, -3, 2], ["-100", "-10", "0", "10"]), ([-20, 2], None)):
        _, (axis,) = figure()
        axis.plot(values, values)
        before = axis.get_xticks().tolist()
        assert bent(axis) == (ticks is not None)
        if ticks is None:
            assert axis.get_xticks().tolist() == before
        else:
            assert [label.get_text() for label in axis.get_xticklabels()] == ticks


def test_a_legend_names_what_any_of_its_panels_shows_as_it_is_written():
    fig, (left, right) = figure(columns=2)
    left.plot([0, 1], label="$a_1$ and $b$")
    left.plot([1, 0])
    right.plot([0, 1], label="_own:Method")
    right.plot([0, 1], label="$a_1$ and $b$")
    right.set_title("$50 or $60")
    legend(fig, left, right)
    texts = re.findall(r"<text[^>]*>([^<]*[a-z][^<]*)</text>", svg(fig, "x"))
    assert texts == ["$50 or $60", "$a_1$ and $b$", "_own:Method"]


@pytest.mark.parametrize(("label", "columns"), [("darc", 3), ("darc:ratio.classifiers=triple", 2)])
def test_a_legend_of_long_labels_fits_below_its_figure(label, columns):
    fig, (axis,) = figure()
    for index in range(6):
        axis.plot([0, 1], label=f"{label} {index}" * (1 if index else 3))
    legend(fig, axis)
    fig.canvas.draw()
    (shown,) = fig.legends
    box = shown.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= fig.bbox.width
    lefts = {round(text.get_window_extent().x0) for text in shown.get_texts()}
    assert len(lefts) == columns
    assert all(len(text.get_text()) <= 45 for text in shown.get_texts())
