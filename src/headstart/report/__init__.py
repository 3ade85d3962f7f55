"""The report: one HTML file with everything inside, that opens from disk without a network."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from headstart.knowledge import Knowledge
from headstart.methods.method import Moves
from headstart.problem import TransferProblem
from headstart.report import reach
from headstart.report.compared import Compared
from headstart.report.figures import bar, bent, colour, figure, legend, over_shots, svg
from headstart.report.page import write_page
from headstart.report.table import (
    Jobs,
    Results,
    first_shot,
    meanings,
    notes,
    recipes,
    rows,
    settings,
    warnings,
)
from headstart.report.views import stills
from headstart.result import Shot, threshold_from
from headstart.runs.run import GRAFT

MOST_MAPS = 4
"""Methods, at most, whose moves are drawn."""
Logs = Mapping[str, Sequence[list[dict[str, Any]]]]
"""What the runs of every method have logged."""


def write(compared: Compared) -> Path:
    """Write `report.html` into the folder that was read.

    Raises:
        HeadstartError: it cannot be written.
    """
    folder, problem, results, jobs, logs, unfinished, left_out = compared
    threshold = threshold_from(results)
    first, table = next(iter(results.values()))[0], rows(results, threshold, jobs)
    path = folder / "report.html"
    write_page(
        path,
        "report.html.jinja",
        problem=problem,
        rows=table,
        first_shot=first_shot(problem),
        meanings=meanings(results, problem),
        warnings=warnings(results, problem),
        recipes=recipes(compared),
        grafted=_grafted(folder, jobs),
        notes=notes(compared),
        threshold=threshold,
        shots_figure=svg(shots_figure(results), "shots"),
        kept_figure=_kept_figure(results),
        entropy_figure=_entropy_figure(results, logs),
        met=any(row["success"] != "–" for row in table),
        sweep_figure=svg(reach.figure_of(results), "sweep") if problem.sweep else None,
        sweep_name=" and ".join(problem.sweep),
        reach_rows=reach.rows(results, problem),
        reach_kinds=reach.KINDS,
        learning_figure=svg(_learning_figure(logs), "learning"),
        curves_figure=_curves_figure(logs, jobs),
        views={"source": stills(problem.source), "target": stills(problem.target)},
        paths_figure=_paths_figure(folder, results, problem),
        moves_figure=_moves_figure(folder, jobs, problem),
        movies=_movies(folder, results, problem),
        seeds={label: [r.seed for r in runs] for label, runs in results.items()},
        unfinished=unfinished,
        left_out=left_out,
        settings=settings(jobs),
        versions=first.versions,
    )
    return path


def shots_figure(results: Results) -> Figure:
    """Returns on the target over its episodes, or as bars if they are reported but once."""
    if len(_shots(results)) == 1:
        return _returns_figure(results)
    return over_shots(_shots(results), _scores(results, lambda shot: shot.score))


def _kept_figure(results: Results) -> str | None:
    """Returns in the source over shots, if there are several, and results that have them."""
    shots = _shots(results)
    known = all(shot.source for runs in results.values() for run in runs for shot in run.shots)
    if len(shots) == 1 or not known:
        return None
    scores = _scores(results, lambda shot: shot.source_score)
    return svg(over_shots(shots, scores, "return in the source"), "kept")


def _entropy_figure(results: Results, logs: Logs) -> str | None:
    """How surely each method's policies act: what was carried, in the source, where it is gone on
    with, and the first and last on the target, in results that say so."""
    known = {
        label: [run for run in runs if run.shots[0].entropy] for label, runs in results.items()
    }
    if not all(known.values()):
        return None
    fig, (axis,) = figure(height=0.9 + 0.4 * len(known))
    for index, (label, runs) in enumerate(known.items()):
        drawn = [
            ([r["entropy"] for log in logs[label] for r in log if r["phase"] == "carried"], "D"),
            ([run.shots[0].entropy for run in runs], "o"),
            ([run.shots[-1].entropy for run in runs], "s"),
        ]
        for (entropies, marker), shift in zip(drawn, (0.26, 0.0, -0.26), strict=True):
            if not entropies:
                continue
            low, middle, high = np.mean(entropies, axis=0)
            row, style = len(known) - index + shift, "full" if marker == "s" else "none"
            axis.plot([low, high], [row, row], color=colour(index), linewidth=1.2)
            axis.plot(middle, row, marker, color=colour(index), markersize=5, fillstyle=style)
    axis.set_yticks(range(len(known), 0, -1), list(known))
    label = "entropy, nats: ◇ carried, in the source; ○ first policy, ■ last, on the target"
    if bent(axis):  # a policy has settled, and would flatten the others
        label += "; logarithmic below -10"
    axis.set_xlabel(label)
    return svg(fig, "entropy")


def _shots(results: Results) -> list[int]:
    """The episodes after which policies are reported."""
    return [shot.episodes for shot in next(iter(results.values()))[0].shots]


def _scores(results: Results, score: Callable[[Shot], float]) -> dict[str, list[list[float]]]:
    """By method, a row for each run and a column for each shot."""
    return {
        label: [[score(shot) for shot in run.shots] for run in runs]
        for label, runs in results.items()
    }


def _returns_figure(results: Results):
    """Where there is one shot only: every method's return, a dot for each seed."""
    fig, (axis,) = figure(height=0.8 + 0.4 * len(results))
    for index, runs in enumerate(results.values()):
        bar(axis, len(results) - index, [run.shots[0].score for run in runs], index)
    axis.set_yticks(range(len(results), 0, -1), list(results))
    axis.set_xlabel("return on the target")
    return fig


