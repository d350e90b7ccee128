"""FaceSets as Hugging Face datasets; imported where the extra `datasets` is there."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from forge.core.errors import InputError
from forge.core.files import publishing
from forge.faces.faceset import FaceSet, FaceView
from forge.faces.labelled import COLUMNS, dataset_card, label_types, labelled, views_by_split

CLASSES = ["real", "forged"]


def to_dataset(*sets: FaceSet, split: str | None = None, cache: Path | None = None) -> datasets.DatasetDict:
    """Turn FaceSets into one dataset with the sets' splits.

    Columns: `image` (PNG), `label` (ClassLabel real, forged), `identity`, `id`, `source` (name of the set),
    `generator` (null for real faces), `split`, and the label columns of all sets.

    Args:
        *sets: opened FaceSets, e.g. real faces and forgeries.
        split: this one alone; None: all that a set has.
        cache: folder of the Arrow files behind the dataset; None: that of the library.

    Raises:
        InputError: no set, a set without images of the split, or a label column of two types.
    """
    features = _features(sets)
    made = {}
    for name, views in views_by_split(sets, split).items():
        # `from_generator` knows what it made before by the pickled arguments, which hold each set's card
        made[name] = datasets.Dataset.from_generator(
            _examples,
            features=features,
            gen_kwargs={"views": views},
            cache_dir=None if cache is None else str(cache),
            split=datasets.NamedSplit(name),
        )
        made[name].info.license = _joined(faces.card.licence for faces in sets)
        made[name].info.citation = _joined(faces.card.citation for faces in sets)
    return datasets.DatasetDict(made)


def export_dataset(faces: Sequence[FaceSet], out: Path, *, split: str | None = None, parquet: bool = False) -> int:
    """Write FaceSets as a dataset folder with a card, README.md.

    Args:
        faces: opened FaceSets.
        out: directory to be made; appears when everything is written.
        split: this one alone; None: all.
        parquet: data/SPLIT-00000-of-00001.parquet, as the Hub keeps them, in place of what `load_from_disk` reads.

    Returns:
        Number of images.

    Raises:
        InputError: as of `to_dataset`, or `out` exists already.
    """
    if out.exists():
        raise InputError(f"{out} exists already; choose another place or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    with _silent(), tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as cache:
        made = to_dataset(*faces, split=split, cache=Path(cache))
        with publishing(out) as folder:
            if parquet:
                (folder / "data").mkdir()
                for name, part in made.items():
                    part.to_parquet(str(folder / "data" / f"{name}-00000-of-00001.parquet"))
            else:
                made.save_to_disk(str(folder))
            (folder / "README.md").write_text(dataset_card(faces), encoding="utf-8")
        return sum(len(part) for part in made.values())


def export_parquet(faces: Sequence[FaceSet], out: Path, *, split: str | None = None) -> int:
    """Write FaceSets as Parquet files; see `export_dataset`."""
    return export_dataset(faces, out, split=split, parquet=True)


def _joined(texts: Iterable[str]) -> str:
    """Return different texts, each once, the empty left out."""
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _features(sets: Sequence[FaceSet]) -> datasets.Features:
    columns: dict[str, Any] = {"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)}
    columns |= {name: datasets.Value("string") for name in COLUMNS}
    types = label_types(sets, list(columns))
    return datasets.Features(columns | {name: datasets.Value(type_name) for name, type_name in types.items()})


def _examples(views: Sequence[FaceView]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split; images as PNG files, which keep every pixel."""
    for view in views:
        for images, rows in labelled(view):
            for image, row in zip(images, rows, strict=True):
                yield row | {"image": {"bytes": _png(image), "path": None}}


def _png(image: Any) -> bytes:  # noqa: ANN401 - uint8 [H, W, 3]
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


@contextmanager
def _silent() -> Iterator[None]:
    """Without the library's bars, unless they were off before."""
    shown = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not shown:
            datasets.enable_progress_bars()
