"""A finished run as an object: its report, tables as DataFrames, its detectors on photos, and a view for notebooks."""

from __future__ import annotations

import html
import io
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchmarks.evaluation.results import TestResult
from benchmarks.places import reports_folder, store_folder
from benchmarks.report.images import file_uri
from benchmarks.report.run_report import RunReport
from forge.core.errors import InputError
from forge.core.registry import allow_files
from forge.faces.crop import check_crop
from forge.faces.imaging.views import check_view
from forge.faces.sources.clips import FRAMES, check_frames

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.evaluation.formats import Sheet
    from benchmarks.inference.predictor import Predictor
    from detect.artifact import TrainedDetector


class Report(RunReport):
    """The report of a finished run, with its tables and detectors.

    Args:
        folder: the report's, as `bench run` leaves it.

    Raises:
        InputError: the folder holds no report.
    """

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per detector, train set and test set: AUC with its interval, and every other metric."""
        import pandas as pd

        cells = [cell.model_dump(mode="json") for cell in self.results.cells]
        # An empty list gives a frame without columns; its readers may rely on them.
        return pd.DataFrame(cells, columns=None if cells else list(TestResult.model_fields))

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """Detectors by rank: of each column the mean AUC, its interval (low, high), and how many tests are missing.

        Raises:
            InputError: the report has nothing that can be ranked.
        """
        import pandas as pd

        from benchmarks.evaluation.formats import to_csv

        # By way of the CSV, so that a column has the same name and the same digits here as in `bench leaderboard
        # --format csv`. `convert_dtypes` keeps ranks whole numbers where a cell is missing.
        return pd.read_csv(io.StringIO(to_csv(self._sheet))).convert_dtypes().set_index("detector")

    def detect(
        self,
        photos: str | Path | Sequence[str | Path],
        *,
        detector: str | None = None,
        trained_on: str | None = None,
        max_fpr: float | None = None,
        error_rate: float | None = None,
        prior: float | None = None,
        reencode: bool | None = None,
        frames: int = FRAMES,
        crop: str | None = None,
        view: str = "resize",
        maps: bool = False,
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
            error_rate: share of the photos of each class whose class may be ruled out wrongly (default: 0.05).
            prior: share of forgeries among such photos; probabilities hold for it (default: a half).
            reencode: judge each photo under six re-encodings too (default: up to 200 photos; never with a view).
            frames: frames judged of each video, evenly spaced in time.
            crop: "none", "face" or "ff++" (default: as the run did).
            view: how a photo is shown: "resize", or in its own pixels as "centre-crop", "five-crops", "tiles" or
                "tiles-max".
            maps: also say where each photo may have been altered: by the detector itself, or by the best localiser of
                the run.
            store: where its results lie (default: the environment's BENCH_HOME, else runs).
            device: auto, cpu, cuda or cuda:N.
            workers: processes that read photos.

        Returns:
            One row per face: file, of a video frame ("3 of 16") and seconds, face ("1 of 2") and box (left, top, right,
            bottom) where faces are cropped, score, probability, verdict (forged, real or cannot say) and its reason,
            called (the side of the threshold), p_real and p_forged (conformal p-values), lowest and highest score and
            those of the re-encodings, unlike (how it differs from the training photos), note, problem (why it cannot
            be used), looked (empty); of a video in each row clip_score (mean over its frames), clip_highest and
            clip_verdict;
            with `maps` altered, the share of the face above the threshold of pixels (NaN where the run has none), and
            map_values, the map, float32 [H, W] at the resolution of the face, higher for altered; then detector,
            trained_on and threshold. `attrs["notes"]` says how the threshold was chosen and what to keep in mind,
            `attrs["maps"]` the same of the maps: their detector, threshold, limits of a scale, false-alarm area.

        Raises:
            InputError: a photo does not exist, no such detector, no localiser for `maps`, or the store no longer holds
                it.
        """
        from benchmarks.inference.photo_scores import maps_in_memory, score_photos  # all import torch or pandas
        from benchmarks.inference.photos import list_photos
        from benchmarks.inference.verdict import Judge
        from forge.core.compute import Compute, choose_device

        allow_files([detector] if detector else [])  # a Python call may name code, as the command line may
        if crop is not None:
            check_crop(crop)  # before a detector is loaded
        check_view(view)
        paths = [photos] if isinstance(photos, str | Path) else photos
        listing = list_photos([Path(path) for path in paths], check_frames(frames))
        # a path, which stands for this folder; a bare name would be looked for among all runs
        folder = str(self.folder.resolve())
        folders = store_folder(store), self.folder.parent
        judge = Judge.of_run(
            folder, detector, trained_on, *folders, max_fpr=max_fpr, error_rate=error_rate, prior=prior
        )
        output = maps_in_memory(judge.predictor, folder, *folders) if maps else None
        compute = Compute(choose_device(device))
        scored = score_photos(
            judge, listing, compute, crop=crop, view=view, workers=workers, reencode=reencode, maps=output
        )
        table = scored.frame()
        table.attrs["notes"] = [scored.summary, *scored.sentences]
        if scored.localiser is not None:
            table.attrs["notes"] += scored.localiser.sentences()
            table.attrs["maps"] = scored.localiser.as_json()
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
        return self._predictor(name, trained_on, store).trained

    def save_detector(
        self,
        folder: str | Path,
        name: str | None = None,
        *,
        trained_on: str | None = None,
        store: str | Path | None = None,
    ) -> None:
        """Save a fitted detector with the validation scores that let it abstain: `bench detect FOLDER PHOTO`.

        Args:
            folder: new or empty.
            name: name in the run, or path/to/file.py:Class of one from a file (default: its leader).
            trained_on: training of the detector (default: on the most generators).
            store: where its results lie (default: the environment's BENCH_HOME, else runs).

        Raises:
            InputError: no such detector, the store no longer holds it, or the folder is not empty.
        """
        predictor = self._predictor(name, trained_on, store)
        predictor.trained.save(Path(folder))
        if predictor.validation is not None:
            predictor.validation.save(Path(folder))

    def _predictor(self, name: str | None, trained_on: str | None, store: str | Path | None) -> Predictor:
        from benchmarks.inference.predictor import predictor_of  # imports pandas

        allow_files([name] if name else [])  # a Python call may name code, as the command line may
        folder = self.folder.resolve()
        return predictor_of(str(folder), name, trained_on, store_folder(store), folder.parent)

    @cached_property
    def _sheet(self) -> Sheet:
        from benchmarks.report.run_leaderboard import sheet_of  # imports pandas

        return sheet_of(self)

    def __repr__(self) -> str:
        return f"Report({str(self.folder)!r}): {' '.join(self.summary)}"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: summary, leaderboard, forgeries of each generator, and a link to the page."""
        from benchmarks.evaluation.formats import html as table  # imports pandas

        opening = "".join(f"<p><strong>{html.escape(line)}</strong></p>" for line in self.summary)
        opening += "".join(f"<li>{html.escape(line)}</li>" for line in self.notes)
        try:
            ranks = table(self._sheet)
        except InputError as error:
            # A run of controls alone, or one whose tests failed, has a page but no ranks.
            ranks = f"<p>{html.escape(str(error))}</p>"
        link = quote(Path(os.path.relpath(self.page)).as_posix())  # notebooks open links from where they lie
        samples = "".join(
            _figure(file, f"{name}: random forgeries, not selected") for name, file in self.samples.items()
        )
        page = f'<p><a href="{link}">the whole report</a></p>'
        return f"<h3>{html.escape(self.results.name)}</h3>{opening}{ranks}<div>{samples}</div>{page}"


def _figure(picture: Path, caption: str) -> str:
    """Return a picture as part of the notebook, some tens of kilobytes: it may be opened anywhere."""
    # inline: a notebook has no style sheet of ours
    text, style = html.escape(caption), "display:inline-block;margin:0 1rem 1rem 0"
    image = f'<img src="{file_uri(picture)}" alt="{text}" width="320">'
    return f'<figure style="{style}">{image}<figcaption>{text}</figcaption></figure>'


def load(run: str | Path, *, reports: str | Path | None = None) -> Report:
    """Open the report of a finished run.

    Args:
        run: its name (`bench list runs`), or its folder.
        reports: where reports lie (default: the environment's BENCH_REPORTS, else runs/reports and reports).

    Raises:
        InputError: there is none; names the ones there are.
    """
    return Report.open(str(run), reports_folder(reports))
