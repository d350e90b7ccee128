"""FaceSets as a map-style dataset of torch, for loops and `DataLoader`s outside of this repository."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from forge.core.errors import InputError, quoted
from forge.faces.faceset import FaceSet, FaceView

KIND = "kind"
CLASSES = ("real", "forged")  # label 0 and label 1


class FaceDataset(Dataset[tuple[Any, Any]]):
    """Faces and labels: item i is (uint8 [3, H, W], label).

    Workers of a `DataLoader` open the memory maps themselves; batches are read with one gather a set.

    Args:
        *sets: opened FaceSets of one resolution, one after the other.
        split: images of this split; None: all.
        label: "kind" gives 0 for real and 1 for forged; a column of the table (identity, age, …) gives the number of
            its value in `classes`, and -1 where the image has none.
        transform: applied to each image, uint8 [3, H, W].

    Attributes:
        classes: names of the labels, by number.

    Raises:
        InputError: no set, sets of different resolutions, a split without images, or a column that a set lacks.
    """

    def __init__(
        self,
        *sets: FaceSet,
        split: str | None = None,
        label: str = KIND,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        if not sets:
            raise InputError("a dataset needs at least one FaceSet")
        sizes = sorted({faces.resolution for faces in sets})
        if len(sizes) > 1:
            raise InputError(f"the sets have {'/'.join(map(str, sizes))} px images; prepare them at one resolution")
        self.views: list[FaceView] = [faces.view(split) for faces in sets]
        self.transform = transform
        self.classes, self.labels = _labels(self.views, label)
        self._ends = list(accumulate(len(view) for view in self.views))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return an image and its label."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, int]]:
        """Return a batch; `DataLoader` asks for it where it is there.

        Raises:
            IndexError: an index is outside -len..len-1.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and (wanted.min() < -len(self) or wanted.max() >= len(self)):
            raise IndexError(f"index must be -{len(self)}..{len(self) - 1}")
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        which = np.array([bisect.bisect_right(self._ends, position) for position in wanted], dtype=np.int64)
        size = self.views[0].faces.resolution
        images = np.empty((len(wanted), size, size, 3), np.uint8)
        for number in np.unique(which):
            here = np.flatnonzero(which == number)
            start = self._ends[number - 1] if number else 0
            images[here] = self.views[number].read(wanted[here] - start)
        tensors = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()  # [n, 3, H, W]
        changed = tensors if self.transform is None else [self.transform(image) for image in tensors]
        return list(zip(changed, self.labels[wanted].tolist(), strict=True))


def _labels(views: Sequence[FaceView], label: str) -> tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the names of the labels, and the number of each image's, int64 [n]."""
    if label == KIND:
        return CLASSES, np.repeat([CLASSES.index(view.faces.card.kind) for view in views], [len(v) for v in views])
    for view in views:
        if label not in view.faces.schema.names:
            known = ", ".join([KIND, *view.faces.schema.names])
            raise InputError(f"{view.faces.path} has no column {quoted(label)}; label may be: {known}")
    values = [None if value != value else value for view in views for value in view.rows[label].tolist()]  # NaN to None
    present = sorted({value for value in values if value is not None})
    number = {value: position for position, value in enumerate(present)}
    numbers = [-1 if value is None else number[value] for value in values]
    return tuple(map(str, present)), np.array(numbers, dtype=np.int64)
