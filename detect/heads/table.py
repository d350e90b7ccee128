"""Log ratio of how often each value of one whole-numbered feature occurs in each class."""

from __future__ import annotations

import numpy as np

from detect.design import Design, Floats
from detect.heads.base import Head, HeadFit, Tensors
from forge.progress import Report


class TableHead(Head):
    """log((share among forged + d) / (share among real + d)), d the share of one image of the smaller class.

    A value that training did not show gets 0.

    Args:
        values: the feature is in 0 .. values - 1.
    """

    def __init__(self, *, values: int) -> None:
        self.values = values
        self.ratios: Floats = np.zeros(values)

    def fit(self, design: Design, *, seed: int, report: Report) -> HeadFit:
        """Count; nothing is random."""
        shares = np.array(
            [
                np.bincount(design.gather(label)[:, 0].astype(np.int64), minlength=self.values) / design.counts[label]
                for label in (0, 1)
            ]
        )
        real, forged = np.log(shares + 1 / min(design.counts))
        self.ratios = forged - real
        return HeadFit()

    def score(self, rows: Floats) -> Floats:
        """The table's entry for each row's first feature."""
        return self.ratios[rows[:, 0].astype(np.int64)]

    def tensors(self) -> Tensors:
        """`ratios` [values]."""
        return {"ratios": self.ratios}

    def restore(self, tensors: Tensors) -> None:
        """Take what `tensors` returned."""
        self.ratios = tensors["ratios"]
