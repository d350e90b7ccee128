"""Index of finished runs and of the detectors that can score a photo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.evaluation.column import CONTROLS
from benchmarks.experiment.names import short_name
from benchmarks.inference.photo_maps import PhotoLocaliser, localiser_at, localiser_of
from benchmarks.inference.predictor import Predictor, by_merit, fit_stage, predictor_at, predictor_of
from benchmarks.report.digests import SUMS
from benchmarks.report.run_report import RunReport, report_folders
from benchmarks.report.text.headline import headline
from benchmarks.workflow.store import Store
from detect.artifact import read_card
from forge.core.errors import BenchError, InputError, UnknownNameError


@dataclass(frozen=True)
class Choice:
    """A detector that can be asked.

    Attributes:
        id: what a form sends.
        source: the run, or the folder's name.
        detector: its name.
        trained_on: its training forgeries.
        path: where it is stored.
        folder: whether it is a folder with detector.json of its own, and of no run.
        elsewhere: whether a store on another machine had its weights when the run was read.
    """

    id: str
    source: str
    detector: str
    trained_on: str
    path: Path
    folder: bool = False
    elsewhere: bool = False

    @property
    def ready(self) -> bool:
        """Whether the detector's weights are on the disk, or can be fetched."""
        # asked on the disk with each page: a run that is deleted from the store must not be offered
        return self.path.is_dir() or self.elsewhere


