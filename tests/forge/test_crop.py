import numpy as np
import pytest
from PIL import Image, ImageDraw

from forge.core.errors import UnknownNameError
from forge.faces import ingest
from forge.faces.crop import CROPS, Face, FaceCrop, FaceFinder, align, check_crop, enlarged_box, similarity
from forge.faces.imaging.decode import Unusable
from forge.faces.sources.base import Item

CROP = FaceCrop()


def marked(landmarks, size=(300, 240)):
    """A grey photo with a white dot at each landmark."""
    image = Image.new("RGB", size, (90, 90, 90))
    draw = ImageDraw.Draw(image)
    for x, y in landmarks:
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(255, 255, 255))
    return image


def placed(side, angle, centre):
    """The template's landmarks as a face of this size, tilt (radians) and place has them."""
    a = side * np.exp(1j * angle)
    z = (CROP.template[:, 0] - 0.5) + 1j * (CROP.template[:, 1] - 0.5)
    w = a * z + complex(*centre)
    return np.stack([w.real, w.imag], axis=1)


def test_similarity_recovers_a_known_transform_and_is_least_squares():
    landmarks = placed(120, 0.3, (150, 120))
    a, b = similarity(CROP.template, landmarks)
    assert a == pytest.approx(120 * np.exp(0.3j))
    assert a * (0.5 + 0.5j) + b == pytest.approx(150 + 120j)
    noisy = landmarks + np.random.default_rng(0).normal(0, 3, landmarks.shape)
    # the same problem as a linear system in (Re a, Im a, Re b, Im b)
    rows = [[x, -y, 1, 0] for x, y in CROP.template] + [[y, x, 0, 1] for x, y in CROP.template]
    expected = np.linalg.lstsq(np.array(rows), np.concatenate([noisy[:, 0], noisy[:, 1]]), rcond=None)[0]
    a, b = similarity(CROP.template, noisy)
    assert [a.real, a.imag, b.real, b.imag] == pytest.approx(expected.tolist())


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.0])
@pytest.mark.parametrize("side", [64, 100, 150])
def test_landmarks_meet_the_template(angle, side):
    landmarks = placed(side, angle, (150, 120))
    out = align(marked(landmarks), landmarks, 64, CROP).astype(float).mean(axis=2)
    for x, y in CROP.template * 64:
        top, left = int(y) - 5, int(x) - 5
        patch = np.clip(out[top : top + 10, left : left + 10] - 90, 0, None)
        weight = patch.sum()
        ys, xs = np.mgrid[top : top + 10, left : left + 10] + 0.5
        assert ((patch * xs).sum() / weight, (patch * ys).sum() / weight) == pytest.approx((x, y), abs=0.7)


def test_shrinking_is_antialiased():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    out = align(Image.fromarray(stripes), placed(320, 0.0, (200, 200)), 32, CROP)
    assert np.abs(out.astype(float) - 127.5).max() < 8


def test_beyond_the_edge_the_photo_is_mirrored_a_little_and_refused_beyond_that():
    image = Image.new("RGB", (300, 240), (200, 10, 30))
    out = align(image, placed(100, 0.0, (45, 120)), 64, CROP)
    assert np.abs(out.astype(int) - [200, 10, 30]).max() <= 1
    with pytest.raises(Unusable) as caught:
        align(image, placed(100, 0.0, (20, 120)), 64, CROP)
    assert caught.value.reason == "face cut off"
    with pytest.raises(Unusable, match="100%"):
        align(image, placed(100, 0.0, (-500, 120)), 64, CROP)


def test_a_face_is_never_enlarged():
    landmarks = placed(63, 0.0, (150, 120))
    with pytest.raises(Unusable) as caught:
        align(marked(landmarks), landmarks, 64, CROP)
    assert caught.value.reason == "too small"


def test_no_face_in_noise_whatever_the_sizes():
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in ((50, 70), (300, 200), (9, 500))
    ]
    assert FaceFinder(CROP).find(images) == [None, None, None]


def test_faces_are_rounded_as_their_use_asks_and_the_main_one_is_first():
    finder = FaceFinder.__new__(FaceFinder)  # without the network
    finder.crop, finder._margin = CROP, 0
    boxes, points = np.array([[1.04, 2, 9, 9], [60.26, 20.04, 99.97, 70.11]]), np.full((2, 5, 2), 7.06)
    finder._detect = lambda canvases: [(boxes, points), None]
    images = [Image.new("RGB", (1600, 800)), Image.new("RGB", (20, 20))]
    (main, other), none = finder.find_all(images)
    assert none == [] and other.box == (10, 20, 90, 90)
    assert main.box == (603, 200, 1000, 701)  # of the box as it is
    assert main.edges == pytest.approx([603, 200, 1000, 701]) and main.landmarks == pytest.approx(np.full((5, 2), 71))
    assert np.array_equal(finder.find(images)[0], main.landmarks) and finder.find(images)[1] is None


@pytest.mark.parametrize(
    ("box", "size", "expected"),
    [
        ((100, 80, 180, 190), (400, 400), (69, 64, 143)),  # 1.3 x 110, about (140, 135)
        ((10, 20, 110, 100), (400, 400), (0, 0, 130)),  # moved inwards at the upper left
        ((300, 300, 390, 395), (400, 400), (284, 286, 114)),  # shrunk at the lower right
        ((100.9, 80.2, 180.7, 190.9), (400, 400), (69, 64, 143)),  # whole pixels of the box
    ],
)
def test_the_square_is_that_of_faceforensics(box, size, expected):
    assert tuple(enlarged_box(np.array(box), size)) == expected


def test_a_face_is_cut_as_its_square_and_never_enlarged(monkeypatch, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")

    class Finder:
        def find_all(self, images):
            box = np.array([100.0, 80.0, 180.0, 190.0])
            return [[Face((100, 80, 180, 190), np.zeros((5, 2)), box)]] * len(images)

    monkeypatch.setattr(ingest, "finder_for", lambda crop: Finder())
    items = [Item("photo.png", str(tmp_path / "photo.png"))]
    batch = ingest.take(items, ingest.Intake(143, 1, crop=CROPS["ff++"]))
    assert np.array_equal(batch.images[0], pixels[64:207, 69:212])
    larger = ingest.take(items, ingest.Intake(144, 1, crop=CROPS["ff++"]))
    assert larger.rejected == [("photo.png", "too small", "the face's square is 143 pixels wide, 144 are needed")]


def test_crops_have_names_and_cards_of_earlier_sets_stay():
    assert "enlarged" not in CROPS["face"].describe() and CROPS["ff++"].describe()["enlarged"] == 1.3
    with pytest.raises(UnknownNameError, match=r"crop 'ff' is not known; did you mean 'ff\+\+'"):
        check_crop("ff")
