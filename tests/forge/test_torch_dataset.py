"""FaceSets in loops of others: as datasets of torch and of Hugging Face, and datasets of others as sources."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from forge.core.errors import InputError
from forge.faces.faceset import FaceSet
from forge.faces.torch_dataset import FaceDataset
from forge.faces.writer import FaceSetWriter


@pytest.fixture
def sets(make_set):
    return make_set("real", {"train": 5, "test": 3}), make_set("forged", {"train": 4, "val": 2}, kind="forged", seed=1)


def test_items_are_pixels_and_labels_in_order(sets):
    real, forged = sets
    dataset = FaceDataset(real, forged)
    assert len(dataset) == 14 and dataset.classes == ("real", "forged")
    pixels = np.concatenate([real.view().read(), forged.view().read()])
    for number, (image, label) in enumerate(dataset[i] for i in range(14)):
        assert image.dtype == torch.uint8 and image.shape == (3, 16, 16) and label == (number >= 8)
        assert np.array_equal(image.permute(1, 2, 0), pixels[number])
    assert torch.equal(dataset[-1][0], dataset[13][0])
    for index in (14, -15):
        with pytest.raises(IndexError):
            dataset[index]


def test_a_split_is_chosen_and_images_are_transformed(sets):
    real, forged = sets
    dataset = FaceDataset(real, forged, split="train", transform=lambda image: image.float() / 255)
    assert len(dataset) == 9 and [label for _, label in dataset] == [0] * 5 + [1] * 4
    assert dataset[8][0].dtype == torch.float32 and dataset[8][0].max() <= 1
    with pytest.raises(InputError, match=r"no images in split 'val'"):
        FaceDataset(real, split="val")


def test_workers_read_the_files_themselves(sets):
    dataset = FaceDataset(*sets)
    dataset[0]  # maps the files in this process
    assert len(pickle.dumps(dataset)) < sum(faces.view().read().nbytes for faces in sets)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[9][0], dataset[9][0])
    loaded = DataLoader(dataset, batch_size=5, num_workers=1, multiprocessing_context="fork")
    images, labels = map(torch.cat, zip(*loaded, strict=True))
    assert torch.equal(images, torch.stack([image for image, _ in dataset])) and labels.tolist() == [0] * 8 + [1] * 6


def test_a_label_column_becomes_numbers(tmp_path):
    with FaceSetWriter(
        tmp_path / "set", name="s", kind="real", resolution=8, licence="", provenance={}, attributes={"age": "int64"}
    ) as writer:
        rows = [{"id": str(i), "split": "test", "age": age, "identity": who} for i, (age, who) in enumerate(
            [(30, "b"), (None, "a"), (20, None), (30, "b")])]  # fmt: skip
        writer.append(np.zeros((4, 8, 8, 3), np.uint8), rows)
    faces = FaceSet.open(tmp_path / "set")
    ages, people = FaceDataset(faces, label="age"), FaceDataset(faces, label="identity")
    assert ages.labels.tolist() == [1, -1, 0, 1] and people.labels.tolist() == [1, 0, -1, 1]
    assert people.classes == ("a", "b") and [float(value) for value in ages.classes] == [20, 30]
    with pytest.raises(InputError, match=r"no column 'hat'; label may be: kind, id, split"):
        FaceDataset(faces, label="hat")


def test_sets_must_fit_together(make_set):
    with pytest.raises(InputError, match="at least one FaceSet"):
        FaceDataset()
    with pytest.raises(InputError, match="16/32 px"):
        FaceDataset(make_set("a", {"test": 1}), make_set("b", {"test": 1}, resolution=32))
