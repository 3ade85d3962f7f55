import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder, *command):
    env = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
    del env["JAX_DISABLE_MOST_OPTIMIZATIONS"], env["XLA_FLAGS"]  # compiled as users compile it
    ran = subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_fits_on_a_page(example):
    assert len(example.read_text().splitlines()) <= 80


def test_an_environment_of_ones_own(tmp_path):
    said = run(tmp_path, str(EXAMPLES / "own_environment.py"))
    scores = {line.split()[0]: float(line.split()[-1]) for line in said.splitlines()[:3]}
    assert scores["domain-randomization"] > scores["scratch"]
    assert (tmp_path / "runs" / "slope" / "report.html").exists()


def test_a_method_of_ones_own(tmp_path):
    small = ["--method.steps", "2000", "--method.shrink", "0.5"]
    said = run(tmp_path, "-m", "headstart", "run", "hopper-mass", "own_method:Cautious", *small)
    assert "0 target episodes" in said
