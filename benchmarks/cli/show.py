"""`bench show`: what a name stands for, how a finished run came out, what a trained generator makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.cli.detectors import with_parameters
from benchmarks.cli.listing import _entry, _registry
from benchmarks.cli.streams import console as open_console
from benchmarks.experiment.configs import shipped
from benchmarks.experiment.settings import PRESETS, GeneratorSettings
from benchmarks.report.run_report import RunReport
from benchmarks.zoo.members import PREFIX, is_zoo, member_of, members
from forge.core.errors import InputError, UnknownNameError
from forge.tampering.base import Tampering

# not settings of a run's file: named otherwise, or known only when a request is checked
_FILLED_IN = {
    "architecture",
    "network",
    "training",
    "files",
    "snapshot",
    "tampers",
    "searches",
    "inverts",
    "masks",
    "translates",
    "judged",
    "moves_between",
}


def show(
    name: str,
    preset: str,
    generator: str | None,
    out: Path | None,
    seed: int,
    animation: str,
    against: Path | None,
    backward: bool,
    store: Path,
    reports: Path,
) -> None:
    """Show settings, the table of a finished run, or pictures of a trained generator's faces."""
    if is_zoo(name):
        shown = members().get(name.removeprefix(PREFIX))
        if shown and (shown.card.role == "detector" or not shown.has_weights):
            folder = (shown.check() if shown.has_weights else shown).folder
            print((folder / "README.md").read_text(encoding="utf-8"))
            return
        name = str(member_of(name, "generator").check().folder)
    # With --generator the name is that of a run, also where a generator is called so.
    categories = () if generator else ("generators", "detectors", "attacks", "sources")
    family = f"{name.partition(':')[0]}:" if ":" in name and not name.endswith(":") else name  # timm:resnet18
    category = next((category for category in categories if {name, family} & set(_registry(category).names())), None)
    finished = (reports / name / "results.json").is_file()
    # A name of the bench goes before a run, a run before a folder.
    at_path = category is None and not finished and (Path(name) / "generator.json").is_file()
    if at_path or generator:
        from benchmarks.cli.pictures import generator_at, generator_of_run, show_generator  # torch, for pictures alone

        if at_path:
            trained = generator_at(Path(name), generator)
        else:
            trained = generator_of_run(name, str(generator), store=store, reports=reports)
        out = out or trained.out
        show_generator(trained, out, store=store, seed=seed, animation=animation, against=against, backward=backward)
        return
    if out or against or backward:
        raise InputError(
            "--out, --against and --backward are for pictures of a trained generator: name one with --generator"
        )
    if category:
        _print_settings(category, name, preset, store)
        return
    try:
        report = RunReport.open(name, reports)
    except InputError as error:
        if Path(name).is_dir():
            raise InputError(
                f"{name} is neither a report nor a trained generator: it has no results.json and no generator.json"
            ) from error
        raise InputError(f"{error}; `bench list generators|detectors|sources` shows other names") from error

    from benchmarks.cli.outcome import print_outcomes  # pandas, for results alone

    print_outcomes([report], quiet=False, as_json=False)


def _print_settings(category: str, name: str, preset: str, store: Path) -> None:
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    console = open_console()
    facts = Table(show_header=False, title=name, title_justify="left", box=None, pad_edge=False)
    entry = _entry(category, name)
    if category == "detectors":
        # None where they were not counted yet; `bench list detectors --long` does
        with_parameters([entry], store, count=False)
    for key, value in entry.items():
        if value not in ("", None):
            facts.add_row(f"[dim]{key}[/]", str(value))
    console.print(facts)
    if category == "sources":  # sources have options and no settings
        return
    implementation = _registry(category).load(name)
    values = {} if category == "attacks" else shipped(category, name, preset)
    if category == "generators":
        rows = _generator_rows(implementation, values)
    else:
        path = f"attacks.{name}" if category == "attacks" else "detector"
        rows = _rows(path, implementation.Settings, values)
    if not rows:  # an attack without settings
        return
    table = Table(title=f"settings at preset {preset}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("--set", no_wrap=True)
    for heading, share in (("value", 1), ("default", 1), ("what it is", 3)):
        table.add_column(heading, overflow="fold", ratio=share)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _generator_rows(implementation: Any, values: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:  # noqa: ANN401
    """Settings of a generator: of its network and, where it is trained, of its training and of how it is drawn from."""
    from forge.training.steps import method_of  # imports torch

    rows = _rows("generator.network", implementation.Settings, values.get("network", {}))
    if issubclass(implementation, Tampering):  # not trained
        return rows
    rows += _rows("generator.training", method_of(implementation).Settings, values.get("training", {}))
    drawn = GeneratorSettings.model_fields.keys() - _FILLED_IN
    listed = drawn if implementation.conditional != "never" else drawn - {"condition", "mix"}
    listed -= set() if implementation.truncates else {"truncation"}
    listed -= {"one-way": {"direction"}, "two-way": set()}.get(implementation.domains, {"domains", "direction"})
    return rows + [row for row in _rows("generator", GeneratorSettings, values) if row[0].partition(".")[2] in listed]


def _rows(path: str, model: type[BaseModel], values: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Path, value, default and meaning of every setting, those of nested settings after it."""
    rows = []
    for field, info in model.model_fields.items():
        default = None if info.is_required() else info.default
        if isinstance(default, BaseModel):
            rows += _rows(f"{path}.{field}", type(default), values.get(field, {}))
        else:
            # an empty cell for "nothing", in both columns
            shown = [
                "" if value in (None, (), [], {}) else str(value) for value in (values.get(field, default), default)
            ]
            rows.append((f"{path}.{field}", shown[0], shown[1], info.description or ""))
    return rows