@dataclass(frozen=True)
class Run:
    """A finished run, as the page lists it.

    Attributes:
        name: of its folder.
        finished: day of its results, YYYY-MM-DD.
        localisers: its detectors that say where a photo was altered, and were measured.
        best: its best detector in words; "" where nothing was measured.
        warnings: audits that failed.
        choices: its detectors, controls left out.
        page: whether it has a page.
        problem: why it cannot be read, or "".
    """

    name: str
    finished: str
    data: str = ""
    preset: str = ""
    generators: Sequence[str] = ()
    detectors: Sequence[str] = ()
    localisers: Sequence[str] = ()
    best: str = ""
    warnings: Sequence[str] = ()
    choices: Sequence[Choice] = ()
    page: bool = False
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the entry of the run in the answer of /api/runs."""
        # choices are listed below without their paths
        plain = {key: value for key, value in vars(self).items() if key not in ("choices", "page")}
        choices = [
            {"id": choice.id, "detector": choice.detector, "trained_on": choice.trained_on, "ready": choice.ready}
            for choice in self.choices
        ]
        return plain | {"choices": choices}


class RunIndex:
    """Runs below a reports folder, and detectors in folders of their own; read again when a file has changed.

    Args:
        reports: where report folders lie.
        store: where results lie.
        folders: of detectors with detector.json.
        classes: path/to/file.py:Class of detectors that come from files.

    Raises:
        InputError: a folder holds no detector.
    """

    def __init__(
        self, reports: Path, store: Path, *, folders: Sequence[Path] = (), classes: Sequence[str] = ()
    ) -> None:
        self.reports, self.store = reports, store
        self.stored = Store(store).root  # the folder, also where `store` is an address
        # the page sends the short name of a class; loading needs the file that the command line named
        self._classes = {short_name(reference): reference for reference in classes}
        # results.json -> its stamps and what was read; parsed again only when a stamp changed
        self._read: dict[Path, tuple[tuple[int, ...], Run]] = {}
        self.folders = [_choice_at(folder) for folder in folders]

    def runs(self) -> list[Run]:
        """Every run, the latest first."""
        read: dict[Path, tuple[tuple[int, ...], Run]] = {}
        # A new dictionary each time, so that deleted reports are forgotten.
        for file in (folder / "results.json" for folder in report_folders(self.reports)):
            try:
                # Another stamp of results.json, of expected.json or of the digests means that the run was made again.
                stamp = _stamp(file) + _stamps_beside(file)
            except OSError:  # replaced at this moment by the run that made it
                continue
            known = self._read.get(file)
            read[file] = known if known and known[0] == stamp else (stamp, _described(file, self.store))
        self._read = read
        # by time of modification, negative for the latest first
        return [run for _, run in sorted(read.values(), key=lambda entry: (-entry[0][0], entry[1].name))]

    def choices(self) -> list[Choice]:
        """Every detector that can be asked, folders first."""
        return self.folders + [choice for run in self.runs() for choice in run.choices]

    def choose(self, wanted: str) -> Choice:
        """Return the detector with this id, the first one of a run, or with "" the first one that is ready.

        Raises:
            UnknownNameError: there is none.
            InputError: none is ready.
        """
        choices = self.choices()
        if wanted:
            # An id names one detector exactly; a run's name means its first one that is ready.
            for choice in sorted(choices, key=lambda entry: not entry.ready):
                if wanted in (choice.id, choice.source):
                    return choice
            raise UnknownNameError("detector", wanted, {choice.id for choice in choices})
        for choice in choices:
            if choice.ready:
                return choice
        raise InputError(f"no detector of a run in {self.reports}/ lies in {self.store}/; `bench run` trains some")

    def stamp(self, choice: Choice) -> tuple[object, ...]:
        """Another value whenever the detector may have become another one."""
        results = self._folder(choice.source) / "results.json"
        # By the files that a run replaces: the queue keys loaded detectors by it and loads a replaced one again.
        return (choice.id, _stamp(choice.path / "detector.json") if choice.folder else _stamp(results))

    def load(self, choice: Choice) -> Predictor:
        """Load a detector.

        Raises:
            InputError: it is no longer there, or its class must be named.
            CorruptError: a file of it was changed.
        """
        if choice.folder:
            return predictor_at(choice.path, self._classes.get(choice.detector))
        reference = self._classes.get(choice.detector, choice.detector)
        return predictor_of(choice.source, reference, choice.trained_on, self.store, self.reports)

    def load_localiser(self, choice: Choice, predictor: Predictor) -> PhotoLocaliser:
        """Load what makes the maps of a detector's photos: itself, or the best localiser of its run.

        Args:
            choice: the detector.
            predictor: as `load` returned it.

        Raises:
            NoLocaliserError: there is none.
            InputError: it is no longer there, or its class must be named.
            CorruptError: a file of it was changed.
        """
        if choice.folder:
            return localiser_at(predictor)
        return localiser_of(predictor, choice.source, self.store, self.reports)

    def page_of(self, name: str) -> Path:
        """Return the folder of a run.

        Raises:
            UnknownNameError: no run of this name has results; other folders are not shown.
        """
        for run in self.runs():
            if run.name == name:
                return self._folder(run.name)
        # with the names that were looked through
        raise UnknownNameError("run", name, {run.name for run in self.runs()})

    def _folder(self, name: str) -> Path:
        """Return the folder of a report, which may be a published one."""
        # the order of `report_folders`; a report of runs goes before a published one of the same name
        return next((folder for folder in report_folders(self.reports) if folder.name == name), self.reports / name)


def _choice_at(folder: Path) -> Choice:
    card = read_card(folder)
    name = card.label or short_name(card.name)
    return Choice(f"folder {folder.resolve().name}", folder.resolve().name, name, card.trained_on, folder, folder=True)


def _stamp(file: Path) -> tuple[int, ...]:
    status = file.stat()
    # a file written in place and one renamed into place both change one of these
    return status.st_mtime_ns, status.st_size, status.st_ino


def _stamps_beside(results: Path) -> tuple[int, ...]:
    """Stamps of the other files that say what a run is, as far as they are there."""
    files = (results.with_name(name) for name in ("expected.json", SUMS))
    return tuple(number for file in files if file.exists() for number in _stamp(file))


def _described(file: Path, store: Path) -> Run:
    """Return a run from its results.json; one that cannot be read says so instead of ending the page."""
    day = datetime.fromtimestamp(file.stat().st_mtime, UTC).date().isoformat()
    # A folder's name may be any bytes. JSON and pages are UTF-8: such a name is shown with marks and cannot be asked
    # for.
    name = os.fsencode(file.parent.name).decode("utf-8", "replace")
    if name != file.parent.name:
        return Run(name, day, problem="the name of its folder is not UTF-8; rename it")
    run = Run(name, day, page=(file.parent / "index.html").is_file())
    try:
        return _filled(run, RunReport(file.parent, note=False), Store(store))
    except BenchError as error:
        return replace(run, problem=str(error))
    # Whatever a foreign results.json makes the readers raise; its text is cut, since it may quote the file.
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        cause = f"{type(error).__name__}: {error}"[:80]
        return replace(run, problem=f"results.json is damaged or of another version ({cause})")


def _filled(run: Run, report: RunReport, store: Store) -> Run:
    results = report.results
    # Best first: a detector's first cell decides which seed's fit is offered.
    seeds: dict[tuple[str, str], int] = {}
    for cell in by_merit(report):
        seeds.setdefault((cell.detector, cell.trained_on), cell.seed)
    choices = []
    for (detector, trained_on), seed in seeds.items():
        if detector not in CONTROLS:  # random scores and the like say nothing of a photo
            stage = fit_stage(results, detector, trained_on, seed)
            # The folder is computed, not looked for: `ready` asks whether it is there.
            folder = store.folder(stage.action, stage.key)
            elsewhere = not folder.is_dir() and store.has(stage.action, stage.key)
            label = f"{run.name} {detector}@{trained_on}"
            choices.append(Choice(label, run.name, detector, trained_on, folder, elsewhere=elsewhere))
    return replace(
        run,
        data=f"{results.data.name}, {results.data.resolution} px",
        preset=results.preset,
        generators=list(dict.fromkeys(fact.name for fact in results.generators)),
        detectors=list(dict.fromkeys(fact.name for fact in results.detectors)),
        localisers=list(dict.fromkeys(fact.detector for fact in results.localisation if fact.source == "map")),
        best=headline(report),
        warnings=[f"{finding.audit}: {finding.sentence}" for finding in results.audits if finding.passed is False],
        choices=choices,
    )
