"""Terms and limits: definitions of the terms of a report, and known limits of its results."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.protocol import Condition
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section


@dataclass(frozen=True)
class ReadingContent(Content):
    """The conditions of the tests shown, in the protocol's order."""

    conditions: list[Condition]


class ReadingSection(Section):
    """Definitions of terms, and known limits."""

    id, title, position = "reading", "Terms and limits", 1500
    template = "reading.html.j2"

    def build(self, run: RunView) -> ReadingContent:
        """Collect the conditions to define."""
        shown = {row.cell.condition for row in run.rows}
        # In the order of the protocol; conditions that no shown test has need no definition.
        return ReadingContent([condition for condition in Condition if condition in shown])
