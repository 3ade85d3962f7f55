"""Break the code on purpose, and list the breaks that no test notices.

    uv run --locked --group mutation python tests/mutants.py [MODULE ...] [--sample 40] [--seed 0]

Cosmic Ray makes every small change that it knows in a module, one at a time, in a copy of the
repository; the module's own tests must fail. `mutants.json` keeps what was tried and what survived;
a `why` that is written there beside a survivor stays. Where a sample is asked for, what was tried
before is not drawn again.
"""

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path

from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.testing import run_tests
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, TestOutcome
from rich.progress import track

HERE = Path(__file__).parent
STORED = HERE / "mutants.json"
TESTS = {
    "result": "test_result.py",
    "runs/metering": "runs/test_metering.py testing/test_methods.py",
    "learners/ppo": "learners/test_ppo.py",
    "learners/sac": "learners/test_sac.py learners/test_off_policy.py",
    "learners/dqn": "learners/test_dqn.py learners/test_off_policy.py",
    "learners/off_policy": "learners/test_off_policy.py learners/test_sac.py",
    "learners/imitation": "learners/test_imitation.py",
    "learners/train": "learners/test_train.py envs/test_jax_env.py",
    "transfer/density_ratio": "transfer/test_density_ratio.py",
    "transfer/domain_adversarial": "transfer/test_domain_adversarial.py",
    "transfer/posterior": "transfer/test_posterior.py",
    "methods/darc": "transfer/test_density_ratio.py testing/test_methods.py",
    "methods/domain_confusion": "methods/test_domain_confusion.py",
    "methods/epopt": "methods/test_epopt.py",
    "methods/epopt_posterior": "methods/test_epopt.py transfer/test_posterior.py",
    "methods/finetune": "methods/test_method.py",
    "methods/random_convolution": "methods/test_random_convolution.py",
}
"""The tests that are to notice, by module."""
SETTING = re.compile(r"\s+\w+: [^=]+ = ")
"""A field and its default, which is a setting and no logic."""


def mutants(module: str) -> list[MutationSpec]:
    """Every change of a module's logic."""
    path = Path(f"src/headstart/{module}.py")
    lines = path.read_text().splitlines()
    database = WorkDB(":memory:", WorkDB.Mode.create)
    init([path], database, {})
    specs = [mutation for item in database.work_items for mutation in item.mutations]
    specs.sort(key=lambda spec: (spec.start_pos, spec.operator_name, spec.occurrence))
    return [spec for spec in specs if not SETTING.match(lines[spec.start_pos[0] - 1])]


def tests_of(module: str) -> str:
    """The command that runs the tests that are to notice."""
    tests = " ".join(f"tests/{name}" for name in TESTS[module].split())
    return f"{sys.executable} -m pytest -x -q -p no:cacheprovider {tests}"


def tried(module: str, spec: MutationSpec, timeout: float) -> tuple[str, bool]:
    """The change as a diff's lines, and whether the tests noticed."""
    result = mutate_and_test([spec], tests_of(module), timeout)
    changed = re.findall(r"^[-+](?![-+]).*", result.diff or "", re.MULTILINE)
    return "\n".join(changed), result.test_outcome is not TestOutcome.SURVIVED


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--sample", type=int, help="of each module; all if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for one change")
    options = parser.parse_args()
    table = json.loads(STORED.read_text()) if STORED.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        kept = shutil.ignore_patterns(".git", ".venv", "runs", "*cache*")
        shutil.copytree(HERE.parent, copy, ignore=kept)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy / "src")
        for module in options.modules or TESTS:
            every = mutants(module)
            row = table.setdefault(module, {"tried": [], "survivors": {}})
            names = {f"{s.operator_name} {s.occurrence}": s for s in every}
            left = sorted(names.keys() - set(row["tried"]), key=list(names).index)
            if options.sample is not None:
                left = random.Random(options.seed).sample(left, min(options.sample, len(left)))
            row["changes"] = len(every)
            outcome, said = run_tests(tests_of(module), options.timeout)
            if outcome is not TestOutcome.SURVIVED:
                sys.exit(f"the tests of {module} fail before anything is broken:\n{said}")
            for name in track(left, module):
                changed, noticed = tried(module, names[name], options.timeout)
                row["tried"].append(name)
                if not noticed:
                    row["survivors"].setdefault(changed, "")
                STORED.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
            print(f"{module}: {len(row['tried'])} of {len(every)} changes tried")
            for changed, why in row["survivors"].items():
                print(f"{changed}\n  {why or 'nobody noticed'}")


if __name__ == "__main__":
    main()
