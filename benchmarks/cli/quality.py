"""`bench quality`: how good a set of forged faces is, beside what held-out real faces would get."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmarks.cli.streams import console as open_console
from benchmarks.evaluation.numbers import signed
from benchmarks.evaluation.run_facts import UsefulnessRow
from benchmarks.evaluation.usefulness import usefulness_rows
from benchmarks.experiment.configs import validated
from benchmarks.terminal import observer_for
from benchmarks.workflow.stage import FACES, Call
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.store import Store
from benchmarks.zoo.members import is_zoo, member_of
from forge.core.compute import choose_device, tune_allocator
from forge.core.errors import InputError
from forge.core.progress import silent
from forge.faces.faceset import FaceSet
from forge.generators import GENERATORS
from forge.generators.artifact import TrainedGenerator
from forge.generators.sample import synthesize
from forge.generators.translation.base import Translator
from forge.quality.measure import Comparison
from forge.quality.metric import Row
from forge.quality.sets import Ask, measure_floor, measure_set

FORGERS = tuple(stage.action for stage in get_args(Forger))  # actions of stages whose result is a set of forgeries
_SEED = re.compile(r" #\d+$")  # behind the name of a generator in a run that is repeated with other seeds


def quality(
    faces: str,
    against: Path | None,
    n: int,
    seed: int,
    metric: str | None,
    fid: Path | None,
    usefulness: bool,
    store: Path,
    device: str,
    as_json: bool,
) -> None:
    """Measure forged faces against the real ones they imitate: likeness, diversity, copies, faces found."""
    tune_allocator()
    ask = Ask(
        n=n,
        seed=seed,
        fid_weights=fid,
        usefulness=usefulness,
        more=tuple(name.strip() for name in (metric or "").split(",") if name.strip()),
        device=choose_device(device),
    )
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as scratch:
        _measure(_candidate(faces, ask, store, Path(scratch) / FACES), against, ask, store, as_json=as_json)


def _candidate(name: str, ask: Ask, store: Path, out: Path) -> FaceSet:
    """Open the forgeries that a command names; a member of the zoo without any in the store draws n of them."""
    if not is_zoo(name) or made_by(name, store):
        return open_set(name, store)
    trained = TrainedGenerator.open(member_of(name, "generator").check().folder)
    if trained.architecture.takes_faces:
        raise InputError(f"{name} makes forgeries of photos; run it first: bench run -g {name} -d npr --data PATH")
    return synthesize(trained, out, counts={"test": ask.n}, seed=ask.seed, on_progress=silent, device=ask.device)


def _measure(candidate: FaceSet, against: Path | None, ask: Ask, store: Path, *, as_json: bool) -> None:
    # A real set alone is measured against itself: what held-out reals get is what forgeries can reach at best.
    alone = against is None and candidate.card.kind == "real"
    real = candidate if alone else open_set(str(against), store) if against else trained_on(candidate, store)
    stage = Call("quality", candidate.card.name)
    with observer_for(quiet=as_json) as observer:
        observer.started(stage)
        ask = replace(ask, on_progress=lambda event: observer.progressed(stage, event))
        floor = measure_floor(real, ask) if alone else None
        # both sides of the comparison are then the same measurement
        comparison = (
            Comparison(forged=floor, floor=floor)
            if floor
            else measure_set(candidate, real, ask, translator=translator_named(candidate))
        )
    if as_json:  # progress was silent, so that output is JSON alone
        print((comparison.floor if alone else comparison).model_dump_json(indent=1))
        return
    _print(comparison.rows(), f"{candidate.card.name} against {real.card.name}, {candidate.resolution} px")
    if not alone:
        _print_usefulness(usefulness_rows(comparison.forged.usefulness), candidate)
    space = comparison.floor.space.extractor
    print(f"features: {space.name}, sha256 {space.sha256[:16]}, images {space.resize}")
    print(f"floor: held-out reals of {real.card.name} against its split 'forge', with the same n and seed {ask.seed}")


def open_set(name: str, store: Path) -> FaceSet:
    """Open a FaceSet by directory, by the directory of the stage that made it, or by a generator's name in the store.

    Of a run that is repeated with other seeds, "dcgan #1" is the set of seed 1.

    Raises:
        InputError: there is none, or several generators have the name.
    """
    if Path(name).is_dir():
        inner = Path(name) / FACES  # a stage's result holds its set in a folder of this name
        return FaceSet.open(inner if inner.is_dir() else Path(name))
    made = made_by(name, store)
    if not made:
        raise InputError(f"{name} is neither a FaceSet directory nor a generator whose forgeries lie in {store}")
    if len(made) > 1:
        raise InputError(f"{len(made)} sets by {name} lie in {store}; name one: {', '.join(map(str, made))}")
    return FaceSet.open(made[0])


def made_by(name: str, store: Path) -> list[Path]:
    """Return the sets of forgeries of a generator that lie in the store."""
    # By the name of the stage, with its seed where a run has several: the store has results of any number of runs.
    return [
        folder / FACES
        for folder, manifest in Store(store).manifests()
        if manifest.action in FORGERS
        and name in (subject := manifest.stage.removeprefix(f"{manifest.action} "), _SEED.sub("", subject))
    ]


def trained_on(forged: FaceSet, store: Path) -> FaceSet:
    """The real set in the store that a forged set's generator was trained on, or that it was made from.

    Raises:
        InputError: its card does not say, or the set is not in the store.
    """
    # The digest of the real set, which the training wrote into the card of its forgeries; forgeries made from faces
    # name their sources.
    made_by = forged.card.provenance
    source = made_by.get("trained_on") or made_by.get("made_from")
    digest = source.get("digest") if isinstance(source, dict) else None
    if digest is None:
        raise InputError(f"the card of {forged.path} does not say what was imitated; name the real set with --against")
    for folder, manifest in Store(store).manifests():
        if manifest.action in ("prepare", "halve") and (real := FaceSet.open(folder / FACES)).card.digest == digest:
            return real
    raise InputError(
        f"the real set {forged.path} was trained on (digest {digest[:12]}) is not in {store}; name it with --against"
    )


def translator_named(forged: FaceSet) -> Translator | None:
    """Return the architecture in the card of a translated set; None: it is none, or of a file, which cards do not run.

    Without it translations are measured beside their sources, but not beside what needs no learning.
    """
    made_by = forged.card.provenance
    name = made_by.get("architecture")
    # an earlier version wrote no settings, and the defaults may be others
    if not isinstance(name, str) or name not in GENERATORS.names() or "settings" not in made_by:
        return None
    implementation = GENERATORS.load(name)
    if not issubclass(implementation, Translator):
        return None
    settings = validated(implementation.Settings, made_by["settings"], where=str(forged.path / "card.json"))
    translator: Translator = implementation(settings, forged.resolution)
    return translator


def _print(rows: list[Row], title: str) -> None:
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("metric", no_wrap=True)
    for heading in ("value", "floor"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("better")
    table.add_column("n", justify="right")
    for row in rows:
        beside = f" ({row.reference})" if row.reference else ""  # what the second number is of, if not held-out reals
        table.add_row(escape(row.metric + beside), _number(row.value), _number(row.floor), row.better, f"{row.n:,}")
    open_console().print(table)


def _print_usefulness(rows: list[UsefulnessRow], forged: FaceSet) -> None:
    """Print what label classifiers gain from the forgeries, or why that was not measured."""
    if not rows:
        why = "a label has too few images, or it was switched off"
        if not forged.card.provenance.get("mix"):  # how the labels of a conditional generator were drawn
            why = "they have no labels of their own, as those of a conditional generator have (cgan)"
        print(f"forgeries as training images: not measured; {why}")
        return
    title = f"label classifiers with and without forgeries, balanced accuracy on {rows[0].n_test:,} held-out reals"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("label", no_wrap=True)
    table.add_column("training images", no_wrap=True)
    for heading in ("without", "with", "difference, 95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        joined = "or" if row.design == "in place" else "+"
        ratio = " (10 : 1)" if row.design == "unbalanced" else ""
        images = f"{row.reals:,} real{ratio} {joined} {row.forgeries:,} forged"
        difference = str(signed(row.difference, row.low, row.high))
        table.add_row(escape(row.column), images, f"{row.without:.3f}", f"{row.augmented:.3f}", escape(difference))
    open_console().print(table)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"  # few digits, so that columns stay narrow
