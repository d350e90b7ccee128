import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from forge.faces.imaging.decode import BACKDROP, FORMATS, Square, Unusable, decode, read_bytes, resize


def picture(width=48, height=32):
    """A smooth RGB picture, whose corners have colours of their own."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8))


def encode(image, kind="PNG", **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data):
    return np.asarray(decode(data).image).astype(int)


def png_of(width, height):
    """A valid PNG of any size whose pixel data is one short zlib stream: a decompression bomb."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


JPEG = encode(picture(200, 200), "JPEG", quality=90)
PNG = encode(picture(200, 200))
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
TIFF_FLOAT = encode(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF")

BAD = {
    "empty": (b"", "empty"),
    "text": (b"this is no picture at all", "not an image"),
    "html": (b"<!doctype html><html></html>", "not an image"),
    "one byte": (b"\xff", "not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
    "eps, which runs a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "jpeg cut in the middle": (JPEG[: len(JPEG) // 2], "truncated"),
    "jpeg header alone": (JPEG[:200], "truncated"),
    "png cut in the middle": (PNG[: len(PNG) // 2], "truncated"),
    "png with a broken header": (PNG[:20] + b"\xff" + PNG[21:], "not an image"),
    "webp cut in the middle": (encode(Image.fromarray(NOISE), "WEBP")[:-500], "damaged"),
    "bmp cut in the middle": (encode(picture(), "BMP")[:-500], "truncated"),
    "gif cut in the middle": (encode(Image.fromarray(NOISE), "GIF")[:-2000], "truncated"),
    "101 megapixels": (png_of(10_100, 10_000), "too many pixels"),
    "200 megapixels": (png_of(20_000, 10_000), "too many pixels"),
    "a terapixel": (png_of(1_000_000, 1_000_000), "too many pixels"),
    "float tiff": (TIFF_FLOAT, "unsupported pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_have_one_countable_reason(name):
    data, reason = BAD[name]
    with pytest.raises(Unusable) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert caught.value.detail


@pytest.mark.parametrize("seed", range(3))
def test_no_damage_escapes_as_another_exception(seed):
    rng = np.random.default_rng(seed)
    for name_of_format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"):
        whole = encode(picture(), name_of_format)
        for _ in range(20):
            data = bytearray(whole)
            for position in rng.integers(0, len(data), rng.integers(1, 20)):
                data[position] = rng.integers(256)
            try:
                decode(bytes(data), max_pixels=10_000_000)
            except Unusable as verdict:
                assert verdict.reason


def test_the_limit_of_pixels_is_checked_before_decoding():
    with pytest.raises(Unusable) as caught:
        decode(PNG, max_pixels=200 * 200 - 1)
    assert caught.value.reason == "too many pixels"
    assert decode(PNG, max_pixels=200 * 200).image.size == (200, 200)


def test_what_a_file_was_is_recorded():
    decoded = decode(JPEG)
    assert (decoded.format, decoded.width, decoded.height, decoded.bytes) == ("JPEG", 200, 200, len(JPEG))
    assert decoded.jpeg_quality == 90
    assert decode(PNG).jpeg_quality is None


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_decodes(kind):
    decoded = decode(encode(picture(), kind))
    assert decoded.format == kind
    assert decoded.image.mode == "RGB"
    tolerance = {"JPEG": 40, "WEBP": 40, "GIF": 60, "AVIF": 40}.get(kind, 0)
    assert np.abs(np.asarray(decoded.image).astype(int) - np.asarray(picture())).max() <= tolerance


def test_grey_of_every_depth():
    grey = np.asarray(picture().convert("L")).astype(int)
    assert np.array_equal(pixels(encode(picture().convert("L")))[..., 1], grey)
    sixteen = Image.fromarray((grey * 257).astype(np.uint16))
    assert np.array_equal(pixels(encode(sixteen))[..., 2], grey)
    assert np.array_equal(pixels(encode(sixteen, "TIFF"))[..., 2], grey)
    bit = picture().convert("1")
    assert np.array_equal(pixels(encode(bit))[..., 0], np.asarray(bit) * 255)


def test_palette():
    coloured = picture().convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    assert np.abs(pixels(encode(coloured)) - np.asarray(picture())).max() < 40


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_over_mid_grey(mode):
    image = Image.new("RGBA", (4, 4), (255, 255, 255, 255))
    image.putpixel((0, 0), (255, 255, 255, 0))
    if mode == "P":
        flat = Image.new("P", (4, 4), 1)
        flat.putpalette([0, 0, 0, 255, 255, 255])
        flat.putpixel((0, 0), 0)
        data = encode(flat, transparency=0)
    else:
        data = encode(image.convert(mode))
    seen = pixels(data)
    assert tuple(seen[0, 0]) == BACKDROP
    assert tuple(seen[3, 3]) == (255, 255, 255)


def test_half_transparent_is_half_way():
    assert pixels(encode(Image.new("RGBA", (2, 2), (255, 0, 128, 128))))[0, 0].tolist() == pytest.approx(
        [192, 64, 128], abs=1
    )


def test_a_transparent_colour_of_an_rgb_png():
    image = Image.new("RGB", (2, 2), (1, 2, 3))
    image.putpixel((1, 1), (9, 9, 9))
    seen = pixels(encode(image, transparency=(1, 2, 3)))
    assert tuple(seen[0, 0]) == BACKDROP
    assert tuple(seen[1, 1]) == (9, 9, 9)


def test_cmyk_as_adobe_writes_it_is_not_inverted():
    data = encode(picture().convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    assert np.abs(pixels(data) - np.asarray(picture())).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(kind):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    seen = pixels(encode(first, kind, save_all=True, append_images=[second]))
    assert seen[..., 0].min() > 240
    assert seen[..., 2].max() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    """A file stored so that its tag undoes it, for each of the eight tags of the EXIF standard."""
    upright = np.asarray(picture(6, 4))
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encode(Image.fromarray(np.ascontiguousarray(stored)), exif=exif))
    assert np.array_equal(np.asarray(decoded.image), upright)
    assert (decoded.height, decoded.width) == stored.shape[:2]


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0"])
def test_broken_exif_does_not_spoil_the_picture(exif):
    data = encode(picture(), "JPEG", quality=95, exif=exif)
    assert np.abs(pixels(data) - np.asarray(picture())).mean() < 5


def test_an_icc_profile_changes_nothing():
    assert np.array_equal(pixels(encode(picture(), icc_profile=b"no profile at all")), np.asarray(picture()))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_quality_is_recovered_exactly(mode):
    image = Image.fromarray(NOISE[:16, :16]).convert(mode)
    qualities = [decode(encode(image, "JPEG", quality=quality)).jpeg_quality for quality in range(1, 101)]
    assert qualities == list(range(1, 101))


def test_jpeg_quality_of_foreign_tables_is_the_nearest():
    table = [16] * 64
    decoded = decode(encode(picture(), "JPEG", qtables=[table, table]))
    assert 70 <= decoded.jpeg_quality <= 95


def test_resize_is_antialiased_and_takes_the_middle():
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (64, 64))).convert("RGB")
    small = resize(stripes, 16)
    assert small.shape == (16, 16, 3)
    assert small.dtype == np.uint8
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127.5).max() < 3  # naive subsampling gives 0 or 255
    wide = Image.new("RGB", (96, 32), (0, 0, 0))
    wide.paste((255, 255, 255), (32, 0, 64, 32))
    assert resize(wide, 32).min() == 255
    assert resize(wide, 32, part=Square(0, 0, 32)).max() == 0


def test_files_that_cannot_be_read(tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    link = tmp_path / "loop.jpg"
    link.symlink_to(link)
    big = tmp_path / "big.jpg"
    big.write_bytes(b"12345")
    for path, reason in (
        (tmp_path / "none.jpg", "missing"), (pipe, "unreadable"), (tmp_path, "unreadable"), (link, "unreadable"),
    ):  # fmt: skip
        with pytest.raises(Unusable) as caught:
            read_bytes(path)
        assert caught.value.reason == reason
    with pytest.raises(Unusable, match="too large a file"):
        read_bytes(big, max_bytes=4)
    assert read_bytes(big, max_bytes=5) == b"12345"


def png_of_zeros(width, height, colour_type):
    """A PNG of equal pixels, written without holding them."""
    packer, row = zlib.compressobj(9), bytes(1 + width * {4: 2, 6: 4}[colour_type])
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("colour_type", [4, 6])
def test_large_pictures_with_transparency_are_refused_by_their_header(colour_type):
    with pytest.raises(Unusable) as refused:
        decode(png_of_zeros(10_000, 9_900, colour_type))
    assert refused.value.reason == "too many pixels" and "at most 40000000" in refused.value.detail


def test_transparency_is_laid_over_grey_strip_by_strip(monkeypatch):
    drawn = np.random.default_rng(0).integers(0, 256, (50, 30, 4), dtype=np.uint8)
    data = encode(Image.fromarray(drawn))
    whole = np.asarray(decode(data).image)
    monkeypatch.setattr("forge.faces.imaging.decode._STRIP", 7)
    assert np.array_equal(np.asarray(decode(data).image), whole)


def test_a_large_text_pgm_is_refused_before_it_is_read():
    with pytest.raises(Unusable) as refused:
        decode(b"P2 4000 4000 255\n" + b"7 " * 16_000_000)
    assert refused.value.reason == "too large a file" and "text" in refused.value.detail
    assert np.asarray(decode(b"P2 2 2 255\n0 50 100 255\n").image)[1, 1, 0] == 255