def _learning_figure(logs: Logs):
    titles = {"pretrain": "pre-training", "adapt": "adaptation"}
    curves: list[tuple[str, int, str | None, list[float], list[float]]] = []
    for index, (label, runs) in enumerate(logs.items()):
        for number, log in enumerate(runs):
            for phase in titles:
                chosen = [
                    r for r in log if r["phase"] == phase and r.get("train_return") is not None
                ]
                x = [r["steps" if phase == "pretrain" else "episodes"] for r in chosen]
                y = _smoothed([r["train_return"] for r in chosen])
                name = label if number == 0 else None
                if chosen:
                    curves.append((phase, index, name, x, y))
    phases = [phase for phase in titles if any(curve[0] == phase for curve in curves)]
    fig, axes = figure(columns=max(len(phases), 1))
    for axis, phase in zip(axes, phases, strict=False):
        for _, index, name, x, y in (curve for curve in curves if curve[0] == phase):
            dot = "." if len(x) == 1 else None
            axis.plot(x, y, marker=dot, color=colour(index), label=name, linewidth=0.9, alpha=0.8)
        axis.set_title(titles[phase])
        axis.set_xlabel("steps" if phase == "pretrain" else "episodes on the target")
        axis.locator_params(axis="x", nbins=5)
    axes[0].set_ylabel("return while training")
    legend(fig, *axes)
    return fig


def _curves_figure(logs: Logs, jobs: Jobs) -> str | None:
    """What methods measured of themselves while they trained, if any did."""
    wanted = dict.fromkeys(name for job in jobs.values() for name in job.method.curves)
    curves: list[tuple[str, int, str | None, list[float], list[float]]] = []
    for index, (label, runs) in enumerate(logs.items()):
        for number, log in enumerate(runs):
            for name in wanted:
                chosen = [r for r in log if name in r]
                x, y = [r["steps"] for r in chosen], [r[name] for r in chosen]
                if len(set(x)) > 1:
                    curves.append((name, index, label if number == 0 else None, x, y))
    names = [name for name in wanted if any(curve[0] == name for curve in curves)]
    if not names:
        return None
    fig, axes = figure(columns=len(names), share=False)
    for axis, name in zip(axes, names, strict=True):
        for _, index, label, x, y in (curve for curve in curves if curve[0] == name):
            axis.plot(x, _smoothed(y), color=colour(index), label=label, linewidth=0.9)
        axis.set_title(name.replace("_", " "))
        axis.set_xlabel("steps")
    legend(fig, *axes)
    return svg(fig, "judges")


