"""The stage that trains a generator, from its settings."""

from __future__ import annotations

from benchmarks.experiment.settings import GeneratorSettings, RunSettings
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.stages.train import Train
from forge.core.compute import Compute
from forge.core.execution import execution_of


def train_stage(
    settings: RunSettings, name: str, generator: GeneratorSettings, data: Prepare, compute: Compute
) -> Train:
    """Return the stage that trains a generator.

    Args:
        settings: of the run, with the seed of the repetition.
        name: of the training, without a snapshot.
        generator: its settings.
        data: the real faces.
        compute: precision and threads, which decide the result.
    """
    values = generator.model_dump(mode="json")
    return Train(
        seed=settings.seed,
        repeated=len(settings.seeds) > 1,
        generator=name,
        architecture=generator.architecture,
        network=values["network"],
        training=values["training"],
        condition=generator.condition,
        domains=values["domains"] if generator.moves_between else None,
        files=generator.files,
        training_seed=generator.seed,
        # a training's result depends on precision and threads, hence they are in its key
        numerics=compute.numerics(execution_of("generators", generator.architecture)),
        data=data,
    )
