"""What the stored studies found of each method: the table of docs/choosing.md.

    uv run --locked python benchmarks/choosing.py

A method is above another where the 95 % interval of the difference says so.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from headstart import studies
from headstart.problem.named.skills import CLONE
from headstart.result import difference
from headstart.studies.diayn_finetune import BEHIND, CORNER, DIAYN, SCRATCH, WAY_OUT
from headstart.studies.epopt_hopper import (
    AT_6,
    CONTROL,
    ENSEMBLE,
    EPOPT,
    POSTERIOR,
    UNMODELLED,
    scores,
    tail,
    worst,
)
from headstart.studies.maxent_hallway import ADAPTIVE, MAXENT
from headstart.studies.primacy import BIASED, RESET
from headstart.studies.smerl_obstacle import MOTOR, SMERL, TUNED, WALL, WIND
from headstart.studies.source_kept import CLONED, COLUMNS, NAIVE, last

Table = dict[str, Any]


class Row(NamedTuple):
    """A method for a situation, and a comparison that was made of it."""

    situation: str
    method: str
    study: str
    where: str
    rival: str
    more: Callable[[Table], Any]
    less: Callable[[Table], Any]


def arm(name: str, key: str = "returns") -> Callable[[Table], Any]:
    """An arm's returns, seed by seed."""
    return lambda table: table["arms"][name][key]


def shot(method: str, index: int) -> Callable[[Table], Any]:
    """A method's returns at a shot of the first run."""
    return lambda table: [returns[index] for returns in table["methods"][method]["returns"]]


def at(policy: str, mass: float) -> Callable[[Table], Any]:
    """A policy's mean returns at a mass of the hopper's torso."""
    return lambda table: scores(table, policy)[:, table["masses"].index(mass)]


def after(name: str, episodes: int) -> Callable[[Table], Any]:
    """An arm's returns after so many target episodes."""

    def found(table: Table) -> list[float]:
        arm = table["arms"][name]
        column = (arm.get("shots") or table["shots"]).index(episodes)
        return [returns[column] for returns in arm["returns"]]

    return found


VARY = "a simulator whose parameters you can vary"
EXPENSIVE = "the same, and failures are expensive"
UNVARIED = "the same, and what differs is none of its parameters"
FEW = "the same, and a few target trajectories"
ALLOWS = "a simulator that allows what reality does not, and target steps without rewards"
LACKS = "a simulator that lacks what reality allows"
FRAMES = "a simulator that looks wrong, and a thousand frames of reality"
LOOKS = "one that looks wrong, and no frames"
MANY = "many target episodes"
WAYS = "a task that many ways solve, of which the target may leave one"
UNPAID = "a place to practise in, and a task there that pays nothing until it is found"
KEPT = "a source that is still to be done after the target is learned"
SETTLED = "networks that took many gradient steps on few transitions"
HIDDEN = "a body that is hidden and differs each time"

