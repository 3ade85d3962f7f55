"""DARC's corrected reward for one arrow (Eysenbach et al., ICLR 2021, arXiv 2006.13916).

An arrow shot at θ lands at y = 70 sin θ + f / cos² θ metres, f ~ N(wind, gust²). The source has a
wind of 1 m and gusts of 1 m; the target has no wind and gusts of 0.3 m. Aiming at the target's best
angle, 0°, is wrong in the source, whose best is −0.8185°.

As in the paper, each angle is judged by the value that belongs to inference over trajectories,

    J(θ) = log E_source[exp(r + Δr)],

which equals log E_target[exp r] exactly. It is not what an agent maximises that is paid r + Δr: the
mean of Δr is −KL(p_source ‖ p_target), which hardly depends on θ here, so the mean's best angle
stays the source's. The study measures both, and trains the agent too.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem.named import find
from headstart.result import difference, iqm
from headstart.studies import Arm, Claim

SEEDS = 5
ANGLES = np.linspace(-2, 2, 81)
ARROWS = 10_000
TRUTH = {"source": -0.8185, "target": 0.0}


def arms() -> dict[str, Arm]:
    """What is compared."""
    archery = find("archery")
    return {
        "source-only": Arm(archery, "source-only", SEEDS),
        "DARC": Arm(archery, "darc", SEEDS),
        "importance weighting": Arm(archery, "darc:ratio.use=weight", SEEDS),
        "oracle": Arm(archery, "oracle", SEEDS),
    }


def collect(out: Path) -> dict[str, Any]:
    """The angle that each agent chose, and the values of every angle by DARC's classifiers."""
    import jax.numpy as jnp

    from headstart import envs
    from headstart.experience.replay import Batch
    from headstart.experience.unroll import nothing_told
    from headstart.knowledge import Knowledge
    from headstart.policies.policy import act, policy_from
    from headstart.runs.job import Job

    spec = envs.spec_of(find("archery").source)
    table: dict[str, Any] = {"angles": ANGLES.tolist(), "arms": {}, "values": []}
    for name, arm in arms().items():
        chosen = []
        for seed, folder in enumerate(arm.folders(out)):
            knowledge = Knowledge.load(folder / "knowledge")
            told = nothing_told(envs.start(arm.problem.target, 1, 0))
            action = np.clip(act(policy_from(knowledge), told, (), None, 0)[0], -1, 1)
            chosen.append(round(2 * float(action[0, 0]), 4))
            if name != "DARC":
                continue
            ratio = Job.read(folder).method.ratio  # pyright: ignore
            judge = ratio.graft(knowledge, spec)
            rng = np.random.default_rng(seed)
            values = {"mean": [], "soft": [], "source": [], "target": []}
            for angle in ANGLES:
                y = {
                    side: _landed(angle, domain, rng)
                    for side, domain in (("source", (1.0, 1.0)), ("target", (0.0, 0.3)))
                }
                blank = np.zeros(ARROWS, np.float32)
                before = np.zeros((ARROWS, 2), np.float32)
                after = np.stack([y["source"], blank + 1], axis=1).astype(np.float32)
                action = np.full((ARROWS, 1), angle / 2, np.float32)
                columns = map(jnp.asarray, (before, action, blank, after, blank, blank))
                before, action, blank, after, *rest = columns
                batch = Batch({"state": before}, action, blank, {"state": after}, *rest)
                delta = np.asarray(ratio.log_ratio(judge, batch))
                reward = -(y["source"] ** 2) / 2
                values["mean"].append(float((reward + delta).mean()))
                values["soft"].append(_soft(reward + delta))
                values["source"].append(_soft(reward))
                values["target"].append(_soft(-(y["target"] ** 2) / 2))
            table["values"].append(values)
        results = arm.results(out)
        table["arms"][name] = {
            "angle": chosen,
            "returns": [result.shots[-1].score for result in results],
            "target_steps": [result.target["steps"] for result in results],
        }
        table["versions"] = results[0].versions
    return table


