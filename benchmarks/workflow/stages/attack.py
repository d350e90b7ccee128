"""The stage that attacks a fitted detector: test images are changed against it and scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.experiment.configs import validated
from benchmarks.experiment.settings import AttackRequest
from benchmarks.protocol import AttackId
from benchmarks.workflow.stage import Facts, Job
from benchmarks.workflow.stages.fit import Fit, drawn
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.score import Part, Score
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.train import Train
from detect.attacks.registry import ATTACKS
from forge.core.files import read_json, write_json
from forge.core.progress import OnProgress, ProgressEvent
from forge.faces.faceset import FaceView, Images

if TYPE_CHECKING:
    from torch import Tensor

    from detect.attacks.apply import Attacked
    from detect.attacks.base import Attack as Method
    from detect.attacks.target import Target
    from forge.generators.artifact import TrainedGenerator

ATTACK = "attack.json"  # file of what the changes cost, and of what the detector was asked
SPLIT = "forge"  # of real images and forgeries that the attacker has
_MEASURED = 1000  # real images whose spectrum is measured


@dataclass(frozen=True, eq=False, kw_only=True)
class Attack(Score):
    """Fitted detector and test images to score rows of the images as an attack changed them, at each budget.

    Beside the rows lies what each attack cost. A detector without the gradient that an attack needs has no rows.

    Attributes:
        request: the attack.
        reals: real faces with split `forge`, where the attacker measures or re-encodes them.
        attackers: forgeries of the tested generator that were drawn for the attacker, where these are measured.
        surrogate: the attacker's own detector.
        autoencoder: the training of what re-encodes images.
        generator: the training of the generator of the forgeries, where the attack moves their latents.
    """

    action = "attack"
    VERSION = 1

    request: AttackRequest
    reals: Prepare | None = None
    attackers: Synthesize | None = None
    surrogate: Fit | None = None
    autoencoder: Train | None = None
    generator: Train | None = None

    @property
    def aim(self) -> Literal["evade", "frame"]:
        """Return what the attacker wants: forgeries that pass for real, or real faces that pass for forged."""
        return "frame" if self.real else "evade"

    @property
    def name_of_attack(self) -> str:
        """Return the name of the attack in tables."""
        attack = AttackId.parse(self.parts[0].perturbation)
        assert attack is not None  # every part of this stage is an attack
        return attack.attack

    @property
    def label(self) -> str:
        """Return detector, set and attack, e.g. "npr@dcgan on dcgan by pgd"."""
        return f"{super().label} by {self.name_of_attack}"

    @property
    def subject(self) -> str:
        """Return the label, with the seed where a run has several."""
        return f"{super().subject} by {self.name_of_attack}"

    @property
    def settings(self) -> dict[str, Any]:
        """Return what is attacked, and how."""
        request = self.request.model_dump(mode="json", include={"attack", "settings", "files"})
        return {**super().settings, **request}

    def run(self, job: Job) -> Facts:
        """Write scores.parquet and attack.json.

        Raises:
            DetectorError: a score is not finite or too large.
        """
        import pandas as pd  # all import pandas or torch

        from detect.attacks.target import Target
        from detect.scoring import score_table, write_scores

        trained, compute = self.detector.load(job), job.context.compute
        method, target = self._method(job), Target(trained.detector, compute, self.aim)
        possible = method.access != "gradients" or target.differentiable
        tables, facts = [], []
        for number, (part, view) in enumerate(self.views(job)):
            if not possible:  # no rows, with the columns of all others
                tables.append(score_table(trained, FaceView(view.faces, view.index[:0]), compute))
                continue
            progress = _share(job.context.on_progress, number, len(self.parts))
            made = self._attacked(method, view, target, part, progress)
            tables.append(
                score_table(trained, view, compute, perturbation=part.perturbation, perturb=_Replaced(made.images))
            )
            facts.append(self._facts(part, made))
        write_scores(pd.concat(tables, ignore_index=True), job.out / "scores.parquet")
        write_json(job.out / ATTACK, [fact.model_dump(mode="json") for fact in facts])
        return {"images_per_second": None, "images": sum(fact.images for fact in facts)}

    def read_facts(self, job: Job) -> list[AttackFacts]:
        """Read what each attack cost; empty where the detector has no gradient."""
        return [AttackFacts.model_validate(values) for values in read_json(job.path(self) / ATTACK)]

    def _method(self, job: Job) -> Method[Any]:
        """Return the attack, which has learned what it needs."""
        from detect.attacks.base import Knowledge  # imports torch

        implementation = ATTACKS.load(self.request.attack)
        method: Method[Any] = implementation(
            validated(implementation.Settings, self.request.settings, where=f"attacks.{self.name_of_attack}")
        )
        knowledge = Knowledge()
        if self.reals is not None and self.attackers is not None:
            knowledge = replace(
                knowledge,
                real=drawn(job.faces(self.reals).view(SPLIT), _MEASURED, SPLIT),
                forged=job.faces(self.attackers).view(SPLIT),
            )
        if self.surrogate is not None:
            knowledge = replace(knowledge, surrogate=self.surrogate.load(job))
        if self.autoencoder is not None:
            knowledge = replace(knowledge, autoencoder=self.autoencoder.trained(job, None))
        if self.generator is not None and isinstance(self.faces, Synthesize):
            trained = self.generator.trained(job, self.faces.snapshot)
            knowledge = replace(knowledge, generator=trained, latents=self._latents(job, trained))
        method.learn(knowledge)
        return method

    def _latents(self, job: Job, trained: TrainedGenerator) -> Callable[[Images], Tensor]:
        """Return a function from test forgeries to their latents, which are found by the bytes of the images."""
        import torch

        from forge.generators.sample import latents_of

        known: dict[bytes, Tensor] = {}
        for part, view in self.views(job):
            numbers = view.rows["latent_index"].to_numpy()
            latents = latents_of(trained, numbers, seed=self.seed, split=part.split)
            images = np.concatenate(list(view.batches(1024)))
            known |= {image.tobytes(): latent for image, latent in zip(images, latents, strict=True)}
        return lambda images: torch.stack([known[image.tobytes()] for image in images])

    def _attacked(
        self, method: Method[Any], view: FaceView, target: Target, part: Part, on_progress: OnProgress
    ) -> Attacked:
        from detect.attacks.apply import apply  # imports torch

        attack = AttackId.parse(part.perturbation)
        assert attack is not None
        return apply(
            method,
            np.concatenate(list(view.batches(1024))),
            target,
            name=attack.attack,
            epsilon=attack.epsilon,
            seed=self.seed,
            on_progress=on_progress,
        )

    def _facts(self, part: Part, made: Attacked) -> AttackFacts:
        return AttackFacts(
            detector=self.detector.detector,
            trained_on=str(self.detector.training),
            tested_on=self.tested_on,
            seed=self.seed,
            attack=part.perturbation,
            access=self.request.access,
            images=len(made.images),
            **made.facts(),
        )


class _Replaced:
    """Gives other images in place of those it is called with, in their order."""

    def __init__(self, images: Images) -> None:
        self.images, self.done = images, 0

    def __call__(self, images: Images) -> Images:
        self.done += len(images)
        return self.images[self.done - len(images) : self.done]


def parts_of(name: str, request: AttackRequest, count: int, *, frames: bool) -> tuple[Part, ...]:
    """Return the parts that an attack's stage scores: its images at each budget.

    Args:
        name: of the attack.
        request: with its budgets.
        count: images at each, at most.
        frames: whether they are real ones.
    """
    budgets: tuple[float | None, ...] = request.budgets or (None,)
    return tuple(Part("test", count, str(AttackId(name, budget, frames))) for budget in budgets)


def _share(on_progress: OnProgress, number: int, parts: int) -> OnProgress:
    """Return progress of one part as that of all."""

    def tell(event: ProgressEvent) -> None:
        on_progress(replace(event, done=number * event.total + event.done, total=parts * event.total))

    return tell
