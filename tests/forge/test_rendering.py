"""Rendered faces: determinism, truth of the attributes, and whether a face detector believes in them."""

import hashlib
import io
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from forge.rendering import RenderedFace, _generator, render_person_images, shading, surface
from forge.rendering.person import draw_person
from forge.rendering.photograph import photograph, sculpt

pytestmark = pytest.mark.e2e

VOCABULARY = {
    "glasses": {"none", "clear", "sun"},
    "beard": {"none", "stubble", "moustache", "full"},
    "smile": {"yes", "no"},
    "hair_colour": {"black", "brown", "blond", "red", "grey", "none"},
    "gender": {"female", "male"},
    "age_group": {"young", "middle", "old"},
    "skin": {"light", "medium", "dark"},
}


@pytest.fixture(scope="module")
def faces() -> list[RenderedFace]:
    return render_person_images(3, 0, 120, images_per_person=2)


@pytest.fixture(scope="module")
def persons():
    return [draw_person(_generator(3, 0, number)) for number in range(1500)]


def test_images_do_not_depend_on_the_split_into_calls(faces):
    again = render_person_images(3, 5, 1, images_per_person=2) + render_person_images(3, 6, 3, images_per_person=2)
    for face, other in zip(faces[5:9], again, strict=True):
        assert face.jpeg == other.jpeg
        assert np.array_equal(face.image, other.image)
        assert (face.identity, face.attributes) == (other.identity, other.attributes)


