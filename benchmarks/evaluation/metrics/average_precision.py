"""Average precision, at the prevalence of the test set and at prevalence 0.5."""

from benchmarks.evaluation import roc
from benchmarks.evaluation.metrics.base import Metric, TestScores, Value


class AveragePrecision(Metric):
    """Average precision at the test set's prevalence."""

    id = "ap"
    title = "AP"
    meaning = "Average precision at the test set's prevalence."
    unit = "share"
    # chance is the set's prevalence, so that values of sets of different balance do not compare
    shown = False

    def compute(self, test: TestScores) -> Value:
        """See `roc.average_precision`."""
        # prevalence None: that of the set, as scikit-learn's average_precision_score
        return Value(roc.average_precision(test.label, test.score))


class AveragePrecisionBalanced(AveragePrecision):
    """Average precision at prevalence 0.5."""

    id = "ap_balanced"
    title = "AP at equal prevalence"
    meaning = "Average precision at prevalence 0.5."

    def compute(self, test: TestScores) -> Value:
        """See `roc.average_precision`."""
        # reweighted to equal classes: chance is 0.5 in every set
        return Value(roc.average_precision(test.label, test.score, prevalence=0.5))
