"""End what a Ray cluster of its own leaves behind when the process that started it is killed (Linux).

Ray's agents try for a minute to report the death of their node before they end. `guarded` starts this file as a small
process beside the cluster. It waits until its standard input ends, which happens however the other process ends, then
kills every process of Ray that has a file in the cluster's folder open (all write their logs there), and removes it.
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
    """Have all processes of Ray that use files in `folder` killed, and it removed, after the block or this process."""
    if sys.platform != "linux":
        yield
        return
    command = [sys.executable, "-I", "-S", __file__, str(folder.resolve())]
    quiet = subprocess.DEVNULL  # a pipe that this process writes into ends with it, not with the guard
    guard = subprocess.Popen(  # in a session of its own: Ctrl-C does not reach it
        command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield
    finally:
        guard.communicate(b"ended in order")


def users(folder: Path) -> list[int]:
    """Return the ids of Ray's processes that have a file in `folder` open; another driver may have one open too."""
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if _is_of_ray(process) and any(folder in file.parents for file in _open_files(process))
    ]


def _is_of_ray(process: Path) -> bool:
    with suppress(OSError):  # it has ended
        command = (process / "cmdline").read_bytes()
        return command.startswith(b"ray::") or b"/ray/" in command
    return False


def _open_files(process: Path) -> Iterator[Path]:
    with suppress(OSError):  # it has ended, or is of another user
        for file in (process / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                yield file.readlink()


def main(folder: Path) -> None:
    """Wait for the end of the standard input, then end the cluster of `folder`."""
    in_order = bool(sys.stdin.buffer.read())
    deadline, seen = time.monotonic() + _SECONDS, True
    while time.monotonic() < deadline:
        left = users(folder)
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        if in_order and not left and not seen:  # twice none: a process that is being started may not show at once
            break
        seen = bool(left)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
