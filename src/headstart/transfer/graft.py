"""What was learned in one space, put into another: inputs and outputs that differ are joined.

New inputs are not looked at: their weights are 0, so that a policy acts as it did whatever they
are. A new number to act by is 0 in the mean. A new choice is as likely as the others are on
average, so that the most likely one stays the most likely.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from headstart.envs.goals import DESIRED
from headstart.envs.spec import (
    PRIVILEGED,
    SKILL,
    UNSEEN,
    Actions,
    EnvSpec,
    Group,
    check_bounds,
    entry_number,
)
from headstart.errors import KnowledgeError
from headstart.knowledge import Knowledge
from headstart.policies.policy import TAKE_OUT_ONE, described_spaces

Fate = Literal["copied", "resized", "fresh", "left behind"]
Table = Mapping[Any, Any]
"""From an entry of the new space to one of the old, by name or by number."""


class Row(NamedTuple):
    """What became of one tensor."""

    tensor: str
    fate: Fate
    why: str


class Grafted(NamedTuple):
    """Knowledge for another space, and how it was made."""

    knowledge: Knowledge
    rows: list[Row]


@dataclass(frozen=True)
class Join:
    """Which entry of the old space each entry of the new one is; none where it is new."""

    what: str
    old: tuple[str, ...]
    """Names, or numbers where there are none."""
    new: tuple[str, ...]
    entries: tuple[int | None, ...]

    @property
    def same(self) -> bool:
        """Whether nothing moves."""
        return self.entries == tuple(range(len(self.old)))

    def __str__(self) -> str:
        kept = [entry for entry in self.entries if entry is not None]
        fresh = [name for name, e in zip(self.new, self.entries, strict=True) if e is None]
        lost = [name for i, name in enumerate(self.old) if i not in kept]
        renamed = [
            f"{self.old[e]} as {name}"
            for name, e in zip(self.new, self.entries, strict=True)
            if e is not None and self.old[e] != name
        ]
        said = {"new": fresh, "gone": lost, "taken": renamed}
        told = [f"{word}: {', '.join(names)}" for word, names in said.items() if names]
        told += [] if kept == sorted(kept) else ["in another order"]
        return f"{self.what}: {'; '.join(told) or 'the same'}"

    def rows(self, array: np.ndarray, fill: np.ndarray | float = 0.0) -> np.ndarray:
        """An array whose first axis goes by the old entries, with one that goes by the new."""
        found = np.empty((len(self.entries), *array.shape[1:]), array.dtype)
        for i, entry in enumerate(self.entries):
            found[i] = fill if entry is None else array[entry]
        return found


def graft(
    knowledge: Knowledge, spec: EnvSpec, tables: Mapping[str, Table] | None = None
) -> Grafted:
    """Knowledge of a policy, and of critics, for an environment of this spec.

    Args:
        knowledge: what was learned.
        spec: what is observed and done where it is to be used.
        tables: by observation group, and as `actions`: which old entry each new one is, where names
            do not say so.

    Raises:
        KnowledgeError: there is no policy, or it has a memory, or nothing joins the spaces.
    """
    tables = tables or {}
    groups, actions = described_spaces(knowledge)
    stated = knowledge.metadata["policy"]
    for kind in (stated["memory"], stated.get("network", "none")):
        if kind != "none":
            raise KnowledgeError(
                f"a policy with a {kind} cannot be grafted: only networks of plain layers are; "
                "graft what it was made of, or train one without"
            )
    joins = _joins(groups, spec, tables)
    acts = _acting(actions, spec.actions, tables.get("actions"))
    features = _beside(list(joins.values()))
    if stated.get("heads") and not (features.same and acts.same):
        raise KnowledgeError(
            "a policy with a head for each task cannot be grafted onto other spaces: train one "
            "without learner.heads"
        )
    maker = _Maker(stated, joins, features, acts)
    parts: dict[str, dict[str, np.ndarray]] = {}
    rows: list[Row] = []
    for part, leaves in knowledge.parts.items():
        made = maker.part(part, leaves)
        parts[part] = {n: a for n, (a, _) in made.items() if a is not None}
        rows += [row for _, row in made.values()]
    new_groups = {name: {**stated["groups"][name], **asdict(spec.groups[name])} for name in groups}
    policy = {**stated, "groups": new_groups, "actions": asdict(spec.actions)}
    kept = {part: leaves for part, leaves in parts.items() if leaves}
    return Grafted(Knowledge(kept, {**knowledge.metadata, "policy": policy}), rows)


def check_joined(source: EnvSpec, target: EnvSpec, tables: Mapping[str, Table]) -> None:
    """Raises:
    KnowledgeError: nothing joins what a policy of the source reads and does to the target's.
    """
    _joins({n: g for n, g in source.groups.items() if n not in UNSEEN}, target, tables)
    _acting(source.actions, target.actions, tables.get("actions"))


def _joins(
    groups: Mapping[str, Group], spec: EnvSpec, tables: Mapping[str, Table]
) -> dict[str, Join]:
    """How each of a policy's groups is joined to that of a spec, in the order of their names."""
    _check_tables(tables, groups)
    joins = {
        name: _joined(name, group, _group_of(spec, name), tables.get(name))
        for name, group in sorted(groups.items())
    }
    if any(g.kind == "image" for g in groups.values()) and not all(j.same for j in joins.values()):
        raise KnowledgeError("vectors that are seen beside images are not joined yet")
    return joins


