"""A set whose images are changed keeps its rows, and says what was done to it."""

import numpy as np
import pytest

from forge.core.errors import InputError
from forge.faces.faceset import FaceSet
from forge.faces.transform import rewrite
from forge.faces.writer import FaceSetWriter


@pytest.fixture
def faces(tmp_path):
    rng = np.random.default_rng(0)
    with FaceSetWriter(
        tmp_path / "faces", name="faces", kind="real", resolution=8, licence="CC0", citation="me", provenance={"a": 1},
        attributes={"hair": "string", "age": "int64"},
    ) as writer:  # fmt: skip
        for split, count in (("train", 5), ("val", 3), ("test", 2)):
            rows = [{"id": f"{split}{i}", "split": split, "identity": None if i else "p", "hair": "dark", "age": i}
                    for i in range(count)]  # fmt: skip
            writer.append(rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8), rows)
    return FaceSet.open(tmp_path / "faces")


def test_images_change_and_rows_stay(faces, tmp_path):
    changed = rewrite(faces, tmp_path / "out", lambda images: 255 - images, called="inverted", splits=("val", "train"))
    assert changed.card.splits == {"train": 5, "val": 3} and changed.verify() == []
    for split in ("train", "val"):
        assert (changed.view(split).read() == 255 - faces.view(split).read()).all()
        columns = ["id", "split", "identity", "hair", "age"]
        left, right = (face_set.view(split).rows[columns].reset_index(drop=True) for face_set in (changed, faces))
        assert left.equals(right)
    card = changed.card
    assert (card.name, card.kind, card.licence, card.citation) == ("faces", "real", "CC0", "me")
    assert card.provenance == {
        "a": 1, "changed": "inverted", "made_from": {"name": "faces", "digest": faces.card.digest},
    }  # fmt: skip
    assert card.digest != faces.card.digest


def test_a_split_that_is_not_there_is_said(faces, tmp_path):
    with pytest.raises(InputError, match="has no split 'forge'; it has: test, train, val"):
        rewrite(faces, tmp_path / "out", lambda images: images, called="", splits=("forge",))
    assert not (tmp_path / "out").exists()
