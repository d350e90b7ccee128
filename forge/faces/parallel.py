"""The same work on many chunks, in several processes, with results in order and bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait
from typing import Any, TypeVar, cast

from forge.core.errors import BenchError

T = TypeVar("T")
R = TypeVar("R")


def ordered(work: Callable[[T], R], chunks: Iterable[T], *, workers: int) -> Iterator[R]:
    """Yield `work(chunk)` for each chunk, in order.

    Processes are not forked from this one: the caller may have started threads (torch does), which a fork would freeze.
    On Linux they are forked from a server process that stays small and imports what `work` needs once for all of them
    and for later calls; elsewhere they are spawned. At most two chunks a worker are under way.

    Args:
        work: picklable; so are chunks and results.
        chunks: consumed as needed.
        workers: processes; 1 works in this one.

    Raises:
        BenchError: a worker was killed, mostly for memory.
    """
    if workers <= 1:
        yield from map(work, chunks)
        return
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(_modules_of(work))  # of no effect where the server runs already
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker)
    pending: deque[Future[R]] = deque()
    try:
        for chunk in chunks:
            pending.append(pool.submit(work, chunk))
            if len(pending) >= 2 * workers:  # bounds the results that wait for their turn
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise BenchError(
            "a worker process was killed, most likely because memory ran out; use fewer workers or smaller photos"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # also when the caller stops early: what was not begun is dropped


def _modules_of(work: Callable[..., Any]) -> list[str]:
    """Return the modules in which a function, and the types of the arguments that it is bound to, are defined."""
    if not isinstance(work, partial):
        return [work.__module__]
    bound = {type(value).__module__ for value in (*work.args, *work.keywords.values())} - {"builtins"}
    return [*_modules_of(work.func), *sorted(bound)]


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the pool
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    """End this process when its parent does, even by `kill -9`."""
    wait([sentinel])  # readable once the parent is gone
    os._exit(1)  # not sys.exit, which would end this thread only


def read_ahead(batches: Iterable[T]) -> Iterator[T]:
    """Yield batches in order, each read by a thread while the one before it is being used."""
    source, end = iter(batches), object()  # an object of its own: a batch can be anything else
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, source, end)
        while (batch := coming.result()) is not end:
            coming = reader.submit(next, source, end)  # begun before the yield, so that it runs while the batch is used
            yield cast(T, batch)
