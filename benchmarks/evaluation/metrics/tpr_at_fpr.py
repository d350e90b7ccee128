"""The largest true positive rate at a bounded false positive rate."""

from typing import ClassVar

from benchmarks.evaluation import roc
from benchmarks.evaluation.metrics.base import Metric, TestScores, Value


class TprAt1Percent(Metric):
    """The largest TPR whose FPR does not exceed 1 %."""

    bound: ClassVar[float] = 0.01
    id = "tpr_at_fpr_1pct"
    title = "TPR at 1 % FPR"
    meaning = "Largest true positive rate whose false positive rate does not exceed 1 %."
    unit = "percent"
    # a share of forged images; the reals only decide whether the bound can be kept
    counted = "forged"

    def compute(self, test: TestScores) -> Value:
        """See `roc.tpr_at_fpr`; None where one false positive exceeds the bound."""
        # no interpolation between thresholds: what is reported can be attained by a threshold
        return Value(roc.tpr_at_fpr(test.label, test.score, self.bound))


class TprAt01Percent(TprAt1Percent):
    """The largest TPR whose FPR does not exceed 0.1 %."""

    # needs 1,000 real images: with fewer a single false positive exceeds the bound
    bound = 0.001
    id = "tpr_at_fpr_01pct"
    title = "TPR at 0.1 % FPR"
    meaning = "Largest true positive rate whose false positive rate does not exceed 0.1 %."
    shown = False
