"""Fields of a request for a run."""

from __future__ import annotations

from collections.abc import Mapping
from operator import not_
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from benchmarks.experiment.names import safe_name, source_name
from benchmarks.experiment.settings_base import Names, Seed, Settings
from forge.core.errors import quoted


class ForgedFolder(Settings):
    """Forgeries that are files, which stand for a generator."""

    path: str = Field(min_length=1, description="folder of forged images, or of a public set")
    family: str = Field("", description="of generators that are left out of a training together; empty: its own")


class RunRequest(Settings):
    """A run as it is asked for: a YAML file, the flags of `bench run` and the arguments of `benchmarks.run`.

    results.json holds the request of its run, from which the run can be made again.
    """

    generator: Names = Field((), description="generators, as a list or comma-separated")
    detector: Names = Field((), description="detectors, likewise")
    condition: Names = Field((), description="label columns for conditional generators")
    metric: Names = Field((), description="metrics beside those of the protocol")
    section: Names = Field((), description="sections of the page beside the shipped ones")
    data: str | None = Field(None, description="real faces: NAME, PATH or NAME:PATH; null: rendered")
    sources: tuple[str, ...] = Field(
        (), description="real faces of several sources, each NAME, PATH or NAME:PATH: a run each"
    )
    preset: str | None = Field(None, description="smoke, quick, standard or full; null: quick, on a GPU standard")
    title: str = Field("", description="one line for people")
    protocol: int | None = Field(None, description="version of the measuring protocol it was written for")
    seed: Seed | None = Field(None, description="random seed of the whole run; null: 0")
    seeds: tuple[Seed, ...] | None = Field(None, description="the whole run is repeated with each of these")
    conditions: dict[str, Any] = Field({}, description="how detectors are trained and tested; see Conditions")
    rounds: Annotated[int, Field(ge=1, le=20)] | None = Field(
        None, description="rounds of an arms race, whose other settings are --set race…; null: no race"
    )
    external: dict[str, str | tuple[str, str] | tuple[str, str, str]] = Field(
        {},
        description="name -> folder of a public test set, or folders of real and of forged photos, and where these "
        "have them of masks",
    )
    forged: dict[str, ForgedFolder] = Field(
        {},
        exclude_if=not_,
        description="name -> folder of forgeries that stand for a generator, or path and family",
    )
    resolution: int | None = Field(None, description="height and width in pixels; null: the preset's")
    name: str | None = Field(None, description="of the run and its report folder; null: made of what it runs")
    show_real: bool = Field(False, description="embed photos of the real faces in the report")
    jobs: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, exclude_if=not_, description="stages at a time, of no effect on results; null: chosen by rules"
    )
    engine: str = Field("", exclude_if=not_, description="what runs the stages: local (default), ray or slurm")
    ray_address: str = Field("", exclude_if=not_, description="HOST:PORT of a Ray cluster, or auto; empty: its own")
    ship_below: Annotated[float, Field(ge=0, le=1000)] = Field(
        0.0, exclude_if=not_, description="MB of the largest result that travels to nodes without the store"
    )
    slurm: dict[str, str | int | float] = Field(
        {}, exclude_if=not_, description="options of sbatch, time in minutes and memory in GB"
    )
    set: dict[str, Any] = Field({}, description="any setting, nested, e.g. {generator: {training: {kimg: 100}}}")

    # Another word for the same: what is given as `sets` is stored as `external`.
    @model_validator(mode="before")
    @classmethod
    def _with_sets(cls, values: object) -> object:
        if not isinstance(values, dict) or "sets" not in values:
            return values
        rest = {key: value for key, value in values.items() if key != "sets"}
        sets, external = values["sets"] or {}, rest.get("external") or {}
        if not isinstance(sets, dict) or not all(isinstance(root, str) for root in sets.values()):
            raise ValueError("sets must map names to folders of test sets, e.g. {genimage: path/to/GenImage}")
        if both := sorted(map(str, set(sets) & set(external))):
            raise ValueError(f"sets and external both name {quoted(both[0])}; give one another name")
        return rest | {"external": {**external, **sets}}

    @model_validator(mode="before")
    @classmethod
    def _order(cls, content: Any) -> Any:  # noqa: ANN401 - what YAML gave
        """Take `order` beside the conditions for one of them."""
        if not (isinstance(content, Mapping) and "order" in content):
            return content
        conditions = content.get("conditions") or {}
        if not isinstance(conditions, Mapping) or "order" in conditions:
            raise ValueError("it names order twice, alone and among the conditions; keep one")
        rest = {name: value for name, value in content.items() if name != "order"}
        return rest | {"conditions": {**conditions, "order": content["order"]}}

    @field_validator("forged", mode="before")
    @classmethod
    def _paths(cls, forged: object) -> object:
        if not isinstance(forged, Mapping):
            return forged
        for name, value in forged.items():
            if isinstance(value, Mapping) and (
                unknown := [key for key in value if key not in ForgedFolder.model_fields]
            ):
                raise ValueError(f"{name} has a path and perhaps a family, not {quoted(unknown[0])}")
        return {name: {"path": value} if isinstance(value, str) else value for name, value in forged.items()}

    # Runs over several sources are named after them; equal names would be one report folder.
    @field_validator("sources")
    @classmethod
    def _told_apart(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        names = [safe_name(source_name(source)) for source in sources]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two of its sources are called {quoted(twice[0])}; name a folder otherwise")
        return sources

    # Before validation: an empty list is valid as a tuple, and would silently mean one seed.
    @field_validator("seeds", mode="before")
    @classmethod
    def _distinct(cls, seeds: object) -> object:
        if isinstance(seeds, list | tuple) and not seeds:
            raise ValueError("it names no seed; give one, or leave seeds out")
        if isinstance(seeds, list | tuple) and (twice := [seed for seed in seeds if seeds.count(seed) > 1]):
            raise ValueError(f"it names the seed {twice[0]} twice")
        return seeds
