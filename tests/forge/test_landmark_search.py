"""Landmarks searched once give the sets that a search for each method gives; sets do not depend on processes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces import forgeries
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter
from forge.generators import GENERATORS
from forge.tampering import landmark_search, tamper
from forge.tampering.landmark_search import landmarks_of, read_landmarks, search_sources, write_landmarks
from forge.tampering.landmarks import TEMPLATE
from forge.tampering.tamper import tamper_set

SIDE, COUNTS = 64, {"train": 4, "test": 7}


def found(read, count, on_done):
    """Landmarks that follow from the image alone; none where it is dark, as of a face that is not found."""
    images = np.concatenate([read(start) for start in range(0, count, landmark_search.BLOCK)])[:count]
    points = (TEMPLATE * 15 + [32, 29])[None] + images[:, 0, 0, 0, None, None] / 64
    points[images[:, 0, 0, 0] < 64] = np.nan
    return points


@pytest.fixture
def real(tmp_path, monkeypatch) -> FaceSet:
    monkeypatch.setattr(landmark_search, "find_landmarks", found)
    coarse = np.random.default_rng(5).integers(0, 256, (12, 8, 8, 3), np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    images[0, 0, 0], images[1, 0, 0] = 10, 200
    rendered = {"source": {"name": "rendered"}}
    with FaceSetWriter(tmp_path / "real", "real", "real", SIDE, "CC0", rendered, {}) as writer:
        writer.append(
            images, [{"id": f"i{n}", "split": ("train", "test")[n % 2], "identity": f"p{n // 4}"} for n in range(12)]
        )
    return FaceSet.open(tmp_path / "real")


def made(real: FaceSet, name: str, out, **options) -> FaceSet:
    implementation = GENERATORS.load(name)
    return tamper_set(
        implementation(implementation.Settings()), real, out, name=name, counts=COUNTS, seed=2, on_progress=silent,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize(("generator", "every"), [("retouch", False), ("splice", True)])
def test_a_search_for_all_methods_gives_the_sets_of_a_search_for_each(generator, every, real, tmp_path):
    searched = search_sources(real, COUNTS, seed=2, every=every, on_progress=silent)
    assert len(searched) == (12 if every else 4 + 6)  # test is asked for more forgeries than it has faces
    assert any(np.isnan(place).all() for place in searched.values())
    write_landmarks(searched, tmp_path / "landmarks.parquet")
    read = read_landmarks(tmp_path / "landmarks.parquet")
    assert list(read) == list(searched)
    np.testing.assert_array_equal(list(read.values()), list(searched.values()))
    first, second = made(real, generator, tmp_path / "a"), made(real, generator, tmp_path / "b", landmarks=read)
    assert first.card.digest == second.card.digest
    if not every:
        with pytest.raises(InputError, match="the landmarks are those of other faces"):
            made(real, "splice", tmp_path / "c", landmarks=read)


def test_landmarks_of_other_faces_are_refused():
    with pytest.raises(InputError, match="'b' was not searched"):
        landmarks_of({"a": np.zeros((5, 2))}, ["a", "b"])


@pytest.mark.parametrize("generator", ["retouch", "splice", "inpaint", "copy-move", "self-blended"])
def test_faces_may_be_altered_by_other_processes(generator, real, tmp_path, monkeypatch):
    alone = made(real, generator, tmp_path / "alone", workers=2)  # few: in this process
    asked = []

    def elsewhere(work, chunks, *, workers):
        asked.append(workers)
        for chunk in chunks:  # what other processes do: work and chunk are pickled, and so is what comes back
            yield (
                work(chunk)
                if workers == 1
                else pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(work))(pickle.loads(pickle.dumps(chunk)))))
            )

    monkeypatch.setattr(forgeries, "ordered", elsewhere)
    monkeypatch.setattr(tamper, "ALONE", 0)
    monkeypatch.setattr(tamper, "BLOCK", 3)
    assert made(real, generator, tmp_path / "sent", workers=2).card.digest == alone.card.digest
    assert asked == [2]
    # a class that this process alone knows stays here
    monkeypatch.setattr(GENERATORS.load(generator), "__module__", "bench_plugin_mine")
    made(real, generator, tmp_path / "plugin", workers=2)
    assert asked == [2, 1]
