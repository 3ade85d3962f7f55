"""The one error that users see: what is wrong, by how much, and what to do."""

import difflib
from collections.abc import Iterable


class HeadstartError(Exception):
    """Something the user can mend. The command line prints it as one line and exits with 2."""


class AllowanceSpent(HeadstartError):
    """A method asked for more of the target than its problem allows."""


class SimulationError(HeadstartError):
    """An environment raised, or returned a number that is not finite."""


class KnowledgeError(HeadstartError):
    """A knowledge folder cannot be read, or does not fit the policy it is put on."""


def unknown(kind: str, name: str, known: Iterable[str]) -> HeadstartError:
    """The error for a name that does not exist, with the nearest that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    return HeadstartError(f"unknown {kind} {name!r}: {hint}")
