"""One run: train, adapt, evaluate, and lose nothing on the way.

The folder of a run holds `config.json`, `log.jsonl`, `knowledge/` (what was carried),
`zero_shot/` and `adapted/` (the first policy and the last), `checkpoint/` while pre-training, and
at the end `result.json`. Pre-training resumes from its checkpoint; adaptation is repeated from the
knowledge, to the same bits.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from headstart import envs, records
from headstart.envs.spec import SKILL
from headstart.errors import HeadstartError, KnowledgeError
from headstart.knowledge import Knowledge, write_atomically
from headstart.methods.method import trusted
from headstart.methods.recipe import FineTuning
from headstart.policies.policy import ActorPolicy, knowledge_of, policy_from
from headstart.result import PERCENTILES, Result, Shot
from headstart.runs.audit import Audit
from headstart.runs.checkpointer import Checkpointer
from headstart.runs.checks import differing
from headstart.runs.evaluation import evaluate, evaluation_seed, explore, scored, sweep
from headstart.runs.job import Job, versions
from headstart.runs.logger import Logger, ShowProgress, cut_to_pretraining, silent
from headstart.runs.metering import Allowance, CountedSource, Meter, MeteredTarget
from headstart.transfer.graft import graft

GRAFT = "graft.json"
"""What became of each tensor where the target's spaces are others than the source's."""
HARNESS = ("pretraining", "spent")
"""Metadata of knowledge that no method sees."""


def run(job: Job, progress: ShowProgress = silent) -> Result:
    """Run a prepared job to its end, or read the result that is already there.

    Raises:
        HeadstartError: another process is running it, or the disk is full.
    """
    finished = job.folder / "result.json"
    if finished.exists():  # in a folder that one may perhaps only read
        return Result.read(finished)
    with locked(job.folder) as still_held:
        if finished.exists():
            return Result.read(finished)
        try:
            result = _run(job, Logger(job.folder, job.sinks, still_held), progress)
            data = result.dumps()
            whole = {"log.jsonl": (job.folder / "log.jsonl").read_bytes(), finished.name: data}
            digests = {name: hashlib.sha256(file).hexdigest() for name, file in whole.items()}
            still_held()
            write_atomically(job.folder / records.DIGESTS, json.dumps(digests, indent=1).encode())
            write_atomically(finished, data)
            shutil.rmtree(job.folder / "checkpoint", ignore_errors=True)
        except OSError as error:
            raise HeadstartError(
                f"cannot write {job.folder}: {error.strerror}; what was finished is kept: make "
                "room, then run again with --resume"
            ) from None
    return result


def _run(job: Job, logger: Logger, progress: ShowProgress) -> Result:
    pretrain_key, adapt_key = jax.random.split(jax.random.key(job.seed))
    knowledge = _pretrained(job, pretrain_key, logger, progress)
    spent = _spent(job, knowledge)
    cut_to_pretraining(job.folder)
    access, started = job.problem.access, time.monotonic()
    frames = max(access.observations - spent.target["observations"], 0)
    meter = Meter(frames, None, None if job.method.unlimited else access.shots[-1])
    source = CountedSource(job.problem.source, logger=logger, progress=progress, phase="retrain")
    seed = evaluation_seed(job.seed)
    allowance = Allowance(meter, behaviour=access.behaviour, reserved=seed)
    target = MeteredTarget(job.problem.target, allowance, logger, progress=progress, phase="adapt")
    shown = {k: v for k, v in knowledge.metadata.items() if k not in HARNESS}
    knowledge = replace(knowledge, metadata=shown)
    scoring = Scoring(job, logger, progress)
    scoring.log_carried(knowledge)
    audit = Audit(job.problem, job.label)
    policies = job.method.adapt(_fitted(job, knowledge), source, target, adapt_key)
    for policy in policies:
        audit.check(source.meter, meter)
        scoring.take(policy, meter)
    audit.check(source.meter, meter)
    first, last = scoring.finish()
    before = time.monotonic()
    swept = sweep(job.problem, first, last, job.seed, progress)
    evaluating = scoring.seconds + time.monotonic() - before
    logger.check()
    knowledge_of(first).save(job.folder / "zero_shot")
    knowledge_of(last).save(job.folder / "adapted")
    return Result(
        problem=job.problem.name,
        method=job.label,
        seed=job.seed,
        source={k: spent.source[k] + getattr(source.meter, k) for k in ("steps", "episodes")},
        target={k: spent.target[k] + v for k, v in meter.counts().items()},
        shots=scoring.shots,
        seconds={
            "pretrain": spent.seconds,
            "adapt": round(time.monotonic() - started - evaluating, 3),
            "evaluate": round(evaluating, 3),
        },
        versions=versions((job.problem.source, job.problem.target)),
        sweep=swept,
        unlimited=job.method.unlimited,
        configuration=records.digest(records.read(job.folder / "config.json")),
    )


@dataclass(frozen=True)
class Spent:
    """What pre-training took, as it stands in the knowledge that it made."""

    source: dict[str, int]
    target: dict[str, int]
    seconds: float


def _spent(job: Job, knowledge: Knowledge) -> Spent:
    """Raises:
    HeadstartError: the knowledge does not say it, or it is more than access allows.
    """
    place, access = f"{job.folder}/knowledge", job.problem.access
    spent = records.made(Spent, knowledge.metadata.get("spent"), f"{place}, spent")
    allowed = {"observations": access.observations, "steps": access.steps}
    for domain, taken in (("source", spent.source), ("target", spent.target)):
        for what in (*allowed, "episodes"):
            if what not in taken:
                raise HeadstartError(f"{place} is damaged: it does not say {what} of the {domain}")
    for what, most in allowed.items():
        if spent.target[what] > most and not job.method.unlimited:
            raise HeadstartError(
                f"{place} was made with {spent.target[what]} {what} of the target, and access "
                f"allows {most}: remove {job.folder}"
            )
    return spent


def _fitted(job: Job, knowledge: Knowledge) -> Knowledge:
    """Knowledge as the target can use it; how it was grafted, if it was, is in `graft.json`."""
    already = job.method.unlimited or "policy" not in knowledge.metadata
    if already or not differing(job.problem):
        return knowledge
    found = graft(knowledge, envs.spec_of(job.problem.target), job.problem.graft)
    fresh = {"fate": "fresh", "why": "what learns on the target starts without it"}
    rows = [
        row._asdict() | (fresh if row.tensor.partition("/")[0] in job.method.afresh else {})
        for row in found.rows
    ]
    write_atomically(job.folder / GRAFT, json.dumps(rows, indent=1).encode())
    return found.knowledge


def _percentiles(entropy: np.ndarray) -> list[float]:
    return np.percentile(entropy, PERCENTILES).round(4).tolist()


def _kept(leaf: Any) -> Any:
    return cast(Any, leaf).copy() if isinstance(leaf, np.ndarray) else leaf  # JAX's stay


class Scoring:
    """The policies that `adapt` yields, evaluated at the problem's shots."""

    def __init__(self, job: Job, logger: Logger, progress: ShowProgress):
        self._job, self._logger, self._progress = job, logger, progress
        self._pending = list(job.problem.access.shots)
        self._policies: list[ActorPolicy] = []
        self._taken = (0, 0)
        self._source_spec = envs.spec_of(job.problem.source)
        self._other_spaces = bool(differing(job.problem))
        self.shots: list[Shot] = []
        self.seconds = 0.0
        """Spent on evaluation."""

    def log_carried(self, knowledge: Knowledge) -> None:
        """The entropy of what was carried, in the source, if its policy is fine-tuned: where it
        starts on the target, its deviation or temperature may be another already."""
        method, problem = self._job.method, self._job.problem
        tuned = isinstance(method, FineTuning) and "policy" not in method.afresh
        if not tuned or "policy" not in knowledge.parts:
            return
        try:
            policy = policy_from(knowledge, trusted(method.learner))
        except KnowledgeError:  # an actor that only its own learner can make again
            return
        if SKILL in policy.reads:  # many, and none of them the one
            return
        before = time.monotonic()
        _, entropy = explore(problem.source.at_mean(), policy, problem.episodes, self._job.seed)
        self.seconds += time.monotonic() - before
        self._logger.log({"phase": "carried", "entropy": _percentiles(entropy)})

    def take(self, policy: ActorPolicy, meter: Meter) -> None:
        """The next policy, as it is now, and what had been taken of the target for it."""
        policy = jax.tree.map(_kept, policy)
        if self._policies:
            self._report_until(meter.episodes)
        self._policies = [*self._policies[:1], policy]
        self._taken = (meter.episodes, meter.steps)

    def finish(self) -> tuple[ActorPolicy, ActorPolicy]:
        """Report the rest; the first policy and the last.

        Raises:
            HeadstartError: there was none.
        """
        if not self._policies:
            raise HeadstartError(
                f"{self._job.label} yielded no policy: adapt must yield the zero-shot one"
            )
        self._report_until(float("inf"))
        return self._policies[0], self._policies[-1]

    def _report_until(self, episodes: float) -> None:
        """The last policy stands for every shot before `episodes`."""
        problem = self._job.problem
        while self._pending and self._pending[0] < episodes:
            at, before = self._pending.pop(0), time.monotonic()
            if self.shots and self.shots[-1].episodes >= self._taken[0]:  # still the same policy
                shot = replace(self.shots[-1], episodes=at, steps=self._taken[1])
            else:
                asked = self._policies[-1], problem.episodes, self._job.seed
                returns, reached = scored(problem.target, *asked)
                met: list[float] = [] if reached is None else reached.tolist()
                sampled, entropy = explore(problem.target, *asked)
                back = self._back_in_source(self._policies[-1])
                home: list[float] = []
                if back is not None:
                    home = evaluate(problem.source, back, *asked[1:]).tolist()
                shot = Shot(
                    at, self._taken[1], returns.tolist(), sampled.tolist(), home,
                    _percentiles(entropy), met,
                )  # fmt: skip
            self.shots.append(shot)
            self.seconds += time.monotonic() - before
            self._progress("evaluate", len(self.shots), len(problem.access.shots))
            success = {"success": shot.success_rate} if shot.success else {}
            self._logger.log(
                {
                    "phase": "evaluate", "shot": at, "steps": shot.steps, "mean": shot.score,
                    "source_mean": shot.source_score if shot.source else None,
                    "entropy": shot.entropy, **success,
                }
            )  # fmt: skip

    def _back_in_source(self, policy: ActorPolicy) -> ActorPolicy | None:
        """How an adapted policy acts in the source, grafted back if it has other spaces; nothing if
        it reads a group that is not there, or stands on another and cannot be grafted."""
        policy = self._job.method.in_source(policy)
        if not self._source_spec.groups.keys() >= set(policy.reads):
            return None
        if not self._other_spaces:
            return policy
        held, tables = knowledge_of(policy), self._job.problem.graft
        if held.metadata["policy"].keys() & {"network", "guided"}:
            return None
        inverse = {what: {old: new for new, old in t.items()} for what, t in tables.items()}
        return policy_from(graft(held, self._source_spec, inverse).knowledge)


