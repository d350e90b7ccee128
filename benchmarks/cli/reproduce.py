"""`bench reproduce`: compute a published table again and compare every number."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.evaluation.cells import cells_of, tests_of
from benchmarks.evaluation.leaderboard import ranked
from benchmarks.evaluation.localisation import localised, read_rows
from benchmarks.evaluation.map_leaderboard import board_of_run
from benchmarks.evaluation.reproduce import Value, causes, counted, expected_of, refuse_other, to_rows, verdict
from benchmarks.evaluation.reproduce import reproduce as compare
from benchmarks.evaluation.security import security_points
from benchmarks.experiment.resolve import resolve
from benchmarks.protocol import PROTOCOL_VERSION, Protocol
from benchmarks.report.run_report import RunReport, expected_at
from benchmarks.terminal import observer_for
from benchmarks.workflow import recompute
from benchmarks.workflow.environment import describe_environment, versions
from benchmarks.workflow.execution import ensure
from benchmarks.workflow.recompute import check_checkpoints
from benchmarks.workflow.runner import prepare_run
from benchmarks.workflow.stage import Context
from benchmarks.workflow.stages.localise import MASKS
from benchmarks.workflow.store import Store
from forge.core.compute import Compute, asked_threads, choose_device, cores, set_threads, tune_allocator
from forge.core.errors import BenchError, InputError, UnknownNameError, quoted
from forge.core.progress import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.evaluation.reproduce import Expected, Verdict
    from benchmarks.evaluation.results import Results
    from benchmarks.workflow.observer import Observer
    from benchmarks.workflow.runner import PlannedRun
    from benchmarks.workflow.stage import Context, Stage
    from forge.core.compute import Compute

STARTS = ("scores", "checkpoints", "scratch")


def reproduce(
    suite: str,
    start: str,
    only: list[str] | None,
    data: str | None,
    against: Path | None,
    everything: bool,
    work: Path,
    store: Path,
    reports: Path,
    device: str,
    threads: int | None,
    plugin: list[str] | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compute a published table again and compare every number; exit code 1 where one DIFFERS or is MISSING."""
    if start not in STARTS:
        raise UnknownNameError("--from", start, STARTS)
    # Scores are compared whole, which takes seconds; a part of them would not be the published table.
    if start == "scores" and (only or data):
        raise InputError("--only and --data are for --from checkpoints and --from scratch; scores are all compared")
    report = RunReport.open(suite, reports)
    report.check()  # files first: numbers computed from changed files say nothing
    expected = expected_at(against) if against else report.expected
    if expected is None:
        raise InputError(f"{report.folder / 'expected.json'} does not exist; `bench run` writes it beside a report")
    results = report.results
    if start == "scores":
        _print(expected, _from_scores(expected, report), versions(), everything=everything, as_json=as_json)
        return

    tune_allocator()
    chosen = choose_device(device)
    if start == "checkpoints":
        check_checkpoints(results, Store(store))
    # The published precision is in the plan: "auto" decides as the shipped table does.
    # The published number of threads is in the keys of trainings; a report of an earlier version does not hold it.
    published = results.environment.get("threads", "")
    count = threads or asked_threads() or (int(published) if published.isdigit() else cores())
    compute = Compute(chosen, "auto", count)
    set_threads(compute.threads)
    planned = _planned(results, data, compute)
    # one process: only --from scratch reads photos
    context = Context(planned.source, compute, 1, silent, None, planned.external)
    with observer_for(quiet=quiet or as_json) as observer:
        # Another store for scratch: results of the run itself would be found cached and compared with themselves.
        root = work if start == "scratch" else store
        verdicts = _again(expected, planned.stages, only or [], start, root, context, observer)
    _print(expected, verdicts, describe_environment(compute), everything=True, as_json=as_json)


def _planned(results: Results, data: str | None, compute: Compute) -> PlannedRun:
    """Plan the stages of a published run on this machine."""
    if results.protocol_version != PROTOCOL_VERSION:
        raise InputError(
            f"{results.name} was measured by protocol {results.protocol_version}, and tests are made again by protocol "
            f"{PROTOCOL_VERSION}; compare its numbers with --from scores"
        )
    if results.request is None:
        raise InputError(
            f"{results.name} was written by an earlier version, without the request that asks for it again; run it "
            f"first: {results.command}"
        )
    settings = resolve(results.request.model_copy(update={"data": data} if data else {}), device=compute.device)
    try:
        return prepare_run(settings, compute=compute)
    except InputError as error:
        # The message of a missing source is completed only where --data is the remedy.
        if data or repr(settings.data.source) not in str(error):
            raise
        where = f"--data PATH says where the photos of {results.data.name} lie here"
        raise InputError(f"{error}; {where}") from error


