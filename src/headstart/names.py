"""Things of the user's own, by `module:attribute`."""

import importlib
import sys
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError, unknown


def attribute(path: str) -> Any:
    """What `module:attribute` names; modules in the working directory are found too.

    Raises:
        HeadstartError: there is no such module or attribute.
    """
    module, _, name = path.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
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
