"""Groups of people: gaps between attribute groups, and every detector on every group."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.evaluation.results import Gap, GroupFact
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_GAPS = 24  # gaps shown; of more, those whose interval lies above 0
_ROWS = 42  # rows of the table of groups


@dataclass(frozen=True)
class GroupsContent(Content):
    """The gaps and groups shown."""

    gaps: list[Gap]
    groups: list[GroupFact]


class GroupsSection(Section):
    """Detectors by groups of people."""

    id, title, nav, position = "groups", "Groups of people", "Groups", 1300
    template = "groups.html.j2"

    def build(self, run: RunView) -> GroupsContent | None:
        """Choose the gaps and groups to show; None where no attributes were measured."""
        if not run.results.gaps:
            return None
        return GroupsContent(_largest(run.results.gaps), _groups(run))


def _largest(gaps: list[Gap]) -> list[Gap]:
    """Choose the gaps to show: all, or of many the largest that chance does not explain."""
    # A lower end above 0: the gap is not explained by chance.
    return gaps if len(gaps) <= _GAPS else sorted((g for g in gaps if g.low > 0), key=lambda g: -g.gap)[:_GAPS]


def _groups(run: RunView) -> list[GroupFact]:
    """Choose the groups to show: all, or of many those of the detectors that lead the suite."""
    groups = run.results.groups
    if run.board is None or len(groups) <= _ROWS:  # without a board there is no order to choose by
        return groups
    order = {line.detector: i for i, line in enumerate(run.board.lines)}
    ranked = sorted(groups, key=lambda group: order.get(group.detector, len(order)))
    # whole detectors, never a part of one's groups
    rows_per_detector = sum(group.detector == ranked[0].detector for group in ranked)
    return ranked[: max(1, _ROWS // rows_per_detector) * rows_per_detector]
