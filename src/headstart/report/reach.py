"""How far what was learned reaches: returns on targets whose parameters are others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from headstart import envs
from headstart.problem import TransferProblem
from headstart.problem.held_out import KINDS, kind_of
from headstart.report.figures import band, colour, figure, legend
from headstart.report.table import Results, shown
from headstart.result import Result, Swept, estimate, iqm

MAPS = 3
"""Of returns over two parameters, side by side."""

__all__ = ["KINDS", "figure_of", "rows"]


def figure_of(results: Results) -> Figure:
    """Lines over one swept parameter, or a map of returns over two."""
    swept = [Swept(**row) for row in next(iter(results.values()))[0].sweep]
    return _maps(results, swept) if swept[0].second else _lines(results, swept)


def rows(results: Results, problem: TransferProblem) -> list[dict[str, Any]]:
    """The zero-shot return of every method by kind of task, as text; none where the source does
    not vary what is swept, or all tasks are of one kind."""
    if not problem.sweep or not set(problem.source.varied):
        return []
    if {one.environment for one in problem.source.apart()} != {problem.target.environment}:
        return []
    nominal = {name: p.nominal for name, p in envs.of(problem.source.apart()[0]).parameters.items()}
    if not problem.sweep.keys() <= nominal.keys():
        return []
    found = []
    for index, (label, runs) in enumerate(results.items()):
        swept = [Swept(**row) for row in runs[0].sweep]
        kinds = [kind_of(problem.source, one.task, nominal) for one in swept]
        scores = _scores(runs, "zero_shot")
        means = {
            kind: shown(estimate(scores[:, [k == kind for k in kinds]].mean(1)))
            for kind in KINDS
            if kind in kinds
        }
        found.append({"label": label, "colour": colour(index), "kinds": means})
    return found if len(found[0]["kinds"]) > 1 else []


def _scores(runs: Sequence[Result], kind: str) -> np.ndarray:
    """Mean returns `[runs, tasks]`."""
    return np.array([[np.mean(row[kind]) for row in run.sweep] for run in runs])


def _lines(results: Results, swept: Sequence[Swept]) -> Figure:
    fig, axes = figure(columns=2)
    values = [one.value for one in swept]
    for axis, kind in zip(axes, ("zero_shot", "adapted"), strict=True):
        for index, (label, runs) in enumerate(results.items()):
            columns = _scores(runs, kind).T
            band(axis, values, [estimate(column) for column in columns], label, index)
        axis.set_xlabel(swept[0].parameter)
    axes[0].set_title("before any target episode")
    axes[1].set_title("after the last shot")
    axes[0].set_ylabel("return")
    legend(fig, *axes)
    return fig


def _maps(results: Results, swept: Sequence[Swept]) -> Figure:
    """The zero-shot return of every method over two parameters."""
    first, second = (
        list(dict.fromkeys(values))
        for values in zip(*((one.value, one.second_value) for one in swept), strict=True)
    )
    shape = len(first), len(second)
    maps: Mapping[str, np.ndarray] = {
        label: np.array([iqm(c) for c in _scores(runs, "zero_shot").T]).reshape(shape).T
        for label, runs in results.items()
    }
    low, high = (pick([*maps.values()]) for pick in (np.min, np.max))
    columns = min(len(maps), MAPS)
    lines = -(-len(maps) // columns)
    fig, axes = figure(columns=columns, rows=lines, height=3.4 * lines)
    used = axes[: len(maps)]
    for axis, (label, returns) in zip(used, maps.items(), strict=True):
        drawn = axis.imshow(
            returns, origin="lower", aspect="auto", vmin=low, vmax=high, cmap="viridis"
        )
        axis.grid(visible=False)
        axis.set_title(label.replace(":", ":\n", 1).replace(";", "\n"), fontsize=9)
        axis.set_xticks(range(len(first)), [f"{value:g}" for value in first])
        axis.set_yticks(range(len(second)), [f"{value:g}" for value in second])
        axis.set_xlabel(swept[0].parameter)
        if axis is used[-1]:
            fig.colorbar(drawn, ax=used, label="zero-shot return")
    for axis in used[::columns]:
        axis.set_ylabel(swept[0].second)
    for axis in axes[len(maps) :]:
        axis.remove()
    return fig
