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

from headstart.errors import KnowledgeError, unknown
from headstart.pytree import PyTree

FORMAT = 3
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
        if part not in self.parts:
            held = ", ".join(self.parts) or "nothing"
            raise KnowledgeError(f"this knowledge has no {part!r}: it holds {held}")
        return load_leaves(onto, self.parts[part], part)

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
        """Write `folder` whole or not at all."""
        from safetensors.numpy import save

        folder = Path(folder)

        flat = joined(self.parts)
        weights = save({name: np.array(array, order="C") for name, array in flat.items()})
        manifest = {
            "format": FORMAT,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "parts": {part: sorted(leaves) for part, leaves in self.parts.items()},
            "metadata": dict(self.metadata),
        }
        partial = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_synced(partial / "weights.safetensors", weights)
        write_synced(partial / "manifest.json", json.dumps(manifest, indent=2).encode())
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
        try:
            manifest = json.loads((folder / "manifest.json").read_bytes())
            weights = (folder / "weights.safetensors").read_bytes()
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise KnowledgeError(f"{folder}/manifest.json is not JSON: {error}") from None
        except OSError as error:
            raise KnowledgeError(
                f"{folder} is not a knowledge folder: {error.strerror}: {error.filename}"
            ) from None
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            found = manifest.get("format") if isinstance(manifest, dict) else None
            raise KnowledgeError(
                f"{folder} is of format {found!r}, and this version of Headstart reads {FORMAT}"
                f"{' (Headstart 0.1 reads 2)' if found == 2 else ''}: train again, or use the "
                "version named in the run's config.json"
            )
        if hashlib.sha256(weights).hexdigest() != manifest.get("sha256"):
            kind = "a pickle, which could run code" if weights[:1] == b"\x80" else "damaged"
            raise KnowledgeError(
                f"{folder}/weights.safetensors is {kind}: {len(weights)} bytes that do not match "
                "the manifest; fetch it again, or train again"
            )
        try:
            flat = load(weights)
        except (SafetensorError, ValueError, KeyError) as error:
            raise KnowledgeError(f"{folder}/weights.safetensors is damaged: {error}") from None
        try:
            parts = {
                str(part): {str(name): flat[f"{part}/{name}"] for name in names}
                for part, names in manifest["parts"].items()
            }
            return Knowledge(parts, dict(manifest["metadata"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise KnowledgeError(
                f"{folder}: the manifest does not fit the weights: {error}"
            ) from None


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


def load_leaves(tree: Tree, arrays: Mapping[str, np.ndarray], what: str) -> Tree:
    """`tree` with each leaf replaced by the array of its path; the inverse of `leaves`.

    Raises:
        KnowledgeError: a path is missing or too many, or the shapes differ.
    """
    import jax
    import jax.numpy as jnp

    expected = leaves(tree)
    for name in expected.keys() ^ arrays.keys():
        side = "lacks" if name in expected else "has an unknown"
        raise KnowledgeError(f"{what} {side} {name!r}: it was made by another kind of learner")
    for name, leaf in expected.items():
        if leaf.shape != arrays[name].shape:
            raise KnowledgeError(
                f"{what}/{name} has shape {list(arrays[name].shape)}, and {list(leaf.shape)} is "
                "needed: observations, actions and hidden layers must be those it was trained with"
            )
    order = [jnp.array(arrays[_path(p)]) for p, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), order)


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
