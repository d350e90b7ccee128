"""`bench quality`: how good a set of forged faces is, beside what held-out real faces would get."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.streams import console as open_console

if TYPE_CHECKING:
    from forge.faces.faceset import FaceSet
    from forge.quality.metric import Row

EXAMPLES = """\b
Examples:
  bench quality dcgan
  bench quality path/to/forged --against path/to/real -n 2000
  bench quality path/to/real            (the floor alone: held-out reals)
"""


def quality(
    faces: Annotated[str, typer.Argument(metavar="SET", help="FaceSet directory, or a generator in the store.")],
    against: Annotated[
        Path | None, typer.Option("--against", help="Real FaceSet. [default: what the generator was trained on]")
    ] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=16, help="Images a side.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all draws.")] = 0,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="Metrics of plug-ins, comma-separated: names or path/to/file.py:Class."),
    ] = None,
    fid: Annotated[Path | None, typer.Option("--fid", help="Inception weights of torch-fidelity (.pth).")] = None,
    store: options.Store = options.STORE,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Measure forged faces against the real ones they imitate: likeness, diversity, copies, faces found."""
    from forge.compute import tune_allocator

    tune_allocator()
    from benchmarks.terminal import observer_for
    from benchmarks.workflow.stage import Call
    from forge.compute import choose_device
    from forge.quality.measure import Comparison
    from forge.quality.sets import Ask, measure_floor, measure_set

    candidate = open_set(faces, store)
    alone = against is None and candidate.card.kind == "real"
    real = candidate if alone else open_set(str(against), store) if against else trained_on(candidate, store)
    stage = Call("quality", candidate.card.name)
    with observer_for(quiet=json) as observer:
        observer.started(stage)
        ask = Ask(
            n=n,
            seed=seed,
            fid_weights=fid,
            more=tuple(metric.split(",")) if metric else (),
            device=choose_device(device),
            report=lambda tick: observer.progressed(stage, tick),
        )
        floor = measure_floor(real, ask) if alone else None
        found = Comparison(forged=floor, floor=floor) if floor else measure_set(candidate, real, ask)
    if json:
        print((found.floor if alone else found).model_dump_json(indent=1))
        return
    _print(found.rows(), f"{candidate.card.name} against {real.card.name}, {candidate.resolution} px")
    space = found.floor.space.extractor
    print(f"features: {space.name}, sha256 {space.sha256[:16]}, images {space.resize}")
    print(f"floor: held-out reals of {real.card.name} against its split 'forge', with the same n and seed {seed}")


def open_set(name: str, store: Path) -> FaceSet:
    """Open a FaceSet by directory, by the directory of the stage that made it, or by a generator's name in the store.

    Raises:
        InputError: there is none, or several generators have the name.
    """
    from benchmarks.workflow.stage import FACES
    from benchmarks.workflow.store import Store
    from forge.errors import InputError
    from forge.faces.faceset import FaceSet

    if Path(name).is_dir():
        inner = Path(name) / FACES
        return FaceSet.open(inner if inner.is_dir() else Path(name))
    made = [place / FACES for place, manifest in Store(store).manifests() if manifest.stage == f"synthesize {name}"]
    if not made:
        raise InputError(f"{name} is neither a FaceSet directory nor a generator whose forgeries lie in {store}")
    if len(made) > 1:
        raise InputError(f"{len(made)} sets by {name} lie in {store}; name one: {', '.join(map(str, made))}")
    return FaceSet.open(made[0])


def trained_on(forged: FaceSet, store: Path) -> FaceSet:
    """The real set in the store that a forged set's generator was trained on.

    Raises:
        InputError: its card does not say, or the set is not in the store.
    """
    from benchmarks.workflow.stage import FACES
    from benchmarks.workflow.store import Store
    from forge.errors import InputError
    from forge.faces.faceset import FaceSet

    source = forged.card.provenance.get("trained_on")
    digest = source.get("digest") if isinstance(source, dict) else None
    if digest is None:
        raise InputError(f"the card of {forged.path} does not say what was imitated; name the real set with --against")
    for place, manifest in Store(store).manifests():
        if manifest.kind == "prepare" and (real := FaceSet.open(place / FACES)).card.digest == digest:
            return real
    raise InputError(
        f"the real set {forged.path} was trained on (digest {digest[:12]}) is not in {store}; name it with --against"
    )


def _print(rows: list[Row], title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("metric", no_wrap=True)
    for heading in ("value", "floor"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("better")
    table.add_column("n", justify="right")
    for row in rows:
        table.add_row(escape(row.metric), _number(row.value), _number(row.floor), row.better, f"{row.n:,}")
    open_console().print(table)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