def _from_scores(expected: Expected, report: RunReport) -> list[Verdict]:

    results = report.results
    protocol = Protocol(results.protocol_version, results.families)
    cells = cells_of(report.scores, protocol)
    report.check(MASKS, note=False)
    file = report.folder / MASKS
    rows = read_rows(file) if file.is_file() else None
    security = security_points(report.scores, results.attacks, protocol)
    located = [] if rows is None else localised(rows)
    results = results.model_copy(update={"localisation": located, "security": security})
    maps = board_of_run(rows, results.localisation)
    return compare(expected, expected_of(results, cells, ranked(cells) if cells else None, maps))


def _again(
    expected: Expected,
    stages: Sequence[Stage],
    only: Sequence[str],
    start: str,
    root: Path,
    context: Context,
    observer: Observer,
) -> list[Verdict]:
    """Compute the chosen tests again."""
    known = recompute.tests(stages)
    # Tests have " #" and a seed in their names; means and ranks follow from all tests and are compared from scores.
    chosen = [value for value in expected.values if " #" in value.what and _wanted(value.what, only)]
    if not chosen:
        names = [value.what for value in expected.values if " #" in value.what]
        if not names:
            raise InputError(f"the published table of {expected.name} has no tests: there is nothing to compute again")
        texts = " or ".join(map(repr, only))
        raise InputError(f"no test of {expected.name} is called like {texts}; there is {quoted(names[0])}")
    wanted = {stage.key: stage for value in chosen for stage in known.get(value.what, [])}
    store = Store(root)
    if start == "scratch":  # the work folder is a store of its own, which a killed call may have left
        store.tidy()
        # The real faces first: their digest decides whether anything else is worth computing.
        ensure([recompute.reals_stage(stages)], store, context, observer)
    digest = recompute.data_of(stages, store)
    if not digest:
        name = recompute.reals_stage(stages).name
        raise InputError(f"{name} is not in {store.root}/; run the suite first, or use --from scratch")
    refuse_other(expected, PROTOCOL_VERSION, digest)  # before anything is trained or scored
    with tempfile.TemporaryDirectory() as out:  # scores of --from checkpoints go to a temporary folder
        if start == "scratch":
            # By key, so that what several tests share is computed once, and a second call continues.
            folders = ensure(list(wanted.values()), store, context, observer)
        else:
            folders = recompute.from_checkpoints(list(wanted.values()), store, context, Path(out))
        computed = tests_of(recompute.rows(list(wanted.values()), folders)) if wanted else {}
    verdicts = []
    for value in chosen:  # a test that could not be computed is MISSING, not left out
        cell = computed.get(value.what)
        now = Value(what=value.what, value=cell.auc, low=cell.interval.low, high=cell.interval.high) if cell else None
        verdicts.append(verdict(value, now))
    return verdicts


def _wanted(what: str, only: Sequence[str]) -> bool:
    return not only or any(text in what for text in only)


def _print(
    expected: Expected, verdicts: list[Verdict], environment: dict[str, str], *, everything: bool, as_json: bool
) -> None:

    counts = counted(verdicts)
    if as_json:
        print(json.dumps({"counts": counts, "values": to_rows(verdicts)}, indent=1))
    else:
        for result in verdicts:
            # IDENTICAL is the expected case and is counted, not listed.
            if everything or result.status != "IDENTICAL":
                numbers = "" if result.expected is None else f"  {result.expected:.6f} then"
                numbers += "" if result.recomputed is None else f", {result.recomputed:.6f} now"
                print(f"{result.status:<9}  {result.what}{numbers}")
        print(f"{expected.name}: " + ", ".join(f"{count:,} {status}" for status, count in counts.items() if count))
        # The environment of the report overlaid with this one: only entries that differ are causes.
        if counts["IDENTICAL"] < len(verdicts):
            for cause in causes(expected.environment, expected.environment | environment):
                print(f"  possible cause: {cause}")
    if counts["DIFFERS"] or counts["MISSING"]:  # after the table: exit code 1 for scripts
        raise BenchError(f"{counts['DIFFERS']} values differ and {counts['MISSING']} are missing")
