"""Names of files and of detectors, as hostile as names can be, in what is written and printed."""

import csv
import doctest
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import forge.core.files
from benchmarks.evaluation.metrics import facts_of
from benchmarks.evaluation.results import to_csv
from forge.core.files import csv_cell, visible
from forge.faces.export import export
from forge.faces.faceset import FaceSet
from forge.faces.prepare import prepare
from forge.faces.sources import resolve
from forge.faces.writer import FaceSetWriter

FORMULAS = ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-cmd", "@SUM(1)", " =1", "\t=1", "\r@x"]


def test_the_examples_hold():
    assert doctest.testmod(forge.core.files).failed == 0


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_is_never_a_formula_and_moves_no_cursor(text):
    cell = csv_cell(text)
    assert isinstance(cell, str) and cell.isprintable() and cell.lstrip()[0] not in "=+-@"


@pytest.mark.parametrize("value", ["-2.5", "+1e-3", "dct", "a=b", "", 3, -0.5, None])
def test_numbers_and_usual_names_are_left_alone(value):
    assert csv_cell(value) == value


def test_names_that_people_use_are_left_alone():
    for name in ("Größe 1.png", "写真\u3000一.jpg", "Screenshot 10.00\u202fAM.png", "👩\u200d🚀.png"):
        assert visible(name) == name


def test_names_of_files_are_written_safely(tmp_path):
    folder = tmp_path / "photos"
    (folder / "=1+1").mkdir(parents=True)
    for number in range(40):
        noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((40, 40)).save(folder / f"{number:02d}.png")
    for name in ("=1+1/@bad.png", "b\x1b[31m\n\u202egnp.png"):
        (folder / name).write_bytes(b"not an image")
    faces = prepare(resolve(f"folder:{folder}"), tmp_path / "set", resolution=16)
    rejected = list(csv.reader((faces.path / "rejected.csv").open(encoding="utf-8", newline="")))
    assert {row[0] for row in rejected[1:]} == {"'=1+1/@bad.png", r"b\x1b[31m\n\u202egnp.png"}


def test_an_exported_table_holds_no_formula(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    facts = {"name": "x", "kind": "forged", "resolution": 16, "licence": "none", "provenance": {}, "citation": ""}
    with FaceSetWriter(tmp_path / "set", **facts, attributes={"hat": "string"}) as writer:
        writer.append(images, [{"id": f"={i}", "split": "test", "hat": ("-x", None)[i % 2]} for i in range(10)])
    export(FaceSet.open(tmp_path / "set"), tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert set(table["hat"].dropna()) == {"'-x"} and table["id"].str.startswith("'=").all()


def test_names_of_detectors_are_no_formulas():
    from synthetic import cell

    text = to_csv([cell(0.9, 0.8, 0.95, detector="=1+1"), cell(0.9, 0.8, 0.95, detector="@x")], facts_of())
    assert [row["detector"] for row in csv.DictReader(io.StringIO(text))] == ["'=1+1", "'@x"]
