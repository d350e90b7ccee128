"""The stage that attacks a fitted detector: test images are changed against it and scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.experiment.settings import AttackRequest
from benchmarks.protocol import AttackId
from benchmarks.workflow.stage import Facts, Job
from benchmarks.workflow.stages.fit import Fit, drawn
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.score import Part, Score
from benchmarks.workflow.stages.synthesize import Synthesize
from benchmarks.workflow.stages.train import Train
from forge.core.files import read_json, write_json

if TYPE_CHECKING:
    from forge.faces.faceset import FaceView

ATTACK = "attack.json"  # file of what the changes cost, and of what the detector was asked
SPLIT = "forge"  # of real images and forgeries that the attacker has
_MEASURED = 1000  # real images whose spectrum is measured


@dataclass(frozen=True, eq=False, kw_only=True)
class Attack(Score):
    """Fitted detector and test images to score rows of the images as an attack changed them, at each budget.

    Beside the rows lies what each attack cost. A detector without the gradient that an attack needs has no rows.

    Attributes:
        request: the attack.
        reals: real faces with split `forge`, where the attacker looks at them.
        attackers: forgeries of the tested generator that were drawn for the attacker, where these are measured.
        surrogate: the attacker's own detector.
        autoencoder: the training of what re-encodes images.
        generator: the training of the generator of the forgeries, where the attack moves their latents.
        among: number of test images that are scored unchanged, of which the attacked ones are drawn, so that each is
            known before the attack; None: all of them.
    """

    action = "attack"
    VERSION = 1

    request: AttackRequest
    reals: Prepare | None = None
    attackers: Synthesize | None = None
    surrogate: Fit | None = None
    autoencoder: Train | None = None
    generator: Train | None = None
    among: int | None = None

    @property
    def aim(self) -> Literal["evade", "frame"]:
        """Return what the attacker wants: forgeries that pass for real, or real faces that pass for forged."""
        return "frame" if self.real else "evade"

    @property
    def name_of_attack(self) -> str:
        """Return the name of the attack in tables."""
        return _attack_of(self.parts[0]).attack

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
        # absent where all images are scored, so that other keys stay
        among = {} if self.among is None else {"among": self.among}
        return {**super().settings, **request, **among}

    def views(self, job: Job) -> Iterator[tuple[Part, FaceView]]:
        """Yield what is attacked."""
        faces = job.faces(self.faces)
        for part in self.parts:
            view = faces.view(part.split)
            view = view if self.among is None else drawn(view, self.among, part.split)
            yield part, drawn(view, part.count, part.split)

    def run(self, job: Job) -> Facts:
        """Write scores.parquet and attack.json.

        Raises:
            DetectorError: a score is not finite or too large.
        """
        from benchmarks.workflow import attack_rows  # imports torch and pandas

        parts = [(_attack_of(part), view) for part, view in self.views(job)]
        known = self._known(job)
        if self.generator is not None and isinstance(self.faces, Synthesize):
            trained = self.generator.trained(job, self.faces.snapshot)
            latents = attack_rows.latents_by_image(trained, parts[0][1], seed=self.seed, split=self.parts[0].split)
            known = {"generator": trained, "latents": latents}
        facts = attack_rows.write_attacked(
            self.detector.load(job),
            job.context.compute,
            attack_rows.method_of(self.request, self.name_of_attack, known),
            attack_rows.AttackedSet(parts, self.tested_on, self.seed, job.context.on_progress),
            aim=self.aim,
            step=self.step,
            out=job.out / "scores.parquet",
        )
        write_json(job.out / ATTACK, [fact.model_dump(mode="json") for fact in facts])
        return {"images_per_second": None, "images": sum(fact.images for fact in facts)}

    def read_facts(self, job: Job) -> list[AttackFacts]:
        """Read what each attack cost; empty where the detector has no gradient."""
        return [AttackFacts.model_validate(values) for values in read_json(job.path(self) / ATTACK)]

    def _known(self, job: Job) -> dict[str, Any]:
        """Return what the attacker has beside the detector: fields of `Knowledge`."""
        known: dict[str, Any] = {}
        if self.reals is not None:
            known["real"] = drawn(job.faces(self.reals).view(SPLIT), _MEASURED, SPLIT)
        if self.attackers is not None:
            known["forged"] = job.faces(self.attackers).view(SPLIT)
        if self.surrogate is not None:
            known["surrogate"] = self.surrogate.load(job)
        if self.autoencoder is not None:
            known["autoencoder"] = self.autoencoder.trained(job, None)
        return known


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


def _attack_of(part: Part) -> AttackId:
    attack = AttackId.parse(part.perturbation)
    assert attack is not None  # every part of this stage is an attack
    return attack
