"""The stage that trains a generator, alone or in the processes of a `torchrun`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.experiment.configs import validated
from benchmarks.workflow.joint import run_jointly
from benchmarks.workflow.stage import Facts, Job
from benchmarks.workflow.stages.generator import GeneratorStage
from benchmarks.workflow.stages.prepare import Prepare
from forge.core.compute import derive_seed
from forge.core.files import read_json
from forge.faces.halves import HALVED, source_half
from forge.generators import GENERATORS
from forge.generators.domains import Domains

if TYPE_CHECKING:
    from forge.core.distributed import ProcessGroup
    from forge.training.task import Training


@dataclass(frozen=True, eq=False, kw_only=True)
class Train(GeneratorStage):
    """FaceSet to generator, on split `forge` of the real faces.

    Attributes:
        training: settings of the training.
        condition: label columns that it is conditioned on.
        domains: label column -> values of source and target domain, of an unpaired translator; None: it has none.
        files: SHA-256 of the files it depends on.
        numerics: precision and threads, which decide the result.
        training_seed: 0: random numbers of `seed`; else others for each number.
        data: the real faces.
    """

    action = "train"
    VERSION = 4

    training: dict[str, Any]
    condition: tuple[str, ...]
    domains: dict[str, list[str]] | None
    files: dict[str, str]
    numerics: dict[str, Any]
    training_seed: int = 0
    data: Prepare

    @property
    def settings(self) -> dict[str, Any]:
        """Return architecture, its settings and those of its training."""
        # absent where it says nothing, so that other trainings keep their keys
        repeated = {"training_seed": self.training_seed} if self.training_seed else {}
        return repeated | {
            "architecture": self.architecture,
            "network": self.network,
            "training": self.training,
            "condition": list(self.condition),
            **({} if self.domains is None else {"domains": self.domains}),
            "files": self.files,
            "numerics": self.numerics,
        }

    def run(self, job: Job) -> Facts:
        """Train; the other processes of a `torchrun` are sent the same call first."""
        return run_jointly(self, job)

    def jointly(self, job: Job, processes: ProcessGroup) -> Facts:
        """Train in this process."""
        from forge.generators.labels import Condition  # all import torch or pandas
        from forge.training import task
        from forge.training.steps import method_of
        from forge.training.train import train

        faces = job.faces(self.data)
        implementation = GENERATORS.load(self.architecture)
        settings = validated(
            method_of(implementation).Settings, self.training, where=f"generators.{self.generator}.training"
        )
        view = faces.view("forge")  # photos that are in none of train, val and test, which detectors see
        condition, codes, domains = None, None, None
        classes: tuple[tuple[int, ...], ...] = ()  # one-file architectures need not know of labels
        # Photos without a label in one of the columns are dropped from the view.
        if self.condition:
            condition, view, codes = Condition.of(view, list(self.condition))
            classes = (condition.classes,)
        # Faces of other values are dropped; a split without any to translate is refused now, not after the training.
        if self.domains is not None:
            domains, view = Domains.of(view, self.domains)
            domains.sources_of({split: source_half(faces, split) for split in HALVED if split in faces.card.splits})
        track = job.context.track
        training = task.Training(
            name=self.generator,
            reference=self.architecture,
            architecture=self.untrained(faces.resolution, *classes),
            settings=settings,
            view=view,
            seed=derive_seed(self.seed, "training", self.training_seed) if self.training_seed else self.seed,
            compute=job.compute(self.numerics),
            work=job.work,
            condition=condition,
            codes=codes,
            domains=domains,
            # the key too: TensorBoard would draw two trainings of one name as one curve
            track=track / f"{self.generator}-{self.key[:8]}" if track else None,
        )
        train(self.begun(job, task.hold_out(training)), job.out, job.context.on_progress)
        return {"precision": read_json(job.out / "generator.json")["precision"], "processes": processes.size}

    def begun(self, job: Job, training: Training) -> Training:
        """Return the training as it begins; one that goes on from another adds its weights."""
        return training