def _pretrained(job: Job, key: PRNGKeyArray, logger: Logger, progress: ShowProgress) -> Knowledge:
    """The run's knowledge: read, taken over from a run that shares it, or made."""
    folder = job.folder / "knowledge"
    if folder.exists():
        return Knowledge.load(folder)
    shared = _shared(job)
    if shared is not None:
        log = shared / "log.jsonl"
        write_atomically(job.folder / "log.jsonl", log.read_bytes() if log.exists() else b"")
        knowledge = Knowledge.load(shared / "knowledge")
        knowledge.save(folder)
        return knowledge
    access = job.problem.access
    # A step may end an episode and show the next one's start: so steps limit episodes too.
    limits = (access.observations, access.steps, 2 * access.steps)
    meters = {
        "source": Meter(),
        "target": Meter(*((None, None, None) if job.method.unlimited else limits)),
    }
    checkpointer = Checkpointer(job.folder, meters, logger)
    record = logger, checkpointer, progress
    source = CountedSource(job.problem.source, meters["source"], *record)
    rewards = access.rewards or job.method.unlimited
    seed = evaluation_seed(job.seed)
    allowance = Allowance(meters["target"], rewards, access.behaviour, seed)
    target = MeteredTarget(job.problem.target, allowance, *record)
    audit = Audit(job.problem, job.label)
    made = job.method.pretrain(source, target, key)
    audit.check(meters["source"], meters["target"])
    spent: dict[str, Any] = {name: meter.counts() for name, meter in meters.items()}
    touched = any(spent["target"].values())
    spent["seconds"] = round(checkpointer.seconds, 3)
    own = job.pretraining_key if touched else job.untouched_key, spent
    metadata = {**made.metadata, **dict(zip(HARNESS, own, strict=True))}
    knowledge = replace(made, metadata=metadata)
    logger.check()
    knowledge.save(folder)
    return knowledge


def _shared(job: Job) -> Path | None:
    """The folder of a run whose pre-training serves this one too."""
    keys = job.pretraining_key.encode(), job.untouched_key.encode()
    for manifest in sorted(job.out.glob(f"*/*/{job.seed}/knowledge/manifest.json")):
        held = manifest.read_bytes()
        if any(key in held for key in keys):
            return manifest.parents[1]
    return None


@contextmanager
def locked(folder: Path) -> Generator[Callable[[], None]]:
    """Hold the folder for this process; the lock ends with the process, however that ends.

    Yields:
        a check, for before each write, that the folder has not been removed or made anew since.
    """
    lock = folder / ".lock"
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise HeadstartError(f"cannot write {folder}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise HeadstartError(
            f"{folder} is in use by another process: wait for it, or choose another --out"
        ) from None

    def still_held() -> None:
        if not lock.exists() or not os.path.samestat(lock.stat(), os.fstat(handle)):
            raise HeadstartError(f"{folder} was removed while its run was under way: run it again")

    try:
        yield still_held
    finally:
        os.close(handle)
