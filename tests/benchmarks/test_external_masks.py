"""Masks of photos from elsewhere: flags and arguments, plans, what is measured, and what is refused before any work."""

from __future__ import annotations

import shlex

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from requested import gather

from benchmarks.evaluation.localisation import constant_rows, localised, packed, read_rows, write_rows
from benchmarks.evaluation.pixels import PixelCounts
from benchmarks.experiment.request import parse_pairs
from benchmarks.experiment.resolve import resolve
from benchmarks.protocol import ELSEWHERE
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.stage import FACES, Context, Job
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.localise import Localise
from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.sources import resolve as source_of
from forge.faces.sources.masked import MaskedFolder

COUNT, SIDE = 22, 36
FLAGS = {"generator": ["splice", "inpaint"], "detector": ["noise-map", "dct"], "preset": "smoke"}
PAIR = "theirs=real,forged,masks"


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Folders real, forged and masks; mask 0 is black and mask 1 white."""
    monkeypatch.chdir(tmp_path)
    for name in ("real", "forged", "masks"):
        (tmp_path / name).mkdir()
    for i in range(COUNT):
        rng = np.random.default_rng(i)
        for first, name in enumerate(("real", "forged")):
            coarse = np.random.default_rng(100 * first + i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(coarse.repeat(6, 0).repeat(6, 1)).save(tmp_path / name / f"{i:02d}.png")
        mask = np.full((SIDE, SIDE), 255 * (i == 1), np.uint8)
        top, left = rng.integers(0, 20, 2)
        if i > 1:
            mask[top : top + 12, left : left + 12] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i:02d}.png")
    return tmp_path


def settings(*pairs, **flags):
    return gather(None, FLAGS | flags, pairs=pairs)


def test_a_third_folder_or_a_column_has_the_masks(pair):
    made = settings(PAIR)
    external = made.external["theirs"]
    assert (external.real, external.forged, external.masks) == ("real", "forged", "masks")
    assert resolve(made.request).external == made.external and PAIR in shlex.split(made.command)
    from_python = gather(None, FLAGS | {"external": {"theirs": ("real", "forged", "masks")}})
    assert from_python.external == made.external
    assert parse_pairs(["t=real,forged,column:mask"]) == {"t": ("real", "forged", "column:mask")}
    (pair / "forged,masks").mkdir()
    with pytest.raises(InputError, match="can be read in 2 ways"):
        parse_pairs(["t=real,forged,masks"])


@pytest.mark.parametrize(
    ("text", "flags", "sentence"),
    [
        ("theirs=real,forged,nowhere", {}, "--external theirs: there is no folder nowhere"),
        ("theirs=real,nowhere,masks", {}, "there is no folder nowhere"),
        ("theirs=real,forged,column:mask", {}, r"needs labels\.csv in forged"),
        (PAIR, {"detector": ["dct"]}, "no detector of the run has maps .* add --detector unet"),
        (PAIR, {"generator": ["dcgan"]}, "no generator of the run has any, .* add --generator splice"),
    ],
)
def test_masks_that_cannot_be_used_are_refused_before_any_work(pair, text, flags, sentence):
    with pytest.raises(InputError, match=sentence):
        prepare_run(settings(text, **flags))


def test_a_mask_that_is_none_is_refused_before_any_work(pair):
    Image.fromarray(np.full((SIDE, SIDE), 99, np.uint8)).save(pair / "masks" / "07.png")
    with pytest.raises(InputError, match=r"mask masks/07\.png: its values are 99;"):
        prepare_run(settings(PAIR))
    (pair / "masks" / "07.png").unlink()
    with pytest.raises(InputError, match=r"photo 07\.png has no mask in masks"):
        prepare_run(settings(PAIR))


def test_localisers_that_know_all_generators_are_measured_on_the_pair(pair):
    plain = {stage.name: stage for stage in prepare_run(settings("theirs=real,forged")).stages}
    stages = {stage.name: stage for stage in prepare_run(settings(PAIR)).stages}
    assert stages["external theirs real"].key == plain["external theirs real"].key
    assert stages["external theirs forged"].masked and not plain["external theirs forged"].masked
    measured = {stage.label: stage for stage in stages.values() if isinstance(stage, Localise)}
    assert {label for label, stage in measured.items() if stage.pairs} == {"noise-map@elsewhere"}
    stage = measured["noise-map@elsewhere"]
    assert list(stage.pairs) == list(stage.reals) == ["external:theirs"] and stage.learned == ("splice", "inpaint")
    assert {"pairs external:theirs", "reals external:theirs"} <= set(stage.inputs)
    assert stage in stages["report"].maps


def test_the_prepared_side_has_masks_and_counts_those_of_one_value(pair):
    source = MaskedFolder("forged", "masks")
    stage = External(pair="theirs", side="forged", resolution=24, crop="none", count=100, fingerprint="", masked=True)
    context = Context(source, Compute(), 1, silent, external={"theirs": (source_of("real"), source)})
    (pair / "out").mkdir()
    facts = stage.run(Job({}, pair / "out", pair / "work", context))
    assert (facts["images"], facts["untouched"], facts["altered_whole"]) == (COUNT, 1, 1)
    faces = FaceSet.open(pair / "out" / FACES)
    assert faces.has_masks and faces.card.kind == "forged"


def row(generator, split, number, hits, altered, alarms, pair=""):
    counts = np.zeros((2, 1, 256), int)
    counts[0, 0, [9, 3]] = hits, altered - hits
    counts[1, 0, [9, 3]] = alarms, 100 - alarms
    sides = packed(PixelCounts(*counts))
    return {
        "detector": "unet", "trained_on": "splice", "seed": 0, "source": "map", "sample_id": f"{number}",
        "identity": None, "generator": generator, "split": split, "pair": pair, "altered": sides[0][0],
        "untouched": sides[1][0],
    }  # fmt: skip


def test_false_alarms_of_a_pair_are_on_its_real_photos_and_black_masks_are_left_out(tmp_path):
    rows = [row("splice", split, n, 8, 10, 1) for split in ("val", "test") for n in range(4)]
    rows += [row("", "test", n, 0, 0, 10) for n in range(4)]
    rows += [row("", "test", n, 0, 0, 40, "external:theirs") for n in range(4)]
    rows += [row("external:theirs", "test", n, 4, 10 if n else 4, 0, "external:theirs") for n in range(3)]
    rows += [row("external:theirs", "test", 9, 0, 0, 5, "external:theirs")]
    table = pd.DataFrame(rows).assign(edges=None)
    write_rows(table, tmp_path / "masks.parquet")
    by_test = {(r.detector, r.tested_on): r for r in localised(read_rows(tmp_path / "masks.parquet"))}
    ours, theirs = by_test["unet", "splice"], by_test["unet", "external:theirs"]
    assert (ours.false_alarm_area.value, theirs.false_alarm_area.value) == pytest.approx((0.1, 0.4))
    assert (theirs.images, theirs.undefined) == (4, 1)
    assert theirs.f1.value == pytest.approx(np.mean([1, 8 / 14, 8 / 14]))
    assert len(constant_rows(table)) == len(table) and set(constant_rows(table)["trained_on"]) == {ELSEWHERE}
    # rows of an earlier version have no column for pairs
    old = tmp_path / "old.parquet"
    table[table["pair"] == ""].drop(columns="pair").to_parquet(old)
    assert set(read_rows(old)["pair"]) == {""}
