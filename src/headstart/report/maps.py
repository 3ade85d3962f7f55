"""Paths from above, and moves coloured by a value."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from headstart import envs
from headstart.envs.floor_map import FloorMap
from headstart.experience.unroll import begin, play
from headstart.methods.method import Moves
from headstart.policies.policy import AbstractPolicy
from headstart.problem import Domain
from headstart.report.figures import colour


def floor_map(domain: Domain) -> FloorMap | None:
    """The domain from above, at the middle of its parameters; nothing if it cannot be seen so."""
    environment = envs.of(domain)
    nominal = {name: declared.nominal for name, declared in environment.parameters.items()}
    middle = {name: marginal.mean for name, marginal in domain.parameters.items()}
    return environment.floor_map(nominal | middle)


def path(policy: AbstractPolicy, domain: Domain, seed: int) -> np.ndarray:
    """The places `[steps + 1, 2]` of an episode with the most likely actions."""
    running = envs.start(domain, 1, seed)
    environment = running.environment
    carry, where, group = begin(policy, running), environment.position, environment.place_group
    places = [where(carry.told.obs[group][0])]
    for seen in play(policy, running, carry, None, rounds=1):
        places.append(where(seen.step.next_obs[group][0]))
    return np.array(places)


def draw_plan(axis: Axes, domain: Domain) -> None:
    """The domain from above, at the middle of its parameters."""
    plan = floor_map(domain)
    if plan is None:
        raise ValueError(f"{domain} has no floor map")
    left, right, bottom, top = plan.bounds
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(True)
    for x, y, width, height in plan.blocks:
        axis.add_patch(Rectangle((x, y), width, height, color="#46505a", linewidth=0))
    for wall in plan.walls:
        axis.plot(*zip(*wall, strict=True), color="#46505a", linewidth=2)
    for name, place in plan.marks.items():
        axis.annotate(name, place, ha="center", va="center", color="#5b6875", fontsize=8)


def draw_paths(
    axis: Axes, domain: Domain, policies: Mapping[str, AbstractPolicy], seed: int
) -> None:
    """One episode of each policy, side by side where they share their way."""
    draw_plan(axis, domain)
    for index, (label, policy) in enumerate(policies.items()):
        shift = 0.06 * (index - (len(policies) - 1) / 2)
        places = path(policy, domain, seed) + shift
        axis.plot(*places.T, color=colour(index), linewidth=1.6, label=label)
        axis.plot(*places[-1], "o", color=colour(index), markersize=5)


def draw_moves(axis: Axes, moves: Moves, domain: Domain) -> Any:
    """Moves on the domain's floor map, each coloured by its value, the largest on top."""
    where = envs.of(domain).position
    ends = [where(obs) for obs in (moves.obs, moves.next_obs)]
    draw_plan(axis, domain)
    order = np.argsort(-np.abs(moves.value))[::-1]
    lines = LineCollection(
        list(np.stack(ends, axis=1)[order]), array=np.clip(moves.value[order], *moves.limits),
        cmap=moves.colours, linewidths=2.0,
    )  # fmt: skip
    lines.set_clim(*moves.limits)
    return axis.add_collection(lines)
