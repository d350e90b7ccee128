"""Calibration metrics: Brier score, expected calibration error, log loss.

Each at the test set's prevalence and at prevalence 0.5; only the latter is comparable between test sets.
"""

from collections.abc import Callable
from typing import ClassVar

from benchmarks.evaluation import calibration
from benchmarks.evaluation.metrics.base import Metric, TestScores, Value


class CalibrationMetric(Metric):
    """A function of labels and probabilities, at the set's prevalence or at prevalence 0.5."""

    function: ClassVar[Callable[..., float]]
    balanced: ClassVar[bool] = False
    better = "lower"
    # missing in results of earlier versions, not for want of images
    missing = "not known"

    def compute(self, test: TestScores) -> Value:
        """Compute the function of `evaluation.calibration`."""
        # type(self): a function stored in a class would otherwise be bound to the metric as its first argument
        return Value(type(self).function(test.label, test.probability, balanced=self.balanced))


class Brier(CalibrationMetric):
    """Mean squared error of the probability."""

    function = calibration.brier
    id = "brier"
    title = "Brier"
    meaning = "Brier score: mean squared error of the calibrated probability."
    # mean of squares in [0, 1]; 0.25 is that of a constant probability of 0.5
    unit = "share"
    equal_prevalence = "brier_balanced"


class BrierBalanced(Brier):
    """Brier score at prevalence 0.5."""

    balanced = True
    id = "brier_balanced"
    title = "Brier at equal prevalence"
    meaning = "Brier score at prevalence 0.5."
    equal_prevalence = ""
    shown = False


class Ece(CalibrationMetric):
    """Expected calibration error over 15 bins of equal mass."""

    function = calibration.ece
    id = "ece"
    title = "ECE"
    meaning = "Expected calibration error: mean distance of probability and share of forgeries over 15 equal-mass bins."
    # bins of equal mass: those of equal width would be nearly empty between confident probabilities near 0 and 1
    unit = "share"
    equal_prevalence = "ece_balanced"


class EceBalanced(Ece):
    """Expected calibration error at prevalence 0.5."""

    balanced = True
    id = "ece_balanced"
    title = "ECE at equal prevalence"
    meaning = "Expected calibration error at prevalence 0.5."
    equal_prevalence = ""
    shown = False


class LogLoss(CalibrationMetric):
    """Mean negative log likelihood of the probability."""

    function = calibration.log_loss
    id = "log_loss"
    title = "Log loss"
    meaning = "Mean negative log likelihood of the calibrated probability, in nats."
    # not bounded by 1: a certain error costs up to 34.5 nats
    unit = "number"
    equal_prevalence = "log_loss_balanced"
    shown = False


class LogLossBalanced(LogLoss):
    """Log loss at prevalence 0.5."""

    balanced = True
    id = "log_loss_balanced"
    title = "Log loss at equal prevalence"
    meaning = "Mean negative log likelihood at prevalence 0.5."
    equal_prevalence = ""
