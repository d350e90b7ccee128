"""`bench store …`: what lies in the store, what no report needs, a run as one file, damage, the copy elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.evaluation.numbers import amount
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.inventory import Inventory, Removal, damaged, remove, size_of
from benchmarks.workflow.store import Store, check, description_of
from benchmarks.workflow.transfer import export_run, import_run
from forge.core.errors import CorruptError, InputError

_LISTED = 20  # removals that a dry run names


def overview(store: Path, reports: Path, as_json: bool) -> None:
    """Show what lies in the store, by action and by run, and who works on it."""
    facts = _facts(Inventory.of(Store(store), reports))
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    elsewhere = f", copied to {facts['remote']}" if facts["remote"] else ""
    console = open_console()
    console.print(
        f"[bold]{escape(facts['store'])}[/]: {_count(facts['results'], 'result')}, {_size(facts['bytes'])}"
        f"{escape(elsewhere)}; {_size(facts['free'])} free",
        highlight=False,
    )
    if facts["actions"]:
        console.print("", _table(facts["actions"], {"action": "action", "results": "results", "bytes": "size"}))
    if facts["runs"]:
        columns = {"run": "run", "results": "results", "bytes": "needs", "alone": "alone", "missing": "not here"}
        console.print("", _table(facts["runs"], columns))
    for sentence in _remarks(facts):
        console.print(f"\n{sentence}", highlight=False, markup=False)


def gc(yes: bool, hours: float, checkpoints: bool, store: Path, reports: Path, as_json: bool) -> None:
    """Show what no report needs; with --yes remove it."""
    opened = Store(store)
    if yes:
        opened.tidy()
    removals = list(Inventory.of(opened, reports).removals(hours=hours, checkpoints=checkpoints))
    total = sum(removal.bytes for removal in removals)
    count, freed = remove(opened, removals) if yes else (0, 0)
    if as_json:
        rows = [_removal(removal, opened) for removal in removals]
        print(json.dumps({"removals": rows, "bytes": total, "removed": count, "freed": freed}, indent=1))
        return
    if not removals:
        young = f", or is younger than {hours:g} hours" if hours else ""
        print(f"nothing in {opened.root}/ can go: a report needs it, a process works on it{young}")
        return
    if yes:
        kept = len(removals) - count
        print(
            f"removed {count} of {len(removals)}, {_size(freed)} freed" + ("; the others are worked on" if kept else "")
        )
        return
    for removal in sorted(removals, key=lambda each: (-each.bytes, each.path))[:_LISTED]:
        row = _removal(removal, opened)
        print(f"{_size(row['bytes']):>8}  {row['path']}  {row['reason']}")
    if len(removals) > _LISTED:
        print(f"{'':>8}  and {len(removals) - _LISTED} smaller")
    print(f"{_size(total)} would be freed by {_count(len(removals), 'removal')}; `bench store gc --yes` removes them")


def export(run: str, file: Path, store: Path, reports: Path, as_json: bool) -> None:
    """Write a run with all results behind it into one file."""
    opened = Store(store)
    contents, missing = export_run(RunReport.open(run, reports), opened, reports, file)
    size = file.stat().st_size
    if as_json:
        facts = {"file": str(file), "bytes": size, "run": contents.run}
        print(json.dumps(facts | {"results": len(contents.results), "missing": missing}, indent=1))
        return
    print(f"{file}: the report of {contents.run} and {_count(len(contents.results), 'result')}, {_size(size)}")
    if missing:
        print(f"{_count(missing, 'stage')} of the run is no longer in {opened.root}/, and is not in the file")


def import_file(file: Path, overwrite: bool, store: Path, reports: Path, as_json: bool) -> None:
    """Read an exported run, checked to the last byte."""
    opened = Store(store)
    contents, new = import_run(file, opened, reports, overwrite=overwrite)
    if as_json:
        facts = {
            "run": contents.run,
            "report": str(reports / contents.run),
            "results": len(contents.results),
            "new": new,
        }
        print(json.dumps(facts, indent=1))
        return
    print(f"{contents.run}: {reports / contents.run}/, and {new} of {_count(len(contents.results), 'result')} new here")


def verify(store: Path, as_json: bool) -> None:
    """Check every stored file; exit code 1 when one was changed."""
    opened = Store(store)
    checked = list(damaged(opened))
    wrong = [(folder, problem) for folder, problem in checked if problem]
    if as_json:
        rows = [{"result": folder.name, "problem": problem} for folder, problem in wrong]
        print(json.dumps({"checked": len(checked), "damaged": rows}, indent=1))
    elif not wrong:
        print(f"{opened.root}/: {_count(len(checked), 'result')}, as published")
    if wrong:
        named = "; ".join(f"{folder.name}: {problem}" for folder, problem in wrong)
        raise CorruptError(
            f"{len(wrong)} of {_count(len(checked), 'result')} in {opened.root}/ damaged: {named}; the command of a "
            "run that needs one makes it again"
        )


def push(store: Path, as_json: bool) -> None:
    """Copy results to a store elsewhere that lacks them."""
    opened = Store(store)
    if opened.copy is None:
        raise InputError(
            f"{opened.root}/ has no copy elsewhere; name one with --store s3://bucket/prefix or BENCH_REMOTE"
        )
    opened.reach()
    pushed, total = 0, 0
    for folder, manifest in opened.manifests():
        total += 1
        if opened.copy.has(folder.name):
            continue
        if problem := check(folder, manifest.action, manifest.key):
            raise CorruptError(f"{folder} is damaged: {problem}; the command of a run that needs it makes it again")
        pushed += opened.copy.push(folder.name, folder, description_of(folder))
    if as_json:
        print(json.dumps({"remote": opened.remote, "results": total, "pushed": pushed}, indent=1))
        return
    rest = "" if pushed == total else "; the others were there"
    print(f"{pushed} of {_count(total, 'result')} copied to {opened.remote}{rest}")


def _facts(inventory: Inventory) -> dict[str, Any]:
    store = inventory.store
    nearest = next(folder for folder in (store.root, *store.root.absolute().parents) if folder.exists())
    actions = sorted({result.action for result in inventory.results.values()})
    rows = [_of_action(inventory, action) for action in actions]
    work = [folder for folder in sorted(store.root.glob("work/*")) if folder.is_dir()]
    aside = [folder for folder in sorted(store.root.glob("results/*.damaged-*")) if folder.is_dir()]
    return {
        "store": str(store.root),
        "remote": store.copy.address if store.copy else "",
        "results": len(inventory.results),
        "bytes": inventory.bytes,
        "free": shutil.disk_usage(nearest).free,
        "actions": sorted(rows, key=lambda row: -row["bytes"]),
        "runs": [
            {"run": need.name, "results": len(need.there), "bytes": inventory.size(need.there), "alone": need.alone,
             "missing": need.missing}
            for need in inventory.needs
        ],
        "unreadable": list(inventory.unreadable),
        "unneeded": {"results": len(inventory.unneeded), "bytes": sum(each.bytes for each in inventory.unneeded)},
        "damaged": {"results": len(aside), "bytes": sum(map(size_of, aside))},
        "checkpoints": {"stages": len(work), "bytes": sum(map(size_of, work))},
        "under_way": [
            {"key": key, "host": lease.holder.host if lease.holder else "", "pid": lease.holder and lease.holder.pid,
             "alive": lease.alive}
            for key, lease in inventory.leases.items()
        ],
    }  # fmt: skip


def _of_action(inventory: Inventory, action: str) -> dict[str, Any]:
    sizes = [result.bytes for result in inventory.results.values() if result.action == action]
    return {"action": action, "results": len(sizes), "bytes": sum(sizes)}


def _remarks(facts: dict[str, Any]) -> Iterable[str]:
    unneeded, aside, work = facts["unneeded"], facts["damaged"], facts["checkpoints"]
    if unneeded["results"]:
        yield (
            f"no report needs {_count(unneeded['results'], 'result')}, {_size(unneeded['bytes'])}; `bench store gc` "
            "says what can go"
        )
    if aside["results"]:
        yield f"damaged and kept: {_count(aside['results'], 'result')}, {_size(aside['bytes'])}"
    if work["stages"]:
        yield f"checkpoints of {_count(work['stages'], 'stage')}, {_size(work['bytes'])}"
    for row in facts["under_way"]:
        unsure = "" if row["alive"] else ", from where its death would not be seen here"
        yield f"under way: {row['key']}, process {row['pid']} on {row['host']}{unsure}"
    for name in facts["unreadable"]:
        yield f"the report {name} cannot be read, so that what it needs is not known"


def _removal(removal: Removal, store: Store) -> dict[str, Any]:
    path = removal.path.relative_to(store.root).as_posix()
    return {"path": path, "bytes": removal.bytes, "reason": removal.reason}


def _table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> Table:
    """Make a table of some columns; numbers stand at the right, bytes as sizes."""
    table = Table(box=None, pad_edge=False)
    for key, heading in columns.items():
        table.add_column(heading, justify="left" if isinstance(rows[0][key], str) else "right", overflow="fold")
    shown: dict[str, Callable[[Any], str]] = {"bytes": _size, "alone": _size}
    for row in rows:
        table.add_row(*(escape(shown.get(key, str)(row[key])) for key in columns))
    return table


def _size(count: int) -> str:
    return f"{amount(count)}B" if count >= 1000 else f"{count} B"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
