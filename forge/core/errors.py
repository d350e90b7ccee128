"""The errors people see: one sentence with the field, the value and the fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

MOST_QUOTED = 80  # characters of a cell, a name or a value that a message repeats
_PACKAGES = ("forge", "detect", "benchmarks")
_MOST_WORD, _MOST_MESSAGE = 500, 4000  # of a path, and of a whole message with what a library says in it


def short(value: object, *, limit: int = MOST_QUOTED) -> str:
    r"""Return the text of user content for a message, at most `limit` characters, control characters escaped.

    >>> print(short("a\tb"), short("x" * 5_000_000, limit=5))
    a\tb xxxx…
    """
    text = str(value)
    text = text if len(text) <= limit else f"{text[: limit - 1]}…"  # cut first: escaping may be asked of megabytes
    escaped = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return escaped if len(escaped) <= limit else f"{escaped[: limit - 1]}…"


def quoted(value: object, *, limit: int = MOST_QUOTED) -> str:
    """Return user content in quotes for a message: at most `limit` characters of it, control characters escaped.

    >>> print(quoted("xception"), quoted("it's"), quoted(3))
    'xception' "it's" 3
    """
    if not isinstance(value, str):
        return short(repr(value), limit=limit)
    # cut before repr, which would copy and escape all of it
    text = repr(value if len(value) <= limit else f"{value[: limit - 1]}…")
    # escapes may have made it longer than the limit again
    return text if len(text) <= limit + 2 else f"{text[:limit]}…{text[-1]}"


def _bounded(message: str) -> str:
    if len(message) <= _MOST_WORD:
        return message
    # words first: a long one, e.g. a dumped line of a file, has no place to break
    text = re.sub(rf"\S{{{_MOST_WORD},}}", lambda word: short(word[0]), message)
    half = _MOST_MESSAGE // 2  # a message says what happened at its beginning and what to do at its end
    return text if len(text) <= _MOST_MESSAGE else f"{text[:half]} … {text[-half:]}"


class BenchError(Exception):
    """An error that a person can act on; printed as one sentence, without a traceback.

    User content in a message goes through `quoted` or `short`. What a library repeats of a file is bounded here: words
    without a space beyond any path, and the whole message.

    Attributes:
        exit_code: what the process ends with (1 a stage failed, 2 bad input).
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(_bounded(message))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle class, text and attributes: subclasses take other arguments, and a plug-in's are unknown elsewhere."""
        shared = next(each for each in type(self).__mro__ if each.__module__.partition(".")[0] in _PACKAGES)
        return _restored, (shared, str(self)), self.__dict__


def _restored(error_class: type[BenchError], message: str) -> BenchError:
    error = error_class.__new__(error_class)
    Exception.__init__(error, message)
    return error


class BenchWarning(UserWarning):
    """Warning for the user although nothing failed; the command line prints it as one line that begins "note:"."""


class InputError(BenchError):
    """Unusable input: an unknown name, a wrong value, unusable data."""

    exit_code = 2


class CorruptError(BenchError):
    """Something stored is not what was stored: a changed byte, a missing file, a truncated write."""


class DetectorError(BenchError):
    """The scores of a fitted detector cannot be used: not finite, too large, or dependent on the batch."""


class UnknownNameError(InputError):
    """A name that nothing is registered under; the message carries the nearest known names."""

    def __init__(self, noun: str, name: str, known: Iterable[str], *, see: str | None = None) -> None:
        names, whole = sorted(known), name
        name = short(name)  # similarity of two texts takes the product of their lengths
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        similarity = [difflib.SequenceMatcher(None, candidate, name).ratio() for candidate in close]
        # only names about as close as the closest: a far third guess misleads
        close = [candidate for candidate, ratio in zip(close, similarity, strict=True) if ratio >= 0.85 * similarity[0]]
        if close:
            hint = f"; did you mean {' or '.join(repr(c) for c in close)}?"
        elif not names:
            hint = "; none is installed"
        elif len(names) <= 12:
            hint = f"; known: {', '.join(names)}."
        else:
            hint = "."
        tail = f" `{see}` shows all {len(names)}" if see and names else ""
        super().__init__(f"{noun} {quoted(whole)} is not known{hint}{tail}")
        self.noun, self.name, self.known = noun, whole, names
