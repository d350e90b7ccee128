"""The GPU pack: wheels and small photos for a GPU machine without a network.

`python -m benchmarks.speed.pack` writes a folder, `.gpu/` by default:

- `wheels/`: the packages the machine lacks, at the versions and hashes of requirements.lock;
- `faces.zip`: photos of FairFace at 128x128 with their labels, in FairFace's own layout;
- `pack.json`: what is in the pack, with a digest that the results measured with it can name.

The same photos, lock, number of photos and libraries give the same digest.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import PIL
from PIL import Image, features

from forge.core.errors import BenchError, InputError, quoted
from forge.core.files import digest_file, digest_json, write_json
from forge.faces.imaging.decode import Unusable, decode, read_bytes, resize
from forge.faces.parallel import ordered
from forge.faces.sources.fairface import FairFaceSource
from forge.faces.sources.labels import Labels, read_labels

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
LABELS, FACES, WHEELS, CARD = "fairface_label_train.csv", "faces.zip", "wheels", "pack.json"

# typing-extensions is on the machine, but pydantic needs a recent one
PACKAGES = (
    "annotated-types", "facenet-pytorch", "hmmlearn", "pydantic", "pydantic-core", "typing-extensions",
    "typing-inspection",
)  # fmt: skip
# CPython 3.12 on x86-64 Linux, as `download_wheels` says.
TARGET = ["--python-version", "3.12", "--implementation", "cp"]
TARGET += [part for abi in ("cp312", "abi3", "none") for part in ("--abi", abi)]
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64", "any")
TARGET += [part for platform in PLATFORMS for part in ("--platform", platform)]

RESOLUTION, QUALITY, METHOD = 128, 85, 4
MIB = 1 << 20
TRAVELS = 63 * MIB  # the tracked tree and the pack; 64 MiB are carried to the machine
LARGEST = 60 * MIB  # the pack alone
MIN_PHOTOS = 8_000  # photos
STEP = 500  # photos; the number is a multiple, so that an edit of the tree rarely changes the pack
CARD_ROOM = 16 << 10  # bytes kept free for pack.json


class Pin(NamedTuple):
    """A package of requirements.lock.

    Attributes:
        version: the exact version.
        hashes: `sha256:` and 64 hexadecimal digits, of each file of that version.
    """

    version: str
    hashes: tuple[str, ...]


Download = Callable[[Mapping[str, Pin], Path], None]


def build_pack(
    photos: Path,
    out: Path,
    *,
    count: int | None = None,
    min_photos: int = MIN_PHOTOS,
    step: int = STEP,
    room: int | None = None,
    workers: int = 2,
    lock: Path = LOCK,
    download: Download | None = None,
) -> dict[str, Any]:
    """Write the GPU pack, in place of an earlier one.

    Args:
        photos: FairFace's folder: `fairface_label_train.csv` and `train/`.
        out: folder of the pack; written beside it and renamed at the end.
        count: number of photos; as many as fit when None.
        min_photos: fewest photos when `count` is None.
        step: photos are added in groups of this size.
        room: largest size of the pack in bytes; what the tracked tree leaves free when None.
        workers: processes that encode photos; the pack does not depend on it.
        lock: file with the versions and hashes of the packages.
        download: writes the wheels of the pins into a folder; `download_wheels` when None.

    Returns:
        The contents of `pack.json`.

    Raises:
        InputError: no photos, too few or a damaged one; too little room; a package is not in the lock; `out` is
            something else than a pack.
        BenchError: pip cannot download the wheels.
    """
    if not (photos / LABELS).is_file():
        raise InputError(f"{photos} has no {LABELS}; name FairFace's folder with --photos or set BENCH_FACES")
    pins = read_pins(lock)
    # tracked files and pack travel together
    room = min(LARGEST, TRAVELS - tracked_bytes(ROOT)) if room is None else room
    with _replacing_folder(out) as folder:
        (folder / WHEELS).mkdir()
        # Wheels first: photos get the room that they leave.
        (download or download_wheels)(pins, folder / WHEELS)
        wheels = sum(wheel.stat().st_size for wheel in (folder / WHEELS).iterdir())
        members = _faces(
            photos, count=count, min_photos=min_photos, step=step, room=room - wheels - CARD_ROOM, workers=workers
        )  # the label file counts as one member
        write_zip(folder / FACES, members)  # sizes were computed by `zip_bytes`, so that it fits
        card = _card(folder, pins, number=len(members) - 1)
        write_json(folder / CARD, card)
    return card


# --- wheels --------------------------------------------------------------------------------------------------------


def read_pins(lock: Path, packages: Sequence[str] = PACKAGES) -> dict[str, Pin]:
    """Return the versions and hashes of packages from a requirements.lock.

    Raises:
        InputError: a package is not there.
    """
    text = lock.read_text(encoding="utf-8")
    pins = {}
    for name in packages:
        # As pip-compile writes it: name==version, a backslash, then one hash per line.
        entry = re.search(rf"^{re.escape(name)}==([^\s;]+).*\\\n((?:[ \t]+--hash=.+\n)+)", text, re.MULTILINE)
        if entry is None:
            raise InputError(f"{lock} has no version with hashes of {quoted(name)}, which the GPU machine lacks")
        pins[name] = Pin(entry[1], tuple(re.findall(r"--hash=(\S+)", entry[2])))
    return pins


def download_wheels(pins: Mapping[str, Pin], folder: Path) -> None:
    """Download a wheel a package for CPython 3.12 on x86-64 Linux; pip checks the hashes.

    Raises:
        BenchError: pip cannot; the message carries its last line.
    """
    lines = [f"{name}=={pin.version} --hash={' --hash='.join(pin.hashes)}" for name, pin in pins.items()]
    with TemporaryDirectory() as folder_name:
        requirements = Path(folder_name, "requirements.txt")
        requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
        # no dependencies: each is in the list; no source packages: nothing is built there
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *TARGET]
        command = [*pip, "--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip() or "no message").splitlines()[-1]
        raise BenchError(f"pip could not download the wheels of the GPU pack: {last}")


# --- photos --------------------------------------------------------------------------------------------------------


def encode(root: Path, files: Sequence[str]) -> list[bytes]:
    """Return photos as WebP files of 128x128 pixels: the largest centred square, resampled once.

    Args:
        root: folder of the photos.
        files: paths relative to it.

    Raises:
        InputError: a photo cannot be decoded.
    """
    images = []
    for file in files:
        try:
            pixels = resize(decode(read_bytes(root / file)).image, RESOLUTION)  # decoded as `prepare` does it
        except Unusable as error:
            raise InputError(f"{root / file} cannot be used ({error.reason}); remove it") from error
        encoded = BytesIO()
        Image.fromarray(pixels).save(encoded, "WEBP", quality=QUALITY, method=METHOD)
        images.append(encoded.getvalue())
    return images


def _faces(photos: Path, *, count: int | None, min_photos: int, step: int, room: int, workers: int) -> dict[str, bytes]:
    """Name and contents of each file of `faces.zip`: the labels and the first photos of the label file that fit."""
    labels = read_labels(photos / LABELS)
    files = [file for file in labels.rows if (photos / file).is_file()]
    min_photos = min_photos if count is None else count
    if len(files) < min_photos:
        raise InputError(f"{photos} has {len(files):,} photos of its label file; the GPU pack needs {min_photos:,}")
    files = files[:count]  # None: all of them
    # In the order of the label file: the same photos whatever the number of processes.
    chunks = [files[start : start + step] for start in range(0, len(files), step)]
    members: dict[str, bytes] = {}
    images: list[bytes] = []
    for chunk in ordered(partial(encode, photos), chunks, workers=workers):
        images += chunk
        # Measured with labels and names, which take room too.
        larger = _members(labels, files[: len(images)], images)
        missing = zip_bytes(larger) - room
        if missing <= 0:  # the largest number so far that fits
            members = larger
        elif len(images) >= min_photos:  # enough photos, and the next group does not fit
            break
    if len(members) - 1 < min_photos:
        raise InputError(
            f"a GPU pack with {len(images):,} photos needs {missing / MIB:.2f} MiB more than there is room for; "
            "make the tracked files smaller or the number of photos"
        )
    return members


def _members(labels: Labels, files: Sequence[str], images: Sequence[bytes]) -> dict[str, bytes]:
    # the label file names files as they are in the pack
    names = [str(Path(file).with_suffix(".webp")) for file in files]
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", *labels.columns])
    table.writerows([name, *labels.rows[file]] for name, file in zip(names, files, strict=True))
    return {LABELS: text.getvalue().encode(), **dict(zip(names, images, strict=True))}


def zip_bytes(members: Mapping[str, bytes]) -> int:
    """Size of what `write_zip` writes: headers of 30 and 46 bytes and two names a member, and 22 bytes at the end."""
    # local header, entry of the directory, end record
    return sum(30 + 46 + 2 * len(name.encode()) + len(content) for name, content in members.items()) + 22


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a zip file, not compressed, whose bytes depend on the names and contents of its members alone."""
    with ZipFile(path, "w", ZIP_STORED) as archive:
        for name in sorted(members):  # sorted: the order in memory does not matter
            member = ZipInfo(name)  # of 1980-01-01
            member.create_system, member.external_attr = 3, 0o644 << 16  # alike on every system
            archive.writestr(member, members[name])


