"""Images of FaceSets with their labels, as datasets for other programs hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from forge.core.errors import InputError
from forge.faces.faceset import SPLITS, FaceSet, FaceView, Images

COLUMNS = ("identity", "id", "source", "generator", "split")  # of text, beside `label` and the sets' own labels
_AT_ONCE = 256


def label_types(sets: Sequence[FaceSet], taken: Sequence[str]) -> dict[str, str]:
    """Return the label columns of all sets and their Arrow types.

    Args:
        sets: opened FaceSets.
        taken: names that no label may have.

    Raises:
        InputError: no set, a label of two types, or one with a name that is taken.
    """
    if not sets:
        raise InputError("a dataset needs at least one FaceSet")
    types: dict[str, str] = {}
    for faces in sets:
        for name, type_name in faces.label_types.items():
            if types.setdefault(name, type_name) != type_name:
                raise InputError(f"label column {name} is {types[name]} in one set and {type_name} in {faces.path}")
    if clash := sorted(set(types) & set(taken)):
        raise InputError(f"label column {clash[0]} has the name of a column that every dataset has; rename it")
    return types


def views_by_split(sets: Sequence[FaceSet], split: str | None) -> dict[str, list[FaceView]]:
    """Return the views of each split that a set has, in the order of `SPLITS`.

    Args:
        sets: opened FaceSets.
        split: this one alone; None: all.

    Raises:
        InputError: a set has no images of the split.
    """
    if split is not None:
        return {split: [faces.view(split) for faces in sets]}
    counts = {name: [faces for faces in sets if faces.card.splits.get(name)] for name in SPLITS}
    return {name: [faces.view(name) for faces in those] for name, those in counts.items() if those}


def labelled(view: FaceView) -> Iterator[tuple[Images, list[dict[str, Any]]]]:
    """Yield images uint8 [n, H, W, 3] of a view and their rows, some hundred at a time.

    A row has `COLUMNS`, `label` ("real" or "forged") and the set's labels; None where there is no value.
    """
    card = view.faces.card
    generator = card.provenance.get("generator") if card.kind == "forged" else None
    facts = {"source": card.name, "generator": generator or None, "label": card.kind}
    schema = pa.schema([view.faces.schema.field(name) for name in ("id", "identity", "split", *card.attributes)])
    for start in range(0, len(view), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        # the stored types: pandas makes NaN of nulls, and floats of whole numbers beside them
        table = FaceView(view.faces, view.index[part]).rows[schema.names]
        rows = pa.Table.from_pandas(table, schema, preserve_index=False).to_pylist()
        yield view.read(part), [row | facts for row in rows]


def dataset_card(sets: Sequence[FaceSet]) -> str:
    """Return the text of a dataset's README.md: contents, licences and citations."""
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
