"""Render a page as one HTML file and as the Markdown text for pull requests."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateError
from markupsafe import Markup, escape

from benchmarks.evaluation import numbers
from benchmarks.protocol import TrainSet
from benchmarks.report.page import Block, Page
from benchmarks.report.plot.figure import Figure
from benchmarks.report.sections import SECTIONS
from benchmarks.report.text import markdown
from forge.core.errors import InputError, quoted

_TEMPLATES = Path(__file__).parent / "templates"
# Without a template a section is paragraphs of text, in both forms.
_PARAGRAPHS = "{% for text in data %}<p>{{ text }}</p>\n{% endfor %}"
_TEXT_PARAGRAPHS = "## {{ section.title }}\n\n{% for text in data %}\n{{ text }}\n\n{% endfor %}"


def html(page: Page) -> str:
    """Return the page: one file that fetches nothing and runs nothing but its own script."""
    environment = _environment(autoescape=True)
    environment.globals["svg"] = _svg
    style = _asset("colours.css", "figure.css", "page.css")
    script = _asset("page.js")
    parts = [
        # Each section is rendered by itself, and its text is safe by then: it was escaped inside.
        (block.section, Markup(_rendered(environment, block, block.section.template or _PARAGRAPHS, page)))
        for block in page.blocks
    ]
    return environment.get_template("page.html.j2").render(
        parts=parts,
        run=page.run,
        results=page.run.results,
        style=Markup(style),
        # The policy of the page allows this style and this script by their digests, and nothing else.
        style_digest=_digest(style),
        script=Markup(script),
        script_digest=_digest(script),
    )


def text(page: Page) -> str:
    """Return report.md."""
    # autoescape is for HTML
    environment = _environment(autoescape=False, finalize=markdown.escape)  # Markdown: `finalize` escapes every value
    environment.globals["fenced"] = markdown.fenced
    parts = [f"# {markdown.escape(page.run.results.name)}"]
    for block in page.blocks:
        # a section with a page template alone has no part in report.md
        template = block.section.text_template or ("" if block.section.template else _TEXT_PARAGRAPHS)
        parts.append(_rendered(environment, block, template, page).strip())
    parts.append("The full report is index.html; every number can be recomputed from scores.parquet.")
    return "\n\n".join(part for part in parts if part) + "\n"


def index(entries: Sequence[object]) -> str:
    """Return the index page of reports; `entries` are what its template shows of each."""
    style = Markup(_asset("colours.css", "page.css", "index.css"))
    return _environment(autoescape=True).get_template("index.html.j2").render(entries=entries, style=style)


def styles() -> str:
    """Return the style of a figure that is a file of its own."""
    return _asset("colours.css", "figure.css")


@cache  # it keeps compiled templates, which most reports share
def _environment(**options: Any) -> Environment:  # noqa: ANN401 - options of Jinja2
    # A missing variable is an error of the template, not an empty place on a page.
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options
    )
    environment.globals["numbers"] = numbers
    # a name may be broken after its colon ("pix2pix:inpainting"), in a narrow column
    environment.filters["breakable"] = lambda name: Markup(str(escape(name)).replace(":", ":<wbr>"))
    environment.filters["train_set"] = lambda trained_on: TrainSet.parse(trained_on).readable
    return environment


def _rendered(environment: Environment, block: Block, template: str, page: Page) -> str:
    """Render one template of a section.

    Raises:
        InputError: a template of a plug-in fails.
    """
    section = block.section
    values = {"data": block.data, "run": page.run, "results": page.run.results, "section": section}
    try:
        # From text, not by name: templates of plug-ins lie beside their code, outside of this loader.
        return _compiled(environment, section.source(template)).render(values)
    except TemplateError as error:
        if section.id in SECTIONS.entries:  # of a shipped section it is a bug
            raise
        raise InputError(f"a template of section {quoted(section.id)} fails: {quoted(str(error))}") from error


@cache
def _compiled(environment: Environment, source: str) -> Template:
    return environment.from_string(source)


def _svg(figure: Figure) -> Markup:
    return Markup(figure.svg)  # drawn by this program, texts in it escaped when drawn


def _digest(text: str) -> str:
    """Return the digest by which a content security policy allows a style or script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(*names: str) -> str:
    return "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)
