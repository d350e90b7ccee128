"""`bench` in a process of its own that need not import anything: a copy of this one."""

import os
import signal
import sys
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path


def start_bench(folder: Path, *arguments: str) -> ForkProcess:
    """Start `bench …` in a folder, where its output becomes the files out and err; a start of Python takes seconds."""
    process = get_context("fork").Process(target=_bench, args=(folder, arguments))
    process.start()
    return process


def _bench(folder: Path, arguments: tuple[str, ...]) -> None:
    from benchmarks.cli import main

    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w") for descriptor in (1, 2))
    sys.argv = ["bench", *arguments]
    main.main()
