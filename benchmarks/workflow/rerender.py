"""A report written again: from what the store keeps, or from its scores alone."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import benchmarks.workflow.planner  # noqa: F401 - registers every stage in `Stage.actions`
from benchmarks.evaluation.attribution_rows import FILE as ATTRIBUTIONS
from benchmarks.evaluation.attribution_rows import read_attributions, recomputed
from benchmarks.evaluation.contamination import with_marks
from benchmarks.evaluation.leaderboard import leaderboard
from benchmarks.evaluation.localisation import read_rows
from benchmarks.evaluation.metric_facts import MetricFacts
from benchmarks.evaluation.metrics import METRICS
from benchmarks.evaluation.results import SCHEMA_VERSION, Results, TestResult
from benchmarks.evaluation.results_of import attacked, evaluated
from benchmarks.evaluation.thresholds import means_of, with_thresholds
from benchmarks.experiment.configs import validated
from benchmarks.protocol import Protocol
from benchmarks.report.inputs import Pictures, ReportInputs
from benchmarks.report.picture_files import picture
from benchmarks.report.plot.figure import FileNames
from benchmarks.report.publish import publish_report
from benchmarks.report.run_report import RunReport
from benchmarks.report.score_layout import read_report_scores
from benchmarks.report.write import write_report
from benchmarks.workflow.collect import write
from benchmarks.workflow.publication import keep_layout
from benchmarks.workflow.stage import Context, Facts, Job, Stage
from benchmarks.workflow.stages.localise import MASKS
from benchmarks.workflow.stages.report import Report
from benchmarks.workflow.store import Manifest, Store
from forge.core.errors import BenchWarning, InputError, quoted
from forge.core.registry import is_file_reference, named_file
from forge.faces.imaging.grids import cut_grid


def from_scores(report: RunReport, sections: Sequence[str] = ()) -> None:
    """Compute every number of a report again from its score rows and write its files anew.

    Pictures are the samples beside the page. What only the store has (filmstrips of trainings, saliency, misclassified
    faces) is left out. `expected.json` stays: it is what was published.

    Args:
        report: of the run.
        sections: of the page, beside the shipped ones.

    Raises:
        InputError: the folder is no report.
        CorruptError: results.json or expected.json was changed; the scores may be others now.
    """
    folder, results, expected = report.folder, report.results, report.expected
    scores = read_report_scores(folder)  # of whatever digest: they are accepted by this
    protocol = Protocol(results.protocol_version, results.families)
    evaluation = _with_kept(evaluated(scores, _loadable(results.metrics), protocol), results)
    evaluation |= attacked(scores, results.attacks, protocol)
    known = {finding["audit"] for finding in evaluation["audits"]}
    of_images = [
        finding.model_dump(mode="json") for finding in results.audits if finding.audit not in known
    ]  # of images, not of scores
    evaluation["audits"] += of_images
    # Evaluated values replace stored ones key by key; what is not computed from scores (facts of trainings,
    # environment) stays. Validation refuses a mixture that this version could not read again.
    results = validated(
        Results, results.model_dump(mode="json") | evaluation | {"schema_version": SCHEMA_VERSION}, where=str(folder)
    )
    # "" stands for the one suite where several may be ranked together
    ranked = with_thresholds(leaderboard(scores, protocol=protocol), {"": results.cells}) if results.cells else None
    ranked = with_marks(ranked, results.detectors) if ranked else None
    results = results.model_copy(update={"means": means_of(ranked) if ranked else []})
    attributions = recomputed(results.attribution, folder / ATTRIBUTIONS)
    results = results if attributions is None else results.model_copy(update={"attribution": attributions})
    answers = None if attributions is None else read_attributions(folder / ATTRIBUTIONS)
    board = ranked if results.suite else None
    # Written beside and exchanged at the end: an error in between leaves the old report whole.
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary) / "report"
        pictures = _beside(folder, results)
        masks = read_rows(folder / MASKS) if (folder / MASKS).is_file() else None
        write_report(fresh, ReportInputs(results, scores, pictures, board, expected, sections, masks, answers))
        keep_layout(fresh, folder)
        publish_report(fresh, folder)


def _loadable(measured: Sequence[MetricFacts]) -> list[str]:
    """Return names of the metrics beside those of the protocol that can be computed again.

    A metric from a file can if this command names the file, one of a package if the package is installed.
    """
    names = []
    for metric in measured:
        if metric.id in METRICS.entries:  # those of the protocol are always computed
            continue
        name = named_file(metric.name) if is_file_reference(metric.name) else metric.name
        if name is not None and (is_file_reference(name) or name in METRICS.names()):
            names.append(name)
    return names


def _with_kept(evaluation: dict[str, Any], results: Results) -> dict[str, Any]:
    """Add the stored values of metrics that could not be computed again to an evaluation."""
    computed = {metric["id"] for metric in evaluation["metrics"]}
    kept = [metric for metric in results.metrics if metric.id not in computed]
    if not kept:
        return evaluation
    for metric in kept:
        how = (
            f"name its file with --plugin {metric.name}" if is_file_reference(metric.name) else f"install {metric.name}"
        )
        warnings.warn(f"metric {metric.id} keeps its stored values; to compute them again {how}", BenchWarning, 3)
    columns = [name for metric in kept for name in (metric.id, f"{metric.id}_low", f"{metric.id}_high")]
    stored = {_key(cell): cell for cell in results.cells}
    # Columns that no metric of this call wrote: the value and, where it has one, its interval.
    cells = []
    for cell in map(TestResult.model_validate, evaluation["cells"]):
        before = stored.get(_key(cell))
        values = {name: before.value(name) for name in columns if before is not None and before.value(name) is not None}
        cells.append(cell.model_dump(mode="json") | values)
    return evaluation | {
        "cells": cells,
        "metrics": [*evaluation["metrics"], *(metric.model_dump(mode="json") for metric in kept)],
    }


def _key(cell: TestResult) -> tuple[str, str, str, str, int]:
    return cell.detector, cell.trained_on, cell.tested_on, cell.perturbation, cell.seed


def _beside(folder: Path, results: Results) -> Pictures:
    """Read the samples that lie beside a page."""
    # Names are drawn in the order in which the writer drew them: two generators whose names differ in punctuation alone
    # get the same number behind as then.
    names, forged = FileNames(), {}
    for name in dict.fromkeys(generator.name for generator in results.generators):
        file = picture(folder, names("samples", name))
        if file is not None:
            forged[name] = np.asarray(cut_grid(Image.open(file)))
    # without the store there is no pixel of any single face
    return Pictures(forged=forged, filmstrip={}, by_id=lambda source, sample: None)


def from_store(report: RunReport, store: Store, context: Callable[[], Context], sections: Sequence[str] = ()) -> None:
    """Write a report again from the stored results that it was made of, with this version's pages.

    Args:
        report: of the run.
        store: that has its stages.
        context: device and precision; asked for when the store has what is needed.
        sections: of the page, beside those that the run asked for.

    Raises:
        InputError: the store does not know the report, or no longer has what it was made of.
    """
    # the stages of the report tell runs of one name apart
    stage, folders = _stored_report(report.results.name, {stage.key for stage in report.results.stages}, store)
    with tempfile.TemporaryDirectory() as temporary:
        out, work = Path(temporary) / "out", Path(temporary) / "work"
        out.mkdir()
        work.mkdir()
        write(stage, Job(folders, out, work, context()), sections)
        keep_layout(out / "report", report.folder)
        publish_report(out / "report", report.folder)


class Removed(Stage):
    """An input of a stored stage that the store no longer has: a report reads nothing of it.

    Args:
        key: its key.
        label: of the stage that read it; stages that are named after an input have its label.
    """

    def __init__(self, key: str, label: str) -> None:
        super().__init__()
        self.__dict__["key"] = key  # a cached property of a frozen class
        self.__dict__["_label"] = label

    @property
    def label(self) -> str:
        """Return the label."""
        return str(self.__dict__["_label"])

    @property
    def settings(self) -> dict[str, Any]:
        """Return nothing: they were removed with the result."""
        return {}

    def run(self, job: Job) -> Facts:
        """Refuse: nothing is computed of a stage whose settings are gone."""
        raise InputError(f"the stage {self.key[:16]} was removed from the store; run the whole run again")


def _stored_report(name: str, made_of: set[str], store: Store) -> tuple[Report, dict[str, Path]]:
    """Return the newest report stage of a name and of these stages, and key -> folder of its inputs.

    Raises:
        InputError: the store has no such stage, or no longer all of its inputs.
    """
    # all manifests once: keys point at keys
    known = {manifest.key: (folder, manifest) for folder, manifest in store.manifests()}
    reports = [
        (folder, manifest)
        for folder, manifest in known.values()
        if manifest.action == "report"
        and manifest.settings["name"] == name
        and manifest.inputs["evaluation"] in made_of
    ]
    if not reports:
        raise InputError(f"{store.root}/ knows no run {quoted(name)}; give its --store, or use --from-scores")
    # the last one that was written; its program may have been any version
    _, report = max(reports, key=lambda pair: (pair[0] / "manifest.json").stat().st_mtime)
    missing = [label for label, key in report.inputs.items() if key not in known]
    if missing:
        raise InputError(
            f"{store.root}/ no longer has {missing[0]} of {quoted(name)}; run it again, or use --from-scores"
        )
    stages: dict[str, Stage] = {}

    def restore(manifest: Manifest) -> Stage:
        if not manifest.fields:
            raise InputError(
                f"{manifest.stage} in {store.root}/ is of an earlier version, from which no page can be written again; "
                "use --from-scores"
            )
        if manifest.key not in stages:
            # Inputs first: `restored` looks them up in `stages`.
            for key in manifest.inputs.values():
                if key in known:
                    restore(known[key][1])
                else:
                    label = manifest.stage.removeprefix(f"{manifest.action} ")
                    stages.setdefault(key, Removed(key, label))
            # Under the stored key: this version may compute another one from the same fields, and folders are found by
            # the stored one.
            stages[manifest.key] = Stage.actions[manifest.action].restored(manifest.fields, stages, key=manifest.key)
        return stages[manifest.key]

    stage = restore(report)
    assert isinstance(stage, Report)
    return stage, {key: known[key][0] for key in report.inputs.values()}
