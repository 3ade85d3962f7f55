"""Domain confusion from sun to rain, dusk, fog and a low sun.

Is a driver trained in the sun, and aligned with a thousand unlabelled frames of the other weather,
as good in it as one who was trained there? And do frames of drivers who leave the road serve,
though they differ in what matters? The three ways of defeating the classifiers stand side by side,
with two baselines that take nothing of the target. Every arm has as many steps and gradient steps.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem import Domain, TransferProblem
from headstart.problem.named import find
from headstart.result import contrast, estimate, iqm
from headstart.studies import Arm, Claim, above

SEEDS = 5
RAIN, DUSK = find("rainy-drive"), find("dusk-drive")


def _weather(name: str, **looks: float) -> TransferProblem:
    return replace(RAIN, name=f"drive-{name}", target=Domain.of("drive", looks), description="")


WEATHERS = {
    "rain": RAIN,
    "dusk": DUSK,
    "fog": _weather("fog", fog=0.7),
    "low sun": _weather("low-sun", daylight=0.5, palette=0.1, contrast=1.4),
}
FULL = ("rain", "dusk")
"""Weathers in which every method is tried; the others have the shipped one and its bounds."""
VARIANTS = ("reversal", "inverted", "uniform")
NOTHING_TAKEN = ("random-convolution", "domain-randomization")
BAD = "rain: reversal, frames of bad drivers"


def arms() -> dict[str, Arm]:
    """What is compared, the headline first."""
    found: dict[str, Arm] = {}
    for weather, problem in WEATHERS.items():
        for label in ("source-only", "oracle"):
            found[f"{weather}: {label}"] = Arm(problem, label, SEEDS)
        found[f"{weather}: reversal"] = Arm(problem, "domain-confusion", SEEDS)
    for weather in FULL:
        for variant in VARIANTS[1:]:
            label = f"domain-confusion:variant={variant}"
            found[f"{weather}: {variant}"] = Arm(WEATHERS[weather], label, SEEDS)
        for label in NOTHING_TAKEN:
            found[f"{weather}: {label}"] = Arm(WEATHERS[weather], label, SEEDS)
    found[BAD] = Arm(find("rainy-drive-bad-drivers"), "domain-confusion", SEEDS)
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
                ]
                for folder in arm.folders(out)
            ]
    return table


def closed(table: dict[str, Any], name: str) -> float:
    """Share of the gap between source-only and the oracle that an arm closes."""
    score = {arm: iqm(found["returns"]) for arm, found in table["arms"].items()}
    weather = name.split(": ")[0]
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
        aligned = returns[f"{weather}: reversal"]
        found.append(above(f"{weather}: reversal is above source-only", aligned, low, digits=1))
        for variant in VARIANTS if weather in FULL else VARIANTS[:1]:
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
        for other in NOTHING_TAKEN if weather in FULL else ():
            text = f"{weather}: reversal is above {other}, which takes nothing of the target"
            found.append(above(text, aligned, returns[f"{weather}: {other}"], digits=1))
    found.append(
        above("frames of bad drivers close less", returns["rain: reversal"], returns[BAD], digits=1)
    )
    return found


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns by arm, every seed a dot."""
    from headstart.report.figures import bar, figure, save

    ways = [name.split(": ")[1] for name in table["arms"] if name.startswith("rain: ")]
    fig, axes = figure(columns=len(WEATHERS), width=11.0, height=3.6)
    for axis, weather in zip(axes, WEATHERS, strict=True):
        for row, way in enumerate(reversed(ways)):
            arm = table["arms"].get(f"{weather}: {way}")
            if arm is not None:
                bar(axis, row, arm["returns"], 1 if way.split(",")[0] in VARIANTS else 0)
        axis.set_title(f"{weather}: return")
    axes[0].set_yticks(range(len(ways)), reversed(ways))
    save(fig, path)
