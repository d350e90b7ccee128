"""`bench reproduce`: whether the published table of a suite comes out again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli import completion, options
from benchmarks.report.run_report import RunReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measures.results import Results
    from benchmarks.tables.reproduce import Expected, Verdict
    from benchmarks.workflow.engines.local import Observer
    from benchmarks.workflow.runner import PlannedRun
    from benchmarks.workflow.stage import Context, Stage
    from forge.compute import Compute

EXAMPLES = """\b
Examples:
  bench reproduce faces64-quick
  bench reproduce faces64-quick --from checkpoints --only "dct@dcgan on gan"
  bench reproduce faces64-quick --from scratch --only "dct@gan on dcgan #0" --data path/to/photos
"""
KINDS = ("scores", "checkpoints", "scratch")


def reproduce(
    suite: Annotated[
        str,
        typer.Argument(
            help="Name of a published suite or finished run, or its report folder.", autocompletion=completion.runs
        ),
    ],
    start: Annotated[
        str,
        typer.Option(
            "--from",
            help="scores: the stored ones; checkpoints: score again with the stored detectors; scratch: train again.",
        ),
    ] = "scores",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="With checkpoints and scratch: tests whose name holds this; repeatable."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="With checkpoints and scratch: where the real faces lie here.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="An expected.json. [default: that of the suite]")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every value, not only those that changed.")] = False,
    work: Annotated[
        Path, typer.Option("--work", help="With scratch: store of the new results; called again, it goes on.")
    ] = Path("runs-again"),
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
    threads: options.Threads = None,
    plugin: options.Plugin = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Compute a published table again and compare every number; exit code 1 where one DIFFERS or is MISSING.

    From scores every AUC, mean and rank is computed again and must be IDENTICAL. From checkpoints or scratch tests are
    scored again: a new AUC inside the published 95 % interval is WITHIN; the causes of a difference are named.
    A report whose files no longer match its SHA256SUMS is refused.
    """
    from benchmarks.report.run_report import RunReport, expected_at
    from benchmarks.workflow.environment import versions
    from forge.errors import InputError, UnknownNameError

    if start not in KINDS:
        raise UnknownNameError("--from", start, KINDS)
    if start == "scores" and (only or data):
        raise InputError("--only and --data are for --from checkpoints and --from scratch; scores are all compared")
    report = RunReport.open(suite, reports)
    report.check()
    expected = expected_at(against) if against else report.expected
    if expected is None:
        raise InputError(f"{report.folder / 'expected.json'} does not exist; `bench run` writes it beside a report")
    results = report.results
    if start == "scores":
        _print(expected, _from_scores(expected, report), versions(), everything=everything, as_json=json)
        return
    from benchmarks.terminal import observer_for
    from benchmarks.workflow.environment import describe_environment
    from benchmarks.workflow.recompute import check_checkpoints
    from benchmarks.workflow.stage import Context
    from benchmarks.workflow.store import Store
    from forge.compute import Compute, choose_device, default_threads, set_threads, tune_allocator
    from forge.progress import silent

    tune_allocator()
    chosen = choose_device(device)
    if start == "checkpoints":
        check_checkpoints(results, Store(store))
    compute = Compute(chosen, "auto", threads or default_threads())
    set_threads(compute.threads)
    planned = _planned(results, data, compute)
    context = Context(planned.source, compute, 1, silent, None, planned.external)
    with observer_for(quiet=quiet or json) as observer:
        place = work if start == "scratch" else store
        found = _again(expected, planned.stages, only or [], start, place, context, observer)
    _print(expected, found, describe_environment(compute), everything=True, as_json=json)


def _planned(results: Results, data: str | None, compute: Compute) -> PlannedRun:
    """The stages of a published run as they would be made here."""
    from benchmarks.experiment.resolve import resolve
    from benchmarks.workflow.runner import prepare_run
    from forge.errors import InputError

    if results.request is None:
        raise InputError(
            f"{results.name} was written by an earlier version, without the request that asks for it again; run it "
            f"first: {results.command}"
        )
    settings = resolve(results.request.model_copy(update={"data": data} if data else {}), device=compute.device)
    try:
        return prepare_run(settings, compute=compute)
    except InputError as error:
        if data or repr(settings.data.source) not in str(error):
            raise
        where = f"--data PATH says where the photos of {results.data.name} lie here"
        raise InputError(f"{error}; {where}") from error


