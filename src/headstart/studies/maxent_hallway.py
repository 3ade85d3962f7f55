"""Pre-training that keeps every way open, or settles on one, and then a hallway.

Haarnoja et al. (ICML 2017, arXiv 1702.08165) pre-train a policy to run, whichever way, with a
temperature or without one, and fine-tune both in a hallway: who has settled on one way has to
unlearn it, who still goes every way has only to drop the others. Their curves were never tabulated.

Reduced, and changed: a point mass in place of their ant; SAC in place of soft Q-learning, and SAC
at α = 0, the deterministic counterpart, in place of DDPG. The temperature (0.2) and the discount
were chosen on seeds below 10, by what is learned in the hallway.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import HeadstartError
from headstart.problem import Access
from headstart.problem.named import find
from headstart.result import difference, estimate, threshold_from, time_to_threshold
from headstart.studies import Arm, Claim, above

SEEDS, FIRST = 10, 10
SHOTS = (0, 5, 10, 15, 20, 30, 40, 60, 80)
PROBLEM = replace(find("hallway"), name="maxent-hallway", access=Access(shots=SHOTS))
MAXENT, SETTLED, ADAPTIVE = "maxent (α = 0.2)", "deterministic (α = 0)", "adapted α"
LABELS = {
    "scratch": "scratch",
    "oracle": "oracle",
    MAXENT: "maxent",
    SETTLED: "maxent:temperature=0",
    ADAPTIVE: "finetune",
}
WAYS, EVERY = 16, 5
"""Episodes of the first seed that are drawn, and steps between two of their places."""


def arms() -> dict[str, Arm]:
    """What is compared: three ways to pre-train beside none, and the oracle for the threshold."""
    return {name: Arm(PROBLEM, label, SEEDS, FIRST) for name, label in LABELS.items()}


def collect(out: Path) -> dict[str, Any]:
    """Returns by arm, seed and shot, episodes to the threshold, entropy, and some ways.

    Raises:
        HeadstartError: the oracle learned nothing that scratch does not begin with.
    """
    found = {name: arm.results(out) for name, arm in arms().items()}
    threshold = threshold_from(found)
    if threshold is None:
        raise HeadstartError("the oracle is not above scratch: no threshold would say anything")
    table: dict[str, Any] = {"shots": SHOTS, "threshold": threshold, "arms": {}, "ways": {}}
    for name, results in found.items():
        table["arms"][name] = {
            "returns": [[round(shot.score, 1) for shot in run.shots] for run in results],
            "episodes": [time_to_threshold(run, threshold) for run in results],
            "entropy": [run.shots[0].entropy for run in results],
            "source_steps": [run.source["steps"] for run in results],
        }
        table["versions"] = results[0].versions
    for name in (MAXENT, SETTLED):
        table["ways"][name] = _ways(arms()[name].folders(out)[0])
    return table


def _ways(folder: Path) -> list[Any]:
    """Places `[episode, time, 2]` in the source of what was carried, with drawn actions."""
    import jax

    from headstart import envs
    from headstart.experience.unroll import episodes
    from headstart.knowledge import Knowledge
    from headstart.policies.policy import policy_from

    running = envs.start(PROBLEM.source, WAYS, FIRST)
    policy = policy_from(Knowledge.load(folder / "knowledge"))
    played = episodes(policy, running, key=jax.random.key(FIRST))
    places = running.environment.position(played.steps.next_obs["state"])
    return places.reshape(WAYS, -1, 2)[:, ::EVERY].round(2).tolist()


def times(table: dict[str, Any], name: str) -> list[float]:
    """Episodes to the threshold, seed by seed; all that there were, where it was not reached."""
    most = table["shots"][-1]
    return [most if found is None else found for found in table["arms"][name]["episodes"]]


def shown(table: dict[str, Any]) -> str:
    """Zero-shot returns, episodes to the threshold and entropies, one arm a line."""
    lines = [f"threshold {table['threshold']:.1f}".ljust(26) + "zero-shot [95 %]".ljust(22)
             + "episodes to it [95 %]".ljust(26) + "never   entropy (nats)"]  # fmt: skip
    for name, arm in table["arms"].items():
        zero = estimate([returns[0] for returns in arm["returns"]])
        until = estimate(times(table, name))
        never = sum(found is None for found in arm["episodes"])
        median = np.median([levels[len(levels) // 2] for levels in arm["entropy"]])
        lines.append(
            name.ljust(26) + f"{zero.value:.1f} {zero.interval}".ljust(22)
            + f"{until.value:.0f} {until.interval}".ljust(26) + f"{never:>5}{median:10.2f}"
        )  # fmt: skip
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against the numbers."""
    shots, first = table["shots"], [returns[0] for returns in table["arms"][MAXENT]["returns"]]
    jump = difference(first, [returns[0] for returns in table["arms"]["scratch"]["returns"]])
    entropy = {n: [e[len(e) // 2] for e in table["arms"][n]["entropy"]] for n in (MAXENT, SETTLED)}
    return [
        above(
            "the policy that is carried is less certain of what to do after max-ent pre-training: "
            "its median entropy on the target, in nats, is above the deterministic one's",
            entropy[MAXENT], entropy[SETTLED], digits=2,
        ),
        above(
            "half of the episodes that it takes to the threshold after deterministic pre-training "
            "are more than all that it takes after max-ent pre-training",
            0.5 * np.array(times(table, SETTLED)), times(table, MAXENT), digits=1,
        ),
        above(
            f"scratch takes more episodes than after max-ent pre-training ({shots[-1]} are all)",
            times(table, "scratch"), times(table, MAXENT), digits=1,
        ),
        Claim(
            "max-ent pre-training's jumpstart is above zero",
            jump.above_zero,
            f"{jump.value:.1f} {jump.interval}",
        ),
    ]  # fmt: skip


def draw(table: dict[str, Any], path: Path) -> None:
    """Returns over target episodes, and the ways that two carried policies go in the source."""
    from headstart.report.figures import band, colour, figure, save

    fig, axes = figure(columns=3, width=11.0, height=4.2, share=False)
    names = list(table["arms"])
    for index, name in enumerate(names):
        columns = zip(*table["arms"][name]["returns"], strict=True)
        band(axes[0], table["shots"], [estimate(column) for column in columns], name, index)
    axes[0].axhline(table["threshold"], color="#5b6875", linewidth=0.8, linestyle=":")
    axes[0].set_xlabel("episodes in the hallway")
    axes[0].set_ylabel("return in the hallway")
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2}
    axes[0].legend(frameon=False, fontsize=8, **below)
    for axis, (name, ways) in zip(axes[1:], table["ways"].items(), strict=True):
        for way in ways:
            axis.plot(*zip(*way, strict=True), color=colour(names.index(name)), linewidth=1)
        axis.set_title(f"in the open: {name}")
        axis.set_xlim(-11, 11)
        axis.set_ylim(-11, 11)
        axis.set_aspect("equal")
        axis.set_xlabel("metres")
    save(fig, path)