def _check_tables(tables: Mapping[str, Table], groups: Mapping[str, Group]) -> None:
    for name in tables.keys() - groups.keys() - {"actions"}:
        raise KnowledgeError(
            f"there is a table for {name!r}, and the policy reads {', '.join(groups)}: name one of "
            "these, or actions"
        )


class _Maker:
    """Makes the tensors of one part after another."""

    def __init__(
        self, stated: Mapping[str, Any], joins: Mapping[str, Join], features: Join, acts: Join
    ):
        self.stated, self.joins, self.features, self.acts = stated, joins, features, acts
        self.last = len(stated["hidden"])

    def part(
        self, part: str, leaves: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[np.ndarray | None, Row]]:
        """Each leaf, or nothing where it is left behind, and its row."""
        makers = {
            "policy": self._policy, "critic": self._critic, "statistics": self._statistics,
        }  # fmt: skip
        if part in makers:
            return {name: makers[part](name, array) for name, array in leaves.items()}
        if part == "optimiser" and not (self.features.same and self.acts.same):
            why = "moments are of the old shapes"
            return {n: (None, Row(f"{part}/{n}", "left behind", why)) for n in leaves}
        return {name: self._copied(part, name, array) for name, array in leaves.items()}

    def _copied(self, part: str, name: str, array: np.ndarray) -> tuple[np.ndarray, Row]:
        return array, Row(f"{part}/{name}", "copied", "the same in both")

    def _resized(
        self, part: str, name: str, array: np.ndarray, join: Join
    ) -> tuple[np.ndarray, Row]:
        return array, Row(f"{part}/{name}", "resized", str(join))

    def _statistics(self, name: str, array: np.ndarray) -> tuple[np.ndarray, Row]:
        join = self.joins[name.split("/")[0]]
        if join.same:
            return self._copied("statistics", name, array)
        fill = 1.0 if name.endswith("var") else 0.0
        return self._resized("statistics", name, join.rows(array, fill), join)

    def _policy(self, name: str, array: np.ndarray) -> tuple[np.ndarray, Row]:
        if name.endswith("weights/0"):
            return self._entered("policy", name, array, self.features)
        leaving = name.endswith((f"weights/{self.last}", f"biases/{self.last}", "slow_log_std"))
        return self._left(name, array) if leaving else self._copied("policy", name, array)

    def _left(self, name: str, array: np.ndarray) -> tuple[np.ndarray, Row]:
        """Outputs of the actor, along the last axis."""
        if self.acts.same:
            return self._copied("policy", name, array)
        turned = np.moveaxis(array, -1, 0)
        count = len(self.acts.old)
        if self.stated["actor"] in ("categorical", "greedy"):
            kept = [entry for entry in self.acts.entries if entry is not None]
            blocks = [self.acts.rows(turned, np.asarray(turned[kept].mean(0)))]
        else:
            pieces = [turned[i : i + count] for i in range(0, len(turned), count)]
            # A mean is 0; a deviation, the second piece or a tensor of its own, is as the others'.
            own = name.endswith("slow_log_std")
            fills = [piece.mean(0) if own or i else np.float32(0) for i, piece in enumerate(pieces)]
            blocks = [
                self.acts.rows(piece, np.asarray(fill))
                for piece, fill in zip(pieces, fills, strict=True)
            ]
        return self._resized("policy", name, np.moveaxis(np.concatenate(blocks), 0, -1), self.acts)

    def _critic(self, name: str, array: np.ndarray) -> tuple[np.ndarray, Row]:
        if not name.endswith("weights/0"):
            return self._copied("critic", name, array)
        if name == "goal/weights/0":  # of a contrastive critic, which represents goals apart
            return self._entered("critic", name, array, self.joins[DESIRED])
        features, acts = self.features, [self.acts]
        if name == "action/weights/0":
            features = _beside([join for group, join in self.joins.items() if group != DESIRED])
        elif self.stated["actor"] != "squashed-gaussian":
            acts = []
        further = len(array) - sum(len(join.old) for join in (features, *acts))
        names = tuple(f"{PRIVILEGED}[{i}]" for i in range(further))
        beside = Join(PRIVILEGED, names, names, tuple(range(further)))
        return self._entered("critic", name, array, _beside([features, beside, *acts]))

    def _entered(
        self, part: str, name: str, array: np.ndarray, join: Join
    ) -> tuple[np.ndarray, Row]:
        """Inputs, along the first axis."""
        if join.same:
            return self._copied(part, name, array)
        return self._resized(part, name, join.rows(array), join)


