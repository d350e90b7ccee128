"""Audits: controls that must find nothing, and properties that could give a class away."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.evaluation.results import Finding
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section


@dataclass(frozen=True)
class AuditsContent(Content):
    """The audits of the run, and those that are repeated for the generators of every seed."""

    audits: list[Finding]
    repeated: list[Finding]


class AuditsSection(Section):
    """Audits of the run."""

    id, title, position = "audits", "Audits", 1400
    template = "audits.html.j2"

    def build(self, run: RunView) -> AuditsContent | None:
        """Separate the audits that are repeated per seed; None without audits."""
        audits = run.results.audits
        if not audits:
            return None
        # "values, dcgan #1": an audit of one repetition's forgeries.
        repeated = [audit for audit in audits if re.search(r" #\d+$", audit.audit)]
        return AuditsContent([audit for audit in audits if audit not in repeated], repeated)
