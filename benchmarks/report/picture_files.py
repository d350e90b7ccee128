"""Pictures of faces beside a page: PNG as a run writes them, WebP of a sixth of the bytes in a published report."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from forge.core import provenance
from forge.core.files import replacing, write_text
from forge.faces.imaging.grids import cut_grid, grid

KINDS = ("samples", "spectrum", "saliency", "looking")  # beginnings of their names; the last of version 0.1
_FACES = ("samples", "saliency", "looking")  # maps of spectra are small, and exact
_QUALITY = 90  # 4.3 bits a pixel of the faces of a small GAN, in place of 17 as PNG
_PLAIN, _PACKED = ".png", ".webp"


def pictures(folder: Path, kind: str) -> dict[str, Path]:
    """Return what the pictures of a kind show, as their names say it, and their files."""
    files = [file for ending in (_PLAIN, _PACKED) for file in folder.glob(f"{kind}-*{ending}")]
    return {file.stem.removeprefix(f"{kind}-"): file for file in sorted(files)}


def picture(folder: Path, stem: str) -> Path | None:
    """Return the file of a picture, whichever way it is stored; None: there is none."""
    files = [folder / f"{stem}{ending}" for ending in (_PLAIN, _PACKED)]
    return next((file for file in files if file.is_file()), None)


def pack_pictures(folder: Path, before: Path) -> None:
    """Replace the pictures of faces in a report by WebP files, and their names in its pages.

    Args:
        folder: of the report, changed in place.
        before: folder of the report that it replaces. A picture that was drawn from one of its WebP files is that file
            again: to encode it a second time would lose a little more.
    """
    packed = {}
    for kind in _FACES:
        for file in pictures(folder, kind).values():
            if file.suffix == _PACKED:
                continue
            target = file.with_suffix(_PACKED)
            with Image.open(file) as opened:
                image, source = opened.convert("RGB"), opened.info.get("Source", provenance.SYNTHETIC)
            earlier = before / target.name
            same = kind == "samples" and earlier.is_file() and _drawn_again(earlier) == image.tobytes()
            with replacing(target) as temporary:
                if same:
                    temporary.write_bytes(earlier.read_bytes())
                else:
                    more = provenance.options("WEBP", source)
                    image.save(temporary, format="WEBP", quality=_QUALITY, method=6, **more)
            file.unlink()
            packed[file.name] = target.name
    for page in ("index.html", "report.md") if packed else ():
        text = (folder / page).read_text(encoding="utf-8")
        for name, new in packed.items():
            text = text.replace(f"lossless in {name}", f"as in {new}").replace(f"]({name})", f"]({new})")
        write_text(folder / page, text)


def _drawn_again(file: Path) -> bytes:
    """Return the pixels of a grid drawn from the faces of another one, as a page made from its files has it."""
    with Image.open(file) as opened:
        return grid(cut_grid(opened)).tobytes()
