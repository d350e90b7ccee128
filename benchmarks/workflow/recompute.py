"""Tests of a published run computed again: from its stored detectors and faces, or from nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.evaluation.results import Results
from benchmarks.workflow.stage import FACES, Context, Job, Stage
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.halve import Halve, Reals
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.score import Score
from benchmarks.workflow.stages.score_pairs import ScorePairs
from benchmarks.workflow.store import Store
from detect.scoring import read_scores, rounded
from forge.core.errors import InputError
from forge.faces.faceset import FaceSet


def tests(stages: Sequence[Stage]) -> dict[str, list[Score]]:
    """Return the tests of a plan by their names (`TestId`) -> the stages that score its real and its forged images."""
    scores = [stage for stage in stages if isinstance(stage, Score)]
    # an external pair has real faces of its own, all generators share those of the run
    reals = {(stage.detector.key, _pair(stage)): stage for stage in scores if stage.real}
    by_name: dict[str, list[Score]] = {}
    for stage in scores:
        if isinstance(stage, ScorePairs):  # scores both classes itself
            by_name |= {str(test): [stage] for test in stage.tests()}
            continue
        real = reals.get((stage.detector.key, _pair(stage)))
        if real is not None:
            by_name |= {str(test): [real, stage] for test in stage.tests()}
    return by_name


def _pair(stage: Score) -> str:
    # a pair may be prepared at two resolutions: whole photos, and their own pixels
    return f"{stage.faces.pair} {stage.faces.resolution}" if isinstance(stage.faces, External) else ""


def from_checkpoints(wanted: Sequence[Score], store: Store, context: Context, out: Path) -> dict[str, Path]:
    """Score again with the detectors and the faces that a store keeps; returns the folders of the scores by key.

    Args:
        wanted: stages that score.
        store: of the run.
        context: device and precision.
        out: a folder for the scores.

    Raises:
        InputError: the store has a detector or a set of faces no longer.
    """
    folders = {}
    for stage in wanted:
        inputs = {}
        for before in stage.inputs.values():
            stored = store.find(before.action, before.key)
            if stored is None:
                raise InputError(f"{before.name} is not in {store.root}/; run the suite first, or use --from scratch")
            inputs[before.key] = stored
        folders[stage.key] = out / stage.key[:16]  # the names that the store uses for keys
        # A stage gets the folders of its inputs by hand, without the engine: nothing is claimed or published, so that
        # the store stays as it is.
        folders[stage.key].mkdir()
        with tempfile.TemporaryDirectory() as work:
            stage.run(Job(inputs, folders[stage.key], Path(work), context))
    return folders


def rows(wanted: Collection[Score], folders: Mapping[str, Path]) -> pd.DataFrame:
    """Return the score rows of some stages."""
    tables = [read_scores(folders[stage.key] / "scores.parquet") for stage in wanted]
    # as the evaluation stores them: unrounded scores would differ in the last digit
    return rounded(pd.concat(tables, ignore_index=True))


def check_checkpoints(results: Results, store: Store) -> None:
    """Refuse to look for checkpoints where a store has none of a run; its report holds only their keys.

    Raises:
        InputError: no fitted detector of the run is in the store; says how to get them.
    """
    fits = [stage for stage in results.stages if stage.action in ("fit", "adopt")]
    # by the folder alone: whether its files are whole is checked when they are read
    if fits and not any(store.folder(stage.action, stage.key).is_dir() for stage in fits):
        raise InputError(
            f"none of the {len(fits)} fitted detectors of {results.name} is in {store.root}/, and a report does not "
            f"contain them; give the --store of the machine that ran it, run it here ({results.command}), or train the "
            "tests that matter again: --from scratch --only TEST"
        )


def reals_stage(stages: Sequence[Stage]) -> Reals:
    """Return the stage of a plan whose result is the real faces of its report: halved where forgeries need sources."""
    halved: list[Reals] = [stage for stage in stages if isinstance(stage, Halve)]
    return halved[0] if halved else next(stage for stage in stages if isinstance(stage, Prepare))


def data_of(stages: Sequence[Stage], store: Store) -> str:
    """Return the digest of the real faces of a plan, as a store holds them; empty: it does not."""
    reals = reals_stage(stages)
    stored = store.find(reals.action, reals.key)
    return FaceSet.open(stored / FACES).card.digest if stored else ""