# --- the folder ----------------------------------------------------------------------------------------------------


def tracked_bytes(root: Path) -> int:
    """Sum of the sizes of the files git tracks, as they are on the disk.

    Raises:
        InputError: not a git checkout.
    """
    # -z: names may hold anything
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if listed.returncode:
        raise InputError(f"{root} is not a git checkout: how much room its files leave for the pack is unknown")
    paths = [root / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return sum(path.lstat().st_size for path in paths if path.is_file())  # lstat: a link counts as a link


def _card(folder: Path, pins: Mapping[str, Pin], *, number: int) -> dict[str, Any]:
    # Without pack.json itself, which is written after it.
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest_file(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    encoding = {"width": RESOLUTION, "height": RESOLUTION, "filter": "Lanczos", "format": "WebP", "quality": QUALITY}
    # Libraries are part of the digest: another encoder gives other bytes.
    encoding |= {"method": METHOD, "pillow": PIL.__version__, "libwebp": features.version("webp")}
    source = {"source": FairFaceSource.name, "licence": FairFaceSource.licence, "citation": FairFaceSource.citation}
    card = {
        "photos": {"number": number, **source, "encoding": encoding},
        "packages": {name: pin.version for name, pin in pins.items()},
        "files": files,
    }
    return {**card, "digest": digest_json(card)}


@contextmanager
def _replacing_folder(out: Path) -> Iterator[Path]:
    """Yield a fresh folder that takes the place of `out` when the block ends without an error."""
    if out.exists() and not (out / CARD).is_file():  # an earlier pack is replaced, nothing else
        raise InputError(f"{out} is there and is not a GPU pack; choose another place with --out or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the pack, hence on its file system: a rename cannot cross one.
    with TemporaryDirectory(prefix=f"{out.name}.", suffix=".partial", dir=out.parent) as parent:
        fresh = Path(parent, "new")
        fresh.mkdir()
        yield fresh
        if out.exists():
            # The earlier pack goes into the temporary folder and is removed with it.
            out.rename(Path(parent, "old"))
        fresh.rename(out)


# --- the command ---------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the pack as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.pack", description="Build the GPU pack.")
    faces = Path(os.environ.get("BENCH_FACES", ROOT.parent / "shared/faces")) / "fairface"
    parser.add_argument("--photos", type=Path, default=faces, metavar="DIR", help="FairFace's folder")
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu", metavar="DIR", help="folder of the pack")
    parser.add_argument("--count", type=int, metavar="N", help="number of photos (default: as many as fit)")
    options = parser.parse_args(arguments)
    if options.count is not None and options.count < 1:
        parser.error(f"--count {options.count}: at least 1 photo is needed")
    try:
        card = build_pack(options.photos, options.out, count=options.count)
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file()) / MIB
    print(f"{options.out}: {size:.1f} MiB, {card['photos']['number']:,} photos, digest {card['digest']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
