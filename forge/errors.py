"""The errors people see: one sentence with the field, the value and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """An error that a person can act on; printed as one sentence, without a traceback.

    Attributes:
        exit_code: what the process ends with (1 a stage failed, 2 bad input).
    """

    exit_code = 1


class BenchWarning(UserWarning):
    """What a person should know though nothing failed; the command line prints it as one line that begins "note:"."""


class InputError(BenchError):
    """What was asked for cannot be done as asked: an unknown name, a wrong value, unusable data."""

    exit_code = 2


class CorruptError(BenchError):
    """Something stored is not what was stored: a changed byte, a missing file, a truncated write."""


class UnknownNameError(InputError):
    """A name that nothing is registered under; the message carries the nearest known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, see: str | None = None) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        likeness = [difflib.SequenceMatcher(None, one, name).ratio() for one in close]
        close = [one for one, ratio in zip(close, likeness, strict=True) if ratio >= 0.85 * likeness[0]]
        if close:
            hint = f"; did you mean {' or '.join(repr(c) for c in close)}?"
        elif len(names) <= 12:
            hint = f"; known: {', '.join(names)}."
        else:
            hint = "."
        tail = f" `{see}` shows all {len(names)}" if see and names else ""
        super().__init__(f"{kind} {name!r} is not known{hint}{tail}")
        self.kind, self.name, self.known = kind, name, names
