"""Stopping when a signal asks for it, also where Python swallows the exception: in a callback or a
destructor."""

import signal
from typing import Any

_asked: list[int] = []


def stop_on_signals() -> None:
    """From here on SIGINT and SIGTERM raise KeyboardInterrupt, and are remembered."""
    _asked.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _: Any) -> None:
    _asked.append(number)
    raise KeyboardInterrupt


def asked() -> bool:
    """Whether a signal came."""
    return bool(_asked)


def stop_if_asked() -> None:
    """Raise again what may have been swallowed; for whatever is called now and then."""
    if _asked:
        raise KeyboardInterrupt
