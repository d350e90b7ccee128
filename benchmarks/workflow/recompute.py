"""Tests of a published run computed again: from its stored detectors and faces, or from nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.measures.results import Results
from benchmarks.protocol import EXTERNAL_PREFIX, TestId
from benchmarks.workflow.job import FACES, Context, Job
from benchmarks.workflow.planner import Stage, plain
from benchmarks.workflow.store import Store
from detect.scoring import read_scores, rounded
from forge.errors import InputError
from forge.faces.faceset import FaceSet


def tests(stages: Sequence[Stage]) -> dict[str, list[Stage]]:
    """The tests of a plan by their names (`cells.named`) -> the stages that score its real and its forged images."""
    found: dict[str, list[Stage]] = {}
    scores: dict[str, dict[str, Stage]] = {}  # key of the fit -> scored set -> stage
    for stage in stages:
        if stage.kind == "score":
            scores.setdefault(stage.inputs["detector"].key, {})[_scored(stage)] = stage
    for sets in scores.values():
        for name, stage in sets.items():
            pair = name.removesuffix(" forged") if name.startswith(EXTERNAL_PREFIX) else name
            real = sets.get(f"{pair} real" if name.startswith(EXTERNAL_PREFIX) else "real")
            if name == "real" or name.endswith(" real") or real is None:
                continue
            fit = stage.inputs["detector"]
            for asked in stage.settings["asked"]:
                if asked["split"] == "test":
                    found[str(TestId(fit.plain, pair, asked["perturbation"], fit.seed))] = [real, stage]
    return found


def _scored(stage: Stage) -> str:
    """What was scored, without its seed: "real", "dcgan", "external:mine forged"."""
    return plain(stage.subject).removeprefix(f"{stage.inputs['detector'].plain} on ")


def from_checkpoints(wanted: Sequence[Stage], store: Store, context: Context, out: Path) -> dict[str, Path]:
    """Score again with the detectors and the faces that a store keeps; returns the places of the scores by key.

    Args:
        wanted: stages that score.
        store: of the run.
        context: device and precision.
        out: a folder for the scores.

    Raises:
        InputError: the store has a detector or a set of faces no longer.
    """
    from benchmarks.workflow.stages import STAGES

    places = {}
    for stage in wanted:
        inputs = {}
        for name, before in stage.inputs.items():
            found = store.find(before.kind, before.key)
            if found is None:
                raise InputError(f"{before.name} is not in {store.root}/; run the suite first, or use --from scratch")
            inputs[name] = found
        places[stage.key] = out / stage.key[:16]
        places[stage.key].mkdir()
        with tempfile.TemporaryDirectory() as work:
            STAGES[stage.kind](Job(stage, inputs, places[stage.key], Path(work), context))
    return places


def rows(wanted: Collection[Stage], places: Mapping[str, Path]) -> pd.DataFrame:
    """The score rows of some stages."""
    tables = [read_scores(places[stage.key] / "scores.parquet") for stage in wanted]
    return rounded(pd.concat(tables, ignore_index=True))


def check_checkpoints(results: Results, store: Store) -> None:
    """Refuse to look for checkpoints where a store has none of a run; its report holds only their keys.

    Raises:
        InputError: no fitted detector of the run is in the store; says how to get them.
    """
    fits = [stage for stage in results.stages if stage.name.startswith("fit ")]
    if fits and not any(store.place("fit", stage.key).is_dir() for stage in fits):
        raise InputError(
            f"none of the {len(fits)} fitted detectors of {results.name} is in {store.root}/, and a report does not "
            f"contain them; give the --store of the machine that ran it, run it here ({results.command}), or train the "
            "tests that matter again: --from scratch --only TEST"
        )


def prepare_stage(stages: Sequence[Stage]) -> Stage:
    """The stage of a plan that prepares the real faces."""
    return next(stage for stage in stages if stage.kind == "prepare")


def data_of(stages: Sequence[Stage], store: Store) -> str:
    """The digest of the real faces of a plan, as a store holds them; empty: it does not."""
    prepare = prepare_stage(stages)
    found = store.find(prepare.kind, prepare.key)
    return FaceSet.open(found / FACES).card.digest if found else ""
