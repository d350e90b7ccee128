"""`bench export images`: the test images of a suite under neutral names, for those who score them elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
from PIL import Image

from benchmarks.evaluation.results import Results
from benchmarks.evaluation.submission import suite_images
from benchmarks.protocol import EXTERNAL_PREFIX
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.runner import stored_result
from benchmarks.workflow.store import Store
from forge.core.errors import InputError
from forge.core.files import publishing
from forge.faces.faceset import FaceSet


def images(suite: str, out: Path, real: bool, store: Path, reports: Path) -> None:
    """Write every test image as PNG under a name that says nothing of its class, and a scores.csv to fill in."""
    # `publishing` would take an empty folder, which may be in use.
    if out.exists():
        raise InputError(f"{out} exists already; choose another place with --out")
    report = RunReport.open(suite, reports)
    results = report.results
    # An image stands in many rows, one per detector; its neutral name follows from set, seed and id.
    wanted = suite_images(report.scores).drop_duplicates("image")
    # Faces of real people are written only where the licence lets a report show them, or where the user decides so.
    if not (real or results.data.shown):
        wanted = wanted[wanted["generator"] != ""]
    sets = _sets(results, Store(store))
    if not real:
        # Real photos of an external pair have a licence that the run does not know.
        wanted = wanted[(wanted["generator"] != "") | ~wanted["source"].str.startswith(EXTERNAL_PREFIX)]
    # "external:NAME" where an image is of a pair, else ""
    foreign = wanted["source"].where(wanted["source"].str.startswith(EXTERNAL_PREFIX), "")
    with publishing(out) as temporary:
        # By set, so that each FaceSet is opened once; sorted, so that the order of files is the same each time.
        for (pair, generator, seed), rows in wanted.groupby([foreign, "generator", "seed"], sort=True):
            side = f"{pair} {'forged' if generator else 'real'}" if pair else str(generator)
            # seeds of reals and pairs do not matter: they are shared by all repetitions
            _write(sets[side, int(str(seed)) if generator and not pair else -1], rows, temporary)
        # Sorted by neutral name: the order says nothing of the class.
        names = sorted(wanted["image"])
        # Rows to fill in, in the form that `bench submit` reads.
        (temporary / "scores.csv").write_text(
            "image,score\n" + "".join(f"{name},\n" for name in names), encoding="utf-8"
        )
        data = results.data
        text = (
            f"Test images of the suite {results.name}: faces that generators made of nobody, and where they are "
            f"included photos of {data.name}.\nLicence of the photos: {data.licence}\n"
            f"Citation: {data.citation or '-'}\n"
        )
        (temporary / "LICENCE.txt").write_text(text, encoding="utf-8")
    # both classes are needed to rank; the photos may lie with the reader already
    included = "" if (wanted["generator"] == "").any() else " (forged ones alone: --real adds the photos)"
    print(f"{out}: {len(names):,} images{included}, and scores.csv to fill in; then:")
    # quoted: the lines can be copied into a shell
    print(f"  bench submit {shlex.quote(str(out / 'scores.csv'))} --suite {shlex.quote(suite)} --name NAME")


def _sets(results: Results, store: Store) -> dict[tuple[str, int], FaceSet]:
    """Open FaceSets of a run by generator and seed; real faces are ("", -1), a pair's ("external:NAME real", -1)."""
    sets: dict[tuple[str, int], FaceSet] = {}
    for stage in results.stages:
        if stage.action == "external":
            key = f"{EXTERNAL_PREFIX}{stage.label}", -1
        elif stage.action in ("prepare", "halve"):
            key = "", -1
        elif stage.action in ("synthesize", "translate", "tamper"):
            # a run with one seed stores it in results.seed
            key = stage.label, results.seed if stage.seed is None else stage.seed
        else:
            continue
        sets[key] = FaceSet.open(stored_result(results, stage, store) / "faces")
    return sets


def _write(faces: FaceSet, rows: pd.DataFrame, folder: Path) -> None:
    """PNG files without a word of metadata: a mark of their origin would be their label."""
    position = {name: i for i, name in enumerate(faces.table["id"])}
    for name, sample_id in zip(rows["image"], rows["sample_id"], strict=True):
        # no text chunk, and one encoder for both classes
        Image.fromarray(faces.read([position[sample_id]])[0]).save(folder / f"{name}.png", "PNG")
