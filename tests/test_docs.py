"""The pages of environments and learners say what these declare, and what was measured."""

import importlib.util
import json
from pathlib import Path

import pytest

from headstart import Domain, envs, studies
from headstart.configuration import described
from headstart.envs import ENVIRONMENTS
from headstart.learners import LEARNERS
from headstart.problem.parameter import Parameter

ROOT = Path(__file__).parents[1]


def row(name: str, p: Parameter) -> str:
    unit = "" if p.unit in ("1", "") else f" {p.unit}"
    return f"| `{name}` | {p.nominal:g}{unit} | [{p.low:g}, {p.high:g}] | {p.meaning} |"


def declared(name: str) -> str:
    environment, spec = envs.find(name), envs.spec_of(Domain(name))
    seen = "; ".join(f"`{group}`, {what}" for group, what in spec.groups.items())
    lines = [
        f"- observations: {seen}",
        f"- actions: {spec.actions}",
        f"- horizon: {spec.horizon} steps",
        *([f"- experts: {', '.join(environment.experts)}"] if environment.experts else []),
        "",
        "| parameter | nominal | range | meaning |",
        "|---|---|---|---|",
        *(row(name, p) for name, p in environment.parameters.items()),
    ]
    return "\n".join(lines)


def settings(name: str) -> str:
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for field, meaning, value in described(LEARNERS.find(name)()):
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        lines.append(f"| `{field}` | {text} | {' '.join(meaning.split())} |")
    return "\n".join(lines)


def benchmark(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def learned(kind: str, name: str) -> list[str]:
    """What was learned in an environment, or by a learner, as `learning.json` has it."""
    learning = benchmark("learning")
    stored = json.loads(learning.STORED.read_text())
    assert stored.keys() == learning.CASES.keys()
    lines = [
        "| learned with `benchmarks/learning.py` | steps | mean returns, seeds 0, 1, … |",
        "|---|---|---|",
    ]
    for case in learning.CASES.values():
        if name == (case.environment if kind == "environment" else case.learner["algorithm"]):
            lines.append(f"| {case.said(stored[case.name])} |")
    return lines if len(lines) > 2 else []  # bit-flip is learned in hindsight alone


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_page_says_what_the_environment_declares_and_what_was_learned_there(name):
    page = (ROOT / "docs" / "environments" / f"{name}.md").read_text()
    for text in (declared(name), "\n".join(learned("environment", name))):
        assert text in page, text


@pytest.mark.parametrize("name", LEARNERS)
def test_a_page_says_what_the_learner_can_be_set_to_and_what_it_learned(name):
    page = (ROOT / "docs" / "learners" / f"{name}.md").read_text()
    for text in (settings(name), "\n".join(learned("learner", name))):
        assert text in page, text


@pytest.mark.parametrize("name", LEARNERS)
def test_the_table_of_learners_lists_the_hooks_that_each_knows(name):
    table = (ROOT / "docs" / "learners" / "README.md").read_text()
    (row,) = (line for line in table.splitlines() if line.startswith(f"| [`{name}`]"))
    assert row.endswith(f"| {', '.join(sorted(LEARNERS.find(name).accepts))} |")


@pytest.mark.parametrize("name", studies.STUDIES)
def test_a_page_says_what_the_study_found(name):
    page = (ROOT / "docs" / "studies" / f"{name}.md").read_text()
    for claim in studies.find(name).claims(studies.stored(name)):
        verdict = "holds" if claim.holds else "**does not hold**"
        assert f"| {claim.text} | {verdict} | {claim.evidence} |" in page


def test_which_method_to_choose_is_what_the_studies_found():
    assert benchmark("choosing").table() in (ROOT / "docs" / "choosing.md").read_text()
