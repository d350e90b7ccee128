"""Wishes of a form beside photo and detector: pictures, view, prior and error rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.inference.conformal import check_error_rate
from benchmarks.inference.predictor import Predictor
from benchmarks.inference.verdict import Judge, check_prior
from benchmarks.serve.limits import Refused
from detect.own_resolution import refusal
from forge.core.errors import BenchError, InputError, quoted
from forge.faces.imaging.views import RESIZE, check_view

T = TypeVar("T")

_ON = ("1", "on", "true", "yes")


@dataclass(frozen=True)
class Question:
    """Wishes of one request.

    Attributes:
        explain: whether to say where the detector looked.
        maps: whether to say where the photo may have been altered.
        view: how the photo is shown to the detector, a name in `VIEWS`.
        prior: share of forgeries among such photos; None: a half, which is not held against a verdict.
        error_rate: share of the photos of each class whose class may be ruled out wrongly; None: the default.
    """

    explain: bool = False
    maps: bool = False
    view: str = RESIZE
    prior: float | None = None
    error_rate: float | None = None

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Question:
        """Read the fields of a form; what is absent or empty has its default.

        Raises:
            Refused: no such view, or a prior or rate that is no number in (0, 1).
        """
        view = fields.get("view", "").strip() or RESIZE
        _checked(check_view, view)
        return cls(
            is_on(fields, "explain"),
            is_on(fields, "map"),
            view,
            _share(fields, "prior", check_prior),
            _share(fields, "error_rate", check_error_rate),
        )

    def judge_of(self, predictor: Predictor) -> Judge:
        """Return the judge of a detector, with the prior and the error rate of this question.

        Raises:
            Refused: its validation images do not allow the rate, or it takes no crops, which the view shows.
        """
        if self.view != RESIZE and not predictor.trained.detector.takes_crops:
            raise Refused(422, refusal(predictor.name, self.view))
        if self.prior is not None:
            predictor = predictor.at_prior(self.prior)
        try:
            return Judge.of(predictor, self.error_rate, self.prior)
        except InputError as error:
            raise _refused(error) from error


def is_on(fields: Mapping[str, str], name: str) -> bool:
    """Return whether a box of a form is ticked."""
    return fields.get(name, "").lower() in _ON


def _share(fields: Mapping[str, str], name: str, check: Callable[[float], None]) -> float | None:
    text = fields.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise Refused(422, f"{name} must be a number between 0 and 1, e.g. 0.01, got {quoted(text)}") from error
    _checked(check, value)
    return value


def _checked(check: Callable[[T], None], value: T) -> None:
    try:
        check(value)
    except BenchError as error:
        raise _refused(error) from error


def _refused(error: BenchError) -> Refused:
    # the sentences are those of the command line, whose options begin with dashes
    return Refused(422, str(error).replace("--error-rate", "error_rate").removeprefix("--"))
