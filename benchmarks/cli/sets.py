"""`bench data sets`: public test sets below a folder, as their layouts are recognised."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from forge.core.errors import InputError
from forge.faces.layouts import TestSet, recognise
from forge.faces.sources.base import printable

_EXAMPLES = 3  # missing, duplicate and unread files that are named


def sets(root: Path, as_json: bool) -> None:
    """List the test sets below a folder."""
    recognised = sets_below(root)
    if as_json:
        print(json.dumps([_facts(test_set) for test_set in recognised], ensure_ascii=False))
        return
    for test_set in recognised:
        _print(test_set)
    first = recognised[0]
    name = printable(first.root.resolve().name) or "NAME"
    open_console().print(
        f"next: bench run -g dcgan -d dct --external {name}={printable(str(first.root))}",
        style="dim",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def sets_below(root: Path) -> list[TestSet]:
    """Recognise a folder as a test set, or its sub-folders where these are sets of several layouts.

    Raises:
        InputError: neither is one.
    """
    inner: list[TestSet] = []
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    for folder in folders:
        try:
            inner.append(recognise(folder))
        except InputError:
            continue  # no set of its own; the root is asked below, and says what it holds
    if len({test_set.layout for test_set in inner}) > 1:
        return inner
    try:
        return [recognise(root)]
    except InputError:
        if not inner:
            raise
        return inner


def _facts(test_set: TestSet) -> dict[str, Any]:
    """Return what is known of a set, as JSON."""
    entries = test_set.entries
    return {
        "root": printable(str(test_set.root)),
        "layout": test_set.layout,
        "summary": test_set.summary(),
        "tested_split": test_set.tested_split,
        "subsets": _counts(test_set),
        "splits": {
            split or "none": dict(Counter(entry.label for entry in entries if entry.split == split))
            for split in (*test_set.splits(), None)
            if any(entry.split == split for entry in entries)
        },
        "identities": len({entry.identity for entry in entries} - {None}),
        "clips": len({entry.video for entry in entries} - {None}),
        "videos": sum(entry.is_video for entry in entries),
        "masks": len({entry.file for entry in entries if entry.mask}),
        "missing": list(test_set.missing),
        "duplicates": list(test_set.duplicates),
        "unread": {printable(file): why for file, why in test_set.unread.items()},
        "notes": list(test_set.notes),
    }


def _counts(test_set: TestSet) -> dict[str, dict[str, int]]:
    """Return real and forged files of each column, of the split that is tested; "" is the only column."""
    tested = test_set.of_split(test_set.tested_split)
    return {
        subset: {"real": len(tested.side("real", subset or None)), "forged": len(tested.side("forged", subset or None))}
        for subset in test_set.subsets() or [""]
    }


def _print(test_set: TestSet) -> None:
    facts, console = _facts(test_set), open_console()
    console.print(f"[bold]{escape(printable(str(test_set.root)))}[/]", highlight=False, soft_wrap=True)
    console.print(escape(test_set.summary()), highlight=False)
    table = Table(pad_edge=False, show_edge=False)
    table.add_column("column")
    table.add_column("real", justify="right")
    table.add_column("forged", justify="right")
    for subset, count in facts["subsets"].items():
        table.add_row(escape(printable(subset) or "all"), *(f"{count[side]:,}" for side in ("real", "forged")))
    console.print(table)
    splits = "; ".join(
        f"{split} {counts.get('real', 0):,} real, {counts.get('forged', 0):,} forged"
        for split, counts in facts["splits"].items()
    )
    lines = [f"splits: {splits}"] if test_set.splits() else ["splits: none"]
    lines.append(", ".join(f"{facts[what]:,} {what}" for what in ("identities", "clips", "videos", "masks")))
    lines += [_listed("missing", facts["missing"]), _listed("listed twice", facts["duplicates"])]
    lines.append(_listed("not read", [f"{file} ({why})" for file, why in facts["unread"].items()]))
    for line in [*lines, *facts["notes"]]:
        if line:
            console.print(line, style="dim", highlight=False, soft_wrap=True, markup=False)
    console.print()


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > _EXAMPLES else ""
    return f"{what}: {len(names):,}, {', '.join(map(printable, names[:_EXAMPLES]))}{more}"
