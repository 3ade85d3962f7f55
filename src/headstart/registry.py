"""What a name stands for: one of ours, or `module:attribute` of the user's own.

To look up a name of the user's runs code, and the working directory is searched for it. So names
that a file of a stranger's may hold are looked up inside of `ours_only`.
"""

import importlib
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError, unknown


class Registry(Mapping[str, str]):
    """Names of one kind of thing, each with the `module:attribute` where it is defined.

    Nothing is imported before it is asked for. `needs` are the names that a thing of the user's
    must have to serve as one of this kind.
    """

    def __init__(self, kind: str, paths: Mapping[str, str], needs: tuple[str, ...] = ()):
        self.kind, self.needs = kind, needs
        self._paths = dict(paths)

    def __getitem__(self, name: str) -> str:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def find(self, name: str) -> Any:
        """The thing of that name, or that `module:attribute` names.

        Raises:
            HeadstartError: there is none, or it lacks something that its kind must have.
        """
        if name in self._paths:
            module, _, own = self._paths[name].partition(":")
            return getattr(importlib.import_module(module), own)
        if ":" not in name:
            raise unknown(self.kind, name, self._paths)
        found = attribute(name)
        fields = getattr(found, "__dataclass_fields__", {})  # some are no attributes of the class
        missing = [need for need in self.needs if need not in fields and not hasattr(found, need)]
        if missing:
            kind = f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"
            raise HeadstartError(
                f"{name} is not {kind}: it lacks {', '.join(missing)}; see the page on "
                f"adding {kind}"
            )
        return found

    def name_of(self, kind: type) -> str:
        """The name under which a class is found: a short one, or `module:Class`."""
        path = f"{kind.__module__}:{kind.__qualname__}"
        return next((name for name, known in self._paths.items() if known == path), path)


_trusting: ContextVar[bool] = ContextVar("trusting", default=True)


@contextmanager
def ours_only() -> Generator[None]:
    """Names that are looked up inside are a stranger's: what is not ours is refused."""
    before = _trusting.set(False)
    try:
        yield
    finally:
        _trusting.reset(before)


def import_here(name: str) -> None:
    """From now on modules in the working directory are found too, for a name of the user's.

    Raises:
        HeadstartError: the name may be a stranger's.
    """
    if not _trusting.get():
        raise HeadstartError(
            f"{name} is code that did not come with Headstart, and it would be run: if you trust "
            "who made this folder, add --trust"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def attribute(path: str) -> Any:
    """What `module:attribute` names; modules in the working directory are found too.

    Raises:
        HeadstartError: there is no such module or attribute, or the name may be a stranger's.
    """
    module, _, name = path.partition(":")
    import_here(path)
    if not all(part.isidentifier() for part in module.split(".")):
        raise HeadstartError(f"{path!r} is not module:attribute, as in my_module:thing")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise HeadstartError(f"{path}: there is no module {error.name!r} here") from None
    except (ImportError, SyntaxError) as error:
        raise HeadstartError(f"{path}: {module} cannot be imported: {error}") from error
    if not hasattr(found, name):
        raise unknown(f"attribute of {module}", name, [n for n in vars(found) if n[0] != "_"])
    return getattr(found, name)
