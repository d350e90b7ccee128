"""Trainings of a run that depend on each other: snapshots that detectors ask for, trainings that edits share."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.experiment.names import base_name, inverted_generator
from benchmarks.experiment.settings import DetectorRequest, GeneratorSettings
from forge.core.errors import InputError, quoted


def with_snapshots(
    generators: Mapping[str, GeneratorSettings], detectors: Mapping[str, DetectorRequest]
) -> dict[str, GeneratorSettings]:
    """Let trainings keep snapshots at their quarters, where a detector asks for snapshots and none are kept."""
    asking = [request for request in detectors.values() if request.needs == "snapshots"]
    # Without a named adversary every generator may be the one.
    bases = {
        base_name(name) for request in asking for name in ([request.adversary] if request.adversary else generators)
    }
    changed = dict(generators)
    for name, generator in generators.items():
        if base_name(name) in bases and generator.judged and not generator.training.get("snapshots_kimg"):
            # Three points: the end is in any case kept.
            quarters = [round(generator.training["kimg"] * part / 4, 3) for part in (1, 2, 3)]
            changed[name] = generator.model_copy(update={"training": generator.training | {"snapshots_kimg": quarters}})
    return changed


def shared_trainings(generators: Mapping[str, GeneratorSettings]) -> dict[str, GeneratorSettings]:
    """Let edits invert the very trainings that the run has as generators: with their snapshots, trained once.

    Raises:
        InputError: such a training is told labels.
    """
    changed = dict(generators)
    for name, generator in generators.items():
        if generator.inverts is None:
            continue
        base = inverted_generator(generator.architecture)[1]
        shared = next((each for label, each in generators.items() if base_name(label) == base), generator.inverts)
        if shared.condition:
            raise InputError(
                f"generator {quoted(name)} inverts {base}, which is told {', '.join(shared.condition)} here, and "
                f"labels are not inverted; leave --condition out, or set generators.{base}.condition=[]"
            )
        changed[name] = generator.model_copy(update={"inverts": shared})
    return changed
