"""Signs of a failed translation, each in words, from the readings of `forge.training.monitor.translation`."""

from __future__ import annotations

from collections.abc import Mapping

from forge.training.monitor.thresholds import State, TranslationThresholds

_MOVED = 0.25  # share of images that a classifier of the domains sees change sides, from which something was done


def translation_signs(readings: Mapping[str, float], limits: TranslationThresholds) -> dict[State, str]:
    """Return the signs of a failed translation; readings that are not there say nothing."""
    signs = dict[State, str]()
    change, moved = readings.get("change", 1.0), readings.get("domain_moved", 0.0)
    # a small change may be all there is to do, as glasses: then a classifier of the domains sees it
    if change <= limits.idle and moved < _MOVED:
        signs["does_nothing"] = (
            f"outputs differ from inputs {_percent(change)} as much as two inputs do; that is right only where both "
            "domains look alike"
        )
    needed = readings.get("change_of_needed", 1.0)
    if needed <= limits.idle_of_needed:
        signs["does_nothing"] = f"outputs are {_percent(needed)} of the way from what needs no learning to the photos"
    correlation = readings.get("luminance_correlation", 1.0)
    if correlation < limits.inverted:
        signs["colours_inverted"] = f"the luminance of inputs and outputs correlates with {correlation:.2f}"
    diversity = readings.get("outputs_diversity", 1.0)
    if diversity < limits.one_output:
        signs["one_output"] = f"two outputs differ {_percent(diversity)} as much as they should, whatever goes in"
    if hides_source(readings, limits.hidden):
        clean, saved = (_percent(readings[name] / 2) for name in ("cycle_error", "cycle_error_jpeg"))  # of -1..1
        signs["hides_source"] = (
            f"JPEG of quality 75 between the two ways raises the error of the way back from {clean} to {saved} of the "
            "range of values"
        )
    return signs


def hides_source(readings: Mapping[str, float], limit: float) -> bool:
    """Return whether the way back depends on what JPEG removes.

    Saving changes images by `jpeg_error`, and a way back that reads what is seen passes on about as much. One that
    reads a hidden signal fails: its error grows by `limit` times that change or more, and to twice what it was or more.

    Args:
        readings: with `cycle_error`, `cycle_error_jpeg` and `jpeg_error`; without them nothing is said.
        limit: see above.
    """
    if not {"cycle_error", "cycle_error_jpeg", "jpeg_error"} <= readings.keys():
        return False
    clean, saved = readings["cycle_error"], readings["cycle_error_jpeg"]
    return saved > 2 * clean and saved - clean > limit * readings["jpeg_error"]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
