"""One run as it is asked for: a problem, a method, a seed, and the folder where it is kept."""

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from headstart import configuration, envs, records
from headstart.errors import HeadstartError
from headstart.knowledge import write_atomically
from headstart.learners.learner import Learner
from headstart.methods import METHODS
from headstart.methods.method import Method, trusted
from headstart.problem import Domain, TransferProblem, from_table
from headstart.registry import import_here
from headstart.runs.checks import check
from headstart.runs.logger import SINKS
from headstart.usercode import digests


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be run, and where."""

    problem: TransferProblem
    label: str
    """The method's name, or a variant of it that a comparison tells apart: `epopt:epsilon=0.2`."""
    method: Method
    seed: int
    out: Path
    sinks: tuple[str, ...] = ()
    """Where rows of the log go too."""

    @property
    def folder(self) -> Path:
        return self.out / self.problem.name / self.label / str(self.seed)

    @cached_property
    def pretraining_key(self) -> str:
        """Equal for runs that share their pre-training."""
        return self._key(self.problem.target.as_table(), (self.problem.source, self.problem.target))

    @cached_property
    def untouched_key(self) -> str:
        """The same for pre-training that took nothing of the target, which other targets share."""
        return self._key(self.problem.target.environment, (self.problem.source,))

    def _key(self, target: Any, domains: Sequence[Domain]) -> str:
        shared, access = self.method.pretraining, self.problem.as_table()["access"]
        identity = {
            "source": self.problem.source.as_table(),
            "access": {k: v for k, v in access.items() if k != "shots"},
            "target": target,
            "method": f"{type(shared).__module__}:{type(shared).__qualname__}",
            "fields": configuration.as_table(shared),
            "seed": self.seed,
            "versions": versions(domains),
        }
        if shared.content:
            identity["content"] = shared.content
        if code := code_of(shared, domains):
            identity["code"] = code
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def config(self) -> dict[str, Any]:
        """All that was resolved, as in `config.json`."""
        return {
            "problem": self.problem.as_table(),
            "method": {
                "name": self.label,
                "fields": configuration.as_table(self.method),
                **({"content": self.method.content} if self.method.content else {}),
            },
            "seed": self.seed,
            "sinks": list(self.sinks),
            "code": code_of(self.method, (self.problem.source, self.problem.target)),
            "pretraining": self.pretraining_key,
            "versions": versions((self.problem.source, self.problem.target)),
            "commit": commit(),
        }

    @staticmethod
    def read(folder: Path) -> "Job":
        """The job of a folder that `prepare` made.

        Raises:
            HeadstartError: it is no run, or its configuration is damaged.
        """
        if not (folder / "config.json").is_file():
            raise HeadstartError(f"{folder} is not a run: it has no config.json")
        try:
            config = records.read(folder / "config.json")
            label, fields = config["method"]["name"], config["method"]["fields"]
            method = configuration.updated(METHODS.find(method_name(label))(), fields)
            problem = from_table(config["problem"])
            sinks = tuple(config["sinks"])
            return Job(problem, label, method, config["seed"], folder.parents[2], sinks)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HeadstartError(f"{folder}/config.json is damaged: {error!r}") from None


def make_job(
    problem: TransferProblem,
    label: str,
    seed: int,
    out: Path | str,
    flags: dict[str, Any] | None = None,
    sinks: Sequence[str] = (),
) -> Job:
    """A run of the method that `label` names; see `configured`.

    Raises:
        HeadstartError: a name, a field or a value does not exist, or does not fit, or the problem
            lacks what the method requires.
    """
    for named in problem.methods:
        METHODS.find(method_name(named))
    for sink in sinks:
        SINKS.find(sink)
    if "/" in label or not label.isprintable() or len(label.encode()) > records.LONGEST_NAME:
        raise HeadstartError(
            f"a method's label becomes a folder, and {label[:99]!r} cannot be one (it has no '/', "
            f"and {records.LONGEST_NAME} bytes at most): set its fields in the problem, under "
            "[methods.NAME]"
        )
    method = configured(problem, label, flags or {})
    check(problem, method, method_name(label))
    return Job(problem, label, method, seed, Path(out), tuple(sinks))


def configured(problem: TransferProblem, label: str, flags: dict[str, Any]) -> Method:
    """The method that `label` names, with the problem's learner and settings, then those of the
    label, then `flags` (dotted field names).

    Raises:
        HeadstartError: the method, a field or a value does not exist, or does not fit.
    """
    name = method_name(label)
    settings = label.removeprefix(name).removeprefix(":")
    parts = (item.partition("=") for item in settings.split(";") if item)
    method = METHODS.find(name)()
    for table in (
        {"learner": problem.learner},
        problem.methods.get(name, {}),
        problem.methods.get(label, {}),
        configuration.nested({k: v for k, _, v in parts}),
        configuration.nested(flags),
    ):
        method = configuration.updated(method, table)
    return method


def goes_on_from(label: str) -> str:
    """The field in which the method that a label names is given a folder of knowledge.

    Raises:
        HeadstartError: it takes none.
    """
    kind = METHODS.find(method_name(label))
    if not kind.from_knowledge:
        able = [name for name in METHODS if METHODS.find(name).from_knowledge]
        raise HeadstartError(
            f"{label} does not start from knowledge: {', '.join(able)} do, or leave out --from"
        )
    return kind.from_knowledge


def learner_of(problem: TransferProblem) -> Learner:
    """The learner of every method that does not name another."""
    method: Method = METHODS.find("source-only")()
    return configuration.updated(method, {"learner": problem.learner}).learner


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
            found = records.read(config)
            # What the problem sets for other methods is nothing to this run.
            found["problem"].pop("methods", None)
            same = json.loads(json.dumps(wanted))
            same["problem"].pop("methods", None)
            for key in ("problem", "method", "versions", "code"):
                if found.get(key) != same[key]:
                    raise HeadstartError(
                        f"{job.folder} holds a run with another {key}: "
                        f"{_difference(found.get(key), same[key], key)}; choose another --out, or "
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


def _difference(there: Any, here: Any, place: str) -> str:
    """The first place where two tables differ, and how."""
    if isinstance(there, dict) and isinstance(here, dict):
        old, new = cast(dict[str, Any], there), cast(dict[str, Any], here)
        name = next(name for name in old | new if old.get(name) != new.get(name))
        return _difference(old.get(name), new.get(name), f"{place}.{name}")
    if place.startswith("code."):
        return f"{place.removeprefix('code.')} has been edited since"
    return f"{place} is {json.dumps(there)} there, and {json.dumps(here)} here"


def code_of(method: Method, domains: Sequence[Domain]) -> dict[str, str]:
    """Digests of the user's own modules that a method, its learner or its domains are written
    in."""
    kinds = type(method), type(method.learner)
    own = trusted(method.learner)
    for path in own:
        import_here(path)
    named = [path.partition(":")[0] for path in own]
    alone = [one for domain in domains for one in domain.apart()]
    worlds = [envs.module_of(domain.environment) for domain in alone]
    return digests([*(kind.__module__ for kind in kinds), *named, *worlds])


def versions(domains: Sequence[Domain]) -> dict[str, str]:
    """Of all that changes numbers in these domains."""
    names = ("headstart", "jax", "mujoco", "gymnasium", "numpy")
    found = {name: version(name) for name in names}
    for alone in (one for domain in domains for one in domain.apart()):
        found |= envs.of(alone).versions
    return found


def commit() -> str | None:
    """The commit of the checkout that Headstart runs from, if it is one."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
