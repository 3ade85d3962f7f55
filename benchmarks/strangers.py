"""Files that were made to do harm, or damaged by a disk: what becomes of each.

    python benchmarks/strangers.py [--files 2000] [--seed 0]

Takes what one small run leaves and a problem, damages or forges a file at random, and reads it as
the command line would. A file is *refused* if one error names it, *accepted* if it reads as if
nothing had happened, and lets *through* what it may be, where it can be told neither by its form
nor by a digest: another number in a result. A traceback, ten seconds without an end, or an
acceptance is a defect: the exit status is 1 then.
"""

import argparse
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headstart

headstart.prepare_jax()

import jax
import numpy as np

from headstart import Access, Domain, HeadstartError, TransferProblem, studies
from headstart.knowledge import Knowledge, digest
from headstart.policies.policy import policy_from
from headstart.problem import problem as problems
from headstart.records import DIGESTS
from headstart.registry import ours_only
from headstart.report import compared
from headstart.report.table import summary
from headstart.runs.checkpointer import CHECKPOINT, Checkpointer
from headstart.runs.checks import check
from headstart.runs.job import configured, make_job, prepare
from headstart.runs.logger import Logger, silent
from headstart.runs.run import _pretrained, _shared, _spent, run  # pyright: ignore

HERE = Domain("cart-pole")
PROBLEM = TransferProblem(
    "hinge", HERE, HERE, Access(shots=(0, 2)), episodes=1,
    learner={"hidden": [8], "num_envs": 4, "rollout_length": 8, "minibatch_size": 16},
    methods={"source-only": {"steps": 256}, "finetune": {"steps": 256}},
    sweep={"gravity": (9.0, 10.0)}, sweep_episodes=1,
)  # fmt: skip
TOML = """
[source]
environment = "cart-pole"
gravity = {uniform = [8, 12]}
[target]
environment = "cart-pole"
gravity = 11.0
[access]
shots = [0, 2]
[learner]
hidden = [8, 8]
[methods.source-only]
steps = 256
"""
HARMFUL: list[Any] = [
    None, True, -1, 0, 2**31, 10**400, -(10**30), 1.5, 1e308, float("nan"), float("inf"), "", "x",
    "../../x", "\ud800", "a" * 300, "json:dumps", "os:getcwd", [], [[]], {}, {"": []}, ["x"] * 99,
]  # fmt: skip
STUDY = Path(studies.__file__).parent / "primacy.json"
SECONDS = 10
"""That a file may take to read."""


class Slow(Exception):
    """It takes too long."""


