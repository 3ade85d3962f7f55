"""The pages of the environments say what the environments declare."""

from pathlib import Path

import pytest

from headstart import Domain, envs
from headstart.envs import ENVIRONMENTS
from headstart.envs.spec import Parameter

PAGES = Path(__file__).parents[1] / "docs" / "environments"


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


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_page_says_what_the_environment_declares(name):
    page = (PAGES / f"{name}.md").read_text()
    assert declared(name) in page, declared(name)
