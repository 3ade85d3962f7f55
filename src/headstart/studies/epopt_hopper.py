"""EPOpt on the hopper (Rajeswaran et al., ICLR 2017, arXiv 1610.01283).

The paper trains policies at torso masses 3, 6 and 9, and one on masses drawn from a normal around
6, and tests each on masses from 3 to 9. It then keeps the mass at 6 and varies friction, damping
and armature instead, and tests on the masses that were never varied. Last, it infers the mass of a
hopper far from the prior's mean from a few of its trajectories. Its return figures were never
tabulated, so what is held against the paper is what it says of them.

Two questions are added: whether a specialist's own exploration noise, which shakes every torque, is
a randomisation (PPO bounds its σ by 0.25 at the end of training; not at all for LOUD, by 0.05 for
QUIET), and what the posterior is worth beyond the training that goes with it (CONTROL has as much,
under the prior).

Reduced, and changed: PPO with fewer steps than the paper's TRPO; Gymnasium's Hopper-v5 (11-d
observation) with mass and inertia scaled; damping varies around this hopper's own 1, not 2.5; sets
of 32 trajectories, so that the phase at ε = 0.1 has 21 updates or more.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.problem import Access, Domain, TransferProblem
from headstart.problem.distributions import Normal
from headstart.result import estimate, iqm
from headstart.studies import Arm, Claim, above

SEEDS = 10
STEPS = "steps=1000000"
WORST = f"{STEPS};trajectories=32;ensemble=0.4"
MASSES = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
PRIOR = Normal(6.0, 1.5, low=3.0, high=9.0)
TRUTH = 9.0


def _problem(name: str, **source: Any) -> TransferProblem:
    return TransferProblem(
        name=f"epopt-hopper-{name}",
        source=Domain("hopper", **source),
        target=Domain("hopper", torso_mass=TRUTH),
        access=Access(shots=(0, 10)),
        sweep={"torso_mass": MASSES},
        episodes=16,
        sweep_episodes=16,
    )


def _specialist(mass: float, *settings: str) -> tuple[TransferProblem, str]:
    label = f"source-only:{';'.join((STEPS, *settings))}"
    return _problem(f"mass-{mass:g}", torso_mass=mass), label


VARIED = _problem("varied", torso_mass=PRIOR)
WITHOUT_MASS = _problem(
    "unmodelled",
    torso_mass=6.0,
    ground_friction=Normal(2.0, 0.25, low=1.5, high=2.5),
    joint_damping=Normal(1.0, 0.4, low=0.4, high=1.6),
    armature=Normal(1.0, 0.25, low=0.5, high=1.5),
)
AT_6, EPOPT = "specialist at 6", "EPOpt (ε = 0.1)"
LOUD, QUIET = "specialist at 6, σ unbounded", "specialist at 6, σ bounded at 0.05"
ENSEMBLE, UNMODELLED = "ensemble (ε = 1)", "EPOpt, mass not varied"
POSTERIOR, CONTROL = "EPOpt, posterior", "EPOpt, trained on without"
ADAPTED = (POSTERIOR, CONTROL)
POLICIES = {
    EPOPT: (VARIED, f"epopt:{WORST}"),
    "specialist at 3": _specialist(3.0),
    AT_6: _specialist(6.0),
    "specialist at 9": _specialist(9.0),
    LOUD: _specialist(6.0, "learner.final_std=1"),
    QUIET: _specialist(6.0, "learner.final_std=0.05"),
    ENSEMBLE: (VARIED, f"domain-randomization:{STEPS}"),
    UNMODELLED: (WITHOUT_MASS, f"epopt:{WORST}"),
    POSTERIOR: (VARIED, f"epopt-posterior:{WORST}"),
    CONTROL: (VARIED, f"epopt-posterior:{WORST};infer=false"),
}


def arms() -> dict[str, Arm]:
    """What is compared."""
    return {name: Arm(problem, label, SEEDS) for name, (problem, label) in POLICIES.items()}


def collect(out: Path) -> dict[str, Any]:
    """The numbers that the claims rest on, from the finished runs below `out`."""
    from headstart.runs.logger import rows

    policies: dict[str, Any] = {}
    posterior = []
    versions: dict[str, str] = {}
    for name, arm in arms().items():
        folders, results = arm.folders(out), arm.results(out)
        versions = results[0].versions
        kind = "adapted" if name in ADAPTED else "zero_shot"
        policies[name] = {
            "source_steps": [result.source["steps"] for result in results],
            "target_episodes": [result.target["episodes"] for result in results],
            "returns": [
                [[round(r, 1) for r in row[kind]] for row in result.sweep] for result in results
            ],  # [seed][mass][episode]
            "std": [round(_std(folder), 3) for folder in folders],
        }
        if name == POSTERIOR:
            for folder in folders:
                posterior.append(
                    [
                        {k: r[k] for k in ("episodes", "mean", "std")}
                        for r in rows(folder)
                        if r["phase"] == "posterior"
                    ]
                )
    return {
        "masses": MASSES,
        "policies": policies,
        "posterior": posterior,
        "versions": versions,
    }


def _std(folder: Path) -> float:
    """The mean deviation of the actions of what pre-training gave."""
    from headstart.knowledge import Knowledge
    from headstart.policies.actors import GaussianActor
    from headstart.policies.policy import policy_from

    actor = policy_from(Knowledge.load(folder / "knowledge")).actor
    if not isinstance(actor, GaussianActor):
        raise TypeError(f"no Gaussian: {type(actor).__name__}")
    return float(np.exp(actor.log_std).mean())


def scores(table: dict[str, Any], name: str) -> np.ndarray:
    """Mean return `[seeds, masses]` of a policy."""
    return np.array(table["policies"][name]["returns"]).mean(2)


def tail(table: dict[str, Any], name: str) -> np.ndarray:
    """The tenth percentile `[seeds]` of a policy's returns over all masses."""
    return np.quantile(np.array(table["policies"][name]["returns"]), 0.1, axis=(1, 2))


