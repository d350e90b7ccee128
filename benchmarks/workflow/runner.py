"""One run from settings to a report folder."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.results import Results
from benchmarks.evaluation.run_facts import StageFacts
from benchmarks.experiment.configs import validated
from benchmarks.experiment.settings import RunSettings
from benchmarks.experiment.validate import typed
from benchmarks.report.publish import publish_report, refuse_foreign, tidy_reports
from benchmarks.workflow.drive import execute, status
from benchmarks.workflow.engines import ENGINES
from benchmarks.workflow.engines.base import EngineOptions
from benchmarks.workflow.external_plan import masks_are_wanted
from benchmarks.workflow.external_sources import Sides, external_sources, fingerprints, refuse_other_class
from benchmarks.workflow.joint import leading
from benchmarks.workflow.planner import ForgedPrint, plan
from benchmarks.workflow.program import program_digest
from benchmarks.workflow.run_record import RunRecord, recorded
from benchmarks.workflow.schedule import Estimate
from benchmarks.workflow.stage import Context, Stage
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.load import Load
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.store import Store
from benchmarks.zoo.members import member_of
from detect.data.perturb import PERTURBATIONS
from detect.detectors.registry import DETECTORS
from forge.core.compute import Compute
from forge.core.errors import BenchError, InputError, quoted
from forge.core.files import digest_json, read_json, write_json
from forge.core.progress import silent
from forge.faces.clip_faces import digest_of
from forge.faces.faceset import FaceSet
from forge.faces.forged_files import ForgedFiles
from forge.faces.sources import resolve
from forge.faces.sources.base import Source
from forge.generators import GENERATORS

if TYPE_CHECKING:
    from benchmarks.workflow.observer import Observer
    from forge.faces.faceset import FaceSet
    from forge.faces.sources import Source


@dataclass(frozen=True)
class PlannedRun:
    """A run that is ready to start: settings checked, source found, stages listed."""

    settings: RunSettings
    source: Source | FaceSet
    stages: Sequence[Stage]
    external: Mapping[str, Sides] = field(default_factory=dict)
    forged: Mapping[str, ForgedFiles] = field(default_factory=dict)
    arrange: Callable[..., Sequence[Stage]] | None = None  # `plan` with everything but the device

    def computed_with(self, compute: Compute) -> PlannedRun:
        """Return the same run, planned for another device or other threads."""
        return replace(self, stages=self.arrange(compute=compute)) if self.arrange else self

    @property
    def photos(self) -> dict[str, str]:
        """Name -> key of the stages that read photos; another key means other photos, or another version."""
        # Compared when a report is about to be replaced: with the same request, other keys mean other photos.
        return {stage.name: stage.key for stage in self.stages if isinstance(stage, Prepare | External | Gather)}


def prepare_run(settings: RunSettings, *, memory: Path | None = None, compute: Compute | None = None) -> PlannedRun:
    """Check everything that can be checked before work starts, and plan the stages.

    Args:
        settings: what was asked for.
        memory: a directory that remembers checked settings, so that a run whose results are all there need not import
            torch (four seconds) to learn what it would do.
        compute: where it will be computed; by default this machine's CPU.

    Raises:
        InputError: an unknown name, a wrong setting, an impossible resolution, a source that is not there, a folder
            whose sub-folders say that it holds the other class.
    """
    try:
        settings = _remembered(settings, memory) if memory else typed(settings)
    except SystemExit as error:  # the exit code of a plug-in's file must not be the run's
        raise InputError(f"a plug-in ends the program ({error!r}); raise an exception in its file instead") from error
    crop = settings.data.crop
    # before planning: the key of the first stage holds the digest of the photos
    source = resolve(settings.data.source, **settings.data.options)
    refuse_other_class(source, given_as="real")
    # Contents, not the path: the same photos in another folder are found cached.
    fingerprint = source.card.digest if isinstance(source, FaceSet) else digest_of(source, crop)
    # all are opened now, so that an empty folder is refused before trainings begin
    settings, files = _with_files(settings)
    pairs = external_sources(settings)
    prints = {name: fingerprints(sides, crop) for name, sides in pairs.items()}
    for name, each in files.items():  # too few of a split are refused now
        each.chosen(name, settings.images.model_dump(), settings.seed, {})
    arrange = partial(
        plan,
        settings,
        source_fingerprint=fingerprint,
        external_fingerprints=prints,
        forged_files={
            name: ForgedPrint(digest_of(each.source, crop), each.names_people) for name, each in files.items()
        },
    )
    return PlannedRun(settings, source, arrange(compute=compute), pairs, files, arrange)


def _with_files(settings: RunSettings) -> tuple[RunSettings, dict[str, ForgedFiles]]:
    """Open the forgeries that are files, and note which of them have masks that are of use."""
    files = {name: ForgedFiles.open(Path(each.path)) for name, each in settings.generators.items() if each.path}
    if masks_are_wanted(settings):
        files = {name: each.with_masks() if each.has_masks else each for name, each in files.items()}
    generators = {
        name: each.model_copy(update={"masks": True}) if name in files and files[name].source.masked else each
        for name, each in settings.generators.items()
    }
    return settings.model_copy(update={"generators": generators}), files


def _remembered(settings: RunSettings, memory: Path) -> RunSettings:
    """Return checked settings, remembered by request and by the program that checks them."""
    # by reference, not by label: a file's class DCGAN has the label of our own
    references = {generator.architecture for generator in settings.generators.values() if not generator.path}
    references |= {request.detector for request in settings.detectors.values()}
    known = {*GENERATORS.entries, *DETECTORS.entries}
    # "timm:resnet18" is ours where the family "timm:" is registered.
    ours = {name for name in references if name in known or f"{name.partition(':')[0]}:" in known}
    if (
        references != ours
        or settings.metrics
        or settings.sections
        or _names_files(settings)
        or _has_foreign_perturbations(settings)
    ):
        return typed(settings)  # code and files from elsewhere can change without this program noticing
    # Any change of the program makes the memory void: what is a valid setting may have changed.
    program = program_digest("forge", "detect", "benchmarks")
    asked_for = digest_json([settings.model_dump(mode="json"), program])
    file = memory / f"{asked_for[:16]}.json"  # 64 bits name the file; the whole digest inside is compared
    if file.is_file():
        with suppress(InputError):  # one that is damaged, or of other settings, is made again
            return _recalled(read_json(file), settings, asked_for)
    checked = typed(settings)
    values = checked.model_dump(mode="json")
    # The digest guards against edits by hand: values from this file enter keys unchecked by the networks' classes.
    write_json(file, {"asked": asked_for, "checked": values, "digest": digest_json([asked_for, values])})
    return checked


def _recalled(stored: Any, settings: RunSettings, asked_for: str) -> RunSettings:  # noqa: ANN401 - any JSON value
    """Return remembered settings if they are what was written and what is asked for.

    Checking fills in the defaults of generators and detectors; all else must stand as it was asked for.

    Raises:
        InputError: they are not.
    """
    if not isinstance(stored, dict) or stored.get("asked") != asked_for:
        raise InputError("of another request")
    if stored.get("digest") != digest_json([asked_for, stored.get("checked")]):
        raise InputError("changed since it was written")
    checked = validated(RunSettings, stored["checked"], where="")
    filled_in = {"generators", "detectors"}
    # Both checks keep a memory of one request from answering for another: apart from defaults that checking fills in,
    # every value, name and class must be the requested one.
    if checked.model_dump(exclude=filled_in) != settings.model_dump(exclude=filled_in):
        raise InputError("of other settings")
    named = [
        [(key, entry.architecture) for key, entry in each.generators.items()]
        + [(key, entry.detector) for key, entry in each.detectors.items()]
        for each in (checked, settings)
    ]
    if named[0] != named[1]:
        raise InputError("of other generators or detectors")
    return checked


def _has_foreign_perturbations(settings: RunSettings) -> bool:

    # "jpeg75+blur1" joins two; the figures behind a name are its strength.
    parts = [part for name in settings.conditions.robust for part in name.split("+")]
    return any(part.rstrip("0123456789.") not in PERTURBATIONS.entries for part in parts)


def _names_files(settings: RunSettings) -> bool:
    # A setting that is a path (weights to start from) can change its content under the same name.
    values = [value for request in settings.detectors.values() for value in request.settings.values()]
    values += [value for generator in settings.generators.values() for value in generator.network.values()]
    return any(isinstance(value, str) and Path(value).is_file() for value in values)


@dataclass(frozen=True)
class RunOutcome:
    """Folders of the results of a run, and what is missing from its report."""

    report: Path
    folders: Mapping[str, Path]
    failures: Sequence[BenchError] = ()


def execute_run(
    planned: PlannedRun,
    *,
    store: Store,
    reports: Path,
    compute: Compute,
    workers: int,
    observer: Observer,
    track: Path | None = None,
    engine: str = "local",
    options: EngineOptions | None = None,
    estimates: Mapping[str, Estimate] | None = None,
) -> RunOutcome:
    """Run what is missing and publish the report folder.

    Args:
        planned: from `prepare_run`.
        store: where stage results lie.
        reports: the report goes to `reports`/NAME.
        compute: device and precision.
        workers: processes that read photos.
        observer: told what happens.
        track: folder for TensorBoard events of the trainings.
        engine: name of what runs the stages; "local" with one job is this process.
        options: of the engine; None: one job.
        estimates: key -> what similar stages took, which decides the order of several jobs.
    """
    target = reports / planned.settings.name
    # In this order: leftovers of killed calls are removed first, then the target is refused, then work begins.
    store.tidy()
    tidy_reports(reports)
    refuse_foreign(target)
    _refuse_absent(planned.stages, store)
    # progress is silent here; the engine puts the observer's in for each stage
    context = Context(planned.source, compute, workers, silent, track, planned.external, planned.forged)
    options = options or EngineOptions(threads=compute.threads)
    implementation = ENGINES.load("serial" if (engine, options.jobs) == ("local", 1) else engine)
    runner = implementation(store, context, options)
    with leading(context), recorded(_record(planned, target, compute, engine, options), store.root, observer) as seen:
        executed = execute(planned.stages, store, context, seen, runner, estimates=estimates)
    publish_report(executed.report / "report", target)
    return RunOutcome(target, executed.folders, list(executed.failures.values()))


def _refuse_absent(stages: Sequence[Stage], store: Store) -> None:
    """Refuse to begin a run with a member of the zoo whose card alone is here, if its weights will be read.

    Args:
        stages: of the run.
        store: which may have its weights already, or all that is made with them.

    Raises:
        InputError: there is one; says how to get its weights.
    """
    loads = [stage for stage in stages if isinstance(stage, Load)]
    states = status(stages, store) if loads else {}
    for stage in loads:
        if states[stage.key].startswith("run"):
            member_of(stage.generator, "generator").check()


def _record(planned: PlannedRun, target: Path, compute: Compute, engine: str, options: EngineOptions) -> RunRecord:
    now = time.time()
    return RunRecord(
        name=planned.settings.name,
        host=platform.node(),
        pid=os.getpid(),
        command=planned.settings.command,
        report=str(target),
        engine=engine,
        jobs=options.jobs,
        threads=options.threads,
        device=compute.device,
        begun=now,
        updated=now,
    )


def stage_of(results: Results, label: str, *actions: str, seed: int | None = None) -> StageFacts:
    """Return the stage of a run that did something.

    Args:
        results: of the run.
        label: what was worked on, e.g. "dct@dcgan".
        actions: what was done, e.g. "fit", "adopt".
        seed: of the repetition (default: the first).

    Raises:
        InputError: the run had no such stage; names those of the actions.
    """
    # Stages that repetitions share (preparing photos) have seed None.
    wanted = results.seed if seed is None else seed
    stages = [stage for stage in results.stages if stage.action in actions]
    for stage in stages:
        # nor have published weights, which are the same in all of them
        if stage.label == label and (stage.seed in (None, wanted) or stage.action == "load"):
            return stage
    there = ", ".join(stage.name for stage in stages)
    raise InputError(f"{results.name} has no stage {quoted(f'{actions[0]} {label}')}; it has: {there}")


def stored_result(results: Results, stage: StageFacts, store: Store) -> Path:
    """Return where the store keeps the result of one stage of a finished run.

    Raises:
        InputError: the store no longer holds it.
    """
    folder = store.find(stage.action, stage.key)
    if folder is None:
        raise InputError(
            f"{stage.name} of {results.name} is not in {store.root}/; give its --store, or run: {results.command}"
        )
    return folder
