"""Copies between the sides of a pair and of what was trained on are named, mirrored ones too."""

import numpy as np
import pytest
from test_handling import photo

from benchmarks.evaluation.audits import failed
from benchmarks.workflow.stages.audit import copied
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter

SIDE = 32


def faces_of(folder, name, images, splits, kind="real"):
    """A FaceSet of these images."""
    writer = FaceSetWriter(
        folder / name.replace(":", "-"), name=name, kind=kind, resolution=SIDE, licence="test", provenance={}
    )
    with writer:
        writer.append(
            np.stack(images),
            [
                {"id": f"{i:07d}", "split": split, "source_file": f"{name}{i}.png"}
                for i, split in zip(range(len(images)), splits, strict=True)
            ],
        )
    return FaceSet.open(folder / name.replace(":", "-"))


def photos(first, count=12):
    return [photo(i, SIDE) for i in range(first, first + count)]


def findings_of(tmp_path, real, forged):
    """Findings of a run's own sets (reals 0..23, forgeries 100..111) and a pair."""
    data = faces_of(tmp_path, "faces", photos(0, 24), ["train"] * 12 + ["test"] * 12)
    training = {"dcgan": faces_of(tmp_path, "dcgan", photos(100), ["train"] * 12, "forged")}
    pair = [
        faces_of(tmp_path, f"external:mine {kind}", images, ["test"] * len(images), kind)
        for kind, images in (("real", real), ("forged", forged))
    ]
    return copied(data, training, *pair)


def mirrored(images):
    return [image[:, ::-1] for image in images]


def test_a_pair_without_copies_passes(tmp_path):
    findings = findings_of(tmp_path, photos(200), photos(300))
    assert [finding.passed for finding in findings] == [True] * 4


@pytest.mark.parametrize("change", [list, mirrored])
@pytest.mark.parametrize(
    ("side", "planted", "where"),
    [
        ("forged", photos(200, 6), "both sides of external:mine"),
        ("real", photos(0, 6), "both the training photos and the real photos of external:mine"),
        ("forged", photos(0, 6), "both the real images of the run and the forgeries of external:mine"),
        ("forged", photos(100, 6), "both the training forgeries of dcgan and the forgeries of external:mine"),
    ],
)
def test_planted_copies_are_named(tmp_path, change, side, planted, where):
    pair = {"real": photos(200), "forged": photos(300)}
    pair[side] += change(planted)
    (finding,) = failed(findings_of(tmp_path, **pair))
    assert finding.sentence.startswith(f"6 photos are in {where}")
