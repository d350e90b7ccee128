"""Equal error rate."""

from benchmarks.evaluation import roc
from benchmarks.evaluation.bootstrap import eer_bootstrap
from benchmarks.evaluation.metrics.base import Metric, TestScores, Value
from benchmarks.protocol import CLEAN


class EqualErrorRate(Metric):
    """FPR at which the interpolated ROC curve crosses FPR = 1 - TPR."""

    id = "eer"
    title = "EER"
    meaning = "Equal error rate: where the interpolated ROC curve crosses FPR = 1 - TPR."
    better = "lower"
    unit = "percent"
    # FPR and FNR are equal there: the smaller class limits the digits
    counted = "fewest"
    interval = True

    def compute(self, test: TestScores) -> Value:
        """Compute `roc.eer`; the interval is a bootstrap over identities, for clean images only (0.1 s per test)."""
        # threshold of the test set itself: a property of the ranking, no decision that could be taken in advance
        value = roc.eer(test.label, test.score)
        if test.perturbation != CLEAN:
            return Value(value)
        # seed 0, so that the interval of a test does not depend on the tests before it
        interval = eer_bootstrap(test.label, test.score, groups=test.groups, resamples=test.resamples, seed=0)
        return Value(value, *((interval.low, interval.high) if interval else ()))
