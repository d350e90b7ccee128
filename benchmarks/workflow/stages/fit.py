"""The stages that give a fitted detector: one that is fitted here, and one that is used as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.experiment.checked_class import FACTS
from benchmarks.experiment.configs import validated
from benchmarks.experiment.names import short_name
from benchmarks.experiment.settings import DetectorRequest, ImageCounts
from benchmarks.protocol import SHUFFLED, FitId, TrainSet
from benchmarks.workflow.joint import run_jointly
from benchmarks.workflow.stage import Facts, Job, Stage
from benchmarks.workflow.stages.forger import Forger
from benchmarks.workflow.stages.halve import Reals
from benchmarks.workflow.stages.perturb import Perturb
from benchmarks.workflow.stages.train import Train
from benchmarks.zoo.members import PREFIX
from detect.detectors.registry import DETECTORS
from forge.core.compute import derive_seed
from forge.core.registry import is_file_reference, named_file
from forge.faces.faceset import FaceSet, FaceView
from forge.generators import GENERATORS

if TYPE_CHECKING:
    from detect.artifact import TrainedDetector
    from detect.data.views import View
    from detect.detectors.base import Detector
    from detect.discriminator_source import DiscriminatorSource
    from forge.core.distributed import ProcessGroup


@dataclass(frozen=True, eq=False, kw_only=True)
class FitStage(Stage):
    """A stage whose result is a fitted detector.

    Attributes:
        detector: name in the run.
        training: what it was trained on.
    """

    optional = True

    detector: str
    training: TrainSet

    @property
    def fit(self) -> FitId:
        """Return the detector and what it was trained on."""
        return FitId(self.detector, self.training)

    @property
    def label(self) -> str:
        """Return the detector and what it was trained on, e.g. "dct@dcgan"."""
        return str(self.fit)

    @property
    def about(self) -> str:
        """Return the detector."""
        return self.detector.partition("@")[0]

    def implementation(self) -> type[Detector[Any]] | None:
        """Return the class of the detector; None where its stored name is enough."""
        raise NotImplementedError

    def load(self, job: Job) -> TrainedDetector:
        """Load the fitted detector."""
        from detect.artifact import load_trained  # imports pandas

        return load_trained(job.path(self) / "detector", implementation=self.implementation())


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit(FitStage):
    """Real and forged FaceSet to a fitted detector; both classes of a split are cut to the same size.

    Attributes:
        request: the detector and its settings.
        images: images of each class and split, at most.
        numerics: precision and threads, which decide the result.
        real: real faces.
        forged: generator -> its forgeries; empty: a fixed scorer, which learns nothing.
        adversary: the training whose discriminator the detector starts from.
        snapshot: thousands of images of that training; None: its end.
        members: the fitted detectors that an ensemble joins.
        surrogate: whether an attacker fits it, on images of split `forge` alone.
    """

    action = "fit"
    VERSION = 3

    request: DetectorRequest
    images: ImageCounts
    numerics: dict[str, Any]
    real: Reals | Perturb
    forged: Mapping[str, Forger | Perturb]
    adversary: Train | None = None
    snapshot: float | None = None
    members: Mapping[str, Fit | Adopt] = field(metadata={"input": "member"})
    surrogate: bool = False

    @property
    def label(self) -> str:
        """Return the detector and what it was trained on, e.g. "dct@dcgan"."""
        return f"{self.fit}, surrogate" if self.surrogate else str(self.fit)

    @property
    def settings(self) -> dict[str, Any]:
        """Return the detector, its settings and the size of its training set."""
        # "needs" follows from the class, and where it was trained the files say: neither is part of the key.
        settings = self.request.model_dump(mode="json", exclude={"needs", "trained_on", *FACTS})
        settings["images"] = self.images.model_dump(mode="json")
        settings["trained_on"] = str(self.training)
        settings["numerics"] = self.numerics
        # only where they mean something, so that other detectors' keys are without them
        settings |= {"snapshot": self.snapshot} if self.adversary else {}
        own = short_name(self.request.detector)
        renamed = self.detector not in (own, f"{own}@{self.request.adversary}")
        settings |= {"name": self.detector} if renamed else {}
        return settings | ({"surrogate": True} if self.surrogate else {})

    def implementation(self) -> type[Detector[Any]] | None:
        """Return the class of the detector."""
        return DETECTORS.load(self.request.detector)  # type: ignore[no-any-return]

    def run(self, job: Job) -> Facts:
        """Fit the detector and its calibration; the processes of a `torchrun` share the fit of a network."""
        if DETECTORS.load(self.request.detector).fits_jointly:
            return run_jointly(self, job)
        return self.jointly(job, None)

    def jointly(self, job: Job, processes: ProcessGroup | None) -> Facts:
        """Fit the detector in this process."""
        from detect.artifact import fit_detector
        from detect.detectors.base import FitContext, FitData  # both import pandas

        images, limit = self.images.model_dump(), self.training.images
        views: dict[str, View] = {}
        for split in ("train", "val"):
            # A budget bounds `val` too, on which the detector is calibrated.
            count = min(images[split], limit or images[split])
            views[f"{split}_real"], views[f"{split}_forged"] = self._pair(job, split, count)
        data = FitData(**views, surrogate=self.surrogate)
        if self.training.variant == SHUFFLED:  # the same shuffle for every detector and seed
            data = data.with_shuffled_labels(0)
        reference = self.request.detector
        typed = validated(DETECTORS.load(reference).Settings, self.request.settings, where=f"detectors.{reference}")
        # Precision and threads of the key, not of the call: a cached result and a new one must be the same.
        context = FitContext(
            seed=self.seed,
            compute=job.compute(self.numerics),
            work=job.work,
            on_progress=job.context.on_progress,
            discriminator=self._adversary(job),
            fitted={name: member.load(job) for name, member in self.members.items()},
            processes=processes,
        )
        # pages name it as the run does: after the generator whose discriminator it contains, or as the user wants
        label = self.detector if self.detector != short_name(reference) else ""
        trained = fit_detector(reference, typed, data, context, trained_on=str(self.training), label=label)
        if processes is None or processes.first:
            card = trained.card.model_copy(update={"trained_on": str(self.training)})
        replace(trained, card=card).save(job.out / "detector")
        return {"parameters": card.parameters}

    def _pair(self, job: Job, split: str, count: int) -> tuple[View, View]:
        """Real and forged images of a split, as many of each class, at most `count`; generators have equal shares.

        A fixed scorer is given real faces in place of forged ones.
        """
        from detect.data.views import join  # imports pandas

        real = self._view(job, self.real, split)
        if not self.forged:
            # it calibrates on nothing: both classes are given so that the interface is one
            drawn_real = drawn(real, min(count, len(real)), split)
            return drawn_real, drawn_real
        forged = [self._view(job, self.forged[name], split) for name in self.training.generators]
        # As many reals as forgeries, and of each generator the same number up to one: a detector must not learn a base
        # rate or the largest generator.
        size = min(count, len(real), len(forged) * min(map(len, forged)))
        # the remainder goes to the first ones, one each
        shares = [size // len(forged) + (number < size % len(forged)) for number in range(len(forged))]
        # fewer images than generators: some have no share
        parts = [drawn(view, share, split) for view, share in zip(forged, shares, strict=True) if share]
        return drawn(real, size, split), parts[0] if len(parts) == 1 else join(*parts)

    def _view(self, job: Job, stage: Reals | Forger | Perturb, split: str) -> FaceView:
        """Return the images of a split; of a surrogate its share of split `forge`, a person on one side alone."""
        faces = job.faces(stage)
        return attackers_view(faces, split) if self.surrogate else faces.view(split)

    def _adversary(self, job: Job) -> DiscriminatorSource | None:
        if self.adversary is None:  # most detectors read no discriminator
            return None
        from detect.discriminator_source import DiscriminatorSource  # imports torch

        implementation = GENERATORS.load(self.adversary.architecture)
        return DiscriminatorSource(job.path(self.adversary), self.snapshot, implementation)


@dataclass(frozen=True, eq=False, kw_only=True)
class Adopt(FitStage):
    """A detector that was fitted elsewhere, taken as it is, under its name in the run.

    Attributes:
        folder: where it lies.
        files: SHA-256 of its files.
        resolution: of the images it will be given, in pixels.
    """

    action = "adopt"
    VERSION = 1

    folder: str
    files: dict[str, str]
    resolution: int

    @property
    def settings(self) -> dict[str, Any]:
        """Return its name and the digests of its files."""
        # names of members are part of what its scores say; without any, keys are those of before there was a zoo
        named = {"trained_on": str(self.training)} if PREFIX in str(self.training) else {}
        return {"name": self.detector, "files": self.files, "resolution": self.resolution, **named}

    def implementation(self) -> type[Detector[Any]] | None:
        """Return the class that this command names for a detector from a file; None: its stored name is enough."""
        from detect.artifact import read_card  # imports pandas

        # the reference in the card may be a path on the machine that fitted it
        name = read_card(Path(self.folder)).name
        reference = named_file(name) if is_file_reference(name) else None
        # None: `load_trained` finds a registered name by itself
        return DETECTORS.load(reference) if reference else None

    def run(self, job: Job) -> Facts:
        """Copy the detector."""
        from detect.artifact import load_trained, use_pretrained  # imports pandas

        loaded = load_trained(Path(self.folder), implementation=self.implementation())
        trained = use_pretrained(loaded, self.detector, self.resolution, self.seed)
        card = trained.card.model_copy(update={"trained_on": str(self.training)})
        replace(trained, card=card).save(job.out / "detector")
        return {"parameters": card.parameters}


@dataclass(frozen=True, eq=False, kw_only=True)
class UsesDetector(Stage):
    """A stage that applies a fitted detector, and is called after it.

    Attributes:
        detector: the fitted detector.
    """

    optional = True

    detector: Fit | Adopt

    @property
    def label(self) -> str:
        """Return the detector and what it was trained on."""
        return self.detector.label

    @property
    def subject(self) -> str:
        """Return the label, with the seed where a run has several."""
        return self.detector.subject

    @property
    def about(self) -> str:
        """Return the detector."""
        return self.detector.about


def attackers_view(faces: FaceSet, split: str) -> FaceView:
    """Return the images of split `forge` that an attacker's detector is trained on, or validated with.

    Args:
        faces: real faces, or forgeries that were drawn for the attacker.
        split: "train", four fifths of the people, or "val", the others; of images of nobody known, of the images.
    """
    view = faces.view("forge")
    names = view.rows["identity"].fillna("").to_numpy(dtype=object)
    names = np.where(names == "", view.rows["id"].to_numpy(dtype=object), names)
    held_out = np.array([derive_seed(0, "surrogate", str(name)) % 5 == 0 for name in names], dtype=bool)
    return FaceView(faces, view.index[held_out if split == "val" else ~held_out])


def drawn(view: FaceView, count: int, split: str) -> FaceView:
    """Return the same images for every detector and every seed of a run, so that scores can be paired."""
    return view.sample(count, derive_seed(0, "draw", split))  # seed 0, not the run's: by split alone