def _from_scores(expected: Expected, report: RunReport) -> list[Verdict]:
    from benchmarks.protocol import Protocol
    from benchmarks.tables.cells import cells_of
    from benchmarks.tables.leaderboard import ranked
    from benchmarks.tables.reproduce import expected_of
    from benchmarks.tables.reproduce import reproduce as compare

    results = report.results
    protocol = Protocol(results.protocol_version, results.families)
    cells = cells_of(report.scores, protocol)
    return compare(expected, expected_of(results, cells, ranked(cells) if cells else None))


def _again(
    expected: Expected,
    stages: Sequence[Stage],
    only: Sequence[str],
    start: str,
    place: Path,
    context: Context,
    observer: Observer,
) -> list[Verdict]:
    """Compute the chosen tests again."""
    import tempfile

    from benchmarks.protocol import PROTOCOL_VERSION
    from benchmarks.tables.cells import tests_of
    from benchmarks.tables.reproduce import Value, refuse_other, verdict
    from benchmarks.workflow import recompute as again
    from benchmarks.workflow.engines.local import ensure
    from benchmarks.workflow.store import Store
    from forge.errors import InputError, quoted

    known = again.tests(stages)
    chosen = [one for one in expected.values if " #" in one.what and _wanted(one.what, only)]
    if not chosen:
        names = [one.what for one in expected.values if " #" in one.what]
        asked = " or ".join(map(repr, only))
        raise InputError(f"no test of {expected.name} is called like {asked}; there is {quoted(names[0])}")
    wanted = {stage.key: stage for one in chosen for stage in known.get(one.what, [])}
    store = Store(place)
    if start == "scratch":
        store.tidy()
        ensure([again.prepare_stage(stages)], store, context, observer)
    digest = again.data_of(stages, store)
    if not digest:
        name = again.prepare_stage(stages).name
        raise InputError(f"{name} is not in {store.root}/; run the suite first, or use --from scratch")
    refuse_other(expected, PROTOCOL_VERSION, digest)  # before anything is trained or scored
    with tempfile.TemporaryDirectory() as out:
        if start == "scratch":
            places = ensure(list(wanted.values()), store, context, observer)
        else:
            places = again.from_checkpoints(list(wanted.values()), store, context, Path(out))
        found = tests_of(again.rows(list(wanted.values()), places)) if wanted else {}
    verdicts = []
    for one in chosen:
        cell = found.get(one.what)
        now = Value(what=one.what, value=cell.auc, low=cell.interval.low, high=cell.interval.high) if cell else None
        verdicts.append(verdict(one, now))
    return verdicts


def _wanted(what: str, only: Sequence[str]) -> bool:
    return not only or any(text in what for text in only)


def _print(
    expected: Expected, verdicts: list[Verdict], environment: dict[str, str], *, everything: bool, as_json: bool
) -> None:
    from benchmarks.tables.reproduce import causes, counted, to_rows
    from forge.errors import BenchError

    counts = counted(verdicts)
    if as_json:
        import json as encoder

        print(encoder.dumps({"counts": counts, "values": to_rows(verdicts)}, indent=1))
    else:
        for one in verdicts:
            if everything or one.status != "IDENTICAL":
                numbers = "" if one.expected is None else f"  {one.expected:.6f} then"
                numbers += "" if one.found is None else f", {one.found:.6f} now"
                print(f"{one.status:<9}  {one.what}{numbers}")
        print(f"{expected.name}: " + ", ".join(f"{count:,} {status}" for status, count in counts.items() if count))
        if counts["IDENTICAL"] < len(verdicts):
            for cause in causes(expected.environment, expected.environment | environment):
                print(f"  possible cause: {cause}")
    if counts["DIFFERS"] or counts["MISSING"]:
        raise BenchError(f"{counts['DIFFERS']} values differ and {counts['MISSING']} are missing")
