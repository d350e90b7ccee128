"""`bench tamper`: own photos of any size, each forgery marked and beside its mask; an edit from a file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from forge.core.provenance import ALTERED
from forge.rendering import render_person_images

MOSAIC = """
import numpy as np
from forge.tampering.base import Edited, EditSettings, LocalEdit

class Mosaic(LocalEdit[EditSettings]):
    citation = "-"

    def edit(self, photo, source):
        alpha = np.zeros((photo.side, photo.side))
        alpha[10:20, 5:40] = 1
        return Edited(255.0 - photo.image, alpha, "bar")
"""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    faces = render_person_images(1, 0, 2, size=96, images_per_person=1)
    Image.fromarray(faces[0].image).save(folder / "a.png")
    Image.fromarray(faces[1].image).resize((130, 90)).save(folder / "b.jpg")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_photos_are_altered_inside_their_masks_and_marked(bench, photos, tmp_path):
    flags = ("tamper", "retouch", str(photos), "--resolution", "96", "--set", "changes=[nose]", "--seed", "3")
    code, out, err = bench(*flags)
    assert code == 0, err
    folder = tmp_path / "pictures" / "retouch"
    assert {file.name for file in folder.iterdir()} == {"a.png", "a-mask.png", "b.png", "b-mask.png", "sheet.png"}
    assert "broken.jpg: not used" in out and "nose, " in out and "% of the image" in out
    before, after, mask = pixels(photos / "a.png"), pixels(folder / "a.png"), pixels(folder / "a-mask.png")
    assert after.shape == (96, 96, 3) and mask.shape == (96, 96)
    assert np.array_equal(after[mask == 0], before[mask == 0]) and (after != before).any()
    assert ALTERED in Image.open(folder / "b.png").text["Source"]
    again = bench(
        "tamper", "retouch", str(photos), "--resolution", "96", "--set", "changes=[nose]", "--seed", "3", "--out", "x"
    )
    assert again[0] == 0 and np.array_equal(pixels(tmp_path / "x" / "a.png"), after)


def test_an_edit_from_a_file(bench, photos, tmp_path):
    (tmp_path / "mine.py").write_text(MOSAIC)
    code, _, err = bench("tamper", "mine.py:Mosaic", str(photos / "a.png"), "--resolution", "64", "--out", "here")
    assert code == 0, err
    assert (pixels(tmp_path / "here" / "a-mask.png") > 0).sum() == 350


def test_nothing_to_alter_is_an_error(bench, photos):
    code, _, err = bench("tamper", "retouch", str(photos / "broken.jpg"))
    assert code != 0 and "none of the 1 files could be used" in err
