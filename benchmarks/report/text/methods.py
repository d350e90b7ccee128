"""Paragraphs for the methods section of a paper, and the publications that a run rests on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.evaluation.column import CONTROLS
from benchmarks.evaluation.numbers import count
from benchmarks.evaluation.results import Results
from benchmarks.evaluation.run_facts import GeneratorFacts
from benchmarks.experiment.names import base_name, short_name, split_adversary
from benchmarks.protocol import ALPHA, EXTERNAL_PREFIX, AttackId, meaning_of_column
from benchmarks.report.text.bibliography import Work, works_of
from benchmarks.report.text.run_warnings import enumerated
from detect.attacks.registry import ATTACKS
from detect.detectors.registry import DETECTORS
from forge.core.registry import Registry
from forge.generators import GENERATORS

_SPLITS = {"forge": "training generators", "train": "training detectors", "val": "thresholds and calibration"}
_SPLITS |= {"test": "tests"}


def methods(results: Results, columns: Iterable[str]) -> list[str]:
    """Return paragraphs on data, generators, detectors, statistics and software of a run.

    Args:
        results: of the run.
        columns: of its leaderboard, the one that ranks first.
    """
    return [
        _data(results),
        _forgeries(results),
        _detectors(results),
        _statistics(results, list(columns)),
        _made(results),
    ]


def _data(results: Results) -> str:
    data = results.data
    splits = enumerated([f"{count(images)} for {_SPLITS.get(name, name)}" for name, images in _ordered(data.splits)])
    total = count(sum(data.splits.values()))
    text = (
        f"Real images are {total} of {data.name} ({data.licence}) at {data.resolution} x {data.resolution} pixels, in "
        f"disjoint splits: {splits} (digest {data.digest[:16]})."
    )
    external = [each for each in results.external if each.images]
    if external:
        named = enumerated([f"{each.name} ({count(each.images)} {each.kind})" for each in external])
        text += f" Images from elsewhere: {named}."
    return text


def _ordered(splits: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(splits.items(), key=lambda split: [*_SPLITS, split[0]].index(split[0]))


def _forgeries(results: Results) -> str:
    first = {generator.name: generator for generator in reversed(results.generators)}  # of the first seed
    named = enumerated([_generator(generator) for generator in reversed(first.values())])
    tested = sorted({cell.n_forged for cell in results.cells if not cell.tested_on.startswith(EXTERNAL_PREFIX)})
    images = " to ".join(count(n) for n in dict.fromkeys((tested[0], tested[-1]))) if tested else "none"
    return f"Forgeries come from {named}; each generator is tested on {images} of its images."


def _generator(generator: GeneratorFacts) -> str:
    if generator.files is not None:
        return f"{generator.name} (files, read as {generator.files.recognised})"
    if generator.zoo is not None:
        zoo = generator.zoo
        return f"{generator.name} (published weights, trained on {generator.kimg:.4g} thousand images of {zoo.data})"
    if not generator.trained:
        return f"{generator.name} (edits of real images)"
    return f"{generator.name} (trained on {generator.kimg:.4g} thousand images, {generator.precision})"


def _detectors(results: Results) -> str:
    fitted = list(dict.fromkeys(detector.name for detector in results.detectors))
    measured = [name for name in fitted if name not in CONTROLS]
    controls = [name for name in fitted if name in CONTROLS]
    more = f"; controls are {enumerated(controls)}" if controls else ""
    fits = len(results.detectors)
    return (
        f"Detectors are {enumerated(measured)}{more}; {count(fits)} fits in all. Thresholds and calibration are fixed "
        "on validation data before any test."
    )


def _statistics(results: Results, columns: list[str]) -> str:
    used = sorted({cell.auc_method for cell in results.cells})
    seeds = len(results.seeds) or 1
    runs = f"{seeds} seeds" if seeds > 1 else "one seed"
    failed = [finding.audit for finding in results.audits if finding.passed is False]
    passed = sum(finding.passed is True for finding in results.audits)
    audits = f"{passed} audits passed, {len(failed)} failed" + (f" ({enumerated(failed)})" if failed else "")
    ranked = f" Detectors are ranked by {columns[0]} ({meaning_of_column(columns[0])})." if columns else ""
    return (
        f"The measure is the area under the ROC curve (Mann-Whitney, ties one half) with 95 % intervals "
        f"({enumerated(used)}), {runs}.{ranked} Detectors are compared by paired tests on the same images, adjusted "
        f"after Holm at {ALPHA:g}. Of the checks for shortcuts and leaks, {audits}."
    )


def _made(results: Results) -> str:
    versions = results.environment
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("torch", "numpy", "scikit-learn") if name in versions)
    commit = f", commit {versions['commit'][:12]}" if versions.get("commit") else ""
    return (
        f"Everything was computed by deepfake-bench {versions.get('bench', '')}{commit}, measuring protocol "
        f"{results.protocol_version}, preset {results.preset}, with {libraries} on {versions.get('device', 'a CPU')}, "
        f"by the command: {results.command}"
    )


def works(results: Results) -> Iterator[tuple[Work, str]]:
    """Yield the publications behind a run, each with what it is cited for, e.g. "detector npr".

    What this version knows under a name is cited as it says now; what it does not know, as the report has it.
    """
    for work in works_of(results.data.citation):
        yield work, f"the images of {results.data.name}"
    cited = {(facts.base or facts.name): facts.zoo and facts.zoo.architecture for facts in results.generators}
    for name, architecture in cited.items():
        yield from _cited(GENERATORS, architecture or base_name(name), "", "generator", name)
    for detector in results.detectors:
        if detector.name not in CONTROLS:  # no publication is about them
            registered = split_adversary(short_name(detector.family))[0]
            yield from _cited(DETECTORS, registered, detector.citation, "detector", detector.name)
    for attack in dict.fromkeys(parsed.attack for fact in results.attacks if (parsed := AttackId.parse(fact.attack))):
        yield from _cited(ATTACKS, attack, "", "attack", attack)


def _cited(registry: Registry, name: str, stored: str, role: str, shown: str) -> Iterator[tuple[Work, str]]:
    known = name in registry.entries
    citation = (getattr(registry.load(name), "citation", None) if known else None) or stored
    for work in works_of(citation):
        yield work, f"{role} {shown}"
