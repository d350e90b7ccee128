"""Own photos for a detector, and pictures of where it looked in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge.faces.faceset import Images

SEEN = 256  # pixels that each half of a picture has at least


def read_photos(paths: list[Path], resolution: int, crop: str) -> tuple[list[dict[str, Any]], list[Any]]:
    """Read photos as `prepare` reads them.

    Args:
        paths: files, or folders whose image files are taken, by the rule of `prepare`: hidden files and folders are
            skipped, links followed, pictures and videos that are not read are listed as problems.
        resolution: pixels of the detector.
        crop: "none" or "face".

    Returns:
        One row a file, with `problem` where it cannot be used; and the usable faces, uint8 [H, W, 3], in order.

    Raises:
        InputError: a path that does not exist.
    """
    from benchmarks.judge import face_of, intake_for
    from forge.errors import InputError, quoted
    from forge.faces.sources.base import Item, find_images, find_unread, printable

    files: list[Path] = []
    rows: list[dict[str, Any]] = []
    for path in paths:
        if path.is_dir():
            files += [path / file for file in find_images(path)]
            rows += [
                {"file": printable(str(path / file)), "problem": f"not read: {why}"}
                for file, why in find_unread(path).items()
            ]
        elif path.exists():
            files.append(path)
        else:
            raise InputError(f"image {quoted(str(path))} does not exist")
    if not files and not rows:
        raise InputError(f"there are no images in {', '.join(map(str, paths))}")
    intake = intake_for(resolution, crop)
    faces: list[Any] = []
    for file in files:
        row: dict[str, Any] = {"file": printable(str(file))}
        face = face_of(Item(row["file"], str(file)), intake)
        if isinstance(face, str):
            row["problem"] = face
        else:
            faces.append(face.images[0])
            if face.note:
                row["note"] = face.note
        rows.append(row)
    return rows, faces


def folder_for(out: Path, store: Path) -> Path:
    """Make the folder that pictures go to.

    Raises:
        InputError: it lies in the store, or is no folder.
    """
    from forge.errors import InputError

    if out.resolve().is_relative_to(store.resolve()):
        raise InputError(f"{out} lies among the stored results in {store}; choose another place with --explain-to")
    if out.exists() and not out.is_dir():
        raise InputError(f"--explain-to {out} is not a folder; choose another place")
    out.mkdir(parents=True, exist_ok=True)
    return out


def write_looks(out: Path, rows: list[dict[str, Any]], faces: Images, maps: Any, *, source: str) -> None:  # noqa: ANN401
    """Write a picture a photo: the face as the detector saw it, and beside it in grey and orange where it looked.

    Args:
        out: an existing folder.
        rows: of the faces, in order; each gets `looked`, the path of its picture.
        faces: uint8 [n, H, W, 3].
        maps: float32 [n, H, W].
        source: what goes into the files' text field.
    """
    import numpy as np

    from benchmarks.pipeline.settings import safe_name
    from benchmarks.report.colour import overlay
    from forge.pictures import grid, write_picture

    taken: set[str] = set()
    times = max(1, -(-SEEN // faces.shape[1]))
    for row, face, marked in zip(rows, faces, overlay(faces, maps), strict=True):
        stem = safe_name(Path(row["file"]).stem)
        name = next(name for i in range(1, len(rows) + 1) if (name := f"{stem}-{i}" if i > 1 else stem) not in taken)
        taken.add(name)
        pair = np.stack([face, marked]).repeat(times, axis=1).repeat(times, axis=2)
        path = out / f"{name}.png"
        write_picture(path, grid(pair, columns=2), source=f"{row['file']}: {source}")
        row["looked"] = str(path)
