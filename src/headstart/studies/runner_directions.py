"""What is gained by learning many tasks together, and how far it reaches.

Eight directions to run in, at full speed, are learned together, told by their angle, and each alone
with as many steps as its share; what was learned is tried in directions between them, and in the
other half of the compass by who has learned only one half. And from every direction at full speed,
with every speed eastwards, to every speed in every direction. The best that there is earns 47.5 at
full speed. Settings were chosen on seed 0.
"""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.distributions import Choice
from headstart.problem.held_out import kind_of
from headstart.problem.named import PROBLEMS
from headstart.problem.named.tasks import DIRECTION, EIGHT, RUNNER, UNTOLD
from headstart.result import Result, estimate, iqm
from headstart.studies import Arm, Claim, above, beyond, collected

SEEDS, FIRST = 5, 10
BEST, THRESHOLD = 47.5, 40.0
TOTALS = (800, 1600, 3200, 8000, 16000)
"""Steps of all tasks together."""
TOGETHER, ALONE, BLIND = "eight together", "each alone", "together, not told which"
HALF = Choice(tuple(45.0 * k for k in range(5)))
NOMINAL = {"direction": -1.0, "speed": 1.0}
EVERY = PROBLEMS["runner-directions"]
SPEEDS = PROBLEMS["runner-speeds"]
ORACLE = (22.5, 112.5, 202.5, 292.5)
"""Directions in which an oracle is trained, with all the steps."""


def _problem(name: str, source: Domain, direction: float, methods: dict[str, Any]) -> Any:
    return TransferProblem(
        name=name, source=source, target=Domain("runner", direction=direction, shows=DIRECTION),
        access=Access(shots=(0,)), episodes=16, sweep_episodes=8, learner=RUNNER, methods=methods,
    )  # fmt: skip


