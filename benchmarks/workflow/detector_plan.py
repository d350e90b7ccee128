"""From settings to the stages of detectors: what each is fitted on, and what it scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.experiment.matrix import PlannedFit, families_of, planned_fits, views_of
from benchmarks.experiment.settings import DetectorRequest, RunSettings
from benchmarks.protocol import CLEAN, ELSEWHERE, PAIRED_PREFIX, VIEW_PREFIX, TrainSet
from benchmarks.workflow.stage import Stage
from benchmarks.workflow.stages.attack import Attack, parts_of
from benchmarks.workflow.stages.attribute import MOST, Attribute
from benchmarks.workflow.stages.explain import Explain
from benchmarks.workflow.stages.external import External
from benchmarks.workflow.stages.fit import Adopt, Fit
from benchmarks.workflow.stages.forger import Forger, Trained
from benchmarks.workflow.stages.gather import Gather
from benchmarks.workflow.stages.halve import Reals
from benchmarks.workflow.stages.localise import Localise
from benchmarks.workflow.stages.perturb import Perturb
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.score import Part, Score
from benchmarks.workflow.stages.score_pairs import ScorePairs
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.train import Train
from benchmarks.workflow.training_stage import train_stage
from forge.core.compute import Compute
from forge.core.errors import InputError
from forge.core.execution import execution_of

SCORES_NOTHING = ("random", "metadata")  # controls whose score is a hash or a count: a search would find its luck


@dataclass(frozen=True)
class DetectorPlan:
    """The detectors of one seed: fitted on what the conditions ask for, explained, scored.

    Attributes:
        settings: of the run, with the seed of the repetition.
        real: real faces, halved where forgeries are made from them.
        prepared: real faces as generators learn from them, whose split `forge` an attacker has.
        external: name of an external pair in cells -> its real and its forged side.
        compute: precision and threads.
        forged: generator -> its forgeries.
        snapshots: snapshot that is only tested -> its forgeries.
    """

    settings: RunSettings
    real: Reals
    prepared: Prepare
    external: Mapping[str, tuple[External, ...]]
    compute: Compute
    forged: Mapping[str, Forger]
    snapshots: Mapping[str, Trained]

    def stages(self) -> list[Stage]:
        """Return the stages, each after what it needs."""
        # Filled in the order of the run's detectors, in which `resolve` puts members before their fusion.
        fits: dict[tuple[str, TrainSet], Fit | Adopt] = {}
        stages: list[Stage] = []
        controlled: set[TrainSet] = set()  # trainings whose mean mask is measured
        explained = self.settings.seed == (self.settings.seeds or (self.settings.seed,))[0]  # one seed's are shown
        for detector in self.settings.detectors:
            for planned in planned_fits(self.settings, detector):
                fit = self._fit(detector, planned.train_set, fits)
                if fit is None:
                    continue
                fits[detector, planned.train_set] = fit
                # trained on changed images: the changed sets are stages of their own
                stages += [stage for stage in fit.inputs.values() if isinstance(stage, Perturb)]
                stages.append(fit)
                if explained and not planned.train_set.variant:  # no saliency of shuffled, budget and equalised fits
                    forged = {name: self.forged[name] for name in planned.train_set.generators if name in self.forged}
                    stages.append(Explain(detector=fit, forged=forged))
                stages += self._scores(planned, fit)
                stages += self._attacks(planned, fit)
                stages += self._localised(planned, fit, controlled)
            stages += self._attributed(detector, fits)
        return stages

    def _attributed(self, name: str, fits: Mapping[tuple[str, TrainSet], Fit | Adopt]) -> Iterator[Attribute]:
        """Yield the attribution by a detector's features, where it is asked for and the detector learns something."""
        settings, fit = self.settings, fits.get((name, TrainSet.of(*self.forged)))
        if not (settings.conditions.attribute and isinstance(fit, Fit)) or fit.request.needs in ("nothing", "members"):
            return
        families = families_of(settings.generators)
        without: dict[str, Fit] = {}
        for generator, family in families.items():
            others = [other for other, its in families.items() if its != family]
            of_others = fits.get((name, TrainSet.of(*others))) if others else None
            without |= {generator: of_others} if isinstance(of_others, Fit) else {}
        counts = {split: min(getattr(settings.images, split), most) for split, most in MOST.items()}
        yield Attribute(
            seed=settings.seed,
            repeated=len(settings.seeds) > 1,
            detector=fit,
            without=without,
            real=self.real,
            forged=self.forged,
            counts=counts,
        )

    def fit_of(self, name: str, training: TrainSet) -> Fit:
        """Return the stage of a detector that is fitted here and joins no others.

        Raises:
            InputError: it cannot be fitted on this training.
        """
        fit = self._fit(name, training, {})
        if not isinstance(fit, Fit):
            raise InputError(
                f"generators cannot be trained against {name}: it joins other detectors, is used as it is, or starts "
                "from a discriminator that there is none of; set race.detector to another one"
            )
        return fit

    def _localised(self, planned: PlannedFit, fit: Fit | Adopt, controlled: set[TrainSet]) -> Iterator[Localise]:
        """Yield the measurement of a detector's maps or gradients; nothing where nothing tested has masks."""
        training, conditions = planned.train_set, self.settings.conditions
        masked = [name for name, each in self.settings.generators.items() if each.masks]
        tested = tuple(name for name in masked if name in planned.tests)
        pairs = {name: sides for name, sides in self.external.items() if name in planned.tests and sides[-1].masked}
        request = self.settings.detectors[fit.detector]
        measured = request.localises or (conditions.masks_saliency and request.has_gradients)
        if not (conditions.masks and measured and masked and (tested or pairs)) or training.variant:
            return
        # with nothing of its training to go by, the threshold is fixed on `val` of all that is tested
        learned = tuple(name for name in masked if name in training.generators) or tested or tuple(masked)
        wanted = dict.fromkeys((*tested, *learned))
        here = not isinstance(fit, Adopt) and training.generators != (ELSEWHERE,)  # else there are no training masks
        yield Localise(
            seed=self.settings.seed,
            repeated=len(self.settings.seeds) > 1,
            detector=fit,
            forged={name: self.forged[name] for name in wanted},
            tested=tested,
            learned=learned,
            data=self.real,
            pairs={name: sides[-1] for name, sides in pairs.items()},
            reals={name: sides[0] for name, sides in pairs.items() if len(sides) > 1},
            counts={split: self._count(split, "forged") for split in ("val", "test")},
            control=here and training not in controlled,
            source="map" if request.localises else "saliency",
        )
        controlled |= {training} if here else set()

    def _fit(
        self, name: str, training: TrainSet, fits: Mapping[tuple[str, TrainSet], Fit | Adopt]
    ) -> Fit | Adopt | None:
        """Return the stage of a fitted detector; None: it cannot be fitted, for want of a discriminator or a member."""
        settings, request = self.settings, self.settings.detectors[name]
        common: dict[str, Any] = {"seed": settings.seed, "repeated": len(settings.seeds) > 1}
        common |= {"detector": name, "training": training}
        # A fixed scorer counts as trained elsewhere as well, but there is no folder that could be taken over.
        if request.trained_on and request.needs != "nothing":
            resolution = settings.data.resolution
            return Adopt(**common, folder=request.detector, files=request.files, resolution=resolution)
        learned = () if request.needs == "nothing" else training.generators
        # a fixed scorer has no forgeries as inputs: its key is the same whatever the run forges
        real: Reals | Perturb = self.real
        forged: dict[str, Forger | Perturb] = {generator: self.forged[generator] for generator in learned}
        # Both classes go through the same change: else the change itself would tell them apart.
        if training.perturbation != CLEAN:
            real = Perturb(faces=self.real, perturbation=training.perturbation)
            forged = {
                generator: Perturb(faces=self.forged[generator], perturbation=training.perturbation)
                for generator in learned
            }
        if request.needs in ("discriminator", "snapshots"):
            adversary = self._adversary(request.adversary or _last_trained(settings, training))
            if adversary is None:
                return None
            # an input by its key, and the snapshot beside it
            common |= {"adversary": adversary.generator, "snapshot": adversary.snapshot}
        members = request.detector.removeprefix("mean:").split("+") if request.needs == "members" else ()
        if any((member, training) not in fits for member in members):
            return None
        return Fit(
            **common,
            request=request,
            images=settings.images,
            numerics=self.compute.numerics(execution_of("detectors", request.detector)),
            real=real,
            forged=forged,
            members={member: fits[member, training] for member in members},
        )

    def _attacks(self, planned: PlannedFit, fit: Fit | Adopt) -> Iterator[Stage]:
        """Yield attacks on a fit, after what they need; controls get those alone that ask the detector nothing."""
        settings = self.settings
        most = settings.conditions.attacked_images
        sets: dict[str, Reals | Forger] = {name: self.forged[name] for name in planned.attacked}
        if planned.attacked and settings.conditions.attacked_reals:
            sets[""] = self.real
        for name, request in settings.attacks.items():
            if request.access != "nothing" and fit.detector in SCORES_NOTHING:
                continue
            for tested_on, faces in sets.items():
                common: dict[str, Any] = {}
                if request.needs == "reals":
                    common = {"reals": self.prepared}
                if request.needs == "views":
                    drawn = self._drawn_for_attacker(tested_on or next(iter(planned.attacked)))
                    if drawn is None:  # made from real faces: none are drawn for the attacker
                        continue
                    yield drawn
                    common = {"reals": self.prepared, "attackers": drawn}
                if request.needs == "generator":
                    generator = self._moved(tested_on)
                    if generator is None:
                        continue
                    common = {"generator": generator}
                if request.surrogate is not None:
                    surrogate = self._surrogate(request.surrogate)
                    yield from (stage for stage in surrogate.forged.values() if isinstance(stage, Synthesize))
                    yield surrogate
                    common = {"surrogate": surrogate}
                if request.autoencoder is not None:
                    autoencoder = train_stage(
                        settings, request.autoencoder.architecture, request.autoencoder, self.prepared, self.compute
                    )
                    yield autoencoder
                    common = {"autoencoder": autoencoder}
                scored = self._count("test", tested_on or "real")
                yield Attack(
                    seed=settings.seed,
                    repeated=len(settings.seeds) > 1,
                    detector=fit,
                    faces=faces,
                    parts=parts_of(name, request, min(most, scored), frames=not tested_on),
                    request=request,
                    step=settings.conditions.score_step,
                    among=scored if scored < settings.images.test else None,
                    **common,
                )

    def _moved(self, generator: str) -> Train | None:
        """Return the training of a generator whose forgeries are made of a latent alone, in one pass; None: another."""
        settings, stage = self.settings.generators.get(generator), self.forged.get(generator)
        if settings is None or not settings.judged or settings.condition or not isinstance(stage, Synthesize):
            return None
        return stage.generator if isinstance(stage.generator, Train) else None

    def _drawn_for_attacker(self, generator: str) -> Synthesize | None:
        """Return the stage of forgeries that no detector of the run was fitted on or is tested on; None: no latents."""
        stage = self.forged[generator]
        if not isinstance(stage, Synthesize):
            return None
        return replace(stage, forger=f"{generator} for the attacker", counts={"forge": self.settings.images.train})

    def _surrogate(self, request: DetectorRequest) -> Fit:
        """Return the fit of the attacker's detector."""
        forged = {name: self._drawn_for_attacker(name) for name in self.settings.generators}
        drawn = {name: stage for name, stage in forged.items() if stage is not None}
        return Fit(
            seed=self.settings.seed,
            repeated=len(self.settings.seeds) > 1,
            detector=request.detector,
            training=TrainSet.of(*drawn),
            request=request,
            images=self.settings.images,
            numerics=self.compute.numerics(execution_of("detectors", request.detector)),
            real=self.prepared,
            forged=drawn,
            members={},
            surrogate=True,
        )

    def _adversary(self, generator: str | None) -> Synthesize | None:
        stage = self.forged[generator] if generator else None
        return stage if isinstance(stage, Synthesize) else None

    def _scores(self, planned: PlannedFit, fit: Fit | Adopt) -> Iterator[Stage]:
        """Yield scores: of `val` of what it was trained on, for the threshold; of `test` of what it is tested on."""
        counts, step = self.settings.images, self.settings.conditions.score_step
        # Without forgeries of this run in its training, the threshold is fixed on `val` of all generators.
        elsewhere = not set(planned.train_set.generators) & set(self.forged)  # trained on nothing of this run
        sets: dict[str, Reals | Forger] = {"real": self.real, **self.forged, **self.snapshots}
        for name, faces in sets.items():
            parts: list[Part] = []
            # `val` for the threshold: reals, and the forgeries it was trained on. Those of a left-out generator would
            # leak.
            if name in ("real", *planned.train_set.generators) or (elsewhere and name not in self.snapshots):
                # changed as in the training, so that the threshold fits what is tested
                parts.append(Part("val", self._count("val", name), planned.train_set.perturbation))
            if name in ("real", *planned.tests):
                # snapshots and external pairs answer another question and stay as they are
                changes = (CLEAN,) if name in self.snapshots else planned.perturbations
                parts += [_changed_part(self.settings, change, self._count("test", name)) for change in changes]
            if parts:
                yield Score(seed=self.settings.seed, detector=fit, faces=faces, parts=tuple(parts), step=step)
        for name, faces in self.forged.items():
            if f"{PAIRED_PREFIX}{name}" in planned.tests:
                assert not isinstance(faces, Synthesize | Gather)  # only generators that take faces have such tests
                part = Part("test", self._count("test", name))
                yield ScorePairs(
                    seed=self.settings.seed, detector=fit, faces=faces, parts=(part,), data=self.real, step=step
                )
        for name, pair in self.external.items():
            for side in pair if name in planned.tests else ():
                parts = [Part("test", counts.test)]
                yield Score(seed=self.settings.seed, detector=fit, faces=side, parts=tuple(parts), step=step)
                yield from self._viewed(fit, side)

    def _viewed(self, fit: Fit | Adopt, side: External) -> Iterator[Stage]:
        """Yield one side of an external pair in its own pixels, and the scores of its views."""
        conditions = self.settings.conditions
        if views := views_of(self.settings, fit.detector):
            cut = side.at(conditions.view_resolution or 2 * self.settings.data.resolution)
            parts = tuple(Part("test", self.settings.images.test, f"{VIEW_PREFIX}{view}") for view in views)
            yield cut
            yield Score(seed=self.settings.seed, detector=fit, faces=cut, parts=parts, step=conditions.score_step)

    def _count(self, split: Literal["val", "test"], name: str) -> int:
        """Return how many images of a split are scored: of real ones, or of a generator's forgeries."""
        count: int = getattr(self.settings.images, split)
        return count if name == "real" else min(count, self.settings.conditions.scored_forgeries.get(split, count))


def _changed_part(settings: RunSettings, perturbation: str, count: int) -> Part:
    """Return the test part of a perturbation; of one from a file the code is part of its key."""
    files = settings.conditions.perturbation_files.get(perturbation)
    if files is None:
        return Part("test", count, perturbation)
    # the id is the name in tables; the digests make a change of the code another key
    code = {name: digest for name, digest in files.items() if name != "id"}
    return Part("test", count, files["id"], reference=perturbation, files=code)


def _last_trained(settings: RunSettings, training: TrainSet) -> str | None:
    """Return the generator of a training whose discriminator is used unless one is named: the last one of the run.

    Denoisers have none, and forgeries made from real faces none that judges images alone. A left-out generator's
    discriminator would have seen what the test must not show.
    """
    judged = [name for name, each in settings.generators.items() if name in training.generators and each.judged]
    return judged[-1] if judged else None
