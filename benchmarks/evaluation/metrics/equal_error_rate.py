"""Equal error rate."""

from benchmarks.evaluation import roc as metrics
from benchmarks.evaluation.bootstrap import eer_bootstrap
from benchmarks.evaluation.metrics.base import Metric, TestScores, Value
from benchmarks.protocol import CLEAN


class EqualErrorRate(Metric):
    """Where the interpolated ROC curve crosses FPR = 1 - TPR."""

    id = "eer"
    title = "EER"
    meaning = "Equal error rate: where the interpolated ROC curve crosses FPR = 1 - TPR."
    better = "lower"
    unit = "percent"
    counted = "fewest"
    interval = True

    def compute(self, test: TestScores) -> Value:
        """See `metrics.eer`; the interval is a bootstrap over identities, of clean images alone (0.1 s per test)."""
        value = metrics.eer(test.label, test.score)
        if test.perturbation != CLEAN:
            return Value(value)
        found = eer_bootstrap(test.label, test.score, groups=test.groups, resamples=test.resamples, seed=0)
        return Value(value, *((found.low, found.high) if found else ()))
