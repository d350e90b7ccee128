"""The process that workers of the local engine are forked from (Linux): it imports torch once for all of them."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from multiprocessing import forkserver

FORKED_BY = "BENCH_FORKED_BY"  # variable of the server: id of the process that it works for
PRELOADED = ["benchmarks.workflow.engines.preload"]

_starting = threading.Lock()  # the environment is the whole process's
_started_with: list[int] = []  # threads of its libraries; empty: it was not started here


def start_fork_server(threads: int) -> bool:
    """Start the server, unless it runs, and again where it was killed; it imports while this process goes on.

    Args:
        threads: of the libraries of its workers, which read that number once.

    Returns:
        Whether workers can be forked from it: False where it was started for another number, or there is none.
    """
    if sys.platform != "linux":
        return False
    if _started_with and _started_with != [threads]:
        return False
    inherited = {"OMP_NUM_THREADS": str(threads), FORKED_BY: str(os.getpid())}
    with _starting:
        before = {name: os.environ.get(name) for name in inherited}
        os.environ.update(inherited)
        try:
            if not _started_with:
                multiprocessing.set_forkserver_preload(PRELOADED)
            forkserver.ensure_running()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        _started_with[:] = [threads]
    return True
