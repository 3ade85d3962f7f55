"""Paths from above, and where and by how much a reward was corrected."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from headstart import envs
from headstart.envs.plan import Plan
from headstart.knowledge import Knowledge
from headstart.learners.policy import Policy, anything, greedy, prepared
from headstart.learners.ppo import Transitions
from headstart.learners.rollout import chunk, seed_from
from headstart.methods.ratio import Ratio
from headstart.problem import Domain
from headstart.report.figures import colour


def has_plan(domain: Domain) -> bool:
    """Whether the domain can be seen from above."""
    return hasattr(envs.find(domain.environment), "plan")


def path(policy: Policy, domain: Domain, seed: int) -> np.ndarray:
    """The places `[steps + 1, 2]` of an episode with the most likely actions."""
    batch = envs.start(domain, 1, seed)
    world: Any = batch.environment
    obs, everyone = batch.reset(), np.arange(1)
    places = [world.position(obs[0])]
    for _ in range(world.horizon):
        step = batch.step(np.asarray(greedy(policy, prepared(obs))), everyone)
        obs = step.next_obs
        places.append(world.position(obs[0]))
        if step.terminated[0] or step.truncated[0]:
            break
    return np.array(places)


def draw_plan(axis: Axes, domain: Domain) -> None:
    """The domain from above, at the middle of its parameters."""
    world: Any = envs.find(domain.environment)
    nominal = {name: declared.nominal for name, declared in world.parameters.items()}
    middle = {name: marginal.mean for name, marginal in domain.parameters.items()}
    plan: Plan = world.plan(nominal | middle)
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
    for name, place in plan.marks.items():
        axis.annotate(name, place, ha="center", va="center", color="#5b6875", fontsize=8)


def draw_paths(axis: Axes, domain: Domain, policies: Mapping[str, Policy], seed: int) -> None:
    """One episode of each policy, side by side where they share their way."""
    draw_plan(axis, domain)
    for index, (label, policy) in enumerate(policies.items()):
        shift = 0.06 * (index - (len(policies) - 1) / 2)
        places = path(policy, domain, seed) + shift
        axis.plot(*places.T, color=colour(index), linewidth=1.6, label=label)
        axis.plot(*places[-1], "o", color=colour(index), markersize=5)


def explored(policy: Policy, domain: Domain, key: Any) -> Transitions:
    """What random actions, and the policy after them, do in a domain."""
    batch = envs.start(domain, 16, seed_from(key))
    random = anything(batch.environment.action_space)
    first, obs = chunk(random, batch, batch.reset(), 100, key)
    then, _ = chunk(policy, batch, obs, 100, key)
    columns: Any = [np.concatenate([a, b]) for a, b in zip(first, then, strict=True)]
    return Transitions(*columns)


def draw_correction(
    axis: Axes, ratio: Ratio, knowledge: Knowledge, policy: Policy, domain: Domain, key: Any
) -> Any:
    """Every move that was made in the source, coloured by its correction Δr."""
    world: Any = envs.find(domain.environment)
    judge = ratio.graft(knowledge, world.observation_space, world.action_space)
    seen = explored(policy, domain, key)
    delta = np.asarray(ratio.log_ratio(judge, _as_arrays(seen))).reshape(-1)
    ends = [world.position(np.asarray(x)).reshape(-1, 2) for x in (seen.obs, seen.next_obs)]
    draw_plan(axis, domain)
    order = np.argsort(-np.abs(delta))[::-1]
    lines = LineCollection(
        list(np.stack(ends, axis=1)[order]), array=np.clip(delta[order], -6, 6), cmap="RdBu",
        linewidths=2.0,
    )  # fmt: skip
    lines.set_clim(-6, 6)
    return axis.add_collection(lines)


def _as_arrays(seen: Transitions) -> Transitions:
    columns: Any = [jnp.asarray(column) for column in seen]
    return Transitions(*columns)