def _landed(angle: float, domain: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    wind, gust = domain
    theta = np.deg2rad(angle)
    return 70 * np.sin(theta) + (wind + gust * rng.standard_normal(ARROWS)) / np.cos(theta) ** 2


def _soft(rewards: np.ndarray) -> float:
    """log mean exp."""
    top = rewards.max()
    return float(top + np.log(np.exp(rewards - top).mean()))


def best(table: dict[str, Any], kind: str) -> list[float]:
    """The best angle of each seed by one of the values, from a parabola through its top."""
    found = []
    for values in table["values"]:
        curve = np.array(values[kind])
        near = curve > curve.max() - 0.5
        a, b, _ = np.polyfit(ANGLES[near], curve[near], 2)
        found.append(float(-b / (2 * a)))
    return found


def shown(table: dict[str, Any]) -> str:
    """Best angles in degrees by each value, and the angles that agents chose."""
    names = {
        "source": "log E exp r in the source",
        "soft": "log E exp(r + Δr) in the source",
        "mean": "E[r + Δr] in the source",
        "target": "log E exp r in the target",
    }
    lines = ["best angle by".ljust(34) + "     iqm   by seed"]
    for kind, name in names.items():
        seeds = " ".join(f"{angle:6.2f}" for angle in best(table, kind))
        lines.append(f"{name:<34}{iqm(best(table, kind)):7.2f}°  {seeds}")
    lines += ["", "angle chosen by"]
    for name, arm in table["arms"].items():
        seeds = " ".join(f"{angle:6.2f}" for angle in arm["angle"])
        mean = iqm(arm["returns"])
        lines.append(f"{name:<34}{iqm(arm['angle']):7.2f}°  {seeds}   return {mean:.3f}")
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against the numbers; and what it does not say."""
    source, soft = (best(table, kind) for kind in ("source", "soft"))
    chosen = {name: arm["angle"] for name, arm in table["arms"].items()}
    returns = {name: arm["returns"] for name, arm in table["arms"].items()}
    gained = difference(returns["DARC"], returns["source-only"])

    def near(angles: list[float], truth: float, by: float) -> bool:
        return max(abs(angle - truth) for angle in angles) < by

    return [
        Claim(
            "the source's best angle is −0.8°",
            near(source, TRUTH["source"], 0.1),
            f"by seed {np.round(source, 2).tolist()}",
        ),
        Claim(
            "with DARC's correction it moves to the target's, 0°, as log E exp(r + Δr) has it",
            near(soft, TRUTH["target"], 0.2),
            f"by seed {np.round(soft, 2).tolist()}",
        ),
        Claim(
            "an agent that is paid r + Δr hits the target no better than source-only, since the "
            "mean of Δr hardly depends on the angle",
            not gained.above_zero,
            f"return {iqm(returns['DARC']):.3f} against {iqm(returns['source-only']):.3f}, above "
            f"it by {gained.value:.3f} [{gained.low:.3f}, {gained.high:.3f}]; it chose "
            f"{np.round(chosen['DARC'], 2).tolist()}",
        ),
        Claim(
            "one whose transitions are weighted with e^Δr aims as the target wants",
            near(chosen["importance weighting"], TRUTH["target"], 0.2),
            f"by seed {np.round(chosen['importance weighting'], 2).tolist()}",
        ),
    ]


def draw(table: dict[str, Any], path: Path) -> None:
    """The values of every angle, each curve's top at 0, one line for each seed."""
    from headstart.report.figures import colour, figure, save

    fig, (left, right) = figure(columns=2)
    panels = ((left, ("source", "soft", "target")), (right, ("source", "mean", "target")))
    labels = {
        "source": "source", "target": "target", "soft": "corrected: log E exp(r + Δr)",
        "mean": "corrected: E[r + Δr]",
    }  # fmt: skip
    for axis, kinds in panels:
        for index, kind in enumerate(kinds):
            for seed, values in enumerate(table["values"]):
                curve = np.array(values[kind]) - max(values[kind])
                label = labels[kind] if seed == 0 else None
                axis.plot(table["angles"], curve, color=colour(index), linewidth=1, label=label)
        axis.set_ylim(-3, 0.2)
        axis.set_xlabel("angle (degrees)")
        axis.legend(frameon=False, fontsize=8)
    left.set_ylabel("value, below the best")
    save(fig, path)
