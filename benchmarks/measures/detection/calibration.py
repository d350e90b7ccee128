"""How well probabilities are calibrated: Brier score, expected calibration error, log loss.

Each at the test set's prevalence and at prevalence 0.5, which is the one that says something of a detector.
"""

from typing import ClassVar

from benchmarks.measures import calibration
from benchmarks.measures.detection.base import Metric, TestScores, Value


class Brier(Metric):
    """Mean squared error of the probability."""

    balanced: ClassVar[bool] = False
    id = "brier"
    title = "Brier"
    meaning = "Brier score: mean squared error of the calibrated probability."
    better = "lower"
    unit = "share"
    equal_prevalence = "brier_balanced"
    missing = "not known"

    def compute(self, test: TestScores) -> Value:
        """See `calibration.brier`."""
        return Value(calibration.brier(test.label, test.probability, balanced=self.balanced))


class BrierBalanced(Brier):
    """Brier score at prevalence 0.5."""

    balanced = True
    id = "brier_balanced"
    title = "Brier at equal prevalence"
    meaning = "Brier score at prevalence 0.5."
    equal_prevalence = ""
    shown = False


class Ece(Metric):
    """Expected calibration error over 15 bins of equal mass."""

    balanced: ClassVar[bool] = False
    id = "ece"
    title = "ECE"
    meaning = "Expected calibration error: mean distance of probability and share of forgeries over 15 equal-mass bins."
    better = "lower"
    unit = "share"
    equal_prevalence = "ece_balanced"
    missing = "not known"

    def compute(self, test: TestScores) -> Value:
        """See `calibration.ece`."""
        return Value(calibration.ece(test.label, test.probability, balanced=self.balanced))


class EceBalanced(Ece):
    """Expected calibration error at prevalence 0.5."""

    balanced = True
    id = "ece_balanced"
    title = "ECE at equal prevalence"
    meaning = "Expected calibration error at prevalence 0.5."
    equal_prevalence = ""
    shown = False


class LogLoss(Metric):
    """Mean negative log likelihood of the probability."""

    balanced: ClassVar[bool] = False
    id = "log_loss"
    title = "Log loss"
    meaning = "Mean negative log likelihood of the calibrated probability, in nats."
    better = "lower"
    unit = "number"
    equal_prevalence = "log_loss_balanced"
    shown = False
    missing = "not known"

    def compute(self, test: TestScores) -> Value:
        """See `calibration.log_loss`."""
        return Value(calibration.log_loss(test.label, test.probability, balanced=self.balanced))


class LogLossBalanced(LogLoss):
    """Log loss at prevalence 0.5."""

    balanced = True
    id = "log_loss_balanced"
    title = "Log loss at equal prevalence"
    meaning = "Mean negative log likelihood at prevalence 0.5."
    equal_prevalence = ""
