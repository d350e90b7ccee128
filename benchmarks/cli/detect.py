"""`bench detect`: score own photos with a detector that a run has trained, or with published weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.cli.streams import console as open_console
from benchmarks.cli.verdict_table import verdict_table
from benchmarks.evaluation.numbers import count
from benchmarks.experiment.names import safe_name
from benchmarks.inference.clip_plot import write_plots
from benchmarks.inference.map_output import MapOutput
from benchmarks.inference.photo_maps import NoLocaliserError, PhotoLocaliser, localiser_at, localiser_of
from benchmarks.inference.photo_scores import FAILED, PhotoScores, form_of, outcomes_of, score_photos
from benchmarks.inference.photos import list_photos
from benchmarks.inference.predictor import Predictor, cannot_explain, folder_named
from benchmarks.inference.verdict import Judge
from benchmarks.report.run_report import RunReport
from benchmarks.report.text.run_warnings import warnings
from detect.explain import method
from detect.published import import_published
from forge.core.compute import Compute, choose_device, cores, tune_allocator
from forge.core.errors import InputError
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.crop import check_crop
from forge.faces.imaging.views import check_view
from forge.generators import GENERATORS

_LISTED = 100  # photos that the terminal's table holds


def detect(
    run: str,
    images: list[Path],
    detector: str | None,
    trained_on: str | None,
    max_fpr: float | None,
    error_rate: float | None,
    prior: float | None,
    reencode: bool | None,
    fail_on: list[str] | None,
    generator: list[str] | None,
    crop: str | None,
    view: str,
    explain: bool,
    explain_to: Path | None,
    draw: bool,
    draw_to: Path | None,
    map_values: bool,
    frames: int,
    plot_to: Path | None,
    form: str | None,
    out: Path | None,
    workers: int,
    store: Path,
    reports: Path,
    device: str,
    as_json: bool,
) -> None:
    """Judge photos: score, calibrated probability, and the verdict: forged, real or cannot say."""
    tune_allocator()  # before torch allocates

    if as_json and form not in (None, "json"):
        raise InputError(f"--json and --format {form} exclude each other")
    form = form_of("json" if as_json else form, out)  # the format follows the ending of --out unless it is named
    watched = outcomes_of(fail_on or [])
    if crop is not None:
        check_crop(crop)  # before a detector is loaded
    check_view(view)
    for reference in generator or []:
        GENERATORS.load(reference)  # a discriminator from a file is built only if its file was named
    at = folder_named(run, reports)
    if at is not None:
        judge = Judge.at(at, detector, trained_on, max_fpr=max_fpr, error_rate=error_rate, prior=prior)
    else:
        judge = Judge.of_run(
            run, detector, trained_on, store, reports, max_fpr=max_fpr, error_rate=error_rate, prior=prior
        )
    predictor = judge.predictor
    # before any photo is read: a path that does not exist is a mistake of the command line
    photos = list_photos(images, frames)
    plots = _plots_of(predictor, form, out, plot_to) if photos.moments else None
    if plots is not None:
        _folder_for(plots, store, "--plot-to")
    pictures, explained = None, ""
    if explain or explain_to is not None:
        # known before the work whether it can be written
        pictures = _folder_for(explain_to or _pictures_of(predictor, predictor), store, "--explain-to")
        explained = (
            f"left as {predictor.name} saw it, right in orange the pixels that its score depends on ({method()})"
        )
    maps, no_map = None, ""
    if draw or draw_to is not None or map_values:
        try:
            localiser = localiser_at(predictor) if at is not None else localiser_of(predictor, run, store, reports)
        except NoLocaliserError as error:
            no_map = f"No map: {error}."  # the scores are there all the same
        else:
            folder = _folder_for(draw_to or _pictures_of(predictor, localiser), store, "--map-to")
            maps = MapOutput(localiser, folder, map_values)
    with _progress() as on_progress:
        scored = score_photos(
            judge,
            photos,
            Compute(choose_device(device)),
            crop=crop,
            view=view,
            workers=workers or cores(),
            reencode=reencode,
            pictures=pictures,
            source=explained,
            maps=maps,
            on_progress=on_progress,
        )
    if plots is not None:
        threshold = scored.clip_judge.threshold if scored.clip_judge else predictor.threshold.score
        write_plots(scored.rows, scored.clips, threshold, predictor.name, plots)
    # Pictures exist only for detectors with gradients, and only for photos that could be used.
    if explained:
        looked = any("looked" in row for row in scored.rows)
        explained = f"Where it looked: {explained}." if looked else cannot_explain(predictor) if scored.used else ""
    # a folder of its own has no audits that could have failed
    warned = [] if at is not None else warnings(RunReport.open(run, reports).results)
    _hand_out(replace(scored, no_map=no_map), form, out, warned, explained)
    if not scored.used:  # after the output: it says of each file why
        raise InputError(f"none of the {len(photos)} files could be used")
    if any(scored.outcomes[name] for name in watched):
        raise typer.Exit(FAILED)  # the answers are out; the code alone tells a script


def _hand_out(scored: PhotoScores, form: str, out: Path | None, warned: Sequence[str], explained: str) -> None:
    """Give the results out: a file with a summary on the terminal, a table, or data alone for a pipe."""
    if out is not None:
        scored.write(out, form, warnings=warned, explained=explained)
        _print_warnings(open_console(), warned)
        _print_summary(scored, f"{out}: {scored.summary}")
    elif form == "table":
        _print_table(scored, warned, explained)
    else:
        # `end`: the text ends with a line feed already
        print(scored.csv() if form == "csv" else scored.json(warnings=warned, explained=explained), end="")


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A bar on the error stream while photos are scored, where that is a terminal."""
    console = Console(stderr=True)  # results may be piped, a bar must not get among them
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("photos", total=None)  # the number of photos is known with the first event

        def on_progress(event: ProgressEvent) -> None:
            bar.update(task, completed=event.done, total=event.total)

        yield on_progress