def worst(table: dict[str, Any], name: str) -> np.ndarray:
    """A policy's mean return `[seeds]` at the mass that suits it least, seed by seed."""
    return scores(table, name).min(1)


def shown(table: dict[str, Any]) -> str:
    """Interquartile mean return of each policy at each mass, one policy a line."""
    lines = ["torso mass (kg)".ljust(26) + "".join(f"{mass:>7g}" for mass in table["masses"])]
    for name in table["policies"]:
        means = [iqm(column) for column in scores(table, name).T]
        lines.append(name.ljust(26) + "".join(f"{mean:7.0f}" for mean in means))
    return "\n".join(lines)


def claims(table: dict[str, Any]) -> list[Claim]:
    """What the paper says, held against the numbers."""
    masses = list(table["masses"])
    every = {name: scores(table, name) for name in POLICIES}
    curve = {name: np.array([iqm(s) for s in found.T]) for name, found in every.items()}
    found: list[Claim] = []
    for mass in (3.0, 6.0, 9.0):
        name = f"specialist at {mass:g}"
        lowest = int(curve[name].argmin())
        text = (
            f"half of what the specialist at {mass:g} kg returns there is above what it returns "
            f"at {masses[lowest]:g} kg"
        )
        at_home = every[name][:, masses.index(mass)]
        found.append(above(text, 0.5 * at_home, every[name][:, lowest]))
    found.append(
        above(
            "noise is a randomisation: the worst mass of the specialist at 6 kg is better where "
            "its noise is not bounded than where it is bounded at 0.05",
            worst(table, LOUD),
            worst(table, QUIET),
        )
    )
    specialists = [f"specialist at {mass}" for mass in (3, 6, 9)]
    kept: list[Claim] = []
    for i in (i for i, mass in enumerate(masses) if 4 <= mass <= 8):
        best = max(specialists, key=lambda name, i=i: curve[name][i])
        text = "the ensemble stays within 15 % of the best specialist at every mass from 4 to 8 kg"
        kept.append(above(text, every[ENSEMBLE][:, i], every[best][:, i], 0.85))
    found.append(next((claim for claim in kept if not claim.holds), kept[0]))
    found += [
        above(
            "the ensemble's worst mass is better than that of the specialist at 6 kg",
            worst(table, ENSEMBLE),
            worst(table, AT_6),
        ),
        above(
            "the tenth percentile of EPOpt's returns over all masses is above the ensemble's",
            tail(table, EPOPT),
            tail(table, ENSEMBLE),
        ),
        above(
            "varying friction, damping and armature gives robustness to the mass, never varied: "
            "a better worst case than the specialist at 6 kg",
            worst(table, UNMODELLED),
            worst(table, AT_6),
        ),
    ]
    spread = PRIOR.sample(np.random.default_rng(0), 100_000).std()
    means = [rounds[-1]["mean"]["torso_mass"] for rounds in table["posterior"]]
    episodes = max(rounds[-1]["episodes"] for rounds in table["posterior"])
    furthest = max(means, key=lambda mean: abs(mean - TRUTH))
    found.append(
        Claim(
            "the posterior's mean is within one prior standard deviation of the true mass, on "
            "every seed, after at most 10 target trajectories",
            bool(abs(furthest - TRUTH) <= spread and episodes <= 10),
            f"furthest {furthest:.3f} kg, truth {TRUTH:g} kg, after {episodes} trajectories; "
            f"the prior's standard deviation is {spread:.2f} kg",
        )
    )
    at_truth = masses.index(TRUTH)
    for rival in (EPOPT, CONTROL):
        text = f"under the posterior the return at {TRUTH:g} kg is above that of “{rival}”"
        found.append(above(text, every[POSTERIOR][:, at_truth], every[rival][:, at_truth]))
    return found


def draw(table: dict[str, Any], path: Path) -> None:
    """Return over torso mass for each policy, with 95 % intervals over seeds."""
    from headstart.report.figures import band, figure, save

    names = list(POLICIES)
    panels = {
        "one mass, or many": ["specialist at 3", AT_6, "specialist at 9", ENSEMBLE, EPOPT],
        "own noise; a mass never varied": [AT_6, LOUD, QUIET, UNMODELLED],
        "trained on after ten target episodes": [EPOPT, POSTERIOR, CONTROL],
    }
    fig, axes = figure(columns=3, width=12.5, height=5.0)
    for axis, (title, chosen) in zip(axes, panels.items(), strict=True):
        axis.set_title(title)
        for name in chosen:
            estimates = [estimate(column) for column in scores(table, name).T]
            band(axis, table["masses"], estimates, name, names.index(name))
        axis.set_xlabel("torso mass of the test hopper (kg)")
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncols": 1}
        axis.legend(frameon=False, fontsize=8, **below)
    axes[0].set_ylabel("return")
    axes[0].set_ylim(0, 4000)  # intervals go beyond
    save(fig, path)
