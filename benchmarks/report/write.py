"""Write the report of a run: a page, a text for pull requests, and the data."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.measures.results import Results, to_csv
from benchmarks.report import markdown, numbers
from benchmarks.report.digests import write_sums
from benchmarks.report.figures import Figure
from benchmarks.report.images import smaller
from benchmarks.report.looking import Evidence
from benchmarks.report.page import Page, build
from benchmarks.report.svg import standalone
from benchmarks.tables.leaderboard import Leaderboard
from benchmarks.tables.reproduce import Expected
from detect.scoring import write_scores
from forge.files import replacing, write_json, write_text
from forge.marks import SYNTHETIC, options, origin
from forge.pictures import write_grid

_TEMPLATES = Path(__file__).parent / "templates"
_GRID_SIDE = 128  # pixels of a face in samples-*.png
_PICTURES = ("samples", "spectrum", "looking")  # what the names of the pictures beside the page begin with


@dataclass(frozen=True)
class Pictures:
    """What may be shown.

    Attributes:
        forged: random forged samples of each generator, not selected, uint8 [n, H, W, 3]; the first 64 are shown.
        filmstrip: (thousands of images seen, uint8 [n, H, W, 3]) of each generator as training went on; may be empty.
        by_id: image of (source set name, sample id), uint8 [H, W, 3]; None where it may not be shown.
        strolls: rows of eight faces of each generator, from one latent to another, uint8 [rows * 8, H, W, 3].
        evidence: where the detectors look; its saliency maps are of the first images of `forged`.
    """

    forged: dict[str, np.ndarray]
    filmstrip: dict[str, list[tuple[float, np.ndarray]]]
    by_id: Callable[[str, str], np.ndarray | None]
    evidence: Evidence = field(default_factory=Evidence)
    strolls: dict[str, np.ndarray] = field(default_factory=dict)


def write_report(
    directory: Path,
    results: Results,
    scores: pd.DataFrame,
    pictures: Pictures,
    *,
    board: Leaderboard | None = None,
    expected: Expected | None = None,
) -> None:
    """Write index.html, report.md with its figures, results.json, results.csv, scores.parquet and SHA256SUMS over all.

    The same inputs give the same bytes. Every file is replaced atomically; figures of an earlier report that are not
    part of this one are removed.

    Args:
        directory: made if it does not exist.
        results: the run.
        scores: its score rows.
        pictures: what may be shown.
        board: the leaderboard, of a suite.
        expected: what `bench reproduce` compares with; written as expected.json. None leaves that file as it is.

    Raises:
        InputError: scores lack a column or do not belong to the results.
    """
    page = build(
        results,
        scores,
        forged=pictures.forged,
        filmstrip=pictures.filmstrip,
        strolls=pictures.strolls,
        picture=pictures.by_id,
        evidence=pictures.evidence,
        board=board,
    )
    kept = set()
    css = styles()
    for figure in page.figures:
        kept.add(directory / "figures" / f"{figure.name}.svg")
        write_text(directory / "figures" / f"{figure.name}.svg", standalone(figure.svg, figure.title, css))
    for one in page.forgeries:
        if one.samples:
            kept.add(directory / one.file)
            made_by = origin(one.generator.name, one.generator.weights_sha256)
            faces = smaller(pictures.forged[one.generator.name][:64], _GRID_SIDE)
            write_grid(directory / one.file, faces, source=made_by)
    for name, picture in page.looking.files.items():
        kept.add(directory / name)
        with replacing(directory / name) as temporary:
            picture.save(temporary, format="PNG", optimize=True, **options("PNG", f"{SYNTHETIC} {results.name}"))
    pictures_there = {file for kind in _PICTURES for file in directory.glob(f"{kind}-*.png")}
    for stale in {*directory.glob("figures/*.svg"), *pictures_there} - kept:
        stale.unlink()
    write_scores(scores, directory / "scores.parquet")
    write_json(directory / "results.json", results.model_dump(mode="json"))
    write_text(directory / "results.csv", to_csv(results.cells, results.measured))
    write_text(directory / "report.md", text(page))
    write_text(directory / "index.html", html(page))
    if expected is not None:
        write_json(directory / "expected.json", expected.model_dump(mode="json"))
    write_sums(directory)


def html(page: Page) -> str:
    """The page: one file that fetches nothing and runs nothing but its own script."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _style("colours.css", "figure.css", "page.css")
    script = _style("page.js")
    return environment.get_template("index.html.j2").render(
        page=page,
        r=page.results,
        style=Markup(style),
        style_digest=_digest(style),
        script=Markup(script),
        script_digest=_digest(script),
        svg=_svg,
        n=numbers,
    )


def _digest(text: str) -> str:
    """As a content security policy names what it allows."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def text(page: Page) -> str:
    """The same findings for a pull request."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=False,  # this is Markdown: `finalize` escapes every value for it
        finalize=markdown.escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.md.j2").render(page=page, r=page.results, n=numbers, fenced=markdown.fenced)


def styles() -> str:
    """The style of a figure that is a file of its own."""
    return _style("colours.css", "figure.css")


def _svg(figure: Figure) -> Markup:
    return Markup(figure.svg)  # our own: every text in it went through html.escape


def _style(*names: str) -> str:
    return "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names)
