"""Notes on generators from the zoo: what seeds of a run mean for them, and which photos they have seen."""

from __future__ import annotations

from benchmarks.evaluation.results import Results
from benchmarks.evaluation.run_facts import ZooFacts
from benchmarks.report.text.run_warnings import enumerated


def zoo_notes(results: Results) -> list[str]:
    """Return sentences on published weights; none where all generators were trained in the run."""
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
