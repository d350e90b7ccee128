"""Ctrl-C that finishes the step at hand, saves, and then stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C (or SIGTERM) came; a second one interrupts at once.

    Outside the main thread signals cannot be caught, and the function says no for ever.
    """
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread alone
        yield lambda: False
        return
    interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:  # the step hangs, or the person does not want to wait
            raise KeyboardInterrupt
        interrupted = True

    # SIGTERM is what schedulers and `kill` send before they kill
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: interrupted
    finally:
        # given back also after an error, or a later Ctrl-C would only set a flag that nobody reads
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt as Ctrl-C does, so that processes below this one are ended with it.

    Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
