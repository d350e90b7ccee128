"""Masks from elsewhere: what is a mask, which belongs to which photo, and the geometry that both go through."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from forge.core.errors import BenchError, InputError
from forge.faces.crop import Face, FaceCrop, align, align_mask
from forge.faces.imaging.decode import Unusable
from forge.faces.imaging.masks import read_mask, resize_mask
from forge.faces.ingest import Intake, take
from forge.faces.prepare import prepare
from forge.faces.sources.masked import MaskedFolder, refuse_masks

SIDE = 40


def encoded(array, form="PNG", mode=None, **options) -> bytes:
    data = io.BytesIO()
    image = Image.fromarray(np.asarray(array, np.uint8))
    (image.convert(mode) if mode else image).save(data, form, **options)
    return data.getvalue()


def square(*, high=255, low=0):
    mask = np.full((SIDE, SIDE), low, np.uint8)
    mask[10:20, 12:30] = high
    return mask


def three_values():
    mask = square()
    mask[30:35, :] = 128
    return mask


def see_through():
    return np.dstack([square()] * 3 + [np.where(square() > 0, 255, 0)])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (encoded(square()[:, :20]), "it has 20 x 40 pixels, its photo 40 x 40"),
        (encoded(three_values()), r"its values are 0, 128, 255; a mask is black \(0\) and white \(255\)"),
        (encoded(square(high=1)), "its values are 0, 1;"),
        (encoded(square(high=120)), "its values are 0, 120;"),
        (encoded(square(low=60)), "its values are 60, 255;"),
        (encoded(np.arange(1600).reshape(40, 40) % 256), "its values are 0, 1, 2, 3 and 252 more"),
        (encoded(np.dstack([square(), square(high=0), square(high=0)])), r"it has colours, e\.g\. \(255, 0, 0\)"),
        (encoded(see_through(), mode="RGBA"), "it has transparent pixels; store it opaque"),
        (b"no image", "the first bytes are"),
        (b"", "0 bytes"),
    ],
)
def test_what_is_no_mask_is_refused_with_what_was_seen(data, sentence):
    with pytest.raises(Unusable) as error:
        read_mask(data, (SIDE, SIDE))
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(error.value.detail)


def test_sixteen_bits_are_refused():
    data = io.BytesIO()
    Image.fromarray((square() > 0).astype(np.uint16)).save(data, "PNG")
    with pytest.raises(Unusable, match="16 bits"):
        read_mask(data.getvalue(), (SIDE, SIDE))


@pytest.mark.parametrize(
    "data",
    [
        encoded(square()),
        encoded(square(), mode="1"),
        encoded(square(), mode="P"),
        encoded(square(), mode="RGB"),
        encoded(square(), mode="RGBA"),
        *(encoded(square(), "JPEG", quality=quality) for quality in (95, 75, 50)),
        encoded(square(), "JPEG", mode="RGB", quality=75),
        encoded(square(low=4, high=250)),
    ],
)
def test_a_mask_is_read_whatever_its_format(data):
    assert (read_mask(data, (SIDE, SIDE)) == (square() > 0)).all()


def test_masks_of_one_value_say_untouched_or_altered_altogether():
    assert not read_mask(encoded(square(high=0)), (SIDE, SIDE)).any()
    assert read_mask(encoded(square(low=255)), (SIDE, SIDE)).all()


def test_half_an_area_counts_as_altered():
    mask = np.zeros((4, 8), bool)
    mask[:, 3] = True  # of the middle square 4 x 4, columns 2 to 5, the second column: half of the first pixel
    assert resize_mask(mask, 2).tolist() == [[255, 0], [255, 0]]
    mask[0, 3] = False
    assert resize_mask(mask, 2).tolist() == [[0, 0], [255, 0]]


def test_an_aligned_mask_lies_where_its_aligned_photo_was_altered():
    crop = FaceCrop()
    turn = np.exp(0.4j)
    points = crop.template[:, 0] + 1j * crop.template[:, 1]
    placed = (points - 0.5 - 0.5j) * 150 * turn + 130 + 120j
    landmarks = np.stack([placed.real, placed.imag], axis=1)
    mask = np.zeros((240, 260), bool)
    mask[90:150, 110:170] = True
    photo = Image.fromarray(np.repeat((mask * 255).astype(np.uint8)[..., None], 3, axis=2))
    aligned = align_mask(mask, landmarks, 64, crop)
    seen = align(photo, landmarks, 64, crop)[..., 0] >= 128
    assert set(np.unique(aligned)) == {0, 255} and 0.1 < seen.mean() < 0.4
    assert ((aligned > 0) != seen).mean() < 0.005


# --- Names ------------------------------------------------------------------------------------------------------------


def folder(path, names):
    """Photos or masks of these names."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(square()).save(path / name)


