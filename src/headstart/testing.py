"""Hold an environment or a method to what it promises: ours in our tests, yours in yours."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart import configuration, envs
from headstart.envs.compiled import CompiledBatch
from headstart.envs.environment import Batch, Declared, Parameter
from headstart.errors import HeadstartError
from headstart.methods.method import Method
from headstart.problem import Domain, TransferProblem, with_access
from headstart.result import Result
from headstart.run import Job, prepare, run

NOTHING = {"observations": 0, "steps": 0, "episodes": 0}
STEPS = 60
COPIES = 8


@dataclass(frozen=True)
class Finding:
    """A claim about an environment, and whether it held."""

    claim: str
    held: bool
    detail: str = ""


def check_environment(name: str) -> None:
    """Raises:
    AssertionError: the environment does not keep what it declares; the message says what.
    """
    failed = [f"{f.claim}: {f.detail}" for f in examine(name) if not f.held]
    assert not failed, "; ".join(failed)


def check_method(method: Method, problem: TransferProblem) -> Result:
    """Run a method (with fields that make it quick) on a problem, and hold it to the contract.

    Returns:
        What the run measured.

    Raises:
        AssertionError: the method breaks the contract; the message says where.
    """
    cls = type(method)
    assert is_dataclass(cls), f"{cls.__name__} must be a dataclass"
    hash(method)  # frozen, with fields that can be compared
    table = configuration.as_table(method)
    assert configuration.updated(cls(), table) == method, "its fields must be its configuration"
    silent = [name for name, meaning, _ in configuration.described(method) if not meaning]
    assert not silent, f"fields without a docstring: {', '.join(silent)}"
    with tempfile.TemporaryDirectory() as folder:

        def result_of(stated: TransferProblem, name: str) -> Result:
            job = Job(replace(stated, name=name), cls.__name__, method, 0, Path(folder))
            prepare(job, resume=False)
            return run(job)

        first, again = result_of(problem, "first"), result_of(problem, "again")
        none = with_access(problem, observations=0, steps=0, shots=(0,))
        try:
            untouched = result_of(none, "none").target
        except HeadstartError:  # to say that it cannot do without is an answer
            untouched = NOTHING
    shots = problem.access.shots
    assert tuple(shot.episodes for shot in first.shots) == shots, "every shot must be reported"
    assert first.shots == again.shots, "the same seed must give the same returns"
    if not method.unlimited:
        assert first.target["episodes"] <= shots[-1] or problem.access.steps, "it took too much"
        assert untouched == NOTHING, "with no access it must take nothing of the target"
    return first


def examine(name: str) -> list[Finding]:
    """What `headstart check` reports of an environment.

    Raises:
        HeadstartError: there is no such environment, or it raises.
    """
    environment = envs.find(name)
    nominal = _trace(environment, {}, seed=0)
    findings = [
        _finding("the same seed gives the same episode", nominal, _trace(environment, {}, seed=0)),
        _finding(
            "another seed gives another", nominal, _trace(environment, {}, seed=1), same=False
        ),
    ]
    for parameter, declared in environment.parameters.items():
        findings += _examine_parameter(environment, parameter, declared, nominal)
    engine = getattr(environment, "engine", None)
    if engine is not None and hasattr(engine(1), "masses_and_inertias"):
        findings += _examine_masses(environment.parameters, engine)
    return findings


def _examine_parameter(
    environment: Declared, name: str, declared: Parameter, nominal: np.ndarray
) -> list[Finding]:
    batch = envs.start(Domain(environment.name), COPIES, 0)
    stated = declared.low <= declared.nominal <= declared.high and declared.low < declared.high
    moved = []
    for value in (declared.low, declared.high):
        if value != declared.nominal:
            moved.append(_largest(nominal - _trace(environment, {name: value}, seed=0)))
    column = list(environment.parameters).index(name)
    away = _away(declared)
    restored = _traced(batch, {}, 0), _traced(batch, {column: away}, 0), _traced(batch, {}, 0)
    twice = _traced(batch, {column: away}, 0)
    return [
        Finding(f"{name}: low ≤ nominal ≤ high", bool(stated), f"{declared}"),
        Finding(
            f"{name} changes what happens",
            bool(moved) and min(moved) > 0,
            "" if moved and min(moved) > 0 else "nothing differs at the end of its range",
        ),
        _finding(f"{name} comes back to nominal", restored[0], restored[2]),
        _finding(f"{name} does not compound over resets", restored[1], twice),
    ]


def _examine_masses(
    parameters: Mapping[str, Parameter], start: Callable[[int], Any]
) -> list[Finding]:
    """Mass and inertia keep their ratio, body by body, and the derived constants follow."""
    findings = []
    for name, declared in parameters.items():
        if not name.endswith("mass"):
            continue
        engine = start(1)
        values = np.array([[p.nominal for p in parameters.values()]])
        engine.set_parameters(np.arange(1), values)
        before = engine.masses_and_inertias()
        values[0, list(parameters).index(name)] = _away(declared)
        engine.set_parameters(np.arange(1), values)
        after = engine.masses_and_inertias()
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


def _trace(environment: Declared, parameters: dict[str, float], seed: int) -> np.ndarray:
    """Observations and rewards of random actions `[steps, copies, …]`, the actions always equal."""
    batch = envs.start(Domain(environment.name, **parameters), COPIES, seed)
    return _record(batch)


def _traced(batch: Batch | CompiledBatch, changed: dict[int, float], seed: int) -> np.ndarray:
    """The same with a batch that has been used, reseeded; `changed` by column."""
    nominal = [p.nominal for p in batch.environment.parameters.values()]
    batch.values[:] = nominal
    for column, value in changed.items():
        batch.values[:, column] = value
    batch.reseed(seed)
    return _record(batch)


def _record(batch: Batch | CompiledBatch) -> np.ndarray:
    rng = np.random.default_rng(0)
    space = batch.action_space
    seen = [_row(batch.reset(), np.zeros(COPIES))]
    for _ in range(STEPS):
        if space.shape:
            action = rng.uniform(-1, 1, (COPIES, *space.shape))
        else:
            action = rng.integers(space.n, size=COPIES)  # pyright: ignore
        step = batch.step(action)
        seen.append(_row(step.next_obs, step.reward))
    return np.stack(seen)


def _row(obs: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """`[copies, entries + 1]`."""
    return np.concatenate([np.float64(obs).reshape(COPIES, -1), reward[:, None]], axis=1)


def _finding(claim: str, a: np.ndarray, b: np.ndarray, same: bool = True) -> Finding:
    difference = _largest(a - b)
    held = (difference == 0) == same
    return Finding(claim, held, "" if held else f"the largest difference is {difference:g}")


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())
