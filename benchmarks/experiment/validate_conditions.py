"""Check the conditions of a run against its generators and detectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from benchmarks.experiment.conditions import Conditions
from benchmarks.experiment.file_digests import file_digests
from benchmarks.experiment.matrix import families_of, families_with_more, planned_fits
from benchmarks.experiment.order import check_order
from benchmarks.experiment.settings import GeneratorSettings, RunSettings
from benchmarks.protocol import WILD, Condition, GeneratorId
from detect.data.perturb import perturbation
from forge.core.errors import InputError, UnknownNameError, quoted
from forge.core.registry import is_file_reference


def with_perturbations(conditions: Conditions) -> Conditions:
    """Return the conditions with the ids of perturbations from files and the digests of their code.

    Raises:
        UnknownNameError, InputError: one is not known, is no perturbation, or two have one id.
    """
    files: dict[str, dict[str, str]] = {}
    ids: dict[str, str] = {}
    # Two references may be one perturbation, whose columns would have one name.
    for reference in conditions.robust:
        change = perturbation(reference)  # refuses what is not known
        if change.missing:
            raise InputError(f"conditions.robust: {change.missing}")
        name = change.name
        if name == WILD:
            raise InputError("conditions.robust: 'wild' is a condition of its own; set conditions.wild=true")
        if name in ids:
            raise InputError(f"conditions.robust: {quoted(ids[name])} and {quoted(reference)} are both {quoted(name)}")
        ids[name] = reference
        if is_file_reference(reference):
            # of "my.py:Mine+jpeg75" the part from a file
            parts = [part for part in reference.split("+") if is_file_reference(part)]
            code = {f"{part} {key}": digest for part in parts for key, digest in file_digests(part, {}).items()}
            files[reference] = {"id": name, **code}
    return conditions.model_copy(update={"perturbation_files": files})


def check_conditions(settings: RunSettings, generators: Mapping[str, GeneratorSettings]) -> None:
    """Check the conditions against the generators and detectors of the run.

    Raises:
        UnknownNameError, InputError: one names what the run does not have, or leaves nothing to do.
    """
    conditions = settings.conditions
    for name, moments in conditions.snapshots.items():
        if name not in generators:
            raise InputError(
                f"conditions.snapshots: {quoted(name)} is not a generator of this run ({', '.join(generators)})"
            )
        whole = not (generators[name].tampers or generators[name].path or generators[name].zoo)
        if not whole or generators[name].snapshot is not None:
            raise InputError(f"conditions.snapshots: {quoted(name)} has no snapshots; name a generator that is trained")
        # The end of the training is tested as the generator itself.
        for kimg in moments:
            if kimg >= generators[name].training["kimg"]:
                raise InputError(
                    f"conditions.snapshots: the training of {quoted(name)} shows {generators[name].training['kimg']:g} "
                    f"thousand images, whose end is tested anyway; ask for snapshots before it, not for {kimg:g}"
                )
            if (snapshot := str(GeneratorId(name, kimg))) in generators:
                raise InputError(f"{snapshot} is a generator of this run; leave it out of conditions.snapshots")
    for condition in conditions.only:
        if condition not in list(Condition):
            raise UnknownNameError("condition", condition, [str(known) for known in Condition])
    for name in (*conditions.shuffled, *(name for names in conditions.only.values() for name in names)):
        if name not in settings.detectors:
            raise InputError(
                f"conditions: {quoted(name)} is not a detector of this run ({', '.join(settings.detectors)})"
            )
    check_order(conditions.order, generators)
    families = families_of(generators)
    if conditions.wild and (conditions.unseen is False or len(set(families.values())) < 2):
        raise InputError(
            "conditions.wild changes the test images of `unseen`, which this run does not have: it needs generators of "
            "two families or more, and unseen not switched off"
        )
    if conditions.unseen and len(set(families.values())) < 2:
        raise InputError(
            f"conditions.unseen needs generators of two families or more: it trains on all families but the tested "
            f"one; all here are {next(iter(families.values()), 'missing')}; add a --generator of another family, or "
            "leave unseen out and rank by matrix"
        )
    largest = max(conditions.variants, default=0)
    if largest and not families_with_more(generators, largest):
        family, size = Counter(families.values()).most_common(1)[0]
        raise InputError(
            f"conditions.variants trains on {largest} models of a family and tests on its other ones; the largest "
            f"family here, {family}, has {size}: name more variants, e.g. --set variants.dcgan.seed=[0,1,2]"
        )
    # With families filled in, as the plan will see it.
    checked = settings.model_copy(update={"generators": dict(generators)})
    # Conditions can be switched off one by one; with none left a run would end without a table.
    if not any(planned_fits(checked, name) for name in settings.detectors):
        raise InputError("the run asks for no training: conditions leave nothing to do for any detector")
