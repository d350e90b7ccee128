"""Audits: shortcuts that make a detector look better than it is.

Each audit ends in a sentence. A failed one marks every page and row of its suite as `shortcut`: its detectors may
have learned the flaw instead of the forgeries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.evaluation.results import Finding

# of the interval by which an audit is judged: one failure marks the whole suite; at 0.95 one control in twenty fails by
# chance
LEVEL = 0.999
CUE = 0.6  # AUC from which a number, a label or a trace of handling is reported, if its interval excludes 0.5 too


def failed(findings: Sequence[Finding]) -> list[Finding]:
    """Return the failed audits: any of them marks a suite as `shortcut`."""
    return [finding for finding in findings if finding.passed is False]
