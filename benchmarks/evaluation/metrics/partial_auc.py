"""The area under the ROC curve at low false positive rates."""

from benchmarks.evaluation import roc
from benchmarks.evaluation.metrics.base import Metric, TestScores, Value


class PartialAuc(Metric):
    """McClish-standardised area under the ROC curve over FPR <= 10 %."""

    id = "pauc"
    title = "pAUC"
    meaning = "Area under the ROC curve over FPR <= 10 %, standardised after McClish 1989."
    unit = "share"
    shown = False

    def compute(self, test: TestScores) -> Value:
        """See `roc.partial_auc`."""
        # max_fpr 0.1, the default of the function: the protocol's pAUC is over FPR <= 10 %
        return Value(roc.partial_auc(test.label, test.score))