def forged(record: Any, rng: random.Random) -> Any:
    """A record with something in it replaced, added or taken out."""
    at, places = record, []
    while isinstance(at, dict | list) and at:
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        places.append((at, key))
        if rng.random() < 0.3:
            break
        at = at[key]
    if not places:
        return rng.choice(HARMFUL)
    inside, key = places[-1]
    way = rng.random()
    if way < 0.15:
        del inside[key]
    elif way < 0.25 and isinstance(inside, dict):
        inside["further"] = rng.choice(HARMFUL)
    else:
        inside[key] = rng.choice(HARMFUL)
    return record


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes as a disk may return them."""
    found, at = bytearray(data), rng.randrange(len(data))
    way = rng.randrange(4)
    if way == 0:
        return bytes(found[:at])
    if way == 1:
        found[at : at + 64] = bytes(64)
    elif way == 2:
        found[at] ^= 1 << rng.randrange(8)
    else:
        found[at:at] = rng.choice([b'{"a":' * 9999, b"[" * 9999, b"9" * 9999, b"1e999", b"\xff"])
    return bytes(found)


def disturb(file: Path, rng: random.Random, forge: bool) -> bool:
    """Change a file; whether it could be told from a whole one by a digest."""
    data = file.read_bytes()
    if file.name == "hinge.json":
        forge = True
    if not forge or file.suffix not in (".json", ".jsonl"):
        file.write_bytes(damaged(data, rng))
        return True
    lines = data.splitlines() if file.suffix == ".jsonl" else [data]
    at = rng.randrange(len(lines))
    record = forged(json.loads(lines[at]), rng)
    if file.name == "manifest.json" and isinstance(record, dict):
        record = json.loads(json.dumps(record))
        record["digest"] = digest(record)
    if json.dumps(record) == json.dumps(json.loads(lines[at])):
        return False  # what was put in was there already
    if file.name == "result.json":
        file.with_name(DIGESTS).unlink()  # as in runs of older versions
    lines[at] = json.dumps(record).encode()
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file.name in (STUDY.name, "log.jsonl")  # whose digests nobody forges here


def readers(folder: Path) -> dict[str, tuple[Path, Callable[[], Any], bool]]:
    """By kind: the file, how it is read, and whether a digest tells when it is damaged."""
    own = folder / "hinge" / "source-only" / "0"

    def report() -> Any:
        return summary(compared.read(folder / "hinge"))

    def stated() -> Any:
        return problems.from_table(json.loads((folder / "hinge.json").read_bytes()))

    def posed(read: Callable[[], TransferProblem]) -> None:
        problem = read()
        check(problem, configured(problem, "source-only", {}), "source-only")

    shared = make_job(PROBLEM, "finetune", 0, folder)
    prepare(shared, resume=True)

    def taken_over() -> None:
        if _shared(shared) is None:
            raise HeadstartError("nothing is taken over")
        key = jax.random.key(0)
        _spent(shared, _pretrained(shared, key, Logger(), silent))

    return {
        "study": (
            folder / "primacy.json",
            lambda: studies.find("primacy").claims(studies.stored("primacy", folder)), True,
        ),
        "donor": (own / "knowledge" / "manifest.json", taken_over, True),
        "knowledge, facts": (
            own / "adapted" / "manifest.json",
            lambda: policy_from(Knowledge.load(own / "adapted")), True,
        ),
        "knowledge, weights": (
            own / "adapted" / "weights.safetensors",
            lambda: policy_from(Knowledge.load(own / "adapted")), True,
        ),
        "checkpoint": (own / CHECKPOINT, lambda: Checkpointer(own).load(), True),
        "result": (own / "result.json", report, True),
        "configuration": (own / "config.json", report, False),
        "log": (own / "log.jsonl", report, True),
        "problem": (
            folder / "hinge.toml",
            lambda: posed(lambda: problems.read(folder / "hinge.toml")), False,
        ),
        "problem, its table": (
            folder / "hinge.json", lambda: posed(stated), False,
        ),
    }  # fmt: skip


def outcome(read: Callable[[], Any]) -> tuple[str, str]:
    """What becomes of a file that is read, and where it went wrong."""
    signal.alarm(SECONDS)
    try:
        with ours_only():
            read()
    except HeadstartError:
        return "refused", ""
    except Slow:
        return "hangs", traceback.format_exc()
    except BaseException:
        return "tracebacks", traceback.format_exc()
    finally:
        signal.alarm(0)
    return "through", ""


def whole(folder: Path) -> None:
    """What one run leaves, and a problem."""
    job = make_job(PROBLEM, "source-only", 0, folder)
    prepare(job, resume=False)
    run(job)
    Checkpointer(job.folder).save({"loop/stage": np.array(0)}, [])
    shutil.copy(STUDY, folder)
    (folder / "hinge.toml").write_text(TOML)
    (folder / "hinge.json").write_text(json.dumps(tomllib.loads(TOML)))


def too_slow(*_: Any) -> None:
    raise Slow


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, too_slow)
    rng = random.Random(options.seed)
    counts: dict[str, Counter[str]] = {}
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        whole(folder)
        kinds = readers(folder)
        kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for number in range(options.files):
            kind = list(kinds)[number % len(kinds)]
            file, read, has_digest = kinds[kind]
            tells = disturb(file, rng, forge=rng.random() < 0.5) and has_digest
            if file.read_bytes() == kept[file]:
                continue
            found, where = outcome(read)
            for path in folder.rglob("*"):
                if path.is_file() and path not in kept:
                    path.unlink()
            for path, data in kept.items():
                if not path.exists() or path.read_bytes() != data:
                    path.write_bytes(data)
            found = "accepted" if found == "through" and tells else found
            counts.setdefault(kind, Counter())[found] += 1
            last = where.strip().splitlines()[-3:] if where else []
            if where and "\n".join(last) not in seen:
                seen.add("\n".join(last))
                print(f"{kind}: {found}\n{where}", file=sys.stderr)
    heads = ("refused", "through", "accepted", "tracebacks", "hangs")
    print("file".ljust(22) + "".join(f"{head:>12}" for head in heads))
    for kind, count in sorted(counts.items()):
        print(kind.ljust(22) + "".join(f"{count[head]:>12}" for head in heads))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"most memory: {most:.2f} GiB")
    defects = sum(count[head] for count in counts.values() for head in heads[2:])
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
