"""`bench reproduce`: compute a published table again and compare every number."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.attribution_rows import FILE as ATTRIBUTIONS
from benchmarks.evaluation.attribution_rows import recomputed
from benchmarks.evaluation.cells import cells_of, tests_of
from benchmarks.evaluation.leaderboard import ranked
from benchmarks.evaluation.localisation import localised, read_rows
from benchmarks.evaluation.map_leaderboard import board_of_run
from benchmarks.evaluation.reproduce import Value, causes, counted, expected_of, refuse_other, to_rows, verdict
from benchmarks.evaluation.reproduce import reproduce as compare
from benchmarks.evaluation.security import security_points
from benchmarks.experiment.resolve import resolve
from benchmarks.protocol import PROTOCOL_VERSION, Protocol
from benchmarks.report.digests import SUMS
from benchmarks.report.run_report import RunReport, expected_at
from benchmarks.report.score_archive import RECORD, ScoresAbsentError, record_of
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
    suites: list[str],
    start: str,
    only: list[str] | None,
    data: str | None,
    against: Path | None,
    fetch: list[Path] | None,
    require_scores: bool,
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
    """Compute published tables again and compare every number.

    Exit codes: 0 all IDENTICAL or WITHIN, 1 a value DIFFERS or is MISSING or a report is damaged, 2 bad input, 3 the
    scores are in an archive that is not here; of several reports 3 with `require_scores` alone, else 0.
    """
    if start not in STARTS:
        raise UnknownNameError("--from", start, STARTS)
    # Scores are compared whole, which takes seconds; a part of them would not be the published table.
    if start == "scores" and (only or data):
        raise InputError("--only and --data are for --from checkpoints and --from scratch; scores are all compared")
    if fetch and start != "scores":
        raise InputError(f"--fetch is for --from scores; --from {start} makes the scores itself")
    if len(suites) > 1:
        if against or start != "scores":
            raise InputError("--against and --from checkpoints or scratch take one report; name one")
        _several(suites, fetch or [], reports, require=require_scores, everything=everything, as_json=as_json)
        return
    report, expected = _opened(suites[0], reports, against)
    if start == "scores":
        if len(fetch or ()) > 1:
            raise InputError(f"--fetch is given {len(fetch or ())} times for one report; name its archive alone")
        verdicts = _from_scores(expected, report, _archive_of(report, fetch or [], alone=True))
        _print(expected, verdicts, versions(), everything=everything, as_json=as_json)
        _refuse_changed(verdicts)
        return
    verdicts, environment = _made_again(
        report, expected, start, only or [], data, work, store, device, threads, quiet=quiet or as_json
    )
    _print(expected, verdicts, environment, everything=True, as_json=as_json)
    _refuse_changed(verdicts)


def _opened(suite: str, reports: Path, against: Path | None = None) -> tuple[RunReport, Expected]:
    """Open a report and the values to compare with."""
    report = RunReport.open(suite, reports)
    report.check()  # files first: numbers computed from changed files say nothing
    expected = expected_at(against) if against else report.expected
    if expected is None:
        raise InputError(f"{report.folder / 'expected.json'} does not exist; `bench run` writes it beside a report")
    return report, expected


def _archive_of(report: RunReport, fetch: Sequence[Path], *, alone: bool) -> Path | None:
    """Return the archive that --fetch names for a report: of several reports the one with the name in scores.json."""
    if not (report.folder / RECORD).exists():
        if alone and fetch:
            raise InputError(f"{report.name} has its scores in its folder; leave --fetch {fetch[0]} out")
        return None
    wanted = record_of(report.folder).archive
    return next((file for file in fetch if alone or file.name == wanted), None)


def _several(
    suites: Sequence[str], fetch: Sequence[Path], reports: Path, *, require: bool, everything: bool, as_json: bool
) -> None:
    """Compare several reports; what lies beside them and is no report is passed over, as in reports/*."""
    failed: dict[str, BenchError] = {}
    absent, used, passed_over, rows = [], set(), [], {}
    for suite in suites:
        path = Path(suite)
        if path.exists() and not any((path / name).exists() for name in ("results.json", SUMS)):
            passed_over.append(path.name)
            continue
        try:
            report, expected = _opened(suite, reports)
            used.add(archive := _archive_of(report, fetch, alone=False))
            verdicts = _from_scores(expected, report, archive)
            rows[report.name] = _row(verdicts)
            if not as_json:
                _print(expected, verdicts, versions(), everything=everything, as_json=False)
            _refuse_changed(verdicts)
        except ScoresAbsentError as error:
            absent.append(path.name)
            rows[path.name] = {"absent": str(error)}
            if not as_json:
                print(f"{path.name}: ABSENT, not compared: {error}")
        except BenchError as error:
            failed[path.name] = error
            print(f"error: {path.name}: {error}", file=sys.stderr)
    if passed_over:
        print(f"no report, passed over: {', '.join(passed_over)}", file=sys.stderr)
    if as_json:
        print(json.dumps(rows, indent=1))
    if unused := [str(file) for file in fetch if file not in used]:
        raise InputError(f"--fetch {unused[0]} is the archive of none of these reports; {RECORD} of a report names it")
    if failed:
        error_class = InputError if all(isinstance(error, InputError) for error in failed.values()) else BenchError
        raise error_class(f"{len(failed)} of {len(suites)} did not come out again: {', '.join(failed)}")
    if absent and require:
        raise ScoresAbsentError(f"the scores of {', '.join(absent)} are not here, see above")


def _made_again(
    report: RunReport,
    expected: Expected,
    start: str,
    only: Sequence[str],
    data: str | None,
    work: Path,
    store: Path,
    device: str,
    threads: int | None,
    *,
    quiet: bool,
) -> tuple[list[Verdict], dict[str, str]]:
    """Score the tests of a report again, with stored or newly trained detectors; return verdicts and environment."""
    results = report.results
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
    with observer_for(quiet=quiet) as observer:
        # Another store for scratch: results of the run itself would be found cached and compared with themselves.
        root = work if start == "scratch" else store
        verdicts = _again(expected, planned.stages, only, start, root, context, observer)
    return verdicts, describe_environment(compute)


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


def _from_scores(expected: Expected, report: RunReport, archive: Path | None = None) -> list[Verdict]:
    """Compute every number from the scores, which may be in an archive elsewhere."""
    results, scores = report.results, report.compact_scores(archive)
    protocol = Protocol(results.protocol_version, results.families)
    cells = cells_of(scores, protocol)
    report.check(MASKS, note=False)
    file = report.folder / MASKS
    rows = read_rows(file) if file.is_file() else None
    security = security_points(scores, results.attacks, protocol)
    located = [] if rows is None else localised(rows)
    report.check(ATTRIBUTIONS, note=False)
    # without the answers the published numbers are MISSING, not copied
    attributions = recomputed(results.attribution, report.folder / ATTRIBUTIONS) or []
    results = results.model_copy(update={"localisation": located, "security": security, "attribution": attributions})
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
        print(json.dumps(_row(verdicts), indent=1))
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


def _row(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {"counts": counted(verdicts), "values": to_rows(verdicts)}


def _refuse_changed(verdicts: Sequence[Verdict]) -> None:
    """Give exit code 1 to scripts, after the table."""
    counts = counted(verdicts)
    if counts["DIFFERS"] or counts["MISSING"]:
        raise BenchError(f"{counts['DIFFERS']} values differ and {counts['MISSING']} are missing")
