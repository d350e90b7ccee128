"""End with the process that started this one, also where that is killed (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2  # linux/prctl.h


@contextmanager
def ending_with_parent(parent: int) -> Iterator[None]:
    """Be killed when the thread that started this process ends, within the block; elsewhere than on Linux do nothing.

    For work that cannot look whether its parent still lives, such as imports of seconds. It is for a block alone, since
    a thread may end where its process goes on.

    Args:
        parent: id of the process that started this one; where it has ended before the block, this one ends at once.
    """
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None)
    before = ctypes.c_int()
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(before))
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_PDEATHSIG, before.value)
