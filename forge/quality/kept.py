"""Values that a process computed from images, kept for the next set that is measured against the same ones."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Kept(Generic[T]):
    """The last values of a computation, by the content of what they were computed from.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[bytes, T] = OrderedDict()

    def get(self, compute: Callable[[], T], *parts: object) -> T:
        """Return the value of these parts, which is computed where it is not kept.

        Args:
            compute: what depends on the parts and on nothing else.
            parts: arrays, compared by their bytes, and what its `repr` says all of.
        """
        digest = hashlib.sha256()
        for part in parts:
            data: Any = (part.dtype.str, part.shape) if isinstance(part, np.ndarray) else part
            digest.update(repr(data).encode())
            if isinstance(part, np.ndarray):
                digest.update(
                    np.ascontiguousarray(part).data if part.dtype.kind != "O" else repr(part.tolist()).encode()
                )
        key = digest.digest()
        if key not in self._values:
            self._values[key] = compute()
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return self._values[key]