def test_bytes_are_the_same_in_another_process_with_any_number_of_threads(faces):
    code = """
import hashlib, torch
from forge.rendering import render_person_images
for threads in (1, 3):
    torch.set_num_threads(threads)
    faces = render_person_images(3, 4, 3, images_per_person=2)
    print(hashlib.sha256(b"".join(face.jpeg for face in faces)).hexdigest())
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert printed == [hashlib.sha256(b"".join(face.jpeg for face in faces[4:7])).hexdigest()] * 2


def test_seed_changes_everything(faces):
    other = render_person_images(4, 0, 1)[0]
    assert other.jpeg != faces[0].jpeg


def test_pictures_are_full_range_photographs(faces):
    for face in faces:
        assert face.image.shape == (144, 144, 3)
        assert face.image.dtype == np.uint8
    stack = np.stack([face.image for face in faces])
    # neither clipped nor washed out, as a set and one by one
    assert 70 < stack.mean() < 170
    assert (stack.reshape(len(faces), -1).std(axis=1) > 12).all()
    assert np.mean(stack == 255) < 0.12
    assert np.mean(stack == 0) < 0.03


def test_jpeg_is_the_picture_at_the_stated_quality(faces):
    qualities = {face.jpeg_quality for face in faces}
    assert len(qualities) > 20
    assert min(qualities) >= 60
    assert max(qualities) <= 95
    for face in faces[:12]:
        photo = Image.open(io.BytesIO(face.jpeg))
        assert photo.format == "JPEG"
        assert photo.size == (144, 144)
        plain = io.BytesIO()
        Image.fromarray(face.image).save(plain, "JPEG", quality=face.jpeg_quality)
        expected = Image.open(io.BytesIO(plain.getvalue())).quantization
        assert photo.quantization == expected
        error = np.asarray(photo.convert("RGB"), float) - face.image
        assert np.sqrt(np.mean(error**2)) < 16


def test_sensor_left_its_mosaic(faces):
    """Green was measured on one checkerboard and interpolated on the other, where its noise is lower."""
    ratios = []
    for face in faces:
        green = face.image[..., 1].astype(float)
        residual = green[1:-1, 1:-1] - (green[:-2, :-2] + green[2:, 2:] + green[:-2, 2:] + green[2:, :-2]) / 4
        parity = np.add.outer(np.arange(1, 143), np.arange(1, 143)) % 2
        ratios.append(np.median(np.abs(residual[parity == 1])) / np.median(np.abs(residual[parity == 0])))
    assert np.median(ratios) > 1.15


def test_identities_group_images(faces):
    assert [face.identity for face in faces[:5]] == ["person-000000"] * 2 + ["person-000001"] * 2 + ["person-000002"]
    for ours, other in zip(faces[::2], faces[1::2], strict=True):
        for trait in ("beard", "hair_colour", "gender", "age_group", "skin"):
            assert ours.attributes[trait] == other.attributes[trait]


def test_attributes_stay_in_their_vocabulary(faces):
    for face in faces:
        assert face.attributes.keys() == VOCABULARY.keys()
        for name, value in face.attributes.items():
            assert value in VOCABULARY[name]


def test_persons_are_balanced(persons):
    def share(trait):
        counts = Counter(trait(person) for person in persons)
        return {value: count / len(persons) for value, count in counts.items()}

    assert all(0.45 < p < 0.55 for p in share(lambda p: p.gender).values())
    assert all(0.28 < p < 0.39 for p in share(lambda p: p.skin).values())
    assert all(0.20 < p < 0.45 for p in share(lambda p: p.age_group).values())
    assert all(p > 0.02 for p in share(lambda p: p.hair_colour).values())
    assert 0.2 < share(lambda p: p.glasses)["clear"] < 0.32
    assert all(person.beard == "none" for person in persons if person.gender == "female")


def test_smiles_are_balanced(faces):
    assert 0.3 < np.mean([face.attributes["smile"] == "yes" for face in faces]) < 0.7


@pytest.mark.parametrize("glasses", ["clear", "sun"])
def test_glasses_change_the_eyes_and_nothing_else(glasses):
    """The same picture with and without: they differ about the eyes, and hardly at mouth and chin."""
    differences = []
    for number in range(6):
        person = replace(draw_person(_generator(8, 0, number)), glasses="none", frame_rgb=(0.02, 0.02, 0.02))
        base = sculpt(person)
        bare = photograph(person, base, _generator(8, 1, number), 144)
        worn = photograph(replace(person, glasses=glasses), base, _generator(8, 1, number), 144)
        if worn.glasses == glasses:
            change = np.abs(bare.image.astype(float) - worn.image).mean(axis=2)
            differences.append((change[45:85, 40:104].mean(), change[105:].mean()))
    assert differences
    eyes, rest = np.array(differences).T
    assert (eyes > 4 * rest).all()
    assert eyes.mean() > 3


def test_full_beards_darken_the_chin_of_the_same_head():
    person = replace(draw_person(_generator(8, 0, 0)), gender="male", hair_rgb=(0.02, 0.015, 0.01), melanin=0.1)
    jaw = surface.box(-0.3, 0.3, -1.05, -0.9)
    bare, bearded = (sculpt(replace(person, beard=beard)).stack[3:6, jaw[0], jaw[1]] for beard in ("none", "full"))
    assert bearded.mean() < 0.5 * bare.mean()


def test_melanin_darkens_and_browns_skin():
    amounts = np.linspace(0, 1, 5, dtype=np.float32)
    red, _, blue = shading.skin_colour(amounts, np.full(5, 0.3, np.float32))
    assert (np.diff(red) < 0).all()
    assert (np.diff(red / blue) > 0).all()


def test_map_coordinates_invert_positions():
    """A point of a surface is found where it was put, above and below the brow."""
    ax = surface.axes()
    radius = (0.8 + 0.1 * np.cos(ax.azimuth)[None, :] * np.ones((surface.ROWS, 1))).astype(np.float32)
    grid, own = surface.locate(*surface.positions(radius))
    inner = (slice(12, -1), slice(15, -15))  # at the crown and behind the head azimuths meet
    assert np.allclose(own, radius, atol=1e-4)
    assert np.allclose(grid[..., 0][inner], np.linspace(-1, 1, surface.COLS)[None, 15:-15], atol=2e-3)
    assert np.allclose(grid[..., 1][inner], np.linspace(-1, 1, surface.ROWS)[12:-1, None], atol=2e-3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"size": 33}, "size is 33"), ({"size": 16}, "size is 16"), ({"images_per_person": 0}, "images_per_person is 0")],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        render_person_images(0, 0, 1, **kwargs)


def test_a_face_detector_finds_the_faces(faces):
    mtcnn = pytest.importorskip("facenet_pytorch").MTCNN(keep_all=False, min_face_size=40)
    photos = [
        np.asarray(Image.open(io.BytesIO(face.jpeg)).convert("RGB").resize((128, 128), Image.Resampling.LANCZOS))
        for face in faces[::3]
    ]
    boxes, probabilities = mtcnn.detect(photos)
    is_face = [row[0] is not None and row[0] >= 0.9 for row in probabilities]
    assert np.mean(is_face) >= 0.9
    heights = [(row[0][3] - row[0][1]) / 128 for row, ok in zip(boxes, is_face, strict=True) if ok]
    assert 0.5 < np.median(heights) < 0.8
