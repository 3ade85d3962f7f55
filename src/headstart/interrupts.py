"""Stopping when a signal asks for it, also where Python swallows the exception: in a callback or a
destructor."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

_asked: list[int] = []


@contextmanager
def stopping_on_signals() -> Generator[None]:
    """Inside, SIGINT and SIGTERM raise KeyboardInterrupt and are remembered, if they are not
    ignored."""
    _asked.clear()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()


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
