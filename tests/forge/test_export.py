import numpy as np
import pandas as pd
import pytest
from PIL import Image

from forge.core.errors import InputError
from forge.faces.export import contact_sheet, export
from forge.faces.faceset import FaceSet
from forge.faces.sources import resolve
from forge.faces.writer import FaceSetWriter


@pytest.fixture
def faces(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    with FaceSetWriter(
        tmp_path / "set", name="dcgan", kind="forged", resolution=16, licence="synthetic", provenance={},
        citation="Ünal 2020", attributes={"hat": "string"},
    ) as writer:  # fmt: skip
        rows = [{"id": f"../{i}", "split": ("train", "test")[i % 2], "hat": "no, never"} for i in range(10)]
        writer.append(images, rows)
    return FaceSet.open(tmp_path / "set")


def test_png_files_are_the_pixels_and_say_what_they_are(faces, tmp_path):
    export(faces, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/table.csv")
    assert table["id"].tolist() == faces.table["id"].tolist()
    assert table["hat"].tolist() == ["no, never"] * 10
    for position, file in enumerate(table["file"]):
        with Image.open(tmp_path / "out" / file) as image:
            assert np.array_equal(np.asarray(image), faces.read([position])[0])
            assert image.text["Software"] == "deepfake-bench"
            assert "Synthetic image, not a photograph of a person" in image.text["Source"]
            assert faces.card.digest in image.text["Source"]
    assert "Ünal 2020" in (tmp_path / "out/LICENCE.txt").read_text(encoding="utf-8")


def test_a_real_set_is_not_called_synthetic(faces, tmp_path):
    faces.card = faces.card.model_copy(update={"kind": "real"})
    export(faces, tmp_path / "out")
    with Image.open(next((tmp_path / "out").rglob("*.png"))) as image:
        assert "Synthetic" not in image.text["Source"]


def test_one_split_alone_and_back_as_a_source(faces, tmp_path):
    export(faces, tmp_path / "out", split="test")
    assert len(pd.read_csv(tmp_path / "out/table.csv")) == 5
    assert len(resolve(str(tmp_path / "out"))) == 5
    with pytest.raises(InputError, match="exists already"):
        export(faces, tmp_path / "out")
    with pytest.raises(InputError, match="no images in split 'val'"):
        export(faces, tmp_path / "other", split="val")
    assert not (tmp_path / "other").exists()


def test_contact_sheet(faces):
    sheet = np.asarray(contact_sheet(faces.view(), count=7, columns=3, gap=1))
    assert sheet.shape == (3 * 17 - 1, 3 * 17 - 1, 3)
    assert np.array_equal(sheet[17:33, 34:50], faces.read([5])[0])
    assert (sheet[16] == 255).all()
    assert (sheet[34:, 17:] == 255).all()
