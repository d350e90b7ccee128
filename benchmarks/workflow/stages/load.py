"""The stage that takes the weights of a generator from the zoo, in the place of a training."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from benchmarks.workflow.stage import Facts, Job
from benchmarks.workflow.stages.generator import GeneratorStage
from benchmarks.zoo.members import WEIGHTS, member_of
from forge.core.errors import InputError
from forge.core.files import write_json, write_text


@dataclass(frozen=True, eq=False, kw_only=True)
class Load(GeneratorStage):
    """Member of the zoo to generator: the folder of a training, without discriminator and snapshots.

    Its name, architecture and settings are no part of its key. All seeds of a run share it.

    Attributes:
        weights_sha256: digest of the weights.
    """

    action = "load"
    VERSION = 1
    computes = False

    weights_sha256: str

    @property
    def settings(self) -> dict[str, Any]:
        """Return the digest of the weights: the same weights are found cached, wherever they lie."""
        return {"weights_sha256": self.weights_sha256}

    def run(self, job: Job) -> Facts:
        """Copy weights, card, log and health.

        Raises:
            InputError: the member is not there, is damaged, or is another one than was planned with.
        """
        member = member_of(self.generator, "generator").check()
        if member.weights_sha256 != self.weights_sha256:
            raise InputError(f"{self.generator} in {member.folder} has other weights than the run was planned with")
        for name in (WEIGHTS, "generator.json"):
            shutil.copyfile(member.folder / name, job.out / name)
        # files of a training, which a report reads; a member may come without
        for name in ("log.jsonl", "health.json"):
            if name in member.card.files:
                shutil.copyfile(member.folder / name, job.out / name)
            elif name == "health.json":
                write_json(job.out / name, [])
            else:
                write_text(job.out / name, "")
        return {"member": member.name, "command": member.card.command}