ROWS = (
    Row(VARY, "domain-randomization", "first-run", "cart-pole", "source-only",
        shot("domain-randomization", 0), shot("source-only", 0)),
    Row(VARY, "domain-randomization", "epopt-hopper", "hopper of 9 kg", "source-only at 6 kg",
        at(ENSEMBLE, 9.0), at(AT_6, 9.0)),
    Row(EXPENSIVE, "epopt", "epopt-hopper", "tenth percentile over masses", "domain-randomization",
        partial(tail, name=EPOPT), partial(tail, name=ENSEMBLE)),
    Row(UNVARIED, "epopt", "epopt-hopper", "worst mass, never varied", "source-only",
        partial(worst, name=UNMODELLED), partial(worst, name=AT_6)),
    Row(FEW, "epopt-posterior", "first-run", "cart-pole, 20 episodes", "domain-randomization",
        shot("epopt-posterior", 2), shot("domain-randomization", 0)),
    Row(FEW, "epopt-posterior", "epopt-hopper", "hopper of 9 kg, 10 episodes", "epopt",
        at(POSTERIOR, 9.0), at(EPOPT, 9.0)),
    Row(FEW, "epopt-posterior", "epopt-hopper", "the same", "training on without them",
        at(POSTERIOR, 9.0), at(CONTROL, 9.0)),
    Row(ALLOWS, "darc", "darc-cheetah", "dead joint", "source-only",
        arm("broken: DARC"), arm("broken: source-only")),
    Row(ALLOWS, "darc", "darc-cheetah", "wall", "source-only",
        arm("obstacle: DARC"), arm("obstacle: source-only")),
    Row(LACKS, "darc", "darc-cheetah", "wall, reversed", "source-only",
        arm("obstacle, reversed: DARC"), arm("obstacle, reversed: source-only")),
    Row(FRAMES, "domain-confusion", "confusion-drive", "rain", "source-only",
        arm("rain: reversal"), arm("rain: source-only")),
    Row(FRAMES, "domain-confusion", "confusion-drive", "dusk", "source-only",
        arm("dusk: reversal"), arm("dusk: source-only")),
    Row(FRAMES, "domain-confusion", "confusion-drive", "fog", "source-only",
        arm("fog: reversal"), arm("fog: source-only")),
    Row(FRAMES, "domain-confusion", "confusion-drive", "low sun", "source-only",
        arm("low sun: reversal"), arm("low sun: source-only")),
    Row(LOOKS, "random-convolution", "confusion-drive", "rain", "source-only",
        arm("rain: random-convolution"), arm("rain: source-only")),
    Row(LOOKS, "domain-randomization", "confusion-drive", "rain", "source-only",
        arm("rain: domain-randomization"), arm("rain: source-only")),
    Row(LOOKS, "random-convolution", "confusion-drive", "dusk", "source-only",
        arm("dusk: random-convolution"), arm("dusk: source-only")),
    Row(LOOKS, "domain-randomization", "confusion-drive", "dusk", "source-only",
        arm("dusk: domain-randomization"), arm("dusk: source-only")),
    Row(MANY, "finetune", "first-run", "cart-pole, 200 episodes", "scratch",
        shot("finetune", -1), shot("scratch", -1)),
    Row(WAYS, "maxent", "maxent-hallway", "hallway, 20 episodes", "finetune",
        after(MAXENT, 20), after(ADAPTIVE, 20)),
    Row(WAYS, "maxent", "maxent-hallway", "the same", "scratch",
        after(MAXENT, 20), after("scratch", 20)),
    Row(WAYS, "smerl", "smerl-obstacle", "a wall on the straight way, 5 episodes", "finetune",
        arm(f"{WALL}: {SMERL}"), arm(f"{WALL}: {TUNED}")),
    Row(WAYS, "smerl", "smerl-obstacle", "a dead motor, 5 episodes", "finetune",
        arm(f"{MOTOR}: {SMERL}"), arm(f"{MOTOR}: {TUNED}")),
    Row(WAYS, "smerl", "smerl-obstacle", "a headwind, 5 episodes", "finetune",
        arm(f"{WIND}: {SMERL}"), arm(f"{WIND}: {TUNED}")),
    Row(UNPAID, "diayn", "diayn-finetune", "the far corner of a room, 16 episodes", "scratch",
        after(f"{CORNER}: {DIAYN}", 16), after(f"{CORNER}: {SCRATCH}", 16)),
    Row(UNPAID, "diayn", "diayn-finetune", "its way out, 16 episodes", "scratch",
        after(f"{WAY_OUT}: {DIAYN}", 16), after(f"{WAY_OUT}: {SCRATCH}", 16)),
    Row(UNPAID, "diayn", "diayn-finetune", "behind its wall, 16 episodes", "scratch",
        after(f"{BEHIND}: {DIAYN}", 16), after(f"{BEHIND}: {SCRATCH}", 16)),
    Row(KEPT, CLONE, "source-kept", "return in the source", "finetune",
        partial(last, name=CLONED, side="source"), partial(last, name=NAIVE, side="source")),
    Row(KEPT, "progressive", "source-kept", "the same", "finetune",
        partial(last, name=COLUMNS, side="source"), partial(last, name=NAIVE, side="source")),
    Row(SETTLED, "finetune:reset_every=30;reset_layers=3", "primacy", "half-cheetah, 60 episodes",
        "finetune", after(RESET, 60), after(BIASED, 60)),
    Row(HIDDEN, "a memory", "memory-and-context", "hopper's mass", "none",
        arm("mass: memory", "drawn"), arm("mass: neither", "drawn")),
)  # fmt: skip


def found(row: Row, table: Table) -> str:
    """What a study's stored table says of a method beside its rival."""
    apart = difference(row.more(table), row.less(table))
    way = "not clearly different from"
    if apart.above_zero or apart.below_zero:
        way = "above" if apart.above_zero else "below"
    return f"{row.where}: {way} {row.rival}, {apart.value:+.0f} {apart.interval}"


def table() -> str:
    """The table, in Markdown."""
    lines = ["| you have | try | what was found | study |", "|---|---|---|---|"]
    last = ""
    stored = {name: studies.stored(name) for name in dict.fromkeys(row.study for row in ROWS)}
    for row in ROWS:
        situation = "" if row.situation == last else row.situation
        last = row.situation
        link = f"[{row.study}](studies/{row.study}.md)"
        lines.append(f"| {situation} | `{row.method}` | {found(row, stored[row.study])} | {link} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
