"""The primacy bias: who learns too much from the first transitions does not learn from later ones.

Nikishin et al. (ICML 2022, arXiv 2205.07802) take 10⁵ gradient steps on the first hundred
transitions of a run. SAC does not recover from it, although it goes on with as much experience as
others learn the task from; fresh networks every so often, which go on with what is remembered, are
enough to let it.

Here the hundred transitions, with random actions, are the source, which is the same half-cheetah,
and what comes of them is fine-tuned; the optimiser's moments are carried too. Settings, and that
the return after the last episode is what counts, were chosen on other seeds.
"""

from pathlib import Path
from typing import Any

from headstart.problem import Access, Domain, TransferProblem
from headstart.result import Result, estimate
from headstart.studies import ROBOT, Arm, Claim, above, at_shots, collected

SEEDS, FIRST = 8, 10
PRIMED = "finetune:learner.priming=100000"
SHOTS = (0, 10, 20, 30, 40, 50, 60)
BODY = Domain("half-cheetah")
PROBLEM = TransferProblem(
    name="primed-cheetah",
    source=BODY,
    target=BODY,
    access=Access(shots=SHOTS),
    episodes=8,
    learner=ROBOT | {"num_envs": 4, "rollout_length": 5, "learning_starts": 80},
    methods={"finetune": {"steps": 100, "fresh": [], "learning_rate": 1e-3}},
)
FRESH, BIASED, RESET = "scratch", "primed", "primed, with resets"
FEW = "a hundred transitions, not primed"
LABELS = {
    FRESH: "scratch",
    FEW: "finetune",
    BIASED: PRIMED,
    RESET: f"{PRIMED};reset_every=30;reset_layers=3",
}


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """Returns by arm, seed and shot; and the temperature with which learning began."""

    def of(arm: Arm, results: list[Result]) -> dict[str, Any]:
        return {
            "returns": [[round(shot.score, 1) for shot in run.shots] for run in results],
            "temperature": [float(f"{t:.3g}") for t in arm.logged(out, "temperature")],
            "target_steps": [run.target["steps"] for run in results],
        }

    return {"shots": SHOTS} | collected(arms(), out, of)


def shown(table: dict[str, Any]) -> str:
    """Interquartile mean returns over target episodes, one arm a line."""
    lines = ["return after so many episodes".ljust(36) + "".join(f"{n:>7}" for n in table["shots"])]
    lines[0] += "   first temperature"
    for name, arm in table["arms"].items():
        first = estimate(arm["temperature"]).value
        lines.append(f"{name:<36}{at_shots(arm['returns'])}   {first:.2g}")
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against the returns after the last episode."""
    last = {name: [run[-1] for run in arm["returns"]] for name, arm in table["arms"].items()}
    return [
        above("the primed does not recover: scratch returns more", last[FRESH], last[BIASED]),
        above(
            "it is the gradient steps, not the transitions: without them it returns more",
            last[FEW],
            last[BIASED],
        ),
        above("resets let it recover: with them it returns more", last[RESET], last[BIASED]),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns over target episodes."""
    from headstart.report.figures import band, figure, legend, save

    fig, (axis,) = figure(height=4.2)
    for index, (name, arm) in enumerate(table["arms"].items()):
        columns = zip(*arm["returns"], strict=True)
        band(axis, table["shots"], [estimate(column) for column in columns], name, index)
    axis.set_xlabel("episodes on the target")
    axis.set_ylabel("return")
    legend(fig, axis)
    save(fig, path)
