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


def test_a_policy_acts_as_it_did_on_other_spaces(tmp_path):
    """The hopper's numbers are of other engines, and its episodes of other starts."""
    said = run(tmp_path, str(EXAMPLES / "other_spaces.py"))
    lines = [line.split() for line in said.splitlines() if "target" in line]
    for name, (least, rtol) in {"three-way": (100, 1e-6), "sensed": (30, 0.15)}.items():
        home, there = next((float(w[2]), float(w[4])) for w in lines if w[0] == name)
        assert home > least
        assert there == pytest.approx(home, rel=rtol)
    assert (tmp_path / "runs" / "sensed" / "finetune" / "0" / "graft.json").exists()


def test_a_method_of_ones_own(tmp_path):
    small = ["--method.steps", "2000", "--method.shrink", "0.5"]
    said = run(tmp_path, "-m", "headstart", "run", "hopper-mass", "own_method:Cautious", *small)
    assert "0 target episodes" in said
