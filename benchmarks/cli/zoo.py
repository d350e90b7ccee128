"""`bench zoo`: publish generators and detectors of a run, and add those of others."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.cli.pictures import generator_of_run
from benchmarks.evaluation.results import Results
from benchmarks.experiment.names import base_name
from benchmarks.experiment.request import command_of
from benchmarks.inference.check_faces import faces_for
from benchmarks.inference.predictor import predictor_of
from benchmarks.places import user_zoo
from benchmarks.report.run_report import RunReport
from benchmarks.terminal import observer_for
from benchmarks.workflow.stage import Call
from benchmarks.workflow.store import Store, read_manifest
from benchmarks.zoo import archive as archives
from benchmarks.zoo.cards import mega
from benchmarks.zoo.members import Member
from benchmarks.zoo.overview import FILE, write_overview
from benchmarks.zoo.publish import Measured, Origin, default_name, publish_generator, write_card
from benchmarks.zoo.publish_detector import publish_detector
from forge.core.compute import choose_device, tune_allocator
from forge.core.errors import InputError, UnknownNameError
from forge.core.progress import OnProgress
from forge.faces.faceset import FaceSet
from forge.faces.sources import SOURCES
from forge.generators.artifact import TrainedGenerator
from forge.generators.visualize import training_folder
from forge.quality.measure import Quality
from forge.quality.sets import Ask, measure_floor


def publish(
    run: str,
    names: list[str],
    out: Path | None,
    name: str | None,
    archive: Path | None,
    cards: Path | None,
    trained_on: str | None,
    n: int,
    largest: float,
    show_real: bool,
    store: Path,
    reports: Path,
    device: str,
) -> None:
    """Write members of the zoo: half-precision weights, samples, quality beside its reference, and a card."""
    tune_allocator()
    if archive is not None:
        archives.check_ending(archive)
    if name is not None and len(names) > 1:
        raise InputError(f"--name names one member, and {len(names)} are published; leave it out, or name one")
    report = RunReport.open(run, reports)
    results = report.results
    generators = {fact.name for fact in results.generators}
    known = generators | {fact.name for fact in results.detectors}
    for each in names:
        if each not in known and base_name(each) not in generators:
            raise UnknownNameError(f"generator or detector of run {report.name}", each, known)
    publisher = _Publisher(run, results, out or user_zoo(), name, largest, store, reports)
    publisher.refuse_present(names, cards)
    ask = Ask(n=n, device=choose_device(device))
    made: list[Member] = []
    reference: Quality | None = None
    for each in names:
        if base_name(each) in generators:
            trained, real, origin = publisher.generator(each, show_real=show_real)
            with observer_for(quiet=False) as observer:
                call = Call("publish", each)
                observer.started(call)
                reference = reference or measure_floor(real, ask)  # the same for all generators of the run
                progress = partial(observer.progressed, call)
                made.append(publisher.write_generator(each, trained, origin, Measured(real, ask, reference), progress))
        else:
            made.append(publisher.detector(each, trained_on))
        print(f"{made[-1].folder}: {made[-1].name}, {mega(made[-1].bytes)}")
    if archive is not None:
        archives.pack(made, archive)
        print(f"{archive}: {len(made)} member{'s' * (len(made) > 1)}, {mega(archive.stat().st_size)}")
    if cards is not None:
        for member in made:
            print(f"{write_card(member, cards)}: the card of {member.name}")
        if shown := write_overview(made, cards / FILE, ask.device):
            print(f"{cards / FILE}: faces of {', '.join(shown)}")
    _print_next(made, in_zoo=out is None)


def add(file: Path, replace: bool) -> None:
    """Unpack an archive into your zoo."""
    if not file.is_file():
        raise InputError(f"there is no file {file}; give an archive that bench zoo publish --archive wrote")
    new, there = archives.add(file, user_zoo(), replace=replace)
    for member in new:
        print(f"{member.folder}: {member.name}, {mega(member.bytes)}")
    for member in there:
        print(f"{member.folder}: {member.name} was there already")
    _print_next(new, in_zoo=True)


def _print_next(members: list[Member], *, in_zoo: bool) -> None:
    if not in_zoo:
        print("next: bench zoo add ARCHIVE makes members of an archive ready to use")
        return
    for member in members[:1]:
        use = (
            f"bench run -g {member.name} -d npr"
            if member.card.role == "generator"
            else f"bench detect {member.name} PHOTO"
        )
        print(f"next: {use}")


@dataclass(frozen=True)
class _Publisher:
    """Writes members of the zoo from one run.

    Attributes:
        run: name or path of its report.
        results: of the run.
        folder: that receives a folder per member.
        name: of the member, if it has another than the default.
        largest: megabytes that a member may have.
        store: where results lie.
        reports: where reports lie.
    """

    run: str
    results: Results
    folder: Path
    name: str | None
    largest: float
    store: Path
    reports: Path

    def generator(self, name: str, *, show_real: bool) -> tuple[TrainedGenerator, FaceSet, Origin]:
        """Open a generator and the real faces of the run, and say where the generator comes from."""
        shown = generator_of_run(self.run, name, store=self.store, reports=self.reports)
        if shown.faces is None:
            raise InputError(
                f"the real faces of {self.results.name}, beside which quality is measured, are not in {self.store}/; "
                f"run it again: {self.results.command}"
            )
        trained, real = (
            TrainedGenerator.open(shown.folder, implementation=shown.implementation),
            FaceSet.open(shown.faces),
        )
        threads = read_manifest(training_folder(trained)).settings.get("numerics", {}).get("threads")
        numerics = trained.card.precision + (f", {threads} thread{'s' * (threads > 1)}" if threads else "")
        command = self._command(name, trained.card.resolution)
        return trained, real, Origin(command, real.card.citation, numerics, show_real or self.results.data.shown)

    def refuse_present(self, names: Sequence[str], cards: Path | None) -> None:
        """Refuse names of members or cards that are there, before anything is measured.

        Raises:
            InputError: there is one.
        """
        called = [self._called(name, self.results.data.resolution) for name in names]
        for there in (folder / name for folder in (self.folder, cards) if folder is not None for name in called):
            if there.exists():
                raise InputError(f"{there} exists already; remove it first, or choose another folder")

    def other(self, resolution: int) -> TrainedGenerator | None:
        """Open the first generator of the run that draws faces of this size from latents; None: none is here."""
        for fact in self.results.generators:
            if not (fact.trained and not fact.from_faces and fact.files is None):
                continue
            try:
                shown = generator_of_run(self.run, fact.name, store=self.store, reports=self.reports)
                trained = TrainedGenerator.open(shown.folder, implementation=shown.implementation)
            except InputError:  # removed from the store
                continue
            if trained.card.resolution == resolution:
                return trained
        return None

    def write_generator(
        self, name: str, trained: TrainedGenerator, origin: Origin, measured: Measured, on_progress: OnProgress
    ) -> Member:
        """Publish a generator."""
        called = self._called(name, trained.card.resolution)
        return publish_generator(
            trained,
            self.folder / called,
            name=called,
            origin=origin,
            measured=measured,
            other=None if origin.shown or not trained.architecture.takes_faces else self.other(trained.card.resolution),
            largest_mb=self.largest,
            device=measured.ask.device,
            on_progress=on_progress,
        )

    def detector(self, name: str, trained_on: str | None) -> Member:
        """Publish a detector."""
        predictor = predictor_of(self.run, name, trained_on, self.store, self.reports)
        resolution = predictor.trained.card.resolution
        called = self._called(name, resolution)
        return publish_detector(
            predictor,
            self.results,
            self.folder / called,
            name=called,
            command=self._command(name, resolution)
            + (f" --trained-on {shlex.quote(trained_on)}" if trained_on else ""),
            images=faces_for(self.results, Store(self.store), resolution).images,
            largest_mb=self.largest,
        )

    def _called(self, name: str, resolution: int) -> str:
        return self.name or default_name(name, resolution)

    def _command(self, name: str, resolution: int) -> str:
        publish = shlex.join(
            ["bench", "zoo", "publish", self.results.name, name, "--name", self._called(name, resolution)]
        )
        return f"{rebuilding(self.results)} && {publish}"


def rebuilding(results: Results) -> str:
    """Return the command of a run without paths of the machine that made it: DIR stands for the photos."""
    if results.request is None:  # an earlier version wrote it
        return results.command
    source = results.request.data
    if source is not None and source not in SOURCES.names():
        prefix, colon, _ = source.partition(":")
        source = f"{prefix}:DIR" if colon and prefix in SOURCES.names() else "DIR"
    changes: dict[str, Any] = {"data": source, "external": {}, "forged": {}, "name": results.name}
    return command_of(results.request.model_copy(update=changes))
