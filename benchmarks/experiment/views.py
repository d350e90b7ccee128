"""Views of external images at their own resolution: what a run may ask for."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.experiment.matrix import views_of
from benchmarks.experiment.settings import DetectorRequest, RunSettings
from detect.own_resolution import refusal
from forge.core.errors import InputError
from forge.faces.imaging.views import RESIZE, check_view


def check_views(settings: RunSettings, detectors: Mapping[str, DetectorRequest]) -> None:
    """Refuse views that are not known, of nothing, smaller than a crop, or of a detector that takes no crops.

    Raises:
        UnknownNameError, InputError: says which.
    """
    views, side = settings.conditions.views, settings.conditions.view_resolution
    for view in views:
        check_view(view)
        if view == RESIZE:
            raise InputError("conditions.views: 'resize' is how every test is made; leave it out, the others stay")
    if views and not settings.external:
        raise InputError(
            "conditions.views shows photos at their own resolution, and this run has none: its generators make images "
            "of the size that detectors are fitted at; add --external NAME=REAL_DIR,FORGED_DIR"
        )
    if views and side is not None and side <= settings.data.resolution:
        raise InputError(
            f"conditions.view_resolution is {side}, no larger than what detectors are fitted at "
            f"({settings.data.resolution} px); ask for more, or leave views out"
        )
    able = [name for name, request in detectors.items() if request.takes_crops]
    remedy = f"; or limit views to others: --set conditions.only.views=[{','.join(able)}]" if able else ""
    for name, request in detectors.items():
        if views_of(settings, name) and not request.takes_crops:
            raise InputError(f"conditions.views: {refusal(name, views[0])}{remedy}")
