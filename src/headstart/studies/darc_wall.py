"""DARC on a grid (Eysenbach et al., ICLR 2021, arXiv 2006.13916, section 5).

The paper's grid has a wall in the target alone: who trains in the source walks into it, and DARC
walks round it. Reversed, the wall is in the source alone: nothing that DARC could be taught there
makes it take the short way that the target allows.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem.named import find
from headstart.result import iqm
from headstart.studies import Arm, Claim

SEEDS = 5


def arms() -> dict[str, Arm]:
    """What is compared."""
    wall, reverse = find("wall"), find("wall-reversed")
    return {
        "source-only": Arm(wall, "source-only", SEEDS),
        "DARC": Arm(wall, "darc", SEEDS),
        "oracle": Arm(wall, "oracle", SEEDS),
        "reversed: DARC": Arm(reverse, "darc", SEEDS),
        "reversed: oracle": Arm(reverse, "oracle", SEEDS),
    }


def collect(out: Path) -> dict[str, Any]:
    """Success and the way taken on the target, by arm and seed."""
    from headstart.knowledge import Knowledge
    from headstart.policies.policy import policy_from
    from headstart.report.maps import path

    table: dict[str, Any] = {"arms": {}}
    for name, arm in arms().items():
        results = arm.results(out)
        ways = []
        for folder in arm.folders(out):
            policy = policy_from(Knowledge.load(folder / "knowledge"))
            ways.append(path(policy, arm.problem.target, 0).tolist())
        table["arms"][name] = {
            "success": [result.shots[-1].score for result in results],
            "source_steps": [result.source["steps"] for result in results],
            "target_steps": [result.target["steps"] for result in results],
            "paths": ways,
        }
        table["versions"] = results[0].versions
    return table


def shown(table: dict[str, Any]) -> str:
    """Success on the target and steps to the end, one arm a line."""
    lines = ["".ljust(20) + "success   by seed                 steps taken   target steps used"]
    for name, arm in table["arms"].items():
        seeds = " ".join(f"{100 * s:4.0f}%" for s in arm["success"])
        steps = iqm([len(way) - 1 for way in arm["paths"]])
        used = np.mean(arm["target_steps"])
        success = 100 * np.mean(arm["success"])
        lines.append(f"{name:<20}{success:6.0f}%   {seeds}{steps:11.0f}{used:16,.0f}")
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against the numbers."""
    success = {name: arm["success"] for name, arm in table["arms"].items()}
    lengths = {name: [len(way) - 1 for way in arm["paths"]] for name, arm in table["arms"].items()}
    short, long = max(lengths["reversed: oracle"]), min(lengths["reversed: DARC"])
    return [
        Claim(
            "source-only never reaches the goal on the target",
            max(success["source-only"]) == 0.0,
            f"success by seed {success['source-only']}",
        ),
        Claim(
            "DARC always does",
            min(success["DARC"]) == 1.0,
            f"success by seed {success['DARC']}",
        ),
        Claim(
            "reversed, DARC never takes the short way that the target allows",
            long > short,
            f"its shortest way takes {long} steps, the oracle's longest {short}",
        ),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """The ways of every seed on the target, forward and reversed."""
    from headstart.report.figures import colour, figure, save
    from headstart.report.maps import draw_plan

    fig, axes = figure(columns=2, height=4.6, share=False)
    sides = {
        "a wall in the target alone": ("source-only", "DARC"),
        "a wall in the source alone": ("reversed: DARC", "reversed: oracle"),
    }
    for axis, (title, names) in zip(axes, sides.items(), strict=True):
        draw_plan(axis, arms()[names[0]].problem.target)
        axis.set_title(f"{title}: ways on the target")
        for name in names:
            arm = name.removeprefix("reversed: ")
            for seed, way in enumerate(table["arms"][name]["paths"]):
                shift = 0.07 * (seed - (SEEDS - 1) / 2)
                places = np.array(way) + shift
                shade = colour(("source-only", "DARC", "oracle").index(arm))
                label = arm if seed == 0 else None
                axis.plot(*places.T, color=shade, linewidth=1.2, label=label)
                axis.plot(*places[-1], "o", color=shade, markersize=4)
        axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
    save(fig, path)