@pytest.mark.parametrize(
    ("photos", "masks", "sentence"),
    [
        (
            ["a.jpg", "b.jpg"],
            ["a.png"],
            r"photo b\.jpg has no mask in .*masks: expected b\.png, b_mask\.png, b_gt\.png",
        ),
        (["Tp_001.jpg"], ["Tp_01.png"], r"photo Tp_001\.jpg .* nearest name there is Tp_01\.png; rename the mask"),
        (["a.jpg"], ["a_edge.png"], r"photo a\.jpg has no mask"),
        (["a.jpg"], ["a.png", "b.png"], r"holds 1 masks of no photo in .*forged, the first is b\.png"),
        (["a.jpg"], ["a_mask.png", "a_gt.png"], r"photo a\.jpg has two masks .*a_mask\.png and a_gt\.png"),
        (["a.jpg"], ["a.png", "a.bmp"], "two masks of one name"),
        (["a.jpg", "a.png"], ["a.png"], r"holds a\.jpg and a\.png, which would have one mask"),
        (["x/a.jpg"], ["a.png"], r"photo x/a\.jpg has no mask .*expected x/a\.png"),
    ],
)
def test_masks_are_matched_by_name_or_refused(tmp_path, photos, masks, sentence):
    folder(tmp_path / "forged", photos)
    folder(tmp_path / "masks", masks)
    with pytest.raises(InputError, match=sentence):
        MaskedFolder(tmp_path / "forged", tmp_path / "masks")


def test_equal_names_come_before_names_with_an_ending(tmp_path):
    folder(tmp_path / "forged", ["a.jpg", "a_mask.jpg", "x/c.jpg"])
    folder(tmp_path / "masks", ["a_gt.png", "a_mask.png", "x/c.gif"])
    source = MaskedFolder(tmp_path / "forged", tmp_path / "masks")
    assert {file: path.name for file, path in source.masks.items()} == {
        "a.jpg": "a_gt.png", "a_mask.jpg": "a_mask.png", "x/c.jpg": "c.gif"
    }  # fmt: skip
    before = source.fingerprint()
    Image.fromarray(square(high=0)).save(tmp_path / "masks" / "a_gt.png")
    assert MaskedFolder(tmp_path / "forged", tmp_path / "masks").fingerprint() != before


def test_masks_among_the_photos_are_refused(tmp_path):
    folder(tmp_path / "forged", ["a.jpg", "masks/a.png"])
    with pytest.raises(InputError, match="would be taken for photos; move them beside it"):
        MaskedFolder(tmp_path / "forged", tmp_path / "forged" / "masks")
    with pytest.raises(InputError, match="does not exist"):
        MaskedFolder(tmp_path / "forged", tmp_path / "nowhere")


def test_a_column_names_the_masks(tmp_path):
    folder(tmp_path / "forged", ["a.jpg", "b.jpg"])
    folder(tmp_path / "masks", ["first.png", "second.png"])
    labels = tmp_path / "forged" / "labels.csv"

    def source(text, column="column:mask"):
        labels.write_text(text)
        return MaskedFolder(tmp_path / "forged", column)

    good = "file,mask\na.jpg,../masks/second.png\nb.jpg,../masks/first.png\n"
    masks = source(good).masks
    assert (masks["a.jpg"].name, masks["b.jpg"].name) == ("second.png", "first.png")
    for text, column, sentence in (
        (good, "column:masc", "did you mean 'mask'"),
        ("file,mask\na.jpg,../masks/first.png\n", "column:mask", r"b\.jpg has no mask in column 'mask'"),
        (good.replace("first", "third"), "column:mask", r"the mask of b\.jpg, .*third\.png, is not there"),
        (good.replace("../masks/first.png", "/etc/hosts"), "column:mask", "must be relative to"),
        (good.replace("../masks/first.png", "a.jpg"), "column:mask", "is among the photos"),
    ):
        with pytest.raises(BenchError, match=sentence):
            source(text, column)
    labels.unlink()
    with pytest.raises(InputError, match="needs labels"):
        MaskedFolder(tmp_path / "forged", "column:mask")


# --- Preparation ------------------------------------------------------------------------------------------------------


