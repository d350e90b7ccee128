"""The bench from Python: run something, run a suite, open a finished report.

    from benchmarks import Suite, load, run

    report = run("dcgan", ["dct", "xception"], data="path/to/photos", preset="smoke")
    report.leaderboard  # a DataFrame; in a notebook, `report` alone shows what was found
    Suite.open("smoke").run()
    load("dcgan-xception-rendered-quick").cells

Names and values are those of the command line, and so are the errors: `forge.errors.BenchError`, one sentence each.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.finished import Report, load
from benchmarks.places import reports_folder, store_folder
from forge.errors import BenchWarning

if TYPE_CHECKING:
    from benchmarks.pipeline.engines.local import Observer
    from forge.compute import PrecisionAsked

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
    conditions: Mapping[str, Any] | None = None,
    condition: Names | None = None,
    metric: Names | None = None,
    external: Mapping[str, tuple[str | Path, str | Path]] | None = None,
    resolution: int | None = None,
    settings: Mapping[str, Any] | None = None,
    name: str | None = None,
    show_real: bool = False,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    workers: int = 1,
    store: str | Path | None = None,
    reports: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Report:
    """Train generators, forge faces, train detectors, score them, write a report: `bench run` as a function.

    What is finished is never computed again, and a run that was stopped continues.

    Args:
        generator: names, comma-separated or as a list; "path/to/file.py:Class" for one of your own.
        detector: likewise.
        suite: a shipped suite or a YAML file; everything else given here wins over it.
        data: real faces: a folder of photos, or NAME or NAME:PATH of a source (default: rendered).
        preset: smoke, quick, standard or full (default: quick, on a GPU standard).
        seed: of all randomness (default: 0).
        seeds: the whole run is repeated with each; the intervals then cover trainings too.
        conditions: how detectors are tested, e.g. {"leave_one_out": True, "robust": ["jpeg75"]}.
        condition: label columns for conditional generators, e.g. "gender".
        metric: metrics beside those of the protocol; "path/to/file.py:Class" for one of your own.
        external: name -> (folder of real photos, folder of forged ones), which nobody here made.
        resolution: pixels (default: the preset's).
        settings: any setting, nested or by dotted name: {"generator.training.kimg": 100}.
        name: of the run and its report folder.
        show_real: embed photos of `data` in the report.
        device: auto, cpu, cuda or cuda:N.
        precision: fp32, bf16, or auto: by a shipped table and the processor's instructions.
        threads: processor threads, on which results of a training depend (default: OMP_NUM_THREADS, else all cores).
        workers: processes that read photos; 1: this one. More start Python anew, so that a script needs
            `if __name__ == "__main__":` around what it does; a notebook does not.
        store: where results and checkpoints lie (default: the environment's BENCH_HOME, else runs).
        reports: where report folders go (default: the environment's BENCH_REPORTS, else reports).
        overwrite: replace a report of the same name that another call made, or the same one of other photos.
        quiet: print nothing.

    Returns:
        The report. What failed beside it is warned of and stands in `Report.missing`.

    Raises:
        InputError: what was asked for cannot be done as asked.
        BenchError: a stage failed that nothing can do without.
    """
    from benchmarks.cli.terminal import observer_for
    from benchmarks.pipeline.configs import as_assignments, find_suite
    from benchmarks.pipeline.publish import refuse_foreign, refuse_other_request
    from benchmarks.pipeline.request import gather
    from benchmarks.pipeline.run import execute_run, prepare_run
    from benchmarks.pipeline.settings import safe_name
    from benchmarks.pipeline.store import Store
    from forge.compute import PRECISIONS, Compute, choose_device, default_threads, set_threads, tune_allocator
    from forge.errors import UnknownNameError
    from forge.registry import allow_files

    tune_allocator()  # a training takes longer without; late is better than never
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    place, folder = Store(store_folder(store)), reports_folder(reports)
    file = find_suite(str(suite)) if suite else None
    if seeds is not None:
        parts = [one if isinstance(one, str) else "+".join(one) for one in (generator, detector) if one is not None]
        parts += [str(one) for one in (data, preset) if one is not None]
        stem = name or (file.stem if file else safe_name("-".join([*parts, "seeds", *map(str, seeds)])))
        file, seed = _repeated(file, seed, [int(one) for one in seeds], place.root, stem)
    code = (generator, detector, metric, None if data is None else str(data))
    allow_files(entry for names in code for entry in _listed_names(names))
    flags: dict[str, Any] = {
        "generator": _names(generator),
        "detector": _names(detector),
        "condition": _names(condition),
        "metric": _names(metric),
        "data": None if data is None else str(data),
        "preset": preset,
        "seed": seed,
        "resolution": resolution,
        "name": name,
    }
    assignments = as_assignments({"conditions": conditions} if conditions else {}) + as_assignments(settings or {})
    pairs = {label: (str(real), str(forged)) for label, (real, forged) in (external or {}).items()}
    chosen = choose_device(device)
    asked = gather(file, flags, assignments, chosen, show_real=show_real, pairs=pairs)
    compute = Compute(chosen, cast("PrecisionAsked", precision), threads or default_threads())
    set_threads(compute.threads)
    planned = prepare_run(asked, memory=place.root / "plans", compute=compute)
    refuse_foreign(folder / asked.name)
    if not overwrite:
        refuse_other_request(folder / asked.name, asked.command, planned.photos)
    with observer_for(quiet=quiet) as observer, _noting(observer):
        outcome = execute_run(
            planned,
            store=place,
            reports=folder,
            compute=compute,
            workers=workers,
            observer=observer,
        )
    for failure in outcome.failures:
        warnings.warn(f"{failure}; the report is there without; the same call tries again", stacklevel=2)
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


def _listed_names(names: Names | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or [])


def _names(names: Names | None) -> list[str] | str | None:
    return names if names is None or isinstance(names, str) else list(names)


def _repeated(
    file: Path | None, seed: int | None, seeds: Sequence[int], store: Path, stem: str
) -> tuple[Path | None, int | None]:
    """A suite with these seeds, written into the store, so that a command can name it; one seed needs none."""
    import yaml

    from benchmarks.pipeline.configs import read_yaml
    from forge.errors import InputError
    from forge.files import digest_json, write_text

    if seed is not None or not seeds:
        raise InputError(f"seed {seed} and seeds {list(seeds)} exclude each other, and seeds needs one; give either")
    if len(seeds) == 1:
        return file, seeds[0]
    content = (read_yaml(file) if file else {"protocol": _protocol()}) | {"seeds": list(seeds)}
    content.pop("seed", None)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    place = store / "suites" / digest_json(content)[:8] / f"{stem}.yaml"
    write_text(place, text)
    return place, None


def _protocol() -> int:
    from benchmarks.protocol import PROTOCOL_VERSION

    return PROTOCOL_VERSION


class Suite:
    """A run that a YAML file describes: generators, detectors, conditions, seeds.

    Args:
        file: the YAML file; `open` takes the name of a shipped suite as well.

    Attributes:
        file: the YAML file.
        asked: what it holds, checked, a `benchmarks.pipeline.settings.RunFile`.

    Raises:
        InputError: the file is missing, no YAML, or holds what a suite cannot hold.
    """

    def __init__(self, file: str | Path) -> None:
        from benchmarks.pipeline.configs import read_yaml, validated
        from benchmarks.pipeline.settings import Conditions, RunFile

        self.file = Path(file)
        self.asked = validated(RunFile, read_yaml(self.file), where=str(file))
        validated(Conditions, self.asked.conditions, where="conditions")

    @classmethod
    def open(cls, name: str) -> Suite:
        """A shipped suite by its name (`bench list suites`), or a file.

        Raises:
            UnknownNameError: neither; carries the nearest.
        """
        from benchmarks.pipeline.configs import find_suite

        return cls(find_suite(name))

    @property
    def name(self) -> str:
        """Of the suite, and of the report folder unless another is given."""
        return self.asked.name or self.file.stem

    @property
    def generators(self) -> list[str]:
        """Those it names."""
        return _listed(self.asked.generator)

    @property
    def detectors(self) -> list[str]:
        """Those it names."""
        return _listed(self.asked.detector)

    @property
    def seeds(self) -> list[int]:
        """The whole run is repeated with each."""
        return list(self.asked.seeds or [self.asked.seed or 0])

    @property
    def conditions(self) -> dict[str, Any]:
        """How detectors are tested, as the file says it."""
        return dict(self.asked.conditions)

    def run(self, generator: Names | None = None, detector: Names | None = None, **options: Any) -> Report:  # noqa: ANN401
        """Run it; what is given wins over the file. Arguments, result and errors are those of `benchmarks.run`."""
        return run(generator, detector, suite=self.file, **options)

    def __repr__(self) -> str:
        grid = f"{', '.join(self.generators)} against {', '.join(self.detectors)}"
        return f"Suite({str(self.file)!r}): {grid}, seeds {', '.join(map(str, self.seeds))}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the grid that it spans."""
        from benchmarks.pipeline.configs import as_assignments

        rows = {
            "generators": ", ".join(self.generators),
            "detectors": ", ".join(self.detectors),
            "conditions": "; ".join(as_assignments(self.conditions)) or "cross=true",
            "seeds": ", ".join(map(str, self.seeds)),
            "real faces": self.asked.data or "rendered",
            "preset": self.asked.preset or "quick, on a GPU standard",
        }
        body = "".join(f'<tr><th scope="row">{key}</th><td>{escape(text)}</td></tr>' for key, text in rows.items())
        return f"<table><caption>{escape(self.name)}: {escape(self.asked.title)}</caption><tbody>{body}</tbody></table>"


def _listed(names: str | list[str] | None) -> list[str]:
    texts = names.split(",") if isinstance(names, str) else names or []
    return [one.strip() for one in texts if one.strip()]