def _paths_figure(folder: Path, results: Results, problem: TransferProblem) -> str | None:
    """Each method's way through source and target, where they can be seen from above."""
    from headstart.report.maps import draw_paths, floor_map

    if floor_map(problem.target) is None:
        return None
    policies = {
        label: _policy(folder / label / str(runs[0].seed)) for label, runs in results.items()
    }
    fig, axes = figure(columns=2, height=4.6, share=False)
    for axis, (side, domain) in zip(axes, _sides(problem), strict=True):
        draw_paths(axis, domain, policies, results[next(iter(results))][0].seed)
        axis.set_title(side)
    legend(fig, *axes)
    return svg(fig, "paths")


def _moves_figure(folder: Path, jobs: Jobs, problem: TransferProblem) -> dict[str, Any] | None:
    """What each move of the source was worth, side by side where methods say the same of them."""
    from headstart.report.maps import draw_moves, floor_map

    if floor_map(problem.source) is None:
        return None
    found: dict[str, Moves] = {}
    for label, job in jobs.items():
        run = folder / label / str(job.seed)
        moves = job.method.moves(Knowledge.load(run / "knowledge"), _policy(run), problem.source)
        if moves is not None and all(moves.label == other.label for other in found.values()):
            found[label] = moves
        if len(found) == MOST_MAPS:
            break
    if not found:
        return None
    labels, first = list(found), next(iter(found.values()))
    fig, axes = figure(len(labels), width=1.2 + 4.0 * len(labels), height=4.4, share=False)
    lines: Any = None
    for axis, label in zip(axes, labels, strict=True):
        lines = draw_moves(axis, found[label], problem.source)
        axis.set_title(label)
    fig.colorbar(lines, ax=axes, label=first.label, shrink=0.8)
    return {"svg": svg(fig, "moves"), "meaning": first.meaning, "single": len(labels) == 1}


def _grafted(folder: Path, jobs: Jobs) -> list[tuple[str, list[dict[str, str]]]]:
    """What became of each tensor, once for the methods of which the same became."""
    methods: dict[bytes, list[str]] = {}
    for label, job in jobs.items():
        path = folder / label / str(job.seed) / GRAFT
        if path.exists():
            methods.setdefault(path.read_bytes(), []).append(label)
    return [(", ".join(labels), json.loads(table)) for table, labels in methods.items()]


def _sides(problem: TransferProblem):
    return ("source", problem.source), ("target", problem.target)


def _policy(run: Path) -> Any:
    return _loaded(run / "adapted", run)


def _loaded(folder: Path, run: Path) -> Any:
    from headstart.methods.method import trusted
    from headstart.policies.policy import policy_from
    from headstart.runs.job import Job

    return policy_from(Knowledge.load(folder), trusted=trusted(Job.read(run).method.learner))


def _smoothed(values: Sequence[float], share: float = 0.9) -> list[float]:
    """An exponential average without its start-up bias."""
    shown, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = share * total + value, share * weight + 1
        shown.append(total / weight)
    return shown


def _movies(folder: Path, results: Results, problem: TransferProblem) -> list[dict[str, Any]]:
    from headstart.report.movie import movie

    shown = []
    for label, runs in results.items():
        run = folder / label / str(runs[0].seed)
        pictures = []
        for kind, name in (("zero-shot", "zero_shot"), ("adapted", "adapted")):
            if not (run / name).exists():
                continue
            policy = _loaded(run / name, run)
            shot = runs[0].shots[0 if kind == "zero-shot" else -1]
            picture = movie(policy, problem.target, runs[0].seed)
            if picture is not None:
                zero = kind != "zero-shot" or shot.episodes == 0
                score = f": {shot.score:,.0f}" if zero else ""
                pictures.append({"kind": kind, "uri": picture, "score": score})
        if pictures:
            shown.append({"label": label, "pictures": pictures})
    return shown
