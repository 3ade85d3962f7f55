"""The user's own code that a run depends on: what `module:attribute` names, and all that it imports
from beside it, by digest.

A result is of the code that it was made with. Files that a module reads when it runs, such as the
description of a robot, are not seen here.
"""

import ast
import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from threading import Lock

PARSING = Lock()
"""Python 3.11 counts how deep its parsers are for all threads together, and gives up."""


def digests(modules: Iterable[str]) -> dict[str, str]:
    """By module, for all that neither Python nor Headstart brings; of a package that is installed,
    its version.

    Args:
        modules: names of modules that can be imported.
    """
    found: dict[str, str] = {}
    for module in modules:
        package = module.partition(".")[0]
        if package in (*sys.stdlib_module_names, "headstart"):
            continue
        root = _root(package)
        if root is None or {"site-packages", "dist-packages"} & set(root.parts):
            installed = packages_distributions().get(package, ())
            found[package] = ", ".join(f"{name} {version(name)}" for name in sorted(installed))
        else:
            found |= _reached(module, root)
    return dict(sorted(found.items()))


def _root(package: str) -> Path | None:
    """The folder from which a package, or a module that is in none, is imported."""
    top = importlib.import_module(package)
    places = [*getattr(top, "__path__", ()), getattr(top, "__file__", None)]
    return Path(places[0]).parent if places[0] else None


def _reached(module: str, root: Path) -> dict[str, str]:
    """Digests of a module and of what it imports, directly or not, from below a root."""
    found: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        file = None if name in found else _file(root, name)
        if file is not None:
            text = file.read_bytes()
            found[name] = hashlib.sha256(text).hexdigest()[:16]
            todo += _imports(text, name, file)
    return found


def _file(root: Path, name: str) -> Path | None:
    """The file of a module below a root, if there is one."""
    path = root.joinpath(*name.split("."))
    files = path / "__init__.py", path.with_name(f"{path.name}.py")
    return next((file for file in files if file.is_file()), None)


def _imports(text: bytes, name: str, file: Path) -> Iterator[str]:
    """Names of all that may be a module among what a module imports, and of its packages."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    try:
        with PARSING:
            tree = ast.parse(text)
    except SyntaxError:  # nor can it be imported
        return
    for node in ast.walk(tree):
        imported: list[str] = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            imported = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for one in imported:
            yield from _with_packages(one)
    yield from _with_packages(package)


def _with_packages(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))
