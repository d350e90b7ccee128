"""Python interface: run generators against detectors, run a suite, open a finished report.

    from benchmarks import Suite, load, run

    report = run("dcgan", ["dct", "xception"], data="path/to/photos", preset="smoke")
    report.leaderboard  # a DataFrame; in a notebook, `report` alone shows the summary and the leaderboard
    Suite.open("smoke").run()
    load("dcgan-xception-rendered-quick").cells

Names, values and errors are those of the command line; an error is a `forge.core.errors.BenchError`, one sentence.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.experiment.conditions import Conditions
from benchmarks.experiment.configs import as_assignments, find_suite, validated
from benchmarks.experiment.external import notes_of
from benchmarks.experiment.request import changed, nested, read_request
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.resolve import resolve
from benchmarks.finished import Report, load
from benchmarks.places import reports_folder, store_folder
from benchmarks.report.publish import refuse_foreign, refuse_other_request
from benchmarks.terminal import observer_for
from benchmarks.workflow.engines import known_engine
from benchmarks.workflow.jobs import allot, elsewhere
from benchmarks.workflow.runner import execute_run, prepare_run
from benchmarks.workflow.store import Store
from forge.core.compute import PRECISIONS, Compute, asked_threads, choose_device, cores, set_threads, tune_allocator
from forge.core.errors import BenchWarning, UnknownNameError
from forge.core.registry import allow_files

if TYPE_CHECKING:
    from benchmarks.workflow.observer import Observer
    from forge.core.compute import PrecisionAsked

__all__ = ["Report", "Suite", "load", "run"]

Names = str | Sequence[str]


def run(
    generator: Names | None = None,
    detector: Names | None = None,
    *,
    suite: str | Path | None = None,
    data: str | Path | None = None,
    preset: str | None = None,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    rounds: int | None = None,
    conditions: Mapping[str, Any] | None = None,
    condition: Names | None = None,
    metric: Names | None = None,
    section: Names | None = None,
    external: Mapping[str, str | Path | Sequence[str | Path]] | None = None,
    forged: Mapping[str, str | Path | Mapping[str, str]] | None = None,
    resolution: int | None = None,
    settings: Mapping[str, Any] | None = None,
    name: str | None = None,
    show_real: bool = False,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    workers: int = 1,
    jobs: int | None = None,
    engine: str | None = None,
    ray_address: str | None = None,
    ship_below: float | None = None,
    slurm: Mapping[str, str | float] | None = None,
    store: str | Path | None = None,
    reports: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Report:
    """Train generators, forge faces, train detectors, score them, write a report: `bench run` as a function.

    Finished stages are never computed again, and an interrupted run continues.

    Args:
        generator: names, comma-separated or as a list; "path/to/file.py:Class" for a plug-in.
        detector: likewise.
        suite: a shipped suite or a YAML file; other arguments override it.
        data: real faces: a folder of photos, or NAME or NAME:PATH of a source (default: rendered).
        preset: smoke, quick, standard or full (default: quick, on a GPU standard).
        seed: random seed of the whole run (default: 0).
        seeds: repeat the whole run with each; the intervals then cover the variance between trainings too.
        rounds: of an arms race; its settings are those of `set["race"]`.
        conditions: conditions of the tests, e.g. {"unseen": True, "robust": ["jpeg75"]}.
        condition: label columns for conditional generators, e.g. "gender".
        metric: metrics beside those of the protocol; "path/to/file.py:Class" for a plug-in.
        section: sections of the page beside the shipped ones; "path/to/file.py:Class" for a plug-in.
        external: name -> folder of a public test set, whose layout is recognised; or (folder of real photos, folder of
            forged ones); a third one has the masks of the forged photos, or is "column:NAME" of their label file.
        forged: name -> folder of forgeries that stand for a generator, or {"path": folder, "family": name}.
        resolution: pixels (default: the preset's).
        settings: any setting, nested or by dotted name: {"generator.training.kimg": 100}.
        name: of the run and its report folder.
        show_real: embed photos of `data` in the report.
        device: auto, cpu, cuda or cuda:N.
        precision: fp32, bf16, or auto: by a shipped table and the processor's instructions.
        threads: processor threads, on which results of a training depend (default: OMP_NUM_THREADS, else all cores).
        workers: processes that read photos; 1: this one. More than one start new interpreters, so that a script needs
            an `if __name__ == "__main__":` guard; a notebook does not.
        jobs: stages at a time (default: the suite's, else 1: this process); more start new interpreters, as workers do.
        engine: where stages run: "local" (default), "ray" or "slurm".
        ray_address: HOST:PORT of a Ray cluster, or "auto" (default: RAY_ADDRESS, else one on this machine is started).
        ship_below: MB of the largest result that travels to nodes of the cluster that do not see the store (default:
            none does, and such nodes are refused).
        slurm: options of the jobs, e.g. {"partition": "gpu", "time": 120}; see the manual.
        store: folder of results and checkpoints (default: the environment's BENCH_HOME, else runs), or the address of
            a store on another machine, as s3://bucket/prefix.
        reports: parent folder of reports (default: the environment's BENCH_REPORTS, else reports).
        overwrite: replace a report of the same name that another call made, or the same one of other photos.
        quiet: print nothing.

    Returns:
        The report. Failed stages raise warnings and are listed in `Report.missing`.

    Raises:
        InputError: the request cannot be carried out.
        BenchError: a stage failed that the whole run needs.
    """
    tune_allocator()  # trainings are slower without it; most effective before the first allocation
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    stages, folder = Store(store_folder(store)), reports_folder(reports)
    stages.reach()
    # Allowed is code that the arguments of this call name. A suite file is read below and adds nothing to it: what is
    # read from a disk never names code that is then imported.
    file = find_suite(str(suite)) if suite else None
    code = (generator, detector, metric, section, None if data is None else str(data))
    allow_files(entry for names in code for entry in _listed(names))
    values: dict[str, Any] = {
        "generator": generator,
        "detector": detector,
        "condition": condition,
        "metric": metric,
        "section": section,
        "data": None if data is None else str(data),
        "preset": preset,
        "seed": seed,
        "seeds": None if seeds is None else list(seeds),
        "rounds": rounds,
        "resolution": resolution,
        "name": name,
        "conditions": dict(conditions or {}),
        "external": {label: _folders(folders) for label, folders in (external or {}).items()},
        "forged": {label: str(of) if isinstance(of, Path) else of for label, of in (forged or {}).items()},
        "set": nested(settings or {}),
        "jobs": jobs,
        "engine": engine,
        "ray_address": ray_address,
        "ship_below": ship_below,
        "slurm": dict(slurm or {}),
        "show_real": show_real or None,  # None leaves the value of the suite; False would override its true
    }
    chosen = choose_device(device)
    request, notes = changed(read_request(file) if file else RunRequest(), values)
    plan = resolve(request, device=chosen, file=file)
    compute = Compute(chosen, cast("PrecisionAsked", precision), threads or asked_threads() or cores())
    set_threads(compute.threads)
    # Plans of earlier calls lie in the store; see `_remembered` in workflow/runner.py.
    engine = known_engine(request.engine)
    others = elsewhere(request)
    planned = prepare_run(plan, memory=stages.root / "plans", compute=compute)
    # Both refusals come before any work: hours of training must not end at a folder that may not be replaced.
    refuse_foreign(folder / plan.name)
    if not overwrite:
        refuse_other_request(folder / plan.name, plan.request, planned.photos)
    # one job by default: a script without the guard would begin again in every worker
    count = request.jobs or (1 if engine == "local" else None)
    work = allot([planned], stages, folder, compute, jobs=count, threads=threads, engine=engine, elsewhere=others)
    with observer_for(quiet=quiet) as observer, _noting(observer):
        for note in [*notes, *notes_of(plan), *work.notes]:
            observer.noted(note)
        outcome = execute_run(
            work.runs[0],
            store=stages,
            reports=folder,
            compute=work.compute,
            workers=workers,
            observer=observer,
            engine=engine,
            options=work.options,
            estimates=work.estimates,
        )
    # Warnings of Python, outside of `_noting`: a script can filter them or turn them into errors.
    for failure in outcome.failures:
        warnings.warn(f"{failure}; the report is written without it; the same call tries again", stacklevel=2)
    return Report(outcome.report)


@contextmanager
def _noting(observer: Observer) -> Iterator[None]:
    """Let the observer say what the bench warns of, one line each; a notebook shows warnings as if they were errors."""
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:  # noqa: ANN401
        if issubclass(category, BenchWarning):
            observer.noted(f"note: {message}")
        else:
            show(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.showwarning = note
        yield


def _listed(names: Names | None) -> list[str]:
    texts = names.split(",") if isinstance(names, str) else names or []  # as --generator a,b
    return [name.strip() for name in texts if name.strip()]


def _folders(given: str | Path | Sequence[str | Path]) -> str | tuple[str, ...]:
    return str(given) if isinstance(given, str | Path) else tuple(map(str, given))


class Suite:
    """A run that a YAML file describes: generators, detectors, conditions, seeds.

    Args:
        file: the YAML file; `open` takes the name of a shipped suite as well.

    Attributes:
        file: the YAML file.
        request: what it holds, checked, a `benchmarks.experiment.request_fields.RunRequest`.

    Raises:
        InputError: the file is missing, no YAML, or holds what a suite cannot hold.
    """

    def __init__(self, file: str | Path) -> None:

        self.file = Path(file)
        self.request = read_request(self.file)
        # a wrong condition is refused when the file is opened, not when it is run
        validated(Conditions, self.request.conditions, where="conditions")

    @classmethod
    def open(cls, name: str) -> Suite:
        """A shipped suite by its name (`bench list suites`), or a file.

        Raises:
            UnknownNameError: neither; carries the nearest.
        """
        return cls(find_suite(name))

    @property
    def name(self) -> str:
        """Of the suite, and of the report folder unless another is given."""
        return self.request.name or self.file.stem

    @property
    def generators(self) -> list[str]:
        """Those it names."""
        return list(self.request.generator)

    @property
    def detectors(self) -> list[str]:
        """Those it names."""
        return list(self.request.detector)

    @property
    def seeds(self) -> list[int]:
        """The whole run is repeated with each."""
        # the seeds that a run of this request has: `seed` stands alone where none are repeated
        return list(self.request.seeds or [self.request.seed or 0])

    @property
    def conditions(self) -> dict[str, Any]:
        """Conditions under which detectors are tested, as in the file."""
        return dict(self.request.conditions)

    def run(self, generator: Names | None = None, detector: Names | None = None, **options: Any) -> Report:  # noqa: ANN401
        """Run it; what is given wins over the file. Arguments, result and errors are those of `benchmarks.run`."""
        return run(generator, detector, suite=self.file, **options)

    def __repr__(self) -> str:
        grid = f"{', '.join(self.generators)} against {', '.join(self.detectors)}"
        return f"Suite({str(self.file)!r}): {grid}, seeds {', '.join(map(str, self.seeds))}"

    def _repr_html_(self) -> str:
        """Show generators, detectors, conditions and seeds as a table in a notebook."""
        rows = {
            "generators": ", ".join(self.generators),
            "detectors": ", ".join(self.detectors),
            # of no condition at all, a run trains and tests each generator
            "conditions": "; ".join(as_assignments(self.conditions)) or "matrix=true",
            "seeds": ", ".join(map(str, self.seeds)),
            "real faces": self.request.data or "rendered",
            "preset": self.request.preset or "quick, on a GPU standard",
        }
        body = "".join(f'<tr><th scope="row">{key}</th><td>{escape(text)}</td></tr>' for key, text in rows.items())
        return (
            f"<table><caption>{escape(self.name)}: {escape(self.request.title)}</caption><tbody>{body}</tbody></table>"
        )
