"""What is carried over, by part, and how it is kept on disk without pickle.

A part is a flat mapping from a leaf's path in its module to an array. It is put onto a module of
the same shape by `graft`, which fails rather than guess where the two differ.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from headstart import records
from headstart.errors import HeadstartError, KnowledgeError, unknown
from headstart.pytree import PyTree

FORMAT = 4
MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Knowledge:
    """Named parts (policy, critic, …) and plain metadata. An absent part is absent."""

    parts: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What it takes to build what the parts fill, such as `policy`."""

    def graft(self, part: str, onto: Tree) -> Tree:
        """`onto` with its leaves replaced by those of `part`.

        Raises:
            KnowledgeError: the part is absent, or its leaves have other names or shapes.
        """
        return load_leaves(onto, self.part(part), part, types=True)

    def part(self, name: str) -> Mapping[str, np.ndarray]:
        """The leaves of a part.

        Raises:
            KnowledgeError: the part is absent.
        """
        if name not in self.parts:
            held = ", ".join(self.parts) or "nothing"
            raise KnowledgeError(f"this knowledge has no {name!r}: it holds {held}")
        return self.parts[name]

    def graft_held(self, part: str, onto: Tree) -> Tree:
        """The same where this knowledge holds the part; `onto` as it is where it does not.

        Raises:
            KnowledgeError: the part's leaves have other names or shapes.
        """
        return self.graft(part, onto) if part in self.parts else onto

    def only(self, parts: Collection[str]) -> "Knowledge":
        """The same knowledge without the other parts.

        Raises:
            KnowledgeError: a part is absent.
        """
        for part in parts:
            if part not in self.parts:
                raise unknown("part of this knowledge", part, self.parts)
        return Knowledge({part: self.parts[part] for part in parts}, self.metadata)

    def without(self, *parts: str) -> "Knowledge":
        """The same knowledge without these parts, where it has them."""
        return self.only([part for part in self.parts if part not in parts])

    def with_part(self, part: str, tree: PyTree) -> "Knowledge":
        """The same knowledge and one part more."""
        return Knowledge({**self.parts, part: leaves(tree)}, self.metadata)

    def save(self, folder: Path | str) -> None:
        """Write `folder` whole or not at all.

        Raises:
            KnowledgeError: a number in it is not finite.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        self.check_finite(str(folder))

        flat = joined(self.parts)
        weights = save({name: np.array(array, order="C") for name, array in flat.items()})
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "parts": {part: sorted(leaves) for part, leaves in self.parts.items()},
            "metadata": dict(self.metadata),
        }
        manifest["digest"] = digest(json.loads(json.dumps(manifest)))
        partial = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_synced(partial / WEIGHTS, weights)
        write_synced(partial / MANIFEST, json.dumps(manifest, indent=2).encode())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)

    @staticmethod
    def load(folder: Path | str) -> "Knowledge":
        """Read what `save` wrote; nothing in the folder can run code.

        Raises:
            KnowledgeError: a file is missing, truncated, corrupted, of another version, or is not
                what its name says.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        folder = Path(folder)
        for name in (MANIFEST, WEIGHTS):
            if not (folder / name).is_file():
                raise KnowledgeError(f"{folder} is not a knowledge folder: it has no {name}")
        try:
            manifest = records.read(folder / MANIFEST)
            weights = (folder / WEIGHTS).read_bytes()
        except OSError as error:
            raise KnowledgeError(f"cannot read {folder}: {error.strerror}") from None
        except HeadstartError as error:
            raise KnowledgeError(str(error)) from None
        found = manifest.pop("format", None)
        if found != FORMAT:
            raise KnowledgeError(
                f"{folder} is of format {found!r}, and this version of Headstart reads {FORMAT}"
                f"{' (Headstart 0.1 reads 2)' if found == 2 else ''}: train again, or use the "
                "version named in the run's config.json"
            )
        if hashlib.sha256(weights).hexdigest() != manifest.get("sha256"):
            kind = "a pickle, which could run code" if weights[:1] == b"\x80" else "damaged"
            raise KnowledgeError(
                f"{folder}/{WEIGHTS} is {kind}: {len(weights)} bytes that do not match "
                "the manifest; fetch it again, or train again"
            )
        if digest(manifest) != manifest.get("digest"):
            raise KnowledgeError(
                f"{folder}/{MANIFEST} is damaged: it does not match its own digest; fetch it "
                "again, or train again"
            )
        try:
            flat = load(weights)
        except (SafetensorError, ValueError, KeyError) as error:
            raise KnowledgeError(f"{folder}/{WEIGHTS} is damaged: {error}") from None
        try:
            parts = {
                str(part): {str(name): flat[f"{part}/{name}"] for name in names}
                for part, names in manifest["parts"].items()
            }
            knowledge = Knowledge(parts, dict(manifest["metadata"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise KnowledgeError(
                f"{folder}: the manifest does not fit the weights: {error}"
            ) from None
        knowledge.check_finite(str(folder))
        return knowledge

    def check_finite(self, where: str) -> None:
        """Raises:
        KnowledgeError: a number in a part is not finite.
        """
        for name, array in joined(self.parts).items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise KnowledgeError(
                    f"{where}: {name} holds numbers that are not finite: learning has diverged; "
                    "lower the learning rate and train again"
                )


def digest(manifest: Mapping[str, Any]) -> str:
    """Of a manifest without its own digest and its format."""
    return records.digest({k: v for k, v in manifest.items() if k not in ("digest", "format")})


def leaves(tree: PyTree) -> dict[str, np.ndarray]:
    """The tree's arrays by path, as in `actor/mean/weights/0`."""
    import jax

    found = jax.tree_util.tree_leaves_with_path(tree)
    return {_path(path): np.asarray(leaf) for path, leaf in found}


def shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    """The shapes of the tree's arrays by path."""
    import jax

    found = jax.tree_util.tree_leaves_with_path(tree)
    return {_path(path): tuple(leaf.shape) for path, leaf in found}


def load_leaves(
    tree: Tree, arrays: Mapping[str, np.ndarray], what: str, types: bool = False
) -> Tree:
    """`tree` with each leaf replaced by the array of its path; the inverse of `leaves`.

    Raises:
        KnowledgeError: a path is missing or too many, or shapes differ, or `types` of numbers.
    """
    import jax
    import jax.numpy as jnp

    check_leaves(tree, arrays, what, types)
    order = [jnp.array(arrays[_path(p)]) for p, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), order)


def check_leaves(
    tree: PyTree, arrays: Mapping[str, np.ndarray], what: str, types: bool = True
) -> None:
    """Hold the leaves of a tree, of which there need be nothing but shapes, against arrays.

    Raises:
        KnowledgeError: a path is missing or too many, or shapes differ, or `types` of numbers.
    """
    import jax

    found = jax.tree_util.tree_leaves_with_path(tree)
    expected: dict[str, Any] = {_path(path): leaf for path, leaf in found}
    for name in expected.keys() ^ arrays.keys():
        side = "lacks" if name in expected else "has an unknown"
        raise KnowledgeError(f"{what} {side} {name!r}: it was made by another kind of learner")
    for name, leaf in expected.items():
        given = arrays[name]
        if types and np.dtype(leaf.dtype) != given.dtype:
            raise KnowledgeError(
                f"{what}/{name} holds {given.dtype}, and {leaf.dtype} is needed: it was made by "
                "another kind of learner"
            )
        if tuple(leaf.shape) != given.shape:
            raise KnowledgeError(
                f"{what}/{name} has shape {list(given.shape)}, and {list(leaf.shape)} is needed: "
                "observations, actions and hidden layers must be those it was trained with"
            )


def joined(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """`{"a": {"b": x}}` as `{"a/b": x}`."""
    return {
        f"{group}/{n}": np.asarray(a) for group, arrays in groups.items() for n, a in arrays.items()
    }


def grouped(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The inverse of `joined`."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = array
    return groups


def write_synced(path: Path, data: bytes) -> None:
    """Write and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: a reader sees the old file or the new."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    write_synced(partial, data)
    os.replace(partial, path)


def _path(path: tuple) -> str:
    keys = (getattr(k, "name", getattr(k, "idx", getattr(k, "key", None))) for k in path)
    return "/".join(map(str, keys))
