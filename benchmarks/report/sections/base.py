"""A section of a report: what it shows of a run, and the templates that show it on the page and in report.md."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.report.plot.figure import Figure

if TYPE_CHECKING:
    from benchmarks.report.run_view import RunView


class Content:
    """Data of a section: the base of what its templates get."""

    @property
    def figures(self) -> list[Figure]:
        """Figures, each written to figures/NAME.svg too."""
        return []

    @property
    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """Picture files beside the page: name -> function that writes the file."""
        return {}


class Section(ABC):
    """A section of the page and of report.md.

    A section is one file with one class, registered in `benchmarks.report.sections.SECTIONS`, by an installed package
    (entry points `benchmarks.sections`), or named by a file: `bench run --section path/to/file.py:Class`.

    A template is Jinja2: either the name of a file beside the module (it ends with ".j2") or the template itself. It
    gets `data` (what `build` returned), `run` (a `RunView`), `results`, `numbers` (functions that format numbers) and,
    on the page, `svg` (which shows a `Figure`). Every value is escaped. A section without a template of its own returns
    text from `build`: a string, or a list of strings, which become paragraphs.

    Attributes:
        id: its anchor on the page, unique: lower-case letters, digits and hyphens.
        title: its heading.
        nav: its entry in the list of contents; empty: the title.
        position: its place on the page; the shipped sections have 100, 200 and so on.
        template: of its part of the page; the heading is not part of it.
        text_template: of its part of report.md, heading included; empty: it has none.
        scripted: whether it is shown only where scripts run.
        headed: whether its heading is shown.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    nav: ClassVar[str] = ""
    position: ClassVar[float]
    template: ClassVar[str] = ""
    text_template: ClassVar[str] = ""
    scripted: ClassVar[bool] = False
    headed: ClassVar[bool] = True

    @abstractmethod
    def build(self, run: RunView) -> Any:  # noqa: ANN401 - each section has its own data
        """Compute what is shown of a run; None: nothing, and the section is left out."""

    @classmethod
    def source(cls, template: str) -> str:
        """Return the text of a template: of the file of this name beside the class's module, or itself.

        Raises:
            OSError: there is no such file.
        """
        if not template.endswith(".j2"):  # also an inline template of one line, which never ends so
            return template
        return (Path(inspect.getfile(cls)).parent / template).read_text(encoding="utf-8")