def _pictures_of(predictor: Predictor, detector: Predictor | PhotoLocaliser) -> Path:
    """Return where pictures of a detector go: below the working directory, never in the store, which is checked."""
    return Path("pictures") / safe_name(predictor.source) / safe_name(f"{detector.name}@{detector.trained_on}")


def _plots_of(predictor: Predictor, form: str, out: Path | None, plot_to: Path | None) -> Path | None:
    """Return where plots of clips go: beside the results; None where these are data for a pipe."""
    if plot_to is not None:
        return plot_to
    if out is not None:
        return out.parent
    return _pictures_of(predictor, predictor) if form == "table" else None


def _folder_for(out: Path, store: Path, option: str) -> Path:
    """Make the folder that pictures go to; `option` names it.

    Raises:
        InputError: it lies in the store, or is no folder.
    """
    # The store holds what `find` compares byte by byte; a foreign file there is no result.
    if out.resolve().is_relative_to(store.resolve()):
        raise InputError(f"{out} lies among the stored results in {store}; choose another place with {option}")
    if out.exists() and not out.is_dir():
        raise InputError(f"{option} {out} is not a folder; choose another place")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _print_table(scored: PhotoScores, warned: Sequence[str], explained: str) -> None:
    """The photos one by one, then their number, then what the verdicts rest on."""
    console = open_console()
    _print_warnings(console, warned)
    answers = scored.answers
    console.print(verdict_table(scored, answers[:_LISTED]))
    more = len(answers) - _LISTED
    if more > 0:
        console.print(f"… and {more:,} more; all of them: --out scores.csv", highlight=False)
    if explained:
        console.print(explained, highlight=False, markup=False)
        _print_files(scored, "looked")
    _print_files(scored, "map", "map_values")
    _print_paths(scored.clips, "plot")
    _print_summary(scored, f"{scored.summary}.")


def _print_files(scored: PhotoScores, *columns: str) -> None:
    """Print the pictures of the photos that the table lists; the others are in the same folder."""
    _print_paths(scored.rows, *columns)


def _print_paths(rows: Sequence[dict[str, Any]], *columns: str) -> None:
    # each once: faces of a clip share a plot
    for path in dict.fromkeys(row[column] for row in rows[:_LISTED] for column in columns if column in row):
        # `soft_wrap`: a path that is broken into lines cannot be copied
        open_console().print(path, highlight=False, markup=False, soft_wrap=True)


def _print_warnings(console: Console, warned: Sequence[str]) -> None:
    """Print the warnings that forbid to rely on the predictions, first."""
    for warning in warned:
        console.print(f"[bold red]{escape(warning)}[/]", highlight=False)


def _print_summary(scored: PhotoScores, summary: str) -> None:
    """Print the number of photos per prediction, and the threshold."""
    console = open_console()
    console.print(f"[bold]{escape(summary)}[/]", highlight=False)
    # in one paragraph what the map is and is not
    of_maps = " ".join(scored.localiser.sentences()) if scored.localiser else scored.no_map
    for sentence in (*scored.sentences, of_maps):
        if sentence:
            console.print(f"[dim]{escape(sentence)}[/]", highlight=False)


def import_weights(
    name: str, file: Path, out: Path | None, resolution: int | None, backbone: Path | None = None
) -> None:
    """Turn weights that authors published into a detector; nothing in the file is ever run."""
    tune_allocator()

    target = out or Path(f"{name}-published")
    # An existing detector is never replaced by other weights.
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists already; choose another place with --out")
    card = import_published(name, file, target, resolution, backbone).card
    print(f"{target}: {name}, {count(card.parameters)} values, judges {card.resolution} px faces")
    if card.seen:
        print(f"trained on: {', '.join(card.seen)}")
    print(f"next: bench detect {target} PHOTO…")
    print(f"      bench run --generator dcgan --detector {target}   (used as it is, not fitted)")
