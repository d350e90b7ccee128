"""A finished run as an object: its tables as DataFrames, its verdict, and how a notebook shows it."""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from benchmarks.places import reports_folder, store_folder
from forge.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.tables.formats import Sheet
    from detect.artifact import TrainedDetector


class Report:
    """The report of a finished run.

    Args:
        folder: the report's, as `bench run` leaves it.

    Attributes:
        folder: where it lies; every file in it is named in reports/README.md.

    Raises:
        InputError: the folder holds no report.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "results.json").is_file():
            raise InputError(f"{self.folder} is no report: it has no results.json; `bench list runs` shows those here")

    @property
    def name(self) -> str:
        """Of the run."""
        return str(self.results["name"])

    @property
    def page(self) -> Path:
        """The page that a browser shows; one file that needs no other."""
        return self.folder / "index.html"

    @property
    def command(self) -> str:
        """The command that makes this again."""
        return str(self.results["command"])

    @property
    def missing(self) -> dict[str, str]:
        """What failed and is not in the tables: stage -> error; the same run again tries it again."""
        return dict(self.results.get("missing", {}))

    @property
    def samples(self) -> dict[str, Path]:
        """Generator -> picture of 64 forgeries that nobody chose among."""
        return {file.stem.removeprefix("samples-"): file for file in sorted(self.folder.glob("samples-*.png"))}

    @cached_property
    def results(self) -> dict[str, Any]:
        """Everything the report says, as results.json holds it; `benchmarks.measures.results` says what each is."""
        from benchmarks.report.reading import read_results

        return read_results(self.folder)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a detector, training and test set: AUC with its interval, and every other measure."""
        import pandas as pd

        from benchmarks.measures.results import Cell

        cells = [Cell.model_validate(cell).model_dump(mode="json") for cell in self.results["cells"]]
        return pd.DataFrame(cells, columns=None if cells else list(Cell.model_fields))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The score of every image by every detector, from which all numbers are computed."""
        from benchmarks.report.reading import read_report_scores

        return read_report_scores(self.folder)

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """Detectors by rank: of each column the mean AUC, its interval (low, high), and how many cells are missing.

        Raises:
            InputError: the report is of another protocol, or has nothing that can be ranked.
        """
        import pandas as pd

        from benchmarks.tables.formats import to_csv

        return pd.read_csv(io.StringIO(to_csv(self._sheet))).convert_dtypes().set_index("detector")

    @cached_property
    def verdict(self) -> list[str]:
        """What was found, in the sentences that open the report."""
        return [line.strip("*") for line in self._opening if line.startswith("**")]

    @cached_property
    def notes(self) -> list[str]:
        """What must be known beside the verdict: failed audits, what is missing, ties."""
        warned = [line.removeprefix("> **").removesuffix("**") for line in self._opening if line.startswith("> **")]
        return warned + [line.removeprefix("- ") for line in self._opening if line.startswith("- ")]

    def detect(
        self,
        photos: str | Path | Sequence[str | Path],
        *,
        detector: str | None = None,
        trained_on: str | None = None,
        max_fpr: float | None = None,
        crop: str | None = None,
        store: str | Path | None = None,
        device: str = "auto",
        workers: int = 1,
    ) -> pd.DataFrame:
        """Score photos with a detector of the run: `bench detect` as a function.

        Args:
            photos: files, or folders of photos.
            detector: name in the run, or path/to/file.py:Class of one from a file (default: its leader).
            trained_on: training of the detector (default: on the most generators).
            max_fpr: largest share of real validation images that may be called forged (default: the run's threshold).
            crop: "none" or "face" (default: as the run did).
            store: where its results lie (default: the environment's BENCH_HOME, else runs).
            device: auto, cpu, cuda or cuda:N.
            workers: processes that read photos.

        Returns:
            One row per photo: file, score, probability, verdict, note, problem (why it cannot be used), looked (empty);
            then detector, trained_on and threshold. `attrs["notes"]` says how the threshold was chosen and what to keep
            in mind.

        Raises:
            InputError: a photo does not exist, no such detector, or the store no longer holds it.
        """
        from benchmarks.inference.photo_scores import score_photos
        from benchmarks.inference.photos import list_photos
        from benchmarks.inference.predictor import caution, predictor_of
        from forge.compute import Compute, choose_device
        from forge.registry import allow_files

        allow_files([detector] if detector else [])  # a Python call may name code, as the command line may
        paths = [photos] if isinstance(photos, str | Path) else photos
        listing = list_photos([Path(path) for path in paths])
        folder = str(self.folder.resolve())
        predictor = predictor_of(folder, detector, trained_on, store_folder(store), self.folder.parent, max_fpr=max_fpr)
        scored = score_photos(predictor, listing, Compute(choose_device(device)), crop=crop, workers=workers)
        table = scored.frame()
        table.attrs["notes"] = [scored.summary, *predictor.threshold.sentences(), caution(predictor)]
        return table

    def detector(
        self, name: str | None = None, *, trained_on: str | None = None, store: str | Path | None = None
    ) -> TrainedDetector:
        """Load a fitted detector of the run; its `detector.score(images, Compute())` scores an array.

        Args:
            name: name in the run, or path/to/file.py:Class of one from a file (default: its leader).
            trained_on: training of the detector (default: on the most generators).
            store: where its results lie (default: the environment's BENCH_HOME, else runs).

        Raises:
            InputError: no such detector, or the store no longer holds it.
        """
        from benchmarks.inference.predictor import predictor_of
        from forge.registry import allow_files

        allow_files([name] if name else [])  # a Python call may name code, as the command line may
        folder = self.folder.resolve()
        return predictor_of(str(folder), name, trained_on, store_folder(store), folder.parent).trained

    @cached_property
    def _opening(self) -> list[str]:
        """The lines of report.md before its first table, as text."""
        from benchmarks.report.reading import check_report

        check_report(self.folder, "report.md", note=False)
        text = (self.folder / "report.md").read_text(encoding="utf-8").partition("\n## ")[0]
        plain = re.sub(r"\\([\\`*{}\[\]|~#_])", r"\1", text).replace("\u2060", "")
        return [html.unescape(line) for line in plain.splitlines()[1:]]

    @cached_property
    def _sheet(self) -> Sheet:
        from benchmarks.cli.leaderboard import sheet_of

        return sheet_of(self.folder.name, reports=self.folder.parent)

    def __repr__(self) -> str:
        return f"Report({str(self.folder)!r}): {' '.join(self.verdict)}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, the leaderboard, forgeries of each generator, and a link to the page."""
        from benchmarks.tables.formats import html as table

        said = "".join(f"<p><strong>{html.escape(line)}</strong></p>" for line in self.verdict)
        said += "".join(f"<li>{html.escape(line)}</li>" for line in self.notes)
        try:
            shown = table(self._sheet)
        except InputError as error:
            shown = f"<p>{html.escape(str(error))}</p>"
        link = quote(Path(os.path.relpath(self.page)).as_posix())  # notebooks open links from where they lie
        seen = "".join(_figure(file, f"{name}: random forgeries, not selected") for name, file in self.samples.items())
        page = f'<p><a href="{link}">the whole report</a></p>'
        return f"<h3>{html.escape(self.name)}</h3>{said}{shown}<div>{seen}</div>{page}"


def _figure(picture: Path, caption: str) -> str:
    """A picture inside the page, some tens of kilobytes: a notebook may lie anywhere."""
    from benchmarks.report.images import file_uri

    text, style = html.escape(caption), "display:inline-block;margin:0 1rem 1rem 0"
    image = f'<img src="{file_uri(picture)}" alt="{text}" width="320">'
    return f'<figure style="{style}">{image}<figcaption>{text}</figcaption></figure>'


def load(run: str | Path, *, reports: str | Path | None = None) -> Report:
    """Open the report of a finished run.

    Args:
        run: its name (`bench list runs`), or its folder.
        reports: where reports lie (default: the environment's BENCH_REPORTS, else reports).

    Raises:
        InputError: there is none; names the ones there are.
    """
    from benchmarks.workflow.runner import find_report

    return Report(find_report(str(run), reports_folder(reports)))
