"""Layouts of public test sets, each built in small and recognised."""

from pathlib import Path

import pytest

from forge.core.errors import InputError
from forge.faces.layouts import recognise


def build(root: Path, *files: str) -> Path:
    """Make empty files below a folder."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_genimage_has_a_column_a_generator_and_uses_its_validation_images(tmp_path):
    build(
        tmp_path,
        *(
            f"{generator}/{split}/{name}/{number}.png"
            for generator in ("imagenet_ai_0419_biggan", "imagenet_midjourney")
            for split in ("train", "val")
            for name in ("ai", "nature")
            for number in range(3)
        ),
    )
    test_set = recognise(tmp_path)
    assert test_set.summary() == "GenImage: 2 subsets, 6 real and 6 forged, split val"
    assert test_set.subsets() == ["biggan", "midjourney"]
    tested = test_set.of_split("val")
    assert [entry.file for entry in tested.side("forged", "biggan")] == [
        f"imagenet_ai_0419_biggan/val/ai/{number}.png" for number in range(3)
    ]
    assert {entry.generator for entry in tested.side("real", "biggan")} == {None}


def test_a_folder_of_no_layout_is_refused_with_what_it_holds(tmp_path):
    build(tmp_path, "holiday/a.jpg", "holiday/b.jpg")
    with pytest.raises(InputError, match=r"2 images and videos in 2 folders, at the top the folders holiday.*manifest"):
        recognise(tmp_path)
