"""Break the code on purpose, and list the breaks that no test notices.

    uv run --locked --group mutation python tests/mutants.py [MODULE ...] [--sample 40] [--seed 0]

Cosmic Ray makes small changes in a module, one at a time, in a copy of the repository; the module's
own tests must fail. `mutants.json` keeps what was tried and what survived, and what is written
there beside a survivor stays. A sample is drawn from what was not tried before.

Each change is tried in a fork of one process that has imported what is not ours, and programs that
a change leaves as they were are compiled once.
"""

import argparse
import difflib
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import headstart

CACHE = tempfile.TemporaryDirectory()
os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
headstart.prepare_jax()

import pytest
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB
from rich.progress import track

for name in ("equinox", "gymnasium", "matplotlib.figure", "mjbatch", "optax", "scipy.stats"):
    importlib.import_module(name)

HERE = Path(__file__).parent
STORED = HERE / "mutants.json"
TESTS = {
    "result": "test_result.py",
    "runs/metering": "runs/test_metering.py testing/test_methods.py",
    "runs/audit": "runs/test_audit.py",
    "envs/reach": "envs/test_gymnasium.py",
    "problem/parameter": "problem/test_problem.py envs/test_gymnasium.py",
    "testing/spaces": "testing/test_environments.py",
    "experience/looks": "learners/test_train.py",
    "learners/ppo": "test_settings.py learners/test_ppo.py",
    "learners/sac": "test_settings.py learners/test_sac.py learners/test_off_policy.py",
    "learners/dqn": "test_settings.py learners/test_dqn.py learners/test_off_policy.py "
    "transfer/test_domain_adversarial.py",
    "learners/off_policy": "learners/test_off_policy.py learners/test_sac.py methods/test_darc.py",
    "learners/imitation": "test_settings.py learners/test_imitation.py",
    "learners/train": "learners/test_train.py envs/test_jax_env.py",
    "learners/improve": "learners/test_train.py methods/test_finetune.py",
    "transfer/density_ratio": "test_settings.py transfer/test_density_ratio.py",
    "transfer/domain_adversarial": "transfer/test_domain_adversarial.py",
    "transfer/posterior": "test_settings.py transfer/test_posterior.py",
    "methods/darc": "test_settings.py methods/test_darc.py transfer/test_density_ratio.py",
    "methods/domain_confusion": "test_settings.py methods/test_domain_confusion.py",
    "methods/epopt": "test_settings.py methods/test_epopt.py",
    "methods/epopt_posterior": "test_settings.py methods/test_epopt.py transfer/test_posterior.py",
    "methods/recipe": "test_settings.py methods/test_finetune.py",
    "methods/random_convolution": "test_settings.py methods/test_random_convolution.py",
}
"""The tests that are to notice, by module."""
KEPT = re.compile(
    r"Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul|BitAnd_BitOr|BitOr_BitAnd"
    r"|Eq_NotEq|NotEq_Eq|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt|Is_IsNot|IsNot_Is"
    r"|Delete_\w+|AndWithOr|OrWithAnd|TrueWithFalse|FalseWithTrue|AddNot|NumberReplacer"
    r"|ZeroIterationForLoop|RemoveDecorator|ExceptionReplacer|BreakWithContinue|ContinueWithBreak"
)
"""The kinds of change: one or two for each sign in the code, of the ten that Cosmic Ray has."""
SETTING = re.compile(r"\s+\w+: [^=]+ = |@dataclass|@runtime_checkable|\s*@staticmethod")
"""A field and its default, which is a setting and no logic; and words that only guard."""
OPTIONS = "-x -q -p no:cacheprovider -o addopts= -W ignore::pytest.PytestAssertRewriteWarning"
HEADS = ("---", "+++", "@@")


def changes(module: str) -> dict[str, str]:
    """The broken source for every change of a module's logic, by the lines that change."""
    path = Path(f"src/headstart/{module}.py")
    source = path.read_text()
    lines = source.splitlines()
    database = WorkDB(":memory:", WorkDB.Mode.create)
    init([path], database, {})
    found = {}
    for spec in (mutation for item in database.work_items for mutation in item.mutations):
        setting = SETTING.match(lines[spec.start_pos[0] - 1])
        if KEPT.search(spec.operator_name) and not setting:
            broken = mutate_code(source, get_operator(spec.operator_name)(), spec.occurrence)
            diff = difflib.unified_diff(lines, broken.splitlines(), n=0, lineterm="")
            found["\n".join(line for line in diff if not line.startswith(HEADS))] = broken
    return found


def stored() -> dict[str, Any]:
    """What is known, by module."""
    return json.loads(STORED.read_text()) if STORED.exists() else {}


def tests_fail(module: str, timeout: float) -> bool:
    """Whether the module's tests fail, or take too long, in a fork of this process."""
    child = os.fork()
    if not child:
        try:
            os.setsid()
            said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            paths = [f"tests/{name}" for name in TESTS[module].split()]
            os._exit(pytest.main([*OPTIONS.split(), *paths]))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status != 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def short(change: str) -> str:
    """A name for a change that outlives changes elsewhere."""
    return hashlib.sha256(change.encode()).hexdigest()[:8]


def sweep(module: str, sample: int | None, seed: int, timeout: float) -> None:
    """Try what was not tried of a module, and keep what survives."""
    path, every = Path(f"src/headstart/{module}.py"), changes(module)
    before = stored().get(module, {})
    noticed = {change for change in every if short(change) in before.get("noticed", [])}
    survivors = {c: why for c, why in before.get("survivors", {}).items() if c in every}
    left = [change for change in every if change not in noticed | survivors.keys()]
    if sample is not None:
        left = random.Random(seed).sample(left, min(sample, len(left)))
    left += [change for change, why in survivors.items() if not why]
    if left and tests_fail(module, timeout):
        said = Path("said").read_text()
        sys.exit(f"the tests of {module} fail before anything is broken:\n{said}")
    source = path.read_text()
    sys.dont_write_bytecode = True  # two changes within a second would share theirs
    for change in track(left, module):
        path.write_text(every[change])
        if tests_fail(module, timeout):
            noticed.add(change)
            survivors.pop(change, None)
        else:
            survivors[change] = ""
        path.write_text(source)
        names = sorted(short(change) for change in noticed)
        row = {"changes": len(every), "noticed": names, "survivors": survivors}
        table = stored() | {module: row}
        STORED.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    print(f"{module}: {len(noticed)} of {len(every)} changes noticed, {len(survivors)} not")
    for change, why in survivors.items():
        print(f"{change}\n  {why or 'nobody noticed'}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--sample", type=int, help="of each module; all if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one change")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("src", "tests", "examples", "docs"):
            shutil.copytree(HERE.parent / name, Path(folder) / name)
        shutil.copy(HERE.parent / "pyproject.toml", folder)
        os.chdir(folder)
        sys.path.insert(0, f"{folder}/src")
        os.environ["PYTHONPATH"] = f"{folder}/src"
        for name in [name for name in sys.modules if name.partition(".")[0] == "headstart"]:
            del sys.modules[name]  # each fork imports them from the copy
        for module in options.modules or TESTS:
            sweep(module, options.sample, options.seed, options.timeout)


if __name__ == "__main__":
    main()
