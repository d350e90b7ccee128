"""FaceSets as Hugging Face datasets; imported where the extra `datasets` is there."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from PIL import Image

from forge.core.errors import InputError
from forge.core.files import publishing
from forge.faces.faceset import SPLITS, FaceSet, FaceView

CLASSES = ["real", "forged"]
_AT_ONCE = 256


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
    if not sets:
        raise InputError("a dataset needs at least one FaceSet")
    features = _features(sets)
    names = [split] if split is not None else [name for name in SPLITS if any(s.card.splits.get(name) for s in sets)]
    made = {}
    for name in names:
        views = [faces.view(name) for faces in sets if split is not None or faces.card.splits.get(name)]
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
            (folder / "README.md").write_text(_card(faces), encoding="utf-8")
        return sum(len(part) for part in made.values())


def export_parquet(faces: Sequence[FaceSet], out: Path, *, split: str | None = None) -> int:
    """Write FaceSets as Parquet files; see `export_dataset`."""
    return export_dataset(faces, out, split=split, parquet=True)


def _joined(texts: Iterable[str]) -> str:
    """Return different texts, each once, the empty left out."""
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _features(sets: Sequence[FaceSet]) -> datasets.Features:
    columns: dict[str, Any] = {"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)}
    columns |= {name: datasets.Value("string") for name in ("identity", "id", "source", "generator", "split")}
    types: dict[str, str] = {}
    for faces in sets:
        for name, type_name in faces.label_types.items():
            if types.setdefault(name, type_name) != type_name:
                raise InputError(f"label column {name} is {types[name]} in one set and {type_name} in {faces.path}")
    clash = sorted(set(types) & set(columns))
    if clash:
        raise InputError(f"label column {clash[0]} has the name of a column that every dataset has; rename it")
    return datasets.Features(columns | {name: datasets.Value(type_name) for name, type_name in types.items()})


def _examples(views: Sequence[FaceView]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split; images as PNG files, which keep every pixel."""
    for view in views:
        card = view.faces.card
        facts = {"source": card.name, "generator": card.provenance.get("generator") or None, "label": card.kind}
        facts["generator"] = facts["generator"] if card.kind == "forged" else None
        names = ["id", "identity", "split", *card.attributes]
        for start in range(0, len(view), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            # Arrow's own nulls: pandas would make NaN of them
            rows = pa.Table.from_pandas(view.rows.iloc[part][names], preserve_index=False).to_pylist()
            for image, row in zip(view.read(part), rows, strict=True):
                yield row | facts | {"image": {"bytes": _png(image), "path": None}}


def _png(image: Any) -> bytes:  # noqa: ANN401 - uint8 [H, W, 3]
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _card(sets: Sequence[FaceSet]) -> str:
    lines = ["# Faces", "", "Written by deepfake-bench; `label` is real or forged.", ""]
    for faces in sets:
        card = faces.card
        splits = ", ".join(f"{name} {count:,}" for name, count in card.splits.items())
        lines += [
            f"- {card.name}: {card.count:,} {card.kind} faces, {card.resolution} px ({splits}); digest {card.digest}",
            f"    - licence: {card.licence}",
            f"    - cite: {card.citation or '–'}",
        ]
    return "\n".join(lines) + "\n"


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
