"""A Ray cluster for the time of a run: a given one is joined, else one on this machine is started and ended.

Known traps, all of them met here: `ray.init` replaces the handler of SIGTERM (Ray's documentation), takes minutes to
give up on an address where nobody listens, and prints what workers say to the standard output of this process.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray

from benchmarks.workflow.engines.ray_guard import guarded
from forge.core.errors import InputError, quoted
from forge.core.interrupt import deferred_interrupt

LOCAL_STORE_BYTES = 200 << 20  # keys and small facts pass through it; results lie in the store
CONNECT_SECONDS = 5.0
_PREFIX = "bench-ray-"  # of the folder of a cluster of its own, before the id of this process
_PORT = 6379  # of Ray's head node, where an address names none


class RayCluster:
    """A connection to a Ray cluster; a context manager.

    Args:
        address: HOST:PORT of the head node, or "auto" for the one of this machine; "": a cluster of its own is started.
        processors: of the cluster that is started.
        threads: that libraries of the workers use.

    Attributes:
        started: whether the cluster is this process's own, and ends with it.
    """

    def __init__(self, address: str, *, processors: int, threads: int) -> None:
        self._address, self._processors, self._threads = address, processors, threads
        self._undo = ExitStack()
        self.started = not address

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            InputError: there is no such cluster, or its Ray or Python is of another version.
            KeyboardInterrupt: SIGTERM came meanwhile.
        """
        if ray.is_initialized():  # a script that uses Ray itself: its cluster is used, and left as it is
            self.started = False
            return self
        with ExitStack() as undo, _signals_kept():
            undo.enter_context(_without_warnings())
            options = self._of_its_own(undo) if self.started else self._of_others()
            undo.callback(ray.shutdown)
            try:
                ray.init(configure_logging=False, log_to_driver=False, **options)
            except (Exception, SystemExit) as error:  # also where a node takes more than 30 s to start
                if isinstance(error, SystemExit) and error.code == signal.SIGTERM:  # from Ray's handler
                    raise KeyboardInterrupt from error
                raise InputError(self._refusal(error)) from error
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; ends all processes of a cluster of its own, also where Ctrl-C comes meanwhile."""
        with _signals_kept(), deferred_interrupt() as interrupted:
            self._undo.close()
        if interrupted():
            raise KeyboardInterrupt

    def _of_its_own(self, undo: ExitStack) -> dict[str, Any]:
        # short: the path of a socket below it has at most 107 characters
        parent = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir())
        _tidy(parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        undo.enter_context(guarded(folder))
        # its workers inherit both; Ray gives them the niceness 15, and everything else on this machine would go before
        inherited = {"OMP_NUM_THREADS": str(self._threads), "RAY_worker_niceness": "0"}
        undo.enter_context(_environment(inherited))
        return {
            "address": "local",  # whatever RAY_ADDRESS says
            "num_cpus": self._processors,
            "object_store_memory": LOCAL_STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",  # for this machine alone: whoever reaches a cluster can run code on it
            "_temp_dir": str(folder),
        }

    def _of_others(self) -> dict[str, Any]:
        _refuse_silence(self._address)
        # Ray sets OMP_NUM_THREADS by itself; results must not depend on its choice
        return {
            "address": self._address,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(self._threads)}},
        }

    def _refusal(self, error: BaseException) -> str:
        text = " ".join(str(error).split())
        if self.started:
            return f"Ray did not start here: {quoted(text)}; --engine local needs no Ray"
        if "Version mismatch" in text:
            return (
                f"the cluster at {self._address} has another Ray or Python than this process: "
                f"{quoted(text.partition('mismatch: ')[2])}; run this command with the cluster's versions"
            )
        return f"there is no Ray cluster to join at {self._address}: {quoted(text)}; give --ray-address HOST:PORT"


def _refuse_silence(address: str) -> None:
    """Refuse an address where nobody listens: Ray would try for minutes.

    Raises:
        InputError: nobody listens, or it is an address of Ray Client.
    """
    if address == "auto":
        return
    if "://" in address:
        raise InputError(
            f"--ray-address {quoted(address)} is an address of Ray Client; run this command on a node of the cluster "
            "and give HOST:PORT of its head, or auto"
        )
    host, _, port = address.rpartition(":") if ":" in address else (address, ":", str(_PORT))
    if not host or not port.isdigit():
        raise InputError(f"--ray-address {quoted(address)} is not HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"nobody listens at --ray-address {address} ({error}); `ray start --head` on that machine prints its "
            "address, and without the option a cluster of this machine alone is started"
        ) from error


def _tidy(parent: Path) -> None:
    """Remove the folders of clusters whose process was killed (Linux)."""
    for folder in parent.glob(f"{_PREFIX}*-*"):
        owner = Path("/proc") / folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.parent.is_dir() and not owner.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of another user: nothing happens


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Show errors of Ray alone: it warns on every start, of tokens and of /dev/shm."""
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give SIGINT and SIGTERM the handlers back that they had: `forge.core.interrupt` owns them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not installed by Python
                signal.signal(number, handler)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
