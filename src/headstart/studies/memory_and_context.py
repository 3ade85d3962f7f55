"""What memory and context are worth where the body is hidden (after Peng et al., 2018, 1710.06537).

A hopper's body is drawn anew each episode: its torso's mass alone, or its mass, the ground's
friction and the strength of its actuators. Domain randomisation trains three policies on the same
distribution, for as many steps and with the same settings: one that sees positions and velocities
alone, one that also remembers (a GRU over them and its last actions), and one that is shown the
drawn parameters, which is the most that memory could infer. Each is tested on bodies drawn from the
distribution, and on the problem's target, which lies near its edge.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem import Access, TransferProblem
from headstart.problem.named import find
from headstart.problem.named.memory import shown as showing
from headstart.result import Estimate, estimate, iqm
from headstart.studies import Arm, Claim

SEEDS = 5
STEPS = 600_000
BODIES = 64
"""Episodes on bodies drawn from the distribution, for each policy."""
KINDS = ("neither", "memory", "shown")


def _problem(name: str) -> TransferProblem:
    return replace(
        find(name),
        name=f"{name}-study",
        access=Access(shots=(0,)),
        sweep={},
        methods={},
        episodes=16,
        learner={"minibatch_size": 512},
    )


HOPPERS = {"mass": _problem("hopper-mass"), "mass, friction, actuators": _problem("hopper-hidden")}


def arms() -> dict[str, Arm]:
    """What is compared."""
    found: dict[str, Arm] = {}
    label = f"domain-randomization:steps={STEPS}"
    for body, problem in HOPPERS.items():
        shown = showing(problem, *problem.source.varied)
        found[f"{body}: neither"] = Arm(problem, label, SEEDS)
        found[f"{body}: memory"] = Arm(problem, f"{label};learner.memory=gru", SEEDS)
        found[f"{body}: shown"] = Arm(shown, label, SEEDS)
    return found


def collect(out: Path) -> dict[str, Any]:
    """Returns on the target and over the distribution, by arm and seed."""
    from headstart.knowledge import Knowledge
    from headstart.policies.policy import policy_from
    from headstart.runs.evaluation import evaluate

    table: dict[str, Any] = {"arms": {}}
    for name, arm in arms().items():
        results = arm.results(out)
        policies = [policy_from(Knowledge.load(f / "zero_shot")) for f in arm.folders(out)]
        drawn = [
            float(evaluate(arm.problem.source, policy, BODIES, seed).mean())
            for seed, policy in enumerate(policies)
        ]
        table["arms"][name] = {
            "target": [round(result.shots[0].score, 1) for result in results],
            "drawn": [round(score, 1) for score in drawn],
            "source_steps": [result.source["steps"] for result in results],
            "seconds": [round(result.seconds["pretrain"]) for result in results],
        }
        table["versions"] = results[0].versions
    return table


def shown(table: dict[str, Any]) -> str:
    """Returns over the distribution and on the target, one arm a line."""
    lines = ["".ljust(38) + "drawn bodies           target                 by seed, drawn bodies"]
    for name, arm in table["arms"].items():
        means = (_text(estimate(arm[where])) for where in ("drawn", "target"))
        seeds = " ".join(f"{score:5.0f}" for score in arm["drawn"])
        lines.append(f"{name:<38}" + "".join(f"{mean:<23}" for mean in means) + seeds)
    return "\n".join(lines)


def _text(found: Estimate) -> str:
    return f"{found.value:.0f} {found.interval}"


def claims(table: dict[str, Any]) -> list[Claim]:
    """What is expected of memory and context, held against intervals over seeds."""
    found = []
    for body in HOPPERS:
        scores = {kind: np.array(table["arms"][f"{body}: {kind}"]["drawn"]) for kind in KINDS}
        for better, worse in (("memory", "neither"), ("shown", "neither"), ("shown", "memory")):
            gain = estimate(scores[better] - scores[worse])
            found.append(
                Claim(
                    f"{body}: {better} is above {worse} on bodies drawn from the distribution",
                    gain.above_zero,
                    f"{iqm(scores[better]):.0f} against {iqm(scores[worse]):.0f}; difference by "
                    f"seed {_text(gain)}",
                )
            )
    return found


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns by arm, with intervals over seeds and every seed a dot."""
    from headstart.report.figures import bar, figure, save

    fig, axes = figure(columns=2, height=3.2)
    for axis, body in zip(axes, HOPPERS, strict=True):
        for row, kind in enumerate(reversed(KINDS)):
            bar(axis, row, table["arms"][f"{body}: {kind}"]["drawn"], KINDS.index(kind))
        axis.set_title(f"hidden: {body}")
        axis.set_xlabel("return over drawn bodies")
        axis.set_yticks(range(len(KINDS)), list(reversed(KINDS)))
    save(fig, path)
