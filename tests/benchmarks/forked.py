"""`bench` in a process of its own that need not import anything: a copy of this one."""

import os
import signal
import sys
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path


def start_bench(folder: Path, *arguments: str, reader: int | None = None, out: int | None = None) -> ForkProcess:
    """Start `bench …` in a folder, where its output becomes the files out and err; a start of Python takes seconds.

    Args:
        folder: where it runs.
        arguments: of the command.
        reader: end of a pipe that the caller alone reads from.
        out: the other end, which is written to in place of the file.
    """
    process = get_context("fork").Process(target=_bench, args=(folder, arguments, reader, out))
    process.start()
    return process


def _bench(folder: Path, arguments: tuple[str, ...], reader: int | None, out: int | None) -> None:
    from benchmarks.cli import main

    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if reader is not None:
        os.close(reader)
    files = [os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("out", "err")]
    os.dup2(files[0] if out is None else out, 1)
    os.dup2(files[1], 2)
    if out is not None:
        os.close(out)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w") for descriptor in (1, 2))
    sys.argv = ["bench", *arguments]
    main.main()