def _beside(joins: Sequence[Join]) -> Join:
    """Several spaces side by side."""
    entries: list[int | None] = []
    start = 0
    for join in joins:
        entries += [None if e is None else start + e for e in join.entries]
        start += len(join.old)
    old, new = (tuple(n for join in joins for n in getattr(join, side)) for side in ("old", "new"))
    moved = [join.what for join in joins if not join.same]
    return Join(" and ".join(moved) or "inputs", old, new, tuple(entries))


def _group_of(spec: EnvSpec, name: str) -> Group:
    if name not in spec.groups:
        mend = "a whole group cannot be made up"
        if name == SKILL:
            mend = TAKE_OUT_ONE
        raise KnowledgeError(
            f"the policy reads the group {name!r}, and {spec.name} shows {', '.join(spec.groups)}: "
            f"{mend}"
        )
    return spec.groups[name]


def _joined(name: str, old: Group, new: Group, table: Table | None) -> Join:
    if old.kind != new.kind or (old.kind != "vector" and old != new):
        mend = (
            "change size or channels by a wrapper to those it was trained on"
            if "image" in (old.kind, new.kind)
            else "only vectors are joined entry by entry"
        )
        raise KnowledgeError(f"{name} was {old} and is {new}: {mend}")
    if old.kind != "vector":
        size = sum(old.choices) if old.kind == "choice" else 1
        names = tuple(map(str, range(size)))
        return Join(name, names, names, tuple(range(size)))
    return join(name, (old.names, old.shape[0]), (new.names, new.shape[0]), table)


def _acting(old: Actions, new: Actions, table: Table | None) -> Join:
    several = any(a.discrete and a.shape for a in (old, new))
    if old.discrete != new.discrete or (several and old != new):
        raise KnowledgeError(
            f"actions were {old} and are {new}: a choice cannot become a number, and several "
            "choices at once are not joined"
        )
    sides = (old.names, old.width), (new.names, new.width)
    joined = join("actions", *sides, table, once=not new.discrete)  # two choices may do the same
    kept = [(entry, i) for i, entry in enumerate(joined.entries) if entry is not None]
    if old.bounds and new.bounds:
        here, there = [old.bounds[entry] for entry, _ in kept], [new.bounds[i] for _, i in kept]
        check_bounds("the source", here, there, "the target")
    return joined


def join(
    what: str,
    old: tuple[Sequence[str], int],
    new: tuple[Sequence[str], int],
    table: Table | None = None,
    once: bool = True,
) -> Join:
    """Two spaces, each given by the names of its entries, if it has any, and their number.

    What a table says comes first; names in both join the rest.

    Args:
        what: the name of the space, for messages.
        old: of the space that was learned in.
        new: of the other.
        table: which old entry each new one is.
        once: whether an old entry may be one new one at most.

    Raises:
        KnowledgeError: nothing joins them, or a table takes an entry more often than it may.
    """
    (old_names, old_size), (new_names, new_size) = old, new
    olds, news = (
        tuple(names) or tuple(map(str, range(size)))
        for names, size in ((old_names, old_size), (new_names, new_size))
    )
    pairs = {_entry(what, n, news): _entry(what, o, olds) for n, o in (table or {}).items()}
    for old_entry, count in Counter(pairs.values()).items():
        if count > 1 and once:
            raise KnowledgeError(
                f"{what}: the table takes {olds[old_entry]} {count} times, and what it does would "
                f"count {count} times: name it once"
            )
    named = bool(old_names and new_names)
    if table is None and not named:
        if old_size != new_size:
            raise KnowledgeError(
                f"{what}: there were {_listed(old_names, old_size)} and are "
                f"{_listed(new_names, new_size)}, and no names say which is which: declare "
                "observation_names and action_names in the environment, or give a table"
            )
        return Join(what, olds, news, tuple(range(new_size)))
    if named:
        free = [name for i, name in enumerate(olds) if i not in pairs.values()]
        alike = {i: olds.index(name) for i, name in enumerate(news) if name in free}
        pairs = alike | pairs
    if not pairs:
        near = {name: difflib.get_close_matches(name, olds, 1, 0.0)[0] for name in news}
        nearest = ", ".join(f"{name} to {old}" for name, old in near.items())
        raise KnowledgeError(
            f"{what}: nothing joins them: they were {', '.join(olds)} and are {', '.join(news)} "
            f"(the nearest: {nearest}): give a table"
        )
    return Join(what, olds, news, tuple(pairs.get(i) for i in range(new_size)))


def _listed(names: Sequence[str], size: int) -> str:
    return f"{size} ({', '.join(names)})" if names else str(size)


def _entry(what: str, entry: str | int, names: Sequence[str]) -> int:
    found = entry_number(entry, names)
    if found is not None:
        return found
    near = difflib.get_close_matches(str(entry), names, 1, 0.0)
    raise KnowledgeError(
        f"{what}: the table has {entry!r}, and there are {', '.join(names)}: did you mean "
        f"{near[0]!r}?"
    )
