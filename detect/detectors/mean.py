"""Ensembles: the mean of the calibrated probabilities of several detectors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from detect.artifact import fit_detector, load_trained
from detect.detectors.base import (
    Detector,
    DetectorSettings,
    FitContext,
    FitData,
    FitSummary,
    FittedDetector,
    Needs,
    Scores,
)
from detect.detectors.registry import DETECTORS
from forge.core.compute import Compute, Precision
from forge.core.errors import InputError, quoted
from forge.core.files import read_json_object, write_json
from forge.faces.faceset import Images


class Mean(Detector[DetectorSettings]):
    """The mean of the calibrated probabilities of several detectors, as log odds; `mean:a+b+c` names them."""

    family = "mean"
    citation = "Kittler, Hatef, Duin, Matas: On Combining Classifiers, IEEE TPAMI 1998 (the sum rule)"
    needs: ClassVar[Needs] = "members"
    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: DetectorSettings, resolution: int) -> None:
        super().__init__(settings, resolution)
        self.members: list[FittedDetector] = []

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Take the members that are fitted already, and fit the others with their default settings."""
        for name in self.names:
            if name in context.fitted:
                self.members.append(context.fitted[name])
                continue
            settings = DETECTORS.load(name).Settings()
            # a folder each: two members would otherwise continue each other's checkpoints
            member_context = replace(context, work=context.work / str(len(self.members)))
            self.members.append(fit_detector(name, settings, data, member_context))
        facts: dict[str, Any] = {"members": ", ".join(self.names), "device": context.compute.describe()}
        return FitSummary([], facts)

    def score(self, images: Images, compute: Compute) -> Scores:
        """Return the log odds of the mean probability, float64 [n]."""
        if not self.members:
            raise InputError(f"{self.family} has not been fitted or loaded")
        odds = []
        for member in self.members:
            scores, scale = member.detector.score(images, compute), member.calibration
            # log odds of each member's calibrated probability, [n]
            odds.append(scale.a * scores + scale.b)
        stacked = np.stack(odds)  # [members, n]
        # log(mean p) - log(mean (1 - p)): a probability that rounds to 1 still ranks above a smaller one
        # log p = -log(1 + exp(-odds)), summed as probabilities over the members; the factor 1 / members cancels below
        forged = np.logaddexp.reduce(-np.logaddexp(0, -stacked), axis=0)
        real = np.logaddexp.reduce(-np.logaddexp(0, stacked), axis=0)
        return np.asarray(forged - real, dtype=np.float64)

    def score_function(self, compute: Compute) -> Callable[[Tensor], Tensor] | None:
        """Return the log odds as a function of pixels, where every member has such a function."""
        functions = [member.detector.score_function(compute) for member in self.members]
        scales = [member.calibration for member in self.members]

        def score(pixels: Tensor) -> Tensor:
            parts = [
                scale.a * function(pixels).double() + scale.b
                for function, scale in zip(functions, scales, strict=True)
                if function is not None
            ]
            odds = torch.stack(parts)  # [members, n]
            return logsigmoid(odds).logsumexp(0) - logsigmoid(-odds).logsumexp(0)

        return None if None in functions else score

    def scoring_precision(self, compute: Compute) -> Precision:
        """Return the coarsest of the members' precisions."""
        precisions = {member.detector.scoring_precision(compute) for member in self.members}
        return "bf16" if "bf16" in precisions else "fp32"

    def save(self, directory: Path) -> None:
        """Write every member as a detector of its own, and mean.json with their order."""
        folders = [f"member-{i}" for i in range(len(self.members))]
        for folder, member in zip(folders, self.members, strict=True):
            member.save(directory / folder)
        write_json(directory / "mean.json", {"members": folders})

    @classmethod
    def load(cls, directory: Path, settings: DetectorSettings, resolution: int) -> Self:
        """Read what `save` wrote."""
        detector = cls(settings, resolution)
        folders = read_json_object(directory / "mean.json")["members"]
        detector.members = [load_trained(directory / folder) for folder in folders]
        return detector

    @property
    def parameters(self) -> int:
        """Learned values of all members."""
        return sum(member.detector.parameters for member in self.members)


@functools.cache
def mean_of(members: str) -> type[Mean]:
    """The ensemble of detectors whose names are joined by "+".

    Raises:
        InputError: fewer than two, one twice, a file, or an ensemble within an ensemble.
    """
    names = tuple(name.strip() for name in members.split("+"))
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise InputError(f"detector 'mean:{members}' must join two or more different detectors, e.g. mean:xception+dct")
    for name in names:
        if name.startswith("mean:") or ".py:" in name:
            raise InputError(
                # files hold code, which a stored ensemble must not name
                f"detector 'mean:{members}' cannot contain {quoted(name)}; join registered detectors by name"
            )
    return type("Mean", (Mean,), {"names": names, "__doc__": Mean.__doc__, "__module__": __name__})
