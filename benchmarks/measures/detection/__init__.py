"""Metrics of detection by name: one file each, computed per test set, shown in CSV, page and report.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.measures.detection.base import Metric, MetricFacts, check_id
from forge.errors import InputError, quoted
from forge.registry import Registry, is_file_reference

_HERE = "benchmarks.measures.detection"
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
        InputError: it is no metric, lacks a field, or its id is taken.
    """
    return [METRICS.load(name)() for name in METRICS.entries] + [_loaded(name) for name in _checked(more)]


def facts_of(more: Sequence[str] = ()) -> list[MetricFacts]:
    """Return what results.json says of these metrics; as `load_metrics`."""
    names = [*METRICS.entries, *more]
    references = [name if is_file_reference(name) else "" for name in names]
    return [metric.facts(name) for metric, name in zip(load_metrics(more), references, strict=True)]


def _checked(names: Sequence[str]) -> list[str]:
    """Check the ids of further metrics against each other and against the fields of a cell."""
    from benchmarks.measures.results import Cell

    taken = set(Cell.model_fields)
    for name in METRICS.entries:
        metric = METRICS.load(name)
        taken |= {metric.id} | ({f"{metric.id}_low", f"{metric.id}_high"} if metric.interval else set())
    for name in names:
        metric = _loaded(name)
        if problem := check_id(metric.id, frozenset(taken)):
            raise InputError(f"metric {quoted(name)}: {problem}")
        taken |= {metric.id, f"{metric.id}_low", f"{metric.id}_high"}
    return list(names)


def _loaded(name: str) -> Metric:
    found = METRICS.load(name)
    if not (isinstance(found, type) and issubclass(found, Metric)):
        raise InputError(
            f"metric {quoted(name)} is no metric: it must be a subclass of benchmarks.measures.detection.base.Metric"
        )
    lacking = [field for field in ("id", "title", "meaning") if not isinstance(getattr(found, field, None), str)]
    lacking += sorted(getattr(found, "__abstractmethods__", ()))
    if lacking:
        raise InputError(f"metric {quoted(name)} does not define {', '.join(lacking)}, which every metric has")
    return found()
