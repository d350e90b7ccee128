"""The page of a run: its sections, each with what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report.inputs import ReportInputs
from benchmarks.report.plot.figure import Figure
from benchmarks.report.run_view import RunView
from benchmarks.report.sections import SECTIONS, load_sections
from benchmarks.report.sections.base import Content, Section
from benchmarks.report.sections.summary import SummaryContent
from benchmarks.report.text.summary import Summary
from forge.core.errors import BenchError, InputError, quoted


@dataclass(frozen=True)
class Block:
    """A section with what it shows."""

    section: Section
    data: Any


@dataclass(frozen=True)
class Page:
    """The page before it is rendered."""

    run: RunView
    blocks: list[Block]

    @property
    def figures(self) -> list[Figure]:
        """Every figure, in the order of the page."""
        shown = [figure for content in self._contents for figure in content.figures]
        # One figure may be shown by two sections; its file is written once.
        return list({figure.name: figure for figure in shown}.values())

    @property
    def pictures(self) -> dict[str, Callable[[Path], None]]:
        """Every picture file beside the page: name -> function that writes it."""
        # Written by `write_report`, after every section was built.
        return {name: write for content in self._contents for name, write in content.pictures.items()}

    @property
    def summary(self) -> Summary:
        """The sentences that open the page."""
        return next(block.data.summary for block in self.blocks if isinstance(block.data, SummaryContent))

    @property
    def _contents(self) -> list[Content]:
        return [block.data for block in self.blocks if isinstance(block.data, Content)]


def build(inputs: ReportInputs) -> Page:
    """Compute what every section shows.

    Raises:
        InputError: scores do not belong to the results, or a section of a plug-in fails.
    """
    run = RunView(inputs)
    # In the order of the page: names of figures are given out in this order, so that a report written twice has equal
    # files.
    blocks = [Block(section, _data(section, run)) for section in load_sections(inputs.sections)]
    return Page(run, [block for block in blocks if block.data is not None])


def _data(section: Section, run: RunView) -> Any:  # noqa: ANN401 - each section has its own data
    if section.id in SECTIONS.entries:
        data = section.build(run)  # errors of shipped sections are bugs and keep their traceback
    else:
        try:  # BenchErrors of a plug-in are sentences already
            data = section.build(run)
        except BenchError:
            raise
        except Exception as error:  # code of others may raise anything; it is named and re-raised
            raise InputError(
                f"section {quoted(section.id)} failed: {type(error).__name__}: {quoted(str(error))}"
            ) from error
    # without a template `build` must return text
    return data if data is None or section.template else _paragraphs(section, data)


def _paragraphs(section: Section, data: object) -> list[str]:
    """Return the paragraphs of a section without a template.

    Raises:
        InputError: it is something else.
    """
    texts = [data] if isinstance(data, str) else data
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"section {quoted(section.id)} returns {type(data).__name__}; without a template it returns a string or a "
            "list of strings"
        )
    # `str.__str__` of the base class: a subclass could return itself unescaped
    return [str.__str__(text) for text in texts]  # Markup too becomes plain text, which is escaped
