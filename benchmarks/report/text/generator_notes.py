"""Notes on generators whose weights all seeds of a run share: what seeds mean for them, and which photos they saw."""

from __future__ import annotations

from benchmarks.evaluation.results import Results
from benchmarks.evaluation.run_facts import ZooFacts
from benchmarks.report.text.run_warnings import enumerated


def generator_notes(results: Results) -> list[str]:
    """Return sentences on published weights and on trainings that seeds share; none where each seed has its own."""
    return [*_once(results), *_published(results)]


def _once(results: Results) -> list[str]:
    trainings: dict[str, list[str]] = {}
    for facts in results.generators:
        if facts.trained and facts.zoo is None:
            trainings.setdefault(facts.name, []).append(facts.weights_sha256)
    names = [name for name, digests in trainings.items() if len(digests) > 1 and len(set(digests)) == 1]
    if not names:
        return []
    were, theirs = ("was", "it") if len(names) == 1 else ("were each", "them")
    return [
        f"{enumerated(names)} {were} trained once: the {len(results.seeds)} seeds fit detectors anew on forgeries of "
        f"the same weights, and intervals over seeds do not cover another training of {theirs}."
    ]


def _published(results: Results) -> list[str]:
    members = {facts.name: facts.zoo for facts in results.generators if facts.zoo is not None}
    if not members:
        return []
    names, several = enumerated(list(members)), len(members) > 1
    notes = []
    if results.seeds:
        weights = "are published weights, each of one training" if several else "is one training's published weights"
        theirs = "them" if several else "it"
        notes.append(
            f"{names} {weights}: the {len(results.seeds)} seeds draw other latents of {theirs} and fit detectors anew; "
            f"intervals over seeds do not cover another training of {theirs}."
        )
    return [*notes, *(_seen(name, facts) for name, facts in members.items())]


def _seen(name: str, facts: ZooFacts) -> str:
    if facts.same_faces:
        return f"{name} was trained on split forge of this run's photos, which no detector sees."
    unknown = "perhaps another set than" if facts.same_faces is None else "another set than"
    return (
        f"{name} was trained on {facts.data} (digest {facts.digest[:12]}), {unknown} the real faces of this run: it "
        "may have seen photos that detectors are tested on. The audit of copies compares its forgeries with all real "
        "images."
    )
