"""Skills, one by one: what each returns, where it goes, and how it acts."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from headstart import envs
from headstart.experience.unroll import episodes
from headstart.knowledge import Knowledge
from headstart.policies.policy import ActorPolicy, check_reads, policy_from
from headstart.problem import Domain
from headstart.report.figures import colour, figure, svg
from headstart.report.maps import draw_plan, floor_map, path
from headstart.report.movie import movie
from headstart.report.page import write_page
from headstart.runs.evaluation import evaluate
from headstart.transfer.skills import number_of_skills, skill_of

PATHS = 3
"""Episodes of each skill that are drawn."""
SEED = 0
"""Of all episodes here."""


class Skill(NamedTuple):
    """One of the ways to act."""

    number: int
    policy: ActorPolicy
    learned: float
    """Its mean return where it was learned."""
    returns: np.ndarray
    """Of its episodes in the domain that is looked at."""


def tried(knowledge: Knowledge, domain: Domain, count: int) -> list[Skill]:
    """Every skill, with the returns of so many episodes of its most likely actions in `domain`.

    Raises:
        HeadstartError: there are no skills, or they do not suit the domain.
    """
    found: list[Skill] = []
    for number in range(number_of_skills(knowledge)):
        policy = policy_from(skill_of(knowledge, number))
        check_reads(policy, envs.spec_of(domain))
        learned = float(knowledge.parts["skills"]["returns"][number])
        found.append(Skill(number, policy, learned, evaluate(domain, policy, count, SEED)))
    return found


def write(page: Path, knowledge: Path, domain: Domain, skills: Sequence[Skill]) -> None:
    """Write one HTML file with everything inside.

    Raises:
        HeadstartError: it cannot be written.
    """
    drawn = _from_above(domain, skills) if floor_map(domain) else _apart(domain, skills)
    films = [(skill.number, movie(skill.policy, domain, SEED)) for skill in skills]
    write_page(
        page,
        "skills.html.jinja",
        knowledge=knowledge,
        domain=domain,
        skills=skills,
        figure=svg(drawn[0], "skills") if drawn else None,
        meaning=drawn[1] if drawn else "",
        movies=[(number, film) for number, film in films if film is not None],
    )


def _from_above(domain: Domain, skills: Sequence[Skill]) -> tuple[Figure, str]:
    """Their ways on the domain's floor map, numbered where they end."""
    fig, (axis,) = figure(width=5.6, height=5.6)
    draw_plan(axis, domain)
    for skill in skills:
        for seed in range(PATHS):
            _draw(axis, skill.number, path(skill.policy, domain, seed), numbered=seed == 0)
    return fig, f"{PATHS} episodes of each, with its most likely actions."


def _apart(domain: Domain, skills: Sequence[Skill]) -> tuple[Figure, str] | None:
    """Their ways in the two entries of the state in which they differ most."""
    spec = envs.spec_of(domain)
    state = spec.groups.get("state")
    if state is None or state.kind != "vector" or state.shape[0] < 2:
        return None
    seen = [episodes(skill.policy, envs.start(domain, PATHS, SEED)) for skill in skills]
    states = [np.asarray(played.steps.obs["state"]) for played in seen]
    means = np.array([column.mean(0) for column in states])
    within = np.mean([column.var(0) for column in states], axis=0)
    ratio = means.var(0) / (within + 1e-8)
    x, y = sorted(np.argsort(-ratio)[:2])
    fig, (axis,) = figure(width=6.4, height=5.2)
    for skill, played, column in zip(skills, seen, states, strict=True):
        for i, (start, end) in enumerate(itertools.pairwise(played.starts)):
            _draw(axis, skill.number, column[start:end][:, [x, y]], numbered=i == 0)
    names = state.names or tuple(f"entry {i}" for i in range(state.shape[0]))
    axis.set_xlabel(names[x])
    axis.set_ylabel(names[y])
    return fig, (
        f"{PATHS} episodes of each, with its most likely actions, in the two entries of the state "
        "in which they differ most beside what each varies itself."
    )


def _draw(axis: Axes, number: int, places: np.ndarray, numbered: bool) -> None:
    """One episode's way `[steps, 2]`, with the skill's number at its end or without."""
    axis.plot(*places.T, color=colour(number), linewidth=1.0, alpha=0.8)
    if numbered:
        axis.annotate(
            str(number), tuple(places[-1]), color="white", fontsize=8, ha="center", va="center",
            bbox={"boxstyle": "circle", "facecolor": colour(number), "linewidth": 0},
        )  # fmt: skip
