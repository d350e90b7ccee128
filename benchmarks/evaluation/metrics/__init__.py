"""Metrics of detection by name: one file each, computed per test set, shown in CSV, page and report.md."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.evaluation.metrics.base import Metric, check_id
from benchmarks.evaluation.results import Results, TestResult
from forge.core.errors import InputError, quoted
from forge.core.registry import Registry

_HERE = "benchmarks.evaluation.metrics"
METRICS = Registry(
    "metric",
    "benchmarks.metrics",
    {
        "ap": f"{_HERE}.average_precision:AveragePrecision",
        "eer": f"{_HERE}.equal_error_rate:EqualErrorRate",
        "tpr_at_fpr_1pct": f"{_HERE}.tpr_at_fpr:TprAt1Percent",
        "tpr_at_fpr_01pct": f"{_HERE}.tpr_at_fpr:TprAt01Percent",
        "pauc": f"{_HERE}.partial_auc:PartialAuc",
        "balanced_accuracy": f"{_HERE}.accuracy:BalancedAccuracy",
        "accuracy": f"{_HERE}.accuracy:AccuracyAtHalf",
        "brier": f"{_HERE}.calibration:Brier",
        "ece": f"{_HERE}.calibration:Ece",
        "log_loss": f"{_HERE}.calibration:LogLoss",
        "ap_balanced": f"{_HERE}.average_precision:AveragePrecisionBalanced",
        "brier_balanced": f"{_HERE}.calibration:BrierBalanced",
        "ece_balanced": f"{_HERE}.calibration:EceBalanced",
        "log_loss_balanced": f"{_HERE}.calibration:LogLossBalanced",
    },
)


def load_metrics(more: Sequence[str] = ()) -> list[Metric]:
    """Return the metrics of the protocol, then others.

    Args:
        more: names from installed packages, or path/to/file.py:Class.

    Raises:
        UnknownNameError: nothing has this name.
        InputError: it is no metric, lacks a field or has a wrong one, or its id is taken.
    """
    ours = [METRICS.load(name)() for name in METRICS.entries]
    # fields of a test result beside the metrics: a metric of the same name would replace them in results.json
    taken = {*dir(TestResult), *TestResult.model_fields, *(name for metric in ours for name in _columns(metric))}
    others = []
    for name in more:
        metric = _loaded(name)
        if problem := check_id(metric.id, frozenset(taken)):
            # its interval's columns too: a later metric may not be called as one of them
            raise InputError(f"metric {quoted(name)}: {problem}")
        taken |= _columns(metric)
        others.append(metric)
    return ours + others


def facts_of(more: Sequence[str] = ()) -> list[MetricFacts]:
    """Return what results.json says of these metrics; as `load_metrics`."""
    names = [*METRICS.entries, *more]
    # the file's order of METRICS, then that of `more`: both lists are parallel
    return [metric.facts(name) for metric, name in zip(load_metrics(more), names, strict=True)]


def metrics_of(results: Results) -> list[MetricFacts]:
    """Return the metrics of the cells of a run; where an earlier version wrote its results, those of the protocol."""
    return results.metrics or facts_of()


def _columns(metric: Metric) -> set[str]:
    return {metric.id, f"{metric.id}_low", f"{metric.id}_high"}


def _loaded(name: str) -> Metric:
    if name in METRICS.entries:
        # given twice it would be measured twice
        raise InputError(f"metric {quoted(name)} is measured in every run; leave it out")
    metric_class = METRICS.load(name)
    if not (isinstance(metric_class, type) and issubclass(metric_class, Metric)):
        raise InputError(
            f"metric {quoted(name)} is no metric: it must be a subclass of benchmarks.evaluation.metrics.base.Metric"
        )
    # class attributes that are only annotated in `Metric`: without them a class can be defined but not described
    lacking = [field for field in ("id", "title", "meaning") if not isinstance(getattr(metric_class, field, None), str)]
    lacking += sorted(getattr(metric_class, "__abstractmethods__", ()))
    if lacking:
        raise InputError(f"metric {quoted(name)} does not define {', '.join(lacking)}, which every metric has")
    try:
        metric_class.facts(name)
        # made here once, so that a metric that cannot be made fails before the run and not after it
        metric: Metric = metric_class()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"metric {quoted(name)}: {where}: {first['msg']}") from error
    except Exception as error:  # code of others may raise anything; it is named and re-raised
        raise InputError(f"metric {quoted(name)} cannot be made: {quoted(str(error))}") from error
    return metric
