"""Domain confusion from sun to rain and dusk.

A driver trained in the sun, with a few hundred unlabelled frames of the other weather, drives in it
almost as one who was trained there; and frames of drivers who leave the road do not serve, since
they differ in what matters. The three ways of defeating the classifier stand side by side, with two
baselines that take nothing of the target.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem.named import find
from headstart.result import contrast, estimate, iqm
from headstart.studies import Arm, Claim, above

SEEDS, FEWER = 5, 3
WEATHERS = {"rain": "rainy-drive", "dusk": "dusk-drive"}
VARIANTS = ("reversal", "inverted", "uniform")
BAD = "rain, frames of bad drivers: reversal"


def arms() -> dict[str, Arm]:
    """What is compared, the headline first."""
    found: dict[str, Arm] = {}
    for weather, name in WEATHERS.items():
        for label in ("source-only", "oracle"):
            found[f"{weather}: {label}"] = Arm(find(name), label, SEEDS)
        for variant in VARIANTS:
            label = f"domain-confusion:variant={variant}"
            seeds = SEEDS if variant == "reversal" else FEWER
            found[f"{weather}: {variant}"] = Arm(find(name), label, seeds)
    bad = find("rainy-drive-bad-drivers")
    found[BAD] = Arm(bad, "domain-confusion:variant=reversal", FEWER)
    for label in ("random-convolution", "domain-randomization"):
        for weather, name in WEATHERS.items():
            found[f"{weather}: {label}"] = Arm(find(name), label, FEWER)
    return found


def collect(out: Path) -> dict[str, Any]:
    """Returns on the target by arm and seed, and the classifiers' accuracy."""
    from headstart.runs.logger import rows

    table: dict[str, Any] = {"arms": {}}
    for name, arm in arms().items():
        results = arm.results(out)
        table["arms"][name] = {
            "returns": [round(result.shots[-1].score, 2) for result in results],
            "source_steps": [result.source["steps"] for result in results],
            "target_observations": [result.target["observations"] for result in results],
        }
        table["versions"] = results[0].versions
        if "domain-confusion" in arm.label:
            table["arms"][name]["accuracy"] = [
                [
                    round(row["domain_accuracy"], 3)
                    for row in rows(folder)
                    if "domain_accuracy" in row
                ][::4]
                for folder in arm.folders(out)
            ]
    return table


def closed(table: dict[str, Any], name: str) -> float:
    """Share of the gap between source-only and the oracle that an arm closes."""
    score = {arm: iqm(found["returns"]) for arm, found in table["arms"].items()}
    weather = name[:4]
    low, high = score[f"{weather}: source-only"], score[f"{weather}: oracle"]
    return (score[name] - low) / (high - low)


def shown(table: dict[str, Any]) -> str:
    """Returns on the target and the share of the gap closed, one arm a line."""
    lines = ["".ljust(40) + "   iqm         95 %   gap closed   by seed"]
    for name, arm in table["arms"].items():
        seeds = " ".join(f"{score:6.1f}" for score in arm["returns"])
        share = f"{100 * closed(table, name):5.0f} %"
        found = estimate(arm["returns"])
        means = f"{found.value:6.1f} {found.interval:>12}"
        lines.append(f"{name:<40}{means}   {share:>10}   {seeds}")
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What was claimed, held against the numbers."""
    returns = {name: arm["returns"] for name, arm in table["arms"].items()}
    found: list[Claim] = []
    for weather in WEATHERS:
        low, high = (returns[f"{weather}: {arm}"] for arm in ("source-only", "oracle"))
        text = f"{weather}: there is a gap to close: 80 % of the oracle is above source-only"
        found.append(above(text, 0.8 * np.array(high), low, digits=1))
        for variant in VARIANTS:
            name = f"{weather}: {variant}"
            frames = max(table["arms"][name]["target_observations"])
            beyond = contrast((1.0, returns[name]), (-0.3, low), (-0.7, high))
            found.append(
                Claim(
                    f"{weather}: {variant} closes at least 70 % of it with at most 1,000 frames",
                    beyond.above_zero and frames <= 1000,
                    f"{100 * closed(table, name):.0f} % with {frames} frames; above 70 % by a "
                    f"return of {beyond.value:.1f} {beyond.interval}",
                )
            )
    found.append(
        above("frames of bad drivers close less", returns["rain: reversal"], returns[BAD], digits=1)
    )
    return found


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns by arm, every seed a dot."""
    from headstart.report.figures import bar, figure, save

    fig, axes = figure(columns=2, height=4.2)
    for axis, weather in zip(axes, WEATHERS, strict=True):
        names = [name for name in table["arms"] if name.startswith(weather)]
        for row, name in enumerate(reversed(names)):
            returns = table["arms"][name]["returns"]
            bar(axis, row, returns, 1 if name.split(": ")[1] in VARIANTS else 0)
            axis.text(1, row + 0.24, name.removeprefix(weather)[2:], va="center", fontsize=7)
        axis.set_yticks([])
        axis.set_xlabel(f"{WEATHERS[weather]}: return on the target")
    save(fig, path)
