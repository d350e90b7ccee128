"""End what a Ray cluster of its own leaves behind when the process that started it is killed (Linux).

Ray's agents try for a minute to report the death of their node before they end. `guarded` starts this file as a small
process beside the cluster. It waits until its standard input ends, which happens however the other process ends, then
kills every process that has a file in the cluster's folder open (all write their logs there), and removes the folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SECONDS = 3.0  # of looking for processes: those that are just being started show up late


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Have all processes that use files in `folder` killed, and it removed, after the block or this process."""
    command = [sys.executable, "-I", "-S", __file__, str(folder)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # Ctrl-C does not reach it
    try:
        yield
    finally:
        guard.communicate(b"ended in order")


def users(folder: Path) -> list[int]:
    """Return the ids of the processes that have a file in `folder` open."""
    ids = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is of another user
            if any(folder in file.readlink().parents for file in (process / "fd").iterdir()):
                ids.append(int(process.name))
    return ids


def main(folder: Path) -> None:
    """Wait for the end of the standard input, then end the cluster of `folder`."""
    driver = os.getppid()  # Ray leaves its logs open there too
    in_order = bool(sys.stdin.buffer.read())
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        left = [process for process in users(folder) if process != driver]
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        if in_order and not left:
            break
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
