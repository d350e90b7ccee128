"""Copies between the sides of a pair and of what was trained on are named, mirrored ones too."""

import numpy as np
import pytest
from test_handling import jpeg_once, photo

from benchmarks.evaluation.audits import failed
from benchmarks.workflow.image_copies import described
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
                {"id": f"{i:07d}", "split": split, "source_file": f"{kind}/{i}.png"}
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
        faces_of(tmp_path / kind, "external:mine", images, ["test"] * len(images), kind)
        for kind, images in (("real", real), ("forged", forged))
    ]
    return copied(described(data.view(None)), training, *pair)


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
    assert finding.sentence.startswith(f"6 photos are in {where}, pixel for pixel: ")
    assert f" and {side}/12.png" in finding.sentence  # files, not positions


@pytest.mark.parametrize(
    ("side", "planted", "where", "passed"),
    [
        ("forged", photos(200, 6), "both sides of external:mine", None),
        ("real", photos(0, 6), "both the training photos and the real photos of external:mine", False),
        ("forged", photos(0, 6), "both the real images of the run and the forgeries of external:mine", None),
        ("forged", photos(100, 6), "both the training forgeries of dcgan and the forgeries of external:mine", False),
    ],
)
def test_copies_saved_again_are_named_and_may_be_edits_across_the_classes(tmp_path, side, planted, where, passed):
    pair = {"real": photos(200), "forged": photos(300)}
    pair[side] += map(jpeg_once, planted)
    (finding,) = [
        f for f in findings_of(tmp_path, **pair) if f.sentence != f"No photo is in {where}." and where in f.audit
    ]
    assert finding.passed is passed and finding.sentence.startswith(f"6 photos are in {where}: ")
    assert ("Their pixels differ: edits" in finding.sentence) is (passed is None)


def test_one_image_many_times_is_named_with_its_count(tmp_path):
    blank = np.full((SIDE, SIDE, 3), 90, np.uint8)  # without contrast, that a thumbnail could be compared by
    edited = jpeg_once(photos(200, 1)[0])
    (finding,) = failed(findings_of(tmp_path, [*photos(200), *[blank] * 30], [*photos(300), *[blank] * 30, edited]))
    assert finding.sentence.startswith("30 photos are in both sides of external:mine, pixel for pixel: ")
    assert finding.sentence.endswith(" 1 more pair is nearly equal: edits of these photos, or copies saved again.")