def altered_photos(path, count=24):
    """Photos with a white square on dark noise, and its mask; 5 is blank, 7 too small, 9 a copy of 8, 10 is turned."""
    (path / "forged").mkdir(parents=True)
    (path / "masks").mkdir()
    for i in range(count):
        rng = np.random.default_rng(8 if i == 9 else i)
        height, width = (16, 16) if i == 7 else (48, 64)
        photo = rng.integers(0, 90, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        top, left = 2 * rng.integers(2, 12), 2 * rng.integers(6, 18)  # even: two pixels make one
        mask[top : top + 14, left : left + 10] = 255
        photo[mask > 0] = 255
        if i == 5:
            photo[:] = 90
        exif = Image.Exif()
        picture = Image.fromarray(photo)
        if i == 10:  # stored turned by a quarter, as phones do
            exif[0x0112], picture = 6, picture.transpose(Image.Transpose.ROTATE_90)
        picture.save(path / "forged" / f"{i:02d}.png", exif=exif)
        Image.fromarray(mask).save(path / "masks" / f"{i:02d}_mask.png")


def test_masks_go_through_the_geometry_of_their_photos_and_are_dropped_with_them(tmp_path):
    altered_photos(tmp_path)
    source = MaskedFolder(tmp_path / "forged", tmp_path / "masks")
    source.check(range(len(source)))
    settings = {"resolution": 24, "splits": {"test": 1.0}, "kind": "forged", "workers": 1}
    faces = prepare(source, tmp_path / "set", dedupe=False, **settings)
    assert faces.has_masks and not faces.verify()
    assert [name for name, _ in sorted(faces.card.rejected.items())] == ["blank", "too small"] and len(faces) == 22
    rows = faces.table.set_index("id")
    assert rows.loc["0000008", "identity"] == rows.loc["0000009", "identity"] != None  # noqa: E711 - copies stay
    seen, masks = faces.view("test").read().mean(3) >= 170, faces.view("test").read_masks()
    assert set(np.unique(masks)) == {0, 255}
    assert (((masks > 0) != seen).mean((1, 2)) < 0.005).all() and ((masks > 0).mean((1, 2)) > 0.02).all()
    plain = prepare(source, tmp_path / "deduped", **settings)
    seen, masks = plain.view("test").read().mean(3) >= 170, plain.view("test").read_masks()
    assert len(plain) == 21 and (((masks > 0) != seen).mean((1, 2)) < 0.005).all()


def test_masks_are_aligned_with_their_faces_and_dropped_where_there_is_none(tmp_path, monkeypatch):
    crop = FaceCrop()

    class Finder:
        def find_all(self, images):
            """Landmarks in the middle, turned by the green of the first pixel; none where that is red."""
            corners = [np.asarray(image)[0, 0] for image in images]
            return [[] if red == 255 else [Face((0, 0, 9, 9), placed(green))] for red, green, _ in corners]

    def placed(degrees):
        points = (crop.template @ [1, 1j] - 0.5 - 0.5j) * 60 * np.exp(1j * np.radians(degrees)) + 50 + 50j
        return np.stack([points.real, points.imag], axis=1)

    monkeypatch.setattr("forge.faces.ingest.finder_for", lambda settings: Finder())
    (tmp_path / "forged").mkdir()
    (tmp_path / "masks").mkdir()
    for i in range(20):
        mask = np.zeros((100, 100), np.uint8)
        mask[30 + i : 54 + i, 34:62] = 255
        photo = np.repeat(np.where(mask > 0, 255, 20)[..., None], 3, axis=2).astype(np.uint8)
        photo[0, 0] = (255 if i == 4 else 0, 3 * i, 0)
        Image.fromarray(photo).save(tmp_path / "forged" / f"{i:02d}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i:02d}.png")
    source = MaskedFolder(tmp_path / "forged", tmp_path / "masks")
    batch = take(source.chunk(range(20)), Intake(24, 24, crop))
    assert batch.rejected == [("04.png", "no face", "none with probability 0.95 or more")]
    assert batch.images.shape[:3] == batch.masks.shape == (19, 24, 24)
    wrong = ((batch.masks > 0) != (batch.images[..., 2] >= 138)).mean((1, 2))
    assert (wrong < 0.01).all() and len({mask.tobytes() for mask in batch.masks}) == 19


def test_a_bad_mask_is_refused_before_and_while_preparing(tmp_path):
    altered_photos(tmp_path)
    Image.fromarray(three_values()).save(tmp_path / "masks" / "03_mask.png")
    Image.fromarray(square()).save(tmp_path / "masks" / "04_mask.png")
    source = MaskedFolder(tmp_path / "forged", tmp_path / "masks")
    sentence = r"03_mask\.png: it has 40 x 40 pixels, its photo 64 x 48; 1 more masks are refused"
    with pytest.raises(InputError, match=sentence):
        source.check(range(len(source)))
    with pytest.raises(InputError, match=sentence):
        prepare(source, tmp_path / "set", resolution=24, splits={"test": 1.0}, kind="forged", workers=1)
    assert not (tmp_path / "set").exists()


def test_of_a_long_path_the_name_of_the_mask_is_said():
    with pytest.raises(InputError, match=r"^mask ….*/03_mask\.png: it is grey$"):
        refuse_masks([(f"{'deep/' * 60}03_mask.png", "it is grey")])
