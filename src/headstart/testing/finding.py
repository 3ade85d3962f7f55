"""What an examination says."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A claim, and whether it held."""

    claim: str
    held: bool
    detail: str = ""


def hold(findings: Sequence[Finding]) -> None:
    """Raises:
    AssertionError: a claim did not hold; the message says which.
    """
    failed = [f"{f.claim}: {f.detail}" if f.detail else f.claim for f in findings if not f.held]
    assert not failed, "; ".join(failed)
