"""The order in which generators came up, for the condition `next`: a list, or dates."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Mapping, Sequence

from forge.core.errors import InputError, UnknownNameError, quoted

Steps = tuple[tuple[str, ...], ...]
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


def steps_of(order: object) -> object:
    """Return the steps of time, each with the generators that came up in it; what is no order is returned as it is.

    Args:
        order: a list of names, in which a list is one step, or name -> year or date; equal dates are one step.

    Raises:
        ValueError: a date that is none.

    >>> steps_of({"flow": 2023, "gan": "2014-06", "dcgan": 2016, "vae": 2016})
    (('gan',), ('dcgan', 'vae'), ('flow',))
    """
    if isinstance(order, Mapping):
        dates = {str(name): _date(value) for name, value in order.items()}
        # as text: "2019" is before "2019-06"
        return tuple(tuple(name for name in dates if dates[name] == moment) for moment in sorted(set(dates.values())))
    if isinstance(order, Sequence) and not isinstance(order, str):
        return tuple((step,) if isinstance(step, str) else step for step in order)
    return order


def _date(value: object) -> str:
    text = value.isoformat() if isinstance(value, datetime.date) else str(value)
    if not _DATE.fullmatch(text):
        raise ValueError(f"{quoted(text)} is no date; write 2019, 2019-06 or 2019-06-01")
    return text


def check_order(order: Steps, generators: Collection[str]) -> None:
    """Refuse an order by which nothing can be trained and tested.

    Args:
        order: steps of time; empty: none is asked for.
        generators: of the run.

    Raises:
        UnknownNameError, InputError: a generator that the run does not have, one that stands twice, or fewer than two
            steps.
    """
    if not order:
        return
    names = [name for step in order for name in step]
    for name in names:
        if name not in generators:
            raise UnknownNameError("generator in order", name, generators)
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"order names {quoted(twice[0])} twice; a generator comes up once")
    if len(order) < 2 or not all(order):
        raise InputError(
            f"order has {sum(map(bool, order))} step of time; it trains on all generators up to one step and tests on "
            "the next: name at least two"
        )
