"""One run: a problem, a method, a seed. Train, adapt, evaluate, and lose nothing on the way.

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
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from headstart import configuration, envs, methods, problem
from headstart.envs.environment import check_alike, check_domain
from headstart.errors import HeadstartError
from headstart.evaluation import evaluate, sweep
from headstart.journal import Journal, Progress, silent
from headstart.knowledge import Knowledge, write_atomically
from headstart.methods.method import Method
from headstart.problem import TransferProblem
from headstart.result import Result, Shot
from headstart.target import Meter, Source, Target


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be run, and where."""

    problem: TransferProblem
    label: str
    """The method's name, or a variant of it that a comparison tells apart: `epopt:epsilon=0.2`."""
    method: Method
    seed: int
    out: Path

    @property
    def folder(self) -> Path:
        return self.out / self.problem.name / self.label / str(self.seed)

    @cached_property
    def pretraining_key(self) -> str:
        """Equal for runs that share their pre-training."""
        table = self.problem.as_table()
        access = {k: v for k, v in table["access"].items() if k != "shots"}
        return self._key({"target": table["target"], "access": access})

    @cached_property
    def untouched_key(self) -> str:
        """The same for pre-training that took nothing of the target, which other targets share."""
        return self._key({"target": self.problem.target.environment})

    def _key(self, target: dict[str, Any]) -> str:
        shared = self.method.pretraining
        identity = {
            "source": self.problem.source.as_table(),
            **target,
            "method": f"{type(shared).__module__}:{type(shared).__qualname__}",
            "fields": configuration.as_table(shared),
            "seed": self.seed,
            "versions": versions(),
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def config(self) -> dict[str, Any]:
        """All that was resolved, as in `config.json`."""
        return {
            "problem": self.problem.as_table(),
            "method": {
                "name": self.label,
                "fields": configuration.as_table(self.method),
            },
            "seed": self.seed,
            "pretraining": self.pretraining_key,
            "versions": versions(),
            "commit": commit(),
        }

    @staticmethod
    def read(folder: Path) -> "Job":
        """The job of a folder that `prepare` made."""
        try:
            config = json.loads((folder / "config.json").read_bytes())
            label, fields = config["method"]["name"], config["method"]["fields"]
            method = configuration.updated(methods.find(method_name(label))(), fields)
            stated = problem.from_table(config["problem"])
            return Job(stated, label, method, config["seed"], folder.parents[2])
        except OSError as error:
            raise HeadstartError(f"{folder} is not a run: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise HeadstartError(f"{folder}/config.json is damaged: {error!r}") from None


def make_job(
    stated: TransferProblem,
    label: str,
    seed: int,
    out: Path,
    flags: dict[str, Any] | None = None,
) -> Job:
    """The method that `label` names, with the problem's own settings, then the label's, then
    `flags` (dotted field names).

    Raises:
        HeadstartError: the method, a field or a value does not exist or does not fit.
    """
    name = method_name(label)
    settings = label.removeprefix(name).removeprefix(":")
    for named in (name, *stated.methods):
        methods.find(named)
    method = methods.find(name)()
    parts = (item.partition("=") for item in settings.split(";") if item)
    method = configuration.updated(method, stated.methods.get(name, {}))
    method = configuration.updated(method, configuration.nested({k: v for k, _, v in parts}))
    method = configuration.updated(method, configuration.nested(flags or {}))
    if "/" in label:
        raise HeadstartError(f"a method's label becomes a folder, so it has no '/': {label!r}")
    source, target = (envs.find(d.environment) for d in (stated.source, stated.target))
    check_domain(source, stated.source)
    check_domain(target, stated.target)
    check_alike(source, target)
    for parameter, values in stated.sweep.items():
        for value in values:
            swept = stated.target.with_parameters(**{parameter: value})
            check_domain(envs.find(swept.environment), swept)
    return Job(stated, label, method, seed, out)


def method_name(label: str) -> str:
    """`epopt` of `epopt:epsilon=0.2`."""
    return label.rpartition(":")[0] if "=" in label else label


def prepare(job: Job, resume: bool) -> bool:
    """Make the run's folder and write `config.json`; whether the run is already finished.

    Raises:
        HeadstartError: the folder cannot be written, or holds another run or an unfinished one
            that is not to be resumed.
    """
    config = job.folder / "config.json"
    wanted = job.config()
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        if config.exists():
            found = json.loads(config.read_bytes())
            # What the problem sets for other methods is nothing to this run.
            found["problem"].pop("methods", None)
            same = json.loads(json.dumps(wanted))
            same["problem"].pop("methods", None)
            for key in ("problem", "method", "versions"):
                if found[key] != same[key]:
                    raise HeadstartError(
                        f"{job.folder} holds a run with another {key}: choose another --out, or "
                        "remove that folder"
                    )
            if (job.folder / "result.json").exists():
                return True
            if not resume:
                raise HeadstartError(
                    f"{job.folder} holds an unfinished run: add --resume to go on with it, or "
                    "remove the folder"
                )
        else:
            write_atomically(config, json.dumps(wanted, indent=1).encode())
    except OSError as error:
        raise HeadstartError(f"cannot write {job.folder}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise HeadstartError(f"{config} is damaged: {error!r}; remove {job.folder}") from None
    return False


def run(job: Job, progress: Progress = silent) -> Result:
    """Run a prepared job to its end, or read the result that is already there.

    Raises:
        HeadstartError: another process is running it, or the disk is full.
    """
    finished = job.folder / "result.json"
    with locked(job.folder):
        if finished.exists():
            return Result.read(finished)
        try:
            result = _run(job, progress)
            write_atomically(finished, result.dumps())
            shutil.rmtree(job.folder / "checkpoint", ignore_errors=True)
        except OSError as error:
            raise HeadstartError(
                f"cannot write {job.folder}: {error.strerror}; what was finished is kept: make "
                "room, then run again with --resume"
            ) from None
    return result


def _run(job: Job, progress: Progress) -> Result:
    import jax

    key = jax.random.key(job.seed)
    pretrain_key, adapt_key = jax.random.split(key)
    knowledge = _pretrained(job, pretrain_key, progress)
    spent = knowledge.facts["spent"]
    _cut_log(job.folder)
    journal = Journal(job.folder, progress, resumable=False, phase="retrain")
    shots = job.problem.access.shots
    access = job.problem.access
    frames = max(access.observations - spent["target"]["observations"], 0)
    meter = Meter(frames, None, None if job.method.unlimited else shots[-1])
    source = Source(job.problem.source, journal)
    target = Target(job.problem.target, meter, journal, behaviour=access.behaviour)
    started, evaluating = time.monotonic(), 0.0
    scored: list[Shot] = []
    pending = list(shots)
    last: Any = None
    first: Any = None
    taken = (0, 0)

    def report_until(episodes: float) -> None:
        """The last policy stands for every shot before `episodes`."""
        nonlocal evaluating
        while pending and pending[0] < episodes:
            at = pending.pop(0)
            before = time.monotonic()
            if scored and scored[-1].episodes >= taken[0]:  # the same policy as at the last shot
                returns = scored[-1].returns
            else:
                returns = evaluate(
                    job.problem.target, last, job.problem.episodes, job.seed
                ).tolist()
            scored.append(Shot(at, taken[1], returns))
            evaluating += time.monotonic() - before
            progress("evaluate", len(scored), len(shots))
            journal.log(phase="evaluate", shot=at, steps=taken[1], mean=scored[-1].score)

    simulated = replace(knowledge, simulator=source)
    for policy in job.method.adapt(simulated, target, adapt_key):
        if last is not None:
            report_until(meter.episodes)
        first = policy if first is None else first
        last, taken = policy, (meter.episodes, meter.steps)
    if last is None:
        raise HeadstartError(f"{job.label} yielded no policy: adapt must yield the zero-shot one")
    report_until(float("inf"))
    before = time.monotonic()
    swept = sweep(job.problem, first, last, job.seed, progress)
    evaluating += time.monotonic() - before
    _save_policy(job.folder / "zero_shot", first)
    _save_policy(job.folder / "adapted", last)
    total = {k: spent["target"][k] + v for k, v in meter.counts().items()}
    return Result(
        problem=job.problem.name,
        method=job.label,
        seed=job.seed,
        source={k: spent["source"][k] + getattr(source.meter, k) for k in ("steps", "episodes")},
        target=total,
        shots=scored,
        seconds={
            "pretrain": spent["seconds"],
            "adapt": round(time.monotonic() - started - evaluating, 3),
            "evaluate": round(evaluating, 3),
        },
        versions=versions(),
        sweep=swept,
    )


def _pretrained(job: Job, key: Any, progress: Progress) -> Knowledge:
    """The run's knowledge: read, taken over from a run that shares it, or made."""
    folder = job.folder / "knowledge"
    if folder.exists():
        return Knowledge.load(folder)
    keys = job.pretraining_key.encode(), job.untouched_key.encode()
    for manifest in sorted(job.out.glob(f"*/*/{job.seed}/knowledge/manifest.json")):
        held = manifest.read_bytes()
        if any(key in held for key in keys):
            shared = Knowledge.load(manifest.parent)
            log = manifest.parents[1] / "log.jsonl"
            write_atomically(job.folder / "log.jsonl", log.read_bytes() if log.exists() else b"")
            shared.save(folder)
            return shared
    access = job.problem.access
    # Every episode shows an observation before its first step, so steps limit episodes too.
    limits = (access.observations, access.steps, access.steps)
    limits = (None, None, None) if job.method.unlimited else limits
    taken = {"source": Meter(), "target": Meter(*limits)}
    journal = Journal(job.folder, progress, meters=taken)
    source = Source(job.problem.source, journal, taken["source"])
    rewards = access.rewards or job.method.unlimited
    target = Target(
        job.problem.target, taken["target"], journal, rewards, access.behaviour, access.shots[-1]
    )
    made = job.method.pretrain(source, target, key)
    spent = {
        "source": source.meter.counts(),
        "target": target.meter.counts(),
        "seconds": round(journal.seconds, 3),
    }
    touched = any(spent["target"].values())
    shared_by = job.pretraining_key if touched else job.untouched_key
    facts = {**made.facts, "pretraining": shared_by, "spent": spent}
    domains = job.problem.source, job.problem.target
    facts["source"], facts["target"] = (domain.as_table() for domain in domains)
    knowledge = replace(made, facts=facts)
    knowledge.save(folder)
    return knowledge


def _cut_log(folder: Path) -> None:
    """Cut the log back to pre-training: adaptation writes its own part anew."""
    log = folder / "log.jsonl"
    if log.exists():
        lines = log.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if b'"phase": "pretrain"' in line]
        write_atomically(log, b"".join(kept))


def _save_policy(folder: Path, policy: Any) -> None:
    from headstart.learners.policy import knowledge_of

    knowledge_of(policy).save(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the lock ends with the process, however that ends."""
    try:
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise HeadstartError(f"cannot write {folder}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise HeadstartError(
            f"{folder} is in use by another process: wait for it, or choose another --out"
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def versions() -> dict[str, str]:
    """Of all that changes numbers."""
    names = ("headstart", "jax", "mujoco", "gymnasium", "numpy")
    return {name: version(name) for name in names}


def commit() -> str | None:
    """The commit of the checkout that Headstart runs from, if it is one."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
