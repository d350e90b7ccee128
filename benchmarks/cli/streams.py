"""Standard output that may be closed: what reads it can leave, or was never there, and the work goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console


LOG_WIDTH = 160  # columns of tables in logs and pipes, where no terminal says how wide it is


def console() -> Console:
    """A console for tables: as wide as the terminal, and in a log wide enough that no number is cut."""
    from rich.console import Console

    # `COLUMNS` is how a person, or a test, says how wide the output shall be.
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else LOG_WIDTH)


class LastingStream:
    """A text stream that writes into nothing once its reader is gone (`bench run … | head -1`).

    Args:
        inner: the stream; everything but writing and flushing is its own.
    """

    def __init__(self, inner: TextIO) -> None:
        self._inner, self._gone = inner, False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        # Reached only for names that this class does not define, such as `encoding`, `isatty` and `buffer`.
        return getattr(self._inner, name)

    def write(self, text: str) -> int:
        """Write text; it is lost when the reader is gone."""
        if not self._gone:
            try:
                return self._inner.write(text)
            # SIGPIPE is ignored by Python: a reader that left is an exception of the next write.
            except BrokenPipeError:
                self._leave()
        return len(text)  # as if written: callers compare it with the length

    def flush(self) -> None:
        """Flush what was written, if anybody reads it."""
        if not self._gone:
            try:
                self._inner.flush()
            except BrokenPipeError:
                self._leave()

    def _leave(self) -> None:
        self._gone = True
        # The descriptor itself is replaced: at exit Python flushes the stream again, and would print an error about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._inner.fileno())  # nothing more to say, at exit neither


def keep_streams() -> None:
    """Give this process standard streams that last: closed ones become os.devnull."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # None: the process was started with this stream closed
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif not isinstance(stream, LastingStream):
            setattr(sys, name, LastingStream(stream))
