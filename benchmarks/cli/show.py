"""`bench show`: what a name stands for, or how a finished run came out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from benchmarks.cli import options


def show(
    name: Annotated[str, typer.Argument(help="A generator, detector, source or finished run.")],
    preset: Annotated[str, typer.Option("--preset", help="Show settings as of this preset.")] = "quick",
    reports: options.Reports = options.REPORTS,
) -> None:
    """Show a generator's, detector's or source's settings, or the table of a finished run."""
    from benchmarks.cli.listing import _registry
    from benchmarks.pipeline.run import find_report
    from forge.errors import InputError

    for kind in ("generators", "detectors", "sources"):
        if name in _registry(kind).names():
            _print_settings(kind, name, preset)
            return
    try:
        report = find_report(name, reports)
    except InputError as error:
        raise InputError(f"{error}; `bench list generators|detectors|sources` shows other names") from error
    from benchmarks.cli.terminal import print_outcome

    print_outcome(report, quiet=False, as_json=False)


def _print_settings(kind: str, name: str, preset: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from benchmarks.cli.listing import _entry, _registry
    from benchmarks.pipeline.settings import PRESETS, merged, shipped
    from forge.errors import UnknownNameError

    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    console = Console()
    facts = Table(show_header=False, title=name, title_justify="left")
    for key, value in _entry(kind, name).items():
        facts.add_row(f"[dim]{key}[/]", str(value))
    console.print(facts)
    if kind == "sources":
        return
    found = _registry(kind).load(name)
    models: dict[str, Any] = {"": found.Settings}
    if kind == "generators":
        from forge.training.settings import TrainingSettings

        models = {"network": found.Settings, "training": TrainingSettings}
    table = Table(title=f"settings at preset {preset}", title_justify="left")
    for heading in ("--set", "value", "default", "what it is"):
        table.add_column(heading, overflow="fold")
    values = shipped(kind, name, preset)
    for section, model in models.items():
        chosen = merged(model().model_dump(), values.get(section, {}) if section else values)
        for field, info in model.model_fields.items():
            path = ".".join(part for part in (kind[:-1], section, field) if part)
            table.add_row(path, str(chosen[field]), str(info.default), info.description or "")
    console.print(table)
