"""Quality of forgeries, without any download: one metric per file, and `measure` for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from forge.core.errors import InputError, quoted
from forge.core.registry import Registry

if TYPE_CHECKING:
    from forge.quality.metric import QualityMetric, ScalarMetric  # brings torch, which a list of metrics need not have

QUALITY = Registry(
    "quality metric",
    "forge.quality",
    {
        "sliced_wasserstein": "forge.quality.sliced_wasserstein:SlicedWassersteinMetric",
        "spectrum": "forge.quality.spectrum:SpectrumMetric",
        "ms_ssim": "forge.quality.ms_ssim:DiversityMetric",
        "ms_ssim_reference": "forge.quality.ms_ssim:ReferenceDiversityMetric",
        "frechet_random_features": "forge.quality.frechet:FrechetMetric",
        "kernel_random_features": "forge.quality.frechet:KernelMetric",
        "neighbourhood": "forge.quality.neighbours:NeighbourhoodMetric",
        "memorisation": "forge.quality.neighbours:MemorisationMetric",
        "face_rate": "forge.quality.face_rate:FaceRateMetric",
        "obedience": "forge.quality.obedience:ObedienceMetric",
        "fidelity": "forge.quality.fidelity:FidelityMetric",
        "changed": "forge.quality.changed:ChangedMetric",
        "truth": "forge.quality.truth:TruthMetric",
        "identity": "forge.quality.identity:IdentityMetric",
        "usefulness": "forge.quality.usefulness:UsefulnessMetric",
        "inception": "forge.quality.inception:InceptionMetric",
    },
    option="metric",
)


def built_in() -> list[QualityMetric]:
    """Return our own metrics, in the order of their lines."""
    return [QUALITY.load(name)() for name in QUALITY.entries]


def load_more(names: Sequence[str]) -> list[ScalarMetric]:
    """Return metrics of installed packages and of files.

    Args:
        names: registered names, or path/to/file.py:Class.

    Raises:
        UnknownNameError: nothing has this name.
        InputError: it is no metric of one number, lacks a field, or two have one id.
    """
    from forge.quality.metric import Better, ScalarMetric  # imports torch

    metrics: list[ScalarMetric] = []
    for name in names:
        # a second measurement would appear as `more` under the name of a field
        if name in QUALITY.entries:
            raise InputError(f"quality metric {quoted(name)} is measured in every run; leave it out")
        metric_class = QUALITY.load(name)
        if not (isinstance(metric_class, type) and issubclass(metric_class, ScalarMetric)):
            raise InputError(f"quality metric {quoted(name)} must be a subclass of forge.quality.metric.ScalarMetric")
        lacking = [field for field in ("id", "title") if not isinstance(getattr(metric_class, field, None), str)]
        lacking += sorted(getattr(metric_class, "__abstractmethods__", ()))
        if lacking:
            raise InputError(f"quality metric {quoted(name)} does not define {', '.join(lacking)}, which every one has")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", metric_class.id):
            raise InputError(f"quality metric {quoted(name)}: its id must be lower case letters, digits and _")
        if metric_class.id in QUALITY.entries or metric_class.id in [metric.id for metric in metrics]:
            raise InputError(f"quality metric {quoted(name)}: its id {quoted(metric_class.id)} is taken")
        if metric_class.better not in get_args(Better):
            raise InputError(f"quality metric {quoted(name)}: better is one of {', '.join(get_args(Better))}")
        # made here, not at its turn: a class that cannot be made fails before minutes of measuring
        try:
            metrics.append(metric_class())
        except Exception as error:  # code of others may raise anything; it is named and re-raised
            raise InputError(f"quality metric {quoted(name)} cannot be made: {quoted(str(error))}") from error
    return metrics
