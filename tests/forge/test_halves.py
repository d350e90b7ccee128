"""Real faces halved by identity into the real class and sources of forgeries."""

from __future__ import annotations

import numpy as np
import pytest

from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.faces.halves import assign_sources, halve, source_view
from forge.faces.writer import FaceSetWriter


def people(tmp_path, identities: dict[str, list[str]]) -> FaceSet:
    """Write a set: split -> identity of each image; a label column of integers with a missing value."""
    rng = np.random.default_rng(0)
    known = {"name": "people", "kind": "real", "resolution": 8, "licence": "CC0", "provenance": {}}
    with FaceSetWriter(tmp_path / "people", **known, attributes={"age": "int64"}) as writer:
        for split, names in identities.items():
            rows = [
                {"id": f"{split}-{i}", "split": split, "identity": who, "age": i or None} for i, who in enumerate(names)
            ]
            writer.append(rng.integers(0, 256, (len(names), 8, 8, 3), dtype=np.uint8), rows)
    return FaceSet.open(tmp_path / "people")


def test_no_person_stands_on_both_sides_and_all_else_stays(tmp_path):
    train = [f"p{i % 9}" for i in range(40)]
    faces = people(tmp_path, {"forge": ["f0", "f1"], "train": train, "test": [f"q{i}" for i in range(11)]})
    halved = halve(faces, tmp_path / "halved", silent)
    table = halved.table
    for split in ("train", "test"):
        real = set(table["identity"][table["split"] == split])
        source = set(table["identity"][table["split"] == f"{split}-source"])
        assert real and source and not real & source
    assert halved.card.splits["train"] + halved.card.splits["train-source"] == 40
    assert abs(halved.card.splits["train"] - 20) <= 3  # an identity has 4 or 5 images
    assert halved.card.splits["forge"] == 2 and not halved.verify()
    assert (halved.read(range(len(halved))) == faces.read(range(len(faces)))).all()
    same = faces.table.columns.drop("split")
    assert table[same].equals(faces.table[same])


def test_the_halves_do_not_depend_on_the_order_of_rows():
    names = np.array([f"p{i % 7}" for i in range(50)])
    chosen = assign_sources(names)
    order = np.random.default_rng(0).permutation(50)
    assert (assign_sources(names[order]) == chosen[order]).all()


def test_images_of_nobody_known_are_people_of_their_own(tmp_path):
    halved = halve(people(tmp_path, {"train": [""] * 20}), tmp_path / "halved", silent)
    assert halved.card.splits == {"train": 10, "train-source": 10}


def test_sources_are_the_half_that_is_for_them(tmp_path, make_set):
    faces = people(tmp_path, {"train": [f"p{i}" for i in range(8)]})
    assert len(source_view(faces, "train")) == 8
    halved = halve(faces, tmp_path / "halved", silent)
    assert set(source_view(halved, "train").rows["split"]) == {"train-source"}
    with pytest.raises(InputError, match="is halved already"):
        halve(halved, tmp_path / "again", silent)
    with pytest.raises(InputError, match="holds forged faces"):
        halve(make_set("forged", {"test": 4}, kind="forged"), tmp_path / "again", silent)


def test_one_person_cannot_be_halved(tmp_path):
    with pytest.raises(InputError, match="split 'val': forgeries from real faces need people of their own"):
        halve(people(tmp_path, {"train": ["a", "b"], "val": ["c", "c"]}), tmp_path / "halved", silent)
