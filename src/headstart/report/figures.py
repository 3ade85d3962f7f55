"""The house style of every figure: colours, bands, axes, and SVG that is the same each time."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from headstart.result import Estimate, estimate

# Okabe and Ito's palette (2008), readable with any colour vision, and dashes for more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
DASHES = ("-", "--", ":")


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def figure(
    columns: int = 1, width: float = 9.0, height: float = 3.8, share: bool = True, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Axes row by row, which share the vertical scale or not."""
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        fig, axes = plt.subplots(
            rows,
            columns,
            figsize=(width, height),
            sharey=share,
            squeeze=False,
            layout="constrained",
        )
    for axis in axes.flat:
        axis.grid(alpha=0.25, linewidth=0.6)
    return fig, list(axes.flat)


def band(
    axis: Axes,
    x: Sequence[float],
    estimates: Sequence[Estimate],
    label: str,
    index: int,
) -> None:
    """A line through the interquartile means, with their intervals, if any, as a shade."""
    dash = DASHES[index // len(COLOURS) % len(DASHES)]
    values = [estimate.value for estimate in estimates]
    axis.plot(x, values, dash, color=colour(index), label=label, marker="o", markersize=3)
    low = [estimate.low for estimate in estimates if estimate.low is not None]
    high = [estimate.high for estimate in estimates if estimate.high is not None]
    if len(low) == len(values):
        axis.fill_between(x, low, high, color=colour(index), alpha=0.1, linewidth=0)


def over_shots(
    shots: Sequence[int],
    returns: Mapping[str, Sequence[Sequence[float]]],
    what: str = "return on the target",
) -> Figure:
    """Returns over target episodes: by method, a row for each run and a column for each shot."""
    fig, (axis,) = figure()
    for index, (label, runs) in enumerate(returns.items()):
        columns = zip(*runs, strict=True)
        band(axis, shots, [estimate(column) for column in columns], label, index)
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xticks(shots, [str(shot) for shot in shots])
    axis.minorticks_off()
    axis.set_xlabel("episodes on the target")
    axis.set_ylabel(what)
    legend(fig, axis)
    return fig


def dots(axis: Axes, groups: Sequence[Sequence[float]]) -> None:
    """A column for each group of scores: a dot for each, and a line at their mean."""
    for index, scores in enumerate(groups):
        axis.plot([index] * len(scores), scores, "o", color=colour(index))
        middle = estimate(scores).value
        axis.plot([index - 0.2, index + 0.2], [middle, middle], color=colour(index))


def bar(axis: Axes, row: int, scores: Sequence[float], index: int) -> None:
    """The interquartile mean of `scores` as a bar, its interval a line, and every score a dot."""
    found = estimate(scores)
    axis.barh(row, found.value, color=colour(index), alpha=0.35)
    if found.low is not None and found.high is not None:
        axis.plot([found.low, found.high], [row, row], color=colour(index), linewidth=1)
    axis.plot(scores, [row] * len(scores), "o", color=colour(index), markersize=3)


def bent(axis: Axes) -> bool:
    """Make the horizontal scale logarithmic below -10 where something lies far below; whether it
    does."""
    lowest = axis.get_xlim()[0]
    if lowest >= -50:
        return False
    axis.set_xscale("symlog", linthresh=10)
    ticks = [tick for tick in (-10_000, -1000, -100, -10, 0, 10) if tick > lowest]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    return True


def legend(fig: Figure, *axes: Axes) -> None:
    """The labels of all the axes below the figure, each once, long ones cut short."""
    lines: dict[str, Any] = {}
    for line in (line for axis in axes for line in axis.get_lines()):
        if not re.fullmatch(r"_child\d+", label := str(line.get_label())):  # Matplotlib's own
            lines.setdefault(label, line)
    short = [label if len(label) < 45 else label[:44] + "…" for label in lines]
    columns = 3 if max(map(len, short), default=0) < 28 else 2
    shown = fig.legend(
        lines.values(), map(str, range(len(lines))), loc="outside lower center", ncols=columns,
        frameon=False,
    )  # fmt: skip
    for text, label in zip(shown.get_texts(), short, strict=True):
        text.set_text(label)  # afterwards: one that begins with _ would be left out
    as_written(fig)


def as_written(fig: Figure) -> None:
    """Read no mathematics into the figure's texts: a label may hold a $."""
    for text in fig.findobj(Text):
        text.set_parse_math(False)


def svg(fig: Figure, name: str) -> str:
    """The figure as an SVG element; `name` keeps its ids apart from those of other figures."""
    as_written(fig)
    text = io.StringIO()
    settings: Any = {"svg.hashsalt": name, "svg.fonttype": "none"}
    with plt.rc_context(settings):
        fig.savefig(text, format="svg", metadata={"Date": None})
    plt.close(fig)
    markup = text.getvalue()
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", markup[markup.index("<svg") :])


def save(fig: Figure, path: Path) -> None:
    """The figure as an SVG file."""
    path.write_text('<?xml version="1.0" encoding="utf-8"?>\n' + svg(fig, path.stem))
