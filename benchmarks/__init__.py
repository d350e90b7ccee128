"""Plans and runs experiments, evaluates detectors, writes reports.

From Python: `from benchmarks import Suite, load, run`; see `benchmarks.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.api import Report, Suite, load, run

__all__ = ["Report", "Suite", "load", "run"]


def __getattr__(name: str) -> object:
    """The Python interface, imported when it is asked for: `bench --help` does without."""
    if name in __all__:
        # Not at the top: `benchmarks.api` imports pandas and, through the runner, much of the program, which a command
        # that prints its help must not wait for.
        from benchmarks import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
