"""What an environment promises: seeds, and parameters that do what they say."""

import itertools
from collections.abc import Mapping

import jax
import numpy as np

from headstart import envs
from headstart.envs.environment import UNLIMITED
from headstart.envs.vector_env import AbstractVectorEnv
from headstart.errors import HeadstartError, SimulationError
from headstart.experience.unroll import begin, play
from headstart.problem import Domain
from headstart.problem.parameter import Parameter
from headstart.runs.trace import COPIES, Pushes, bare, differ, trace
from headstart.testing.finding import Finding, hold
from headstart.testing.spaces import examine_spaces

NO_CHANCE = "nothing differs: it does not use the seed of reset, or leaves nothing to chance"
LONG = 5_000
"""Steps after which an episode is not waited for."""


def check_environment(name: str) -> None:
    """Raises:
    AssertionError: the environment does not keep what it declares; the message says what.
    """
    hold(examine(Domain(name)))


def examine(domain: Domain) -> list[Finding]:
    """What `headstart check` reports of a domain's environment, its parameters at nominal.

    Raises:
        HeadstartError: there is no such environment, or it raises.
    """
    domain = bare(domain.with_only({}))
    own = envs.of(domain).itself()
    try:
        spaces = [] if own is None else examine_spaces(own)
    except Exception as error:
        raise HeadstartError(
            f"{domain.environment} raised {type(error).__name__}: {error}"
        ) from error
    try:
        return spaces + _examine(domain)
    except SimulationError:
        if all(finding.held for finding in spaces):
            raise
        return spaces


def _examine(domain: Domain) -> list[Finding]:
    environment = envs.of(domain)
    nominal, again, other = (
        np.stack(list(trace(envs.start(domain, COPIES, seed)))) for seed in (0, 0, 1)
    )
    findings = [
        _finding("the same seed gives the same episode", nominal, again),
        _finding("another seed gives another", nominal, other, same=False),
    ]
    if envs.spec_of(domain).horizon == UNLIMITED:
        findings.append(_ends(domain))
    for parameter, declared in environment.parameters.items():
        findings += _examine_parameter(domain, parameter, declared)
    return findings + _examine_masses(domain)


def _examine_parameter(domain: Domain, name: str, declared: Parameter) -> list[Finding]:
    running = envs.start(domain, COPIES, 0)
    stated = declared.low <= declared.nominal <= declared.high and declared.low < declared.high
    ends = {declared.low, declared.high} - {declared.nominal}
    moved = [differ(domain, domain.with_parameters(**{name: end})) for end in ends]
    column = list(running.environment.parameters).index(name)
    away = _away(declared)
    seen = bool(moved) and all(moved)
    unseen = "nothing differs at the end of its range"
    if declared.rare:
        unseen = "random actions do not meet it"
    restored = _traced(running), _traced(running, {column: away}), _traced(running)
    twice = _traced(running, {column: away})
    return [
        Finding(f"{name}: low ≤ nominal ≤ high", bool(stated), f"{declared}"),
        Finding(
            f"{name} changes what happens",
            seen or declared.rare,
            "" if seen else unseen,
        ),
        _finding(f"{name} comes back to nominal", restored[0], restored[2]),
        _finding(f"{name} does not compound over resets", restored[1], twice),
    ]


def _ends(domain: Domain) -> Finding:
    """Whether an episode of an environment that sets no horizon comes to an end."""
    running = envs.start(domain, 1, 0)
    policy = Pushes(running.spec.actions)
    playing = play(policy, running, begin(policy, running), jax.random.key(0))
    ended = any(
        (played.step.terminated | played.step.truncated).any()
        for played in itertools.islice(playing, LONG)
    )
    return Finding(
        "an episode ends",
        ended,
        "" if ended else f"none did in {LONG} steps: give its domains a horizon, as in "
        "horizon = 1000, or wrap it in a TimeLimit",
    )  # fmt: skip


def _examine_masses(domain: Domain) -> list[Finding]:
    """Mass and inertia keep their ratio, body by body, and the derived constants follow."""
    findings = []
    for column, (name, declared) in enumerate(envs.of(domain).parameters.items()):
        running = envs.start(domain, 1, 0)
        running.reset()
        before = running.masses_and_inertias()
        if before is None or not name.endswith("mass"):
            continue
        running.values[:, column] = _away(declared)
        running.reset()
        after = running.masses_and_inertias() or {}
        ratio = after["mass"] / before["mass"]
        follows = np.allclose(after["inertia"], before["inertia"] * ratio[:, None], rtol=1e-12)
        derived = np.allclose(after["subtree"], after["mass"].sum(), rtol=1e-12)
        findings += [
            Finding(f"{name}: inertia follows mass", bool(follows)),
            Finding(f"{name}: derived constants follow", bool(derived)),
        ]
    return findings


def _away(declared: Parameter) -> float:
    far = max((declared.low, declared.high), key=lambda value: abs(value - declared.nominal))
    middle = (declared.nominal + far) / 2
    return float(round(far)) if declared.integer else middle


def _traced(running: AbstractVectorEnv, changed: Mapping[int, float] | None = None) -> np.ndarray:
    """What happens `[steps, copies, …]` with copies that have been used, reseeded; `changed` by
    column."""
    running.values[:] = [p.nominal for p in running.environment.parameters.values()]
    for column, value in (changed or {}).items():
        running.values[:, column] = value
    running.reseed(0)
    return np.stack(list(trace(running)))


def _finding(claim: str, a: np.ndarray, b: np.ndarray, same: bool = True) -> Finding:
    difference = _largest(a - b)
    held = (difference == 0) == same
    detail = f"the largest difference is {difference:g}" if same else NO_CHANCE
    return Finding(claim, held, "" if held else detail)


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())
