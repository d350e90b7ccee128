"""Balanced accuracy, at the threshold fixed on validation images and at probability 0.5."""

from benchmarks.evaluation import roc
from benchmarks.evaluation.metrics.base import Metric, TestScores, Value
from benchmarks.evaluation.proportions import balanced_interval


class BalancedAccuracy(Metric):
    """(TPR + TNR) / 2 at the threshold fixed on validation images."""

    id = "balanced_accuracy"
    title = "Balanced accuracy"
    meaning = "Mean of TPR and TNR at the threshold fixed on validation images."
    unit = "percent"
    # digits by the smaller class, whose share is the less certain one
    counted = "fewest"

    def compute(self, test: TestScores) -> Value:
        """See `roc.balanced_accuracy`."""
        # the threshold is one of raw scores, not of probabilities
        return Value(roc.balanced_accuracy(test.label, test.score, test.threshold))


class AccuracyAtHalf(Metric):
    """(TPR + TNR) / 2 at probability 0.5."""

    id = "accuracy"
    title = "Balanced accuracy at 0.5"
    meaning = "Mean of TPR and TNR at calibrated probability 0.5."
    unit = "percent"
    interval = True

    def compute(self, test: TestScores) -> Value:
        """See `roc.balanced_accuracy`; the interval is that of both classes' proportions."""
        # probabilities are calibrated at equal prevalence: at 0.5 both classes are equally likely
        value = roc.balanced_accuracy(test.label, test.probability, 0.5)
        # [n]: on the right side of 0.5; balanced accuracy is the mean of its shares in both classes
        right = (test.probability >= 0.5) == (test.label == 1)
        ends = balanced_interval(right, test.label, groups=test.groups)
        return Value(value, ends.low, ends.high)