def arms() -> dict[str, Arm]:
    """What is compared."""
    found: dict[str, Arm] = {}
    for total in TOTALS:
        every = Domain("runner", direction=EIGHT, shows=DIRECTION)
        methods = {"multi-task": {"steps": total}, UNTOLD: {}}
        together = replace(
            _problem(f"runner-together-{total}", every, 22.5, methods), sweep=EVERY.sweep
        )
        found[f"{TOGETHER}, {total}"] = Arm(together, "multi-task", SEEDS, FIRST)
        if total == TOTALS[-1]:
            found[f"{BLIND}, {total}"] = Arm(together, UNTOLD, SEEDS, FIRST)
    for share in (total // 8 for total in TOTALS[1:]):
        for direction in EIGHT.values[:2]:
            alone = _problem(
                f"runner-alone-{direction:g}-{share}", Domain("runner"), direction,
                {"oracle": {"steps": share, "learner": {"learning_starts": min(400, share // 2)}}},
            )  # fmt: skip
            found[f"{ALONE}, {direction:g}°, {share}"] = Arm(alone, "oracle", SEEDS, FIRST)
    half = Domain("runner", direction=HALF, shows=DIRECTION)
    found["one half of the compass"] = Arm(
        replace(
            _problem("runner-half", half, 22.5, {"multi-task": {"steps": TOTALS[-1]}}),
            sweep=EVERY.sweep,
        ),
        "multi-task", SEEDS, FIRST,
    )  # fmt: skip
    for direction in ORACLE:
        oracle = _problem(
            f"runner-oracle-{direction:g}", Domain("runner"), direction,
            {"oracle": {"steps": TOTALS[-1]}},
        )  # fmt: skip
        found[f"oracle, {direction:g}°"] = Arm(oracle, "oracle", SEEDS, FIRST)
    speeds = replace(SPEEDS, access=Access(shots=(0,)), methods={"multi-task": {"steps": 16000}})
    found["directions and speeds"] = Arm(speeds, "multi-task", SEEDS, FIRST)
    return found


def collect(out: Path) -> dict[str, Any]:
    """Zero-shot returns by arm and seed, at the target and at every task swept."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "returns": [round(run.shots[0].score, 2) for run in results],
            "sweep": [
                [round(float(np.mean(row["zero_shot"])), 2) for row in run.sweep] for run in results
            ],
        }

    return collected(arms(), out, of)


def by_kind(table: dict[str, Any], name: str) -> dict[str, list[float]]:
    """Returns of an arm by kind of task, means over its tasks, seed by seed; where speeds differ,
    as shares of what each allows, times 47.5."""
    problem = arms()[name].problem
    tasks = [
        dict(zip(problem.sweep, values, strict=True))
        for values in itertools.product(*problem.sweep.values())
    ]
    kinds = [kind_of(problem.source, task, NOMINAL) for task in tasks]
    best = np.array([task.get("speed", 1.0) for task in tasks])
    found = np.array(table["arms"][name]["sweep"]) / best
    return {
        kind: found[:, [k == kind for k in kinds]].mean(1).tolist() for kind in dict.fromkeys(kinds)
    }


def alone(table: dict[str, Any], share: int) -> list[float]:
    """Returns of who learns one direction alone, means over directions, seed by seed."""
    each = [table["arms"][f"{ALONE}, {d:g}°, {share}"]["returns"] for d in EIGHT.values[:2]]
    return np.mean(each, axis=0).tolist()


def shown(table: dict[str, Any]) -> str:
    """Interquartile means over seeds."""
    lines = ["steps for each of eight tasks".ljust(32) + "".join(f"{t // 8:>7}" for t in TOTALS)]
    together = [iqm(by_kind(table, f"{TOGETHER}, {t}")["trained"]) for t in TOTALS]
    lines.append(f"{TOGETHER:<32}" + "".join(f"{x:>7.1f}" for x in together))
    apart = [iqm(alone(table, t // 8)) for t in TOTALS[1:]]
    lines.append(f"{ALONE:<32}" + f"{'–':>7}" + "".join(f"{x:>7.1f}" for x in apart))
    wide = (f"{TOGETHER}, {TOTALS[-1]}", f"{BLIND}, {TOTALS[-1]}", "one half of the compass",
            "directions and speeds")  # fmt: skip
    for name in wide:
        means = {kind: iqm(found) for kind, found in by_kind(table, name).items()}
        text = ", ".join(f"{kind} {mean:.1f}" for kind, mean in means.items())
        lines.append(f"{name:<32} {text}")
    oracle = iqm([x for d in ORACLE for x in table["arms"][f"oracle, {d:g}°"]["returns"]])
    lines.append(f"{'oracle in between':<32} {oracle:.1f}")
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What multi-task learning promises."""
    full, blind = (by_kind(table, f"{name}, {TOTALS[-1]}") for name in (TOGETHER, BLIND))
    oracle = np.mean([table["arms"][f"oracle, {d:g}°"]["returns"] for d in ORACLE], axis=0)
    few = by_kind(table, f"{TOGETHER}, {TOTALS[1]}")["trained"]
    share, twice = TOTALS[1] // 8, TOTALS[2] // 8
    half, both = by_kind(table, "one half of the compass"), by_kind(table, "directions and speeds")
    return [
        beyond(f"together, {share} steps for each task reach {THRESHOLD:g}", few, THRESHOLD),
        above("alone, as many do not: together returns more", few, alone(table, share)),
        above("alone, twice as many do not either", few, alone(table, twice)),
        above(
            "directions in between, zero-shot, return 80 % of the oracle",
            full["interpolation"],
            oracle,
            0.8,
        ),
        above("not told which direction, it returns less", full["trained"], blind["trained"]),
        above(
            "speeds and directions never seen together return 80 % of the best",
            both["combination"],
            [BEST] * SEEDS,
            0.8,
        ),
        above(
            "beyond what was learned it fails: less than half of in between",
            [0.5 * x for x in half["interpolation"]],
            half["extrapolation"],
        ),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns over steps for each task, and over directions."""
    from headstart.report.figures import band, figure, legend, save

    fig, (steps, compass) = figure(columns=2, height=4.0)
    shares = [total // 8 for total in TOTALS]
    together = [estimate(by_kind(table, f"{TOGETHER}, {t}")["trained"]) for t in TOTALS]
    band(steps, shares, together, TOGETHER, 0)
    band(steps, shares[1:], [estimate(alone(table, s)) for s in shares[1:]], ALONE, 1)
    steps.set_xscale("log")
    steps.set_xlabel("steps for each of eight tasks")
    steps.set_ylabel("return")
    directions = EVERY.sweep["direction"]
    for index, name in ((0, f"{TOGETHER}, {TOTALS[-1]}"), (2, f"{BLIND}, {TOTALS[-1]}"),
                        (3, "one half of the compass")):  # fmt: skip
        columns = zip(*table["arms"][name]["sweep"], strict=True)
        label = TOGETHER if index == 0 else name.partition(",")[0]
        band(compass, directions, [estimate(column) for column in columns], label, index)
    compass.set_xlabel("direction, degrees")
    legend(fig, steps, compass)
    save(fig, path)
