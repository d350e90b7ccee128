"""Warnings of a run: reasons not to rely on its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.evaluation.audits import failed
from benchmarks.evaluation.numbers import count, percent
from benchmarks.evaluation.results import Results
from forge.training.monitor.health import FAILURE_MODES, REMARKS, present_state, state_title

RANDOM_WEIGHTS = "random"  # origin of the backbone's weights, as the fit of a probe reports it
_UNEQUAL = 5  # times as many images of one class as of the other, from which a warning is given
_FACELESS = 0.5  # share of forgeries with a face, relative to real images, below which a warning is given


def warnings(results: Results) -> list[str]:
    """Return reasons not to rely on the numbers: failed audits, missing stages, untrained parts, failed trainings."""
    shortcuts = [
        f"SHORTCUT, do not rely on these numbers: {audit.audit}. {audit.sentence}" for audit in failed(results.audits)
    ]
    # without this a table that lacks a failed stage would look complete
    missing = [f"Missing here: {stage}. {error}." for stage, error in results.missing.items()]
    per_run = [*shortcuts, *missing, *_probes_of_random_weights(results), *_unequal_classes(results)]
    per_run += _left_out(results)
    return list(dict.fromkeys([*per_run, *_failure_modes(results), *_faceless(results)]))


def _probes_of_random_weights(results: Results) -> list[str]:
    """Warn of probes whose backbone has random weights."""
    names = [
        fit.name for fit in results.detectors if "backbone" in fit.facts and fit.facts.get("start") == RANDOM_WEIGHTS
    ]
    return [
        f"{name} probes a network with random weights: its results are not those of the cited method."
        for name in dict.fromkeys(names)
    ]


def _unequal_classes(results: Results) -> list[str]:
    """Warn of tests from elsewhere that have far fewer images of one class than of the other."""
    counts: dict[str, dict[str, int]] = {}
    for side in results.external:
        counts.setdefault(side.name, {})[side.kind] = side.groups or side.images
    warned = []
    for name, of_class in counts.items():
        smaller, larger = min(of_class, key=of_class.__getitem__), max(of_class, key=of_class.__getitem__)
        if len(of_class) == 2 and of_class[larger] >= _UNEQUAL * of_class[smaller]:
            warned.append(
                f"{name} has {count(of_class['real'])} real and {count(of_class['forged'])} forged images, people and "
                f"clips counted once: its intervals are as wide as {count(of_class[smaller])} {smaller} ones make them."
            )
    return warned


def _left_out(results: Results) -> list[str]:
    """Warn of photos from elsewhere that could not be used: the numbers are those of the others."""
    sides: dict[str, list[str]] = {}
    for side in results.external:
        files = sum(side.rejected.values())
        if files:
            reasons = ", ".join(f"{count(number)} {reason}" for reason, number in sorted(side.rejected.items()))
            names = f"; e.g. {', '.join(side.left_out)}" if side.left_out else ""
            whole = f"{count(files)} of {count(files + side.images)} {side.kind} images ({reasons}{names})"
            sides.setdefault(side.name, []).append(whole)
    return [
        f"{name}: its numbers are without {' and '.join(of_sides)}, which could not be used."
        for name, of_sides in sides.items()
    ]


def _failure_modes(results: Results) -> list[str]:
    """Warn of generators whose training ended in a failure mode."""
    # the state at the end: a failure mode that passed is on the health figure
    last = [(entry, entry.health[-1]) for entry in results.generators if entry.health]
    return _per_seed(
        [
            (
                entry.seed,
                f"The training of {entry.name}",
                f" ended in the state '{state_title(look['state'])}': {look['reason']}; results on its images mean "
                "little.",
            )
            for entry, look in last
            if present_state(look.get("state", "")) in set(FAILURE_MODES) - set(REMARKS)
        ],
        repeated=bool(results.seeds),
    )


def _per_seed(warned: Sequence[tuple[int, str, str]], *, repeated: bool) -> list[str]:
    """Join warnings that differ in the seed alone, so that a repeated run shows each sentence once.

    Args:
        warned: seed, start and end of each sentence.
        repeated: the run has several seeds; they are then inserted between start and end.
    """
    # Keyed by the sentence, without its seed.
    seeds: dict[tuple[str, str], list[int]] = {}
    for seed, start, end in warned:
        seeds.setdefault((start, end), []).append(seed)
    if not repeated:
        return [start + end for start, end in seeds]
    return [
        f"{start} (seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}){end}"
        for (start, end), numbers in seeds.items()
    ]


def _faceless(results: Results) -> list[str]:
    """Warn of generators that learned too little for their detection to be meaningful."""
    # generators of the same rates share a sentence
    names: dict[tuple[int, str, str], list[str]] = {}
    for generator in results.generators:
        # several rows may begin so; the first one decides
        rates = [(row.value, row.floor) for row in generator.quality if row.metric.startswith("face found")][:1]
        for value, reference in rates:
            # relative to reals, in which faces may be missed as well
            if value is not None and reference is not None and value < _FACELESS * reference:
                forged, real = percent(value, 100), percent(reference, 100)
                names.setdefault((generator.seed, forged, real), []).append(generator.name)
    warned = []
    for (seed, forged, real), of_rates in names.items():
        who = "the generator has learned little, and results on its images mean little."
        if len(of_rates) > 1:
            who = "these generators have learned little, and results on their images mean little."
        start = f"A face is found in {forged} of the forgeries of {enumerated(of_rates)}"
        warned.append((seed, start, f" and in {real} of the real images: {who}"))
    return _per_seed(warned, repeated=bool(results.seeds))


def enumerated(names: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    >>> enumerated(["a"]), enumerated(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
