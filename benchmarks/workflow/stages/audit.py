"""The stage that audits the images of a run: leaks between splits, copies, labels and numbers that tell forgeries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.workflow.image_copies import EDITS, LOOKALIKES, Described, between_splits, described, shared
from benchmarks.workflow.stage import Facts, Job, Stage
from benchmarks.workflow.stages.external import External, paired
from benchmarks.workflow.stages.forger import Forger, Trained
from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.halve import Reals
from benchmarks.workflow.stages.load import Load
from forge.core.files import write_json
from forge.faces.faceset import FaceSet
from forge.faces.sources import SOURCES

if TYPE_CHECKING:
    from benchmarks.evaluation.results import Finding

_COMPARED = 1000  # images of each class whose plain numbers are compared


@dataclass(frozen=True, eq=False, kw_only=True)
class Audit(Stage):
    """FaceSets of the run to findings.

    Attributes:
        data: the real faces.
        forged: forgeries of the generators.
        external: sides of external pairs.
    """

    action = "audit"
    VERSION = 8
    optional = True
    computes = False

    data: Reals
    forged: tuple[Forger, ...]
    external: tuple[External, ...]

    @property
    def label(self) -> str:
        """Return the source of the real faces."""
        return self.data.label

    @property
    def settings(self) -> dict[str, Any]:
        """Return nothing: what is audited follows from the inputs."""
        return {}

    def run(self, job: Job) -> Facts:
        """Write findings.json."""
        from benchmarks.evaluation.audits import face_sets, pairs  # import pandas

        real = job.faces(self.data)
        whole = described(real.view(None))
        alike = LOOKALIKES if _has_lookalikes(real) else ""
        findings = [face_sets.shared_identities(real.table), between_splits(whole, otherwise=alike)]
        for stage in self.forged:
            forged, title = job.faces(stage), stage.subject
            if isinstance(stage, Trained):
                between = f"both the training images and the forgeries of {title}"
                # Split `forge` is what the generator was trained on: a test forgery that equals one of its photos was
                # memorised.
                seen = whole.of_split("forge")
                if isinstance(stage.generator, Load):  # trained elsewhere, perhaps on photos of any split
                    between, seen = f"both the real images and the forgeries of {title}", whole
                findings.append(shared(seen, forged.view("test"), between, otherwise=alike))
            # Seed 0 in every run: findings of two runs on the same faces are of the same images.
            pair = (faces.view("test").sample(_COMPARED, 0).read() for faces in (real, forged))
            findings.append(face_sets.values(*pair).model_copy(update={"audit": f"values, {title}"}))
            if isinstance(stage, Gather):  # what differs beside the pixels, and photos of the other class
                sources_of = pairs.sources(real.table, forged.table)
                findings.append(sources_of.model_copy(update={"audit": f"{sources_of.audit}, {title}"}))
                findings.append(shared(whole, forged.view(None), f"the real images and those of {title}"))
            if columns := [name for name in real.card.attributes if name in forged.card.attributes]:
                finding = face_sets.labels(real.view("test").rows, forged.view("test").rows, columns)
                findings.append(finding.model_copy(update={"audit": f"labels, {title}"}))
        for sides in paired(self.external).values():
            findings += self._of_pair(job, whole, *sides)
        write_json(job.out / "findings.json", [finding.model_dump(mode="json") for finding in findings])
        return {"findings": len(findings)}

    def _of_pair(self, job: Job, whole: Described, real_side: External, forged_side: External) -> list[Finding]:
        """Audit an external pair: names, files, handling, content, and copies of what detectors learned from."""
        from benchmarks.evaluation.audits.file_cues import FileCues  # all import torch or pandas
        from benchmarks.evaluation.audits.handling import content, handling
        from benchmarks.evaluation.audits.pairs import file_names, sides, sources

        real, forged = job.faces(real_side), job.faces(forged_side)
        samples = [faces.view("test").sample(_COMPARED, 0) for faces in (real, forged)]
        files = [list(map(str, faces.table["source_file"])) for faces in (real, forged)]
        title = real.card.name
        names = file_names(*files)
        if names.passed is False:  # nothing to fail by: detectors here read pixels alone
            sentence = f"{names.sentence} Detectors here read pixels alone; whoever sees the files is told the class."
            names = names.model_copy(update={"passed": None, "sentence": sentence})
        cues = FileCues.load(job.path(real_side)), FileCues.load(job.path(forged_side))
        folders = [faces.card.provenance["source"]["folder"] for faces in (real, forged)]
        findings = [
            sides(*folders),
            sources(real.table, forged.table),
            names,
            handling(*cues),
            # identities keep frames of one clip together in the split of this classifier
            content(
                samples[0].read(), samples[1].read(), (samples[0].rows["identity"], samples[1].rows["identity"]), cues
            ),
        ]
        titled = [finding.model_copy(update={"audit": f"{finding.audit}, {title}"}) for finding in findings]
        training = {stage.subject: job.faces(stage) for stage in self.forged}
        # Copies make an external test easier than it looks: what a detector learned from must not be in it.
        return [*titled, *copied(whole, training, real, forged)]


def _has_lookalikes(faces: FaceSet) -> bool:
    """Return whether the images come from a source of which many look alike and are no copies (digits)."""
    name = faces.card.provenance.get("source", {}).get("name")
    return name in SOURCES.entries and SOURCES.load(name).dedupe is False  # of a folder it is a property


def copied(data: Described, training: Mapping[str, FaceSet], real: FaceSet, forged: FaceSet) -> list[Finding]:
    """Test for copies, mirrored ones too, between the sides of a pair, and of what detectors learned from.

    Args:
        data: the real faces of the run, all splits.
        training: generator -> its forgeries.
        real: the real side of the pair.
        forged: the forged side.
    """
    title = real.card.name
    real_side, forged_side = real.view("test"), forged.view("test")
    findings = [
        shared(described(real_side), forged_side, f"both sides of {title}", otherwise=EDITS),
        shared(data.of_split("train"), real_side, f"both the training photos and the real photos of {title}"),
        shared(data, forged_side, f"both the real images of the run and the forgeries of {title}", otherwise=EDITS),
    ]
    for name, faces in training.items():
        between = f"both the training forgeries of {name} and the forgeries of {title}"
        findings.append(shared(described(faces.view("train")), forged_side, between))
    return findings
