"""Check of the type of a class that a name or a file gave, and what a class says of its detectors."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from forge.core.errors import InputError, quoted

if TYPE_CHECKING:
    from detect.detectors.base import Detector, DetectorSettings

FACTS = ("localises", "has_gradients", "takes_crops")  # of `facts_of`; they follow from the class and are in no key


def checked_class(noun: str, reference: str, implementation: Any, *bases: type) -> Any:  # noqa: ANN401 - a generator or detector class
    """Return a loaded class if it is of the right type.

    Raises:
        InputError: it is something else, or does not define all that every such class defines.
    """
    # A file reference can name a function, or a class of the other kind.
    if not (isinstance(implementation, type) and issubclass(implementation, bases)):
        base = bases[0]
        raise InputError(
            f"{noun} {quoted(reference)} is no {noun}: it must be a subclass of {base.__module__}.{base.__name__}"
        )
    if inspect.isabstract(implementation):
        lacking = ", ".join(sorted(getattr(implementation, "__abstractmethods__", ())))
        raise InputError(f"{noun} {reference!r} does not define {lacking}, which every {noun} has; add what is missing")
    return implementation


def facts_of(implementation: type[Detector[Any]], settings: DetectorSettings) -> dict[str, bool]:
    """Return what planning asks of a detector without loading its class: whether it has maps, gradients, views."""
    return {
        "localises": implementation.localises(settings),
        "has_gradients": implementation.has_gradients(),
        "takes_crops": implementation.takes_crops,
    }
