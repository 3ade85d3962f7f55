"""What a method promises, held against what it does to a target that records it."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from headstart import configuration
from headstart.envs.spec import EnvSpec
from headstart.errors import AllowanceSpent, HeadstartError
from headstart.experience.source import Source, Target
from headstart.knowledge import Knowledge
from headstart.methods.method import Method, Requirements
from headstart.policies.policy import ActorPolicy
from headstart.problem import TransferProblem, with_access
from headstart.result import Result
from headstart.runs.checks import check
from headstart.runs.job import Job, prepare
from headstart.runs.run import run
from headstart.testing.finding import Finding, hold

SHOWN = (
    "spec", "steps", "episodes", "steps_left", "episodes_left", "start", "observations", "log",
    "progress", "checkpointer",
)  # fmt: skip
"""All that a target shows."""


@dataclass
class Record:
    """What a method did to its target."""

    steps: int = 0
    episodes: int = 0
    observations: int = 0
    episodes_before_the_first_policy: int = 0
    touched: list[str] = field(default_factory=list)
    """Names that a target does not show, and that the method asked for."""


def check_method(method: Method, problem: TransferProblem) -> Result:
    """Run a method (with fields that make it quick) on a problem, and hold it to the contract.

    Returns:
        What the run measured.

    Raises:
        AssertionError: the method breaks the contract; the message says where.
    """
    findings, result = examine_method(method, problem)
    hold(findings)
    assert result is not None
    return result


def examine_method(method: Method, problem: TransferProblem) -> tuple[list[Finding], Result | None]:
    """Claims about a method, each by its name, and what its run measured, if it ended."""
    findings = _examine_fields(method)
    name = type(method).__name__
    with tempfile.TemporaryDirectory() as folder:
        record = Record()
        watched = Watched(inner=method, record=record, learner=method.learner)
        try:
            check(problem, method, name)
            first = _result(watched, problem, Path(folder), "first")
        except AllowanceSpent as error:
            return [*findings, Finding("it takes no more than it may", False, str(error))], None
        except AttributeError as error:
            if not record.touched:
                raise
            return [*findings, _touches(record), Finding("it runs", False, str(error))], None
        again = _result(method, problem, Path(folder), "again")
        nothing = with_access(problem, observations=0, steps=0, shots=(0,))
        findings += [_examine_nothing(method, nothing, Path(folder), name)]
    shots = problem.access.shots
    taken = {
        "observations": record.observations,
        "steps": record.steps,
        "episodes": record.episodes,
    }
    early = record.episodes_before_the_first_policy
    return [
        *findings,
        Finding("it takes no more than it may", True),
        _touches(record),
        Finding(
            "what it took of the target is what was counted",
            taken == first.target, f"{taken} against {first.target}",
        ),
        Finding("the zero-shot policy comes before any episode of the target", early == 0),
        Finding("every shot is reported", tuple(s.episodes for s in first.shots) == shots),
        Finding("the same seed gives the same returns", first.shots == again.shots),
    ], first  # fmt: skip


def _examine_fields(method: Method) -> list[Finding]:
    cls = type(method)
    if not is_dataclass(cls):
        return [Finding("it is a frozen dataclass", False, f"{cls.__name__} is not")]
    try:
        hash(method)
        frozen = True
    except TypeError:
        frozen = False
    table, unlike = configuration.as_table(method), ""
    try:
        same = configuration.updated(cls(), table) == method
    except HeadstartError as error:
        same, unlike = False, str(error)
    silent = [name for name, meaning, _ in configuration.described(method) if not meaning]
    return [
        Finding("it is a frozen dataclass", frozen, "" if frozen else "it cannot be hashed"),
        Finding("its fields are its configuration", same, unlike),
        Finding(
            "every field says what it is", not silent, f"fields without a docstring: "
            f"{', '.join(silent)}" if silent else "",
        ),
    ]  # fmt: skip


def _examine_nothing(method: Method, problem: TransferProblem, folder: Path, name: str) -> Finding:
    """With no access it takes nothing, or says before it runs that it cannot do without."""
    claim = "with no access it takes nothing of the target, or says so before it runs"
    try:
        check(problem, method, name)
    except HeadstartError:
        return Finding(claim, True)
    try:
        taken = _result(method, problem, folder, "nothing").target
    except AllowanceSpent as error:
        return Finding(claim, False, str(error))
    return Finding(claim, method.unlimited or not any(taken.values()), f"it took {taken}")


def _touches(record: Record) -> Finding:
    names = ", ".join(record.touched)
    return Finding("it asks for nothing that a target does not show", not names, names)


def _result(method: Method, problem: TransferProblem, folder: Path, name: str) -> Result:
    job = Job(replace(problem, name=name), type(method).__name__, method, 0, folder)
    prepare(job, resume=False)
    return run(job)


@dataclass(frozen=True, kw_only=True)
class Watched(Method):
    """Another method, whose target records what it does."""

    inner: Method
    record: Record = field(compare=False)

    @property
    def unlimited(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.unlimited

    @property
    def afresh(self) -> tuple[str, ...]:
        return self.inner.afresh

    def requires(self) -> Requirements:
        return self.inner.requires()

    def in_source(self, policy: ActorPolicy) -> ActorPolicy:
        return self.inner.in_source(policy)

    def pretrain(self, source: Source, target: Target, key: PRNGKeyArray) -> Knowledge:
        watched: Any = RecordingTarget(target, self.record)
        return self.inner.pretrain(source, watched, key)

    def adapt(
        self, knowledge: Knowledge, source: Source, target: Target, key: PRNGKeyArray
    ) -> Iterator[ActorPolicy]:
        watched: Any = RecordingTarget(target, self.record)
        before = self.record.episodes
        for number, policy in enumerate(self.inner.adapt(knowledge, source, watched, key)):
            if number == 0:
                early = self.record.episodes - before
                self.record.episodes_before_the_first_policy = early
            yield policy


class RecordingTarget:
    """A target that writes down what is asked of it."""

    def __init__(self, target: Target, record: Record):
        def start(num: int, seed: int, expert: str | None = None) -> "RecordingVectorEnv":
            return RecordingVectorEnv(target.start(num, seed, expert), record)

        def observations(n: int, seed: int) -> Any:
            seen = target.observations(n, seed)
            record.observations += n
            return seen

        self._own = {"start": start, "observations": observations}
        self._target, self._record = target, record

    def __getattr__(self, name: str) -> Any:
        if name not in SHOWN:
            self._record.touched.append(name)
            raise AttributeError(f"a target shows no {name!r}")
        return self._own.get(name) or getattr(self._target, name)


class RecordingVectorEnv:
    """Copies of the target that count what is asked of them.

    They equal the handle that they record: a checkpointer knows what stands behind that one.
    """

    def __init__(self, inner: Any, record: Record):
        self.inner, self.num, self._record = inner, inner.num, record
        self.spec: EnvSpec = inner.spec

    def __hash__(self):
        return hash(self.inner)

    def __eq__(self, other: object):
        return other is self or other is self.inner

    def reset(self, rows: np.ndarray | None = None) -> Any:
        seen = self.inner.reset(rows)
        self._record.episodes += self.num if rows is None else len(rows)
        return seen

    def step(self, action: np.ndarray, rows: np.ndarray | None = None) -> Any:
        taken = self.inner.step(action, rows)
        self._record.steps += len(taken.reward)
        if rows is None:
            self._record.episodes += int((taken.terminated | taken.truncated).sum())
        return taken

    def scan(self, *arguments: Any) -> Any:
        seen = self.inner.scan(*arguments)
        if seen is not None:
            ended = np.asarray(seen[0].terminated | seen[0].truncated)
            self._record.steps += ended.size
            self._record.episodes += int(ended.sum())
        return seen

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            self._record.touched.append(f"copies.{name}")
        raise AttributeError(f"copies of a target show no {name!r}")
