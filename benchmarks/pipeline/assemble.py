"""From the stored results of a run to what its report is written from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.measures.detection.base import MetricFacts
from benchmarks.measures.results import (
    Cell,
    Comparison,
    DataFacts,
    DetectorFacts,
    ExternalFacts,
    Finding,
    Gap,
    GeneratorFacts,
    GroupFact,
    Moment,
    QualityRow,
    Results,
    StageFacts,
)
from benchmarks.pipeline.compose import base_name
from benchmarks.pipeline.face_stages import count_groups
from benchmarks.pipeline.plan import Stage, plain, seed_of
from benchmarks.pipeline.store import Manifest, read_manifest
from benchmarks.report.inputs import Evidence, Pictures, ReportInputs, Sight
from benchmarks.report.sections import loadable
from benchmarks.report.write import write_report
from benchmarks.tables.cells import cells_of
from benchmarks.tables.leaderboard import ranked
from benchmarks.tables.reproduce import expected_of
from detect.scoring import read_scores
from forge.faces.faceset import FaceSet, Images
from forge.files import parse_json, read_json
from forge.generator import generator_place
from forge.pictures import cut_grid
from forge.quality.measure import Comparison as QualityComparison
from forge.quality.measure import Quality

if TYPE_CHECKING:
    from benchmarks.pipeline.job import Job

SAMPLES = 64
SHOWN_SOURCES = ("rendered", "digits")  # licences that let a report show its faces


def assemble(job: Job, sections: Sequence[str] = ()) -> dict[str, Any]:
    """Gather a run's results and write its report into `job.out`/report; returns facts for the manifest.

    Args:
        job: the stage and its inputs.
        sections: of the page, beside those that the run asked for.
    """
    stage, inputs = job.stage, job.inputs
    faces = job.faces("data")
    shown = bool(stage.settings["show_real"]) or _source_name(faces) in SHOWN_SOURCES
    forged = {name: job.faces(f"forged {name}") for name in _names(stage, "forged")}
    evaluation = read_json(inputs["evaluation"] / "evaluation.json")
    manifests = {name: read_manifest(path) for name, path in inputs.items()}
    card = faces.card
    results = Results(
        name=stage.settings["name"],
        preset=stage.settings["preset"],
        seed=stage.seed,
        seeds=stage.settings["seeds"],
        command=stage.settings["command"],
        missing=stage.settings["missing"],
        data=DataFacts(
            name=card.name,
            digest=card.digest,
            licence=card.licence,
            citation=card.citation,
            resolution=card.resolution,
            splits=card.splits,
            rejected=card.rejected,
            provenance=card.provenance,
            shown=shown,
        ),
        generators=[_generator(name, stage, inputs, manifests) for name in forged],
        external=[_external(job.faces(name)) for name in inputs if name.startswith("external ")],
        moments=[_moment(name, stage, inputs) for name in _names(stage, "moment") if f"quality {name}" in inputs],
        detectors=[_detector(name, stage, inputs[name], manifests) for name in inputs if name.startswith("fit ")],
        metrics=[MetricFacts(**one) for one in evaluation.get("metrics", ())],
        cells=[Cell(**cell) for cell in evaluation["cells"]],
        comparisons=[Comparison(**item) for item in evaluation["comparisons"]],
        groups=[GroupFact(**one) for one in evaluation["groups"]],
        gaps=[Gap(**one) for one in evaluation["gaps"]],
        audits=[Finding(**one) for one in [*evaluation["audits"], *_audited(inputs)]],
        stages=[
            # by the name it has here: another run may have made it
            StageFacts(name=name, key=m.key, seconds=m.seconds, peak_memory_mb=m.peak_memory_mb)
            for name, m in {m.key: (stage.inputs[label].name, m) for label, m in manifests.items()}.values()
        ],
        environment=manifests["evaluation"].environment,
    )
    first = {name: found for name, found in forged.items() if _seed(stage, f"forged {name}") == stage.seed}
    # what is blended from photos shows the photos' faces
    free = {name: found for name, found in first.items() if shown or f"train {name}" in inputs}
    pictures = Pictures(
        forged={plain(name): _samples(found) for name, found in free.items()},
        filmstrip={
            one.name: _filmstrip(inputs[f"train {name}"] / "samples", one.kimg)
            for name, one in zip(forged, results.generators, strict=True)
            if one.trained and name in first
        },
        interpolations={
            one.name: _strolls(name, stage, inputs)
            for name, one in zip(forged, results.generators, strict=True)
            if one.trained and name in first
        },
        by_id=_finder(faces if shown else None, list(free.values())),
        evidence=_evidence(stage, inputs, manifests, faces, first, free),
    )
    scores = read_scores(inputs["evaluation"] / "scores.parquet")
    cells = cells_of(scores)
    board = ranked(cells) if cells else None
    report = ReportInputs(
        results,
        scores,
        pictures,
        board=board if results.suite else None,
        expected=expected_of(results, cells, board),
        sections=[*loadable(stage.settings.get("sections", ())), *sections],
    )
    write_report(job.out / "report", report)
    return {}


def _audited(inputs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What the audit of the images found; nothing where it failed."""
    found: list[dict[str, Any]] = read_json(inputs["audit"] / "findings.json") if "audit" in inputs else []
    return found


def _source_name(faces: FaceSet) -> str:
    source = faces.card.provenance.get("source")
    return str(source.get("name")) if isinstance(source, dict) else ""


def _seed(stage: Stage, name: str) -> int:
    """The seed of the repetition that an input belongs to."""
    found = seed_of(name)
    return stage.seed if found is None else found


def _names(stage: Stage, kind: str) -> list[str]:
    return [name.partition(" ")[2] for name in stage.inputs if name.startswith(f"{kind} ")]


def _generator(
    name: str, stage: Stage, inputs: Mapping[str, Path], manifests: Mapping[str, Manifest]
) -> GeneratorFacts:
    if f"train {name}" not in inputs:  # blended from reals
        made = manifests[f"forged {name}"]
        return GeneratorFacts(
            name=plain(name),
            seed=_seed(stage, name),
            trained=False,
            kimg=0,
            parameters={},
            precision="fp32",
            seconds=made.seconds,
            log=[],
            weights_sha256="",
            **_quality(inputs[f"quality {name}"]),
        )
    place, snapshot = inputs[f"train {name}"], stage.inputs[f"forged {name}"].settings["snapshot"]
    card = read_json(generator_place(place, snapshot) / "generator.json")
    lines = (place / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ticks = [parse_json(line, place / "log.jsonl") for line in lines]
    log = [tick for tick in ticks if tick["kimg"] <= card["kimg"]]
    return GeneratorFacts(
        name=plain(name),
        seed=_seed(stage, name),
        kimg=card["kimg"],
        parameters=card["parameters"],
        precision=card["precision"],
        seconds=log[-1]["seconds"] if log else manifests[f"train {name}"].seconds,
        log=log,
        health=_lasting([tick for tick in read_json(place / "health.json") if tick["kimg"] <= card["kimg"]]),
        condition=card["condition"],
        **_quality(inputs[f"quality {name}"]),
        weights_sha256=card["weights_sha256"],
    )


def _moment(name: str, stage: Stage, inputs: Mapping[str, Path]) -> Moment:
    made = stage.inputs[f"moment {name}"]
    return Moment(
        name=plain(name),
        generator=base_name(plain(name)),
        kimg=made.settings["snapshot"],
        seed=_seed(stage, name),
        quality=_quality(inputs[f"quality {name}"]).get("quality", []),
    )


def _external(faces: FaceSet) -> ExternalFacts:
    card = faces.card
    return ExternalFacts(
        name=card.name,
        kind=card.kind,
        images=len(faces),
        groups=count_groups(faces),
        rejected=card.rejected,
        digest=card.digest,
    )


def _lasting(ticks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ticks that were not rolled back."""
    return [tick for i, tick in enumerate(ticks) if all(later["kimg"] > tick["kimg"] for later in ticks[i + 1 :])]


def _quality(place: Path) -> dict[str, Any]:
    """The quality of a generator's forgeries as fields of its facts."""
    stored = read_json(place / "quality.json")
    if "missing" in stored:
        return {"quality_missing": stored["missing"]}
    found = Quality.model_validate(stored["forged"])
    rows = QualityComparison.model_validate(stored).rows()
    return {
        "quality": [QualityRow(**row._asdict()) for row in rows],
        "extractor": f"{found.space.extractor.name}, sha256 {found.space.extractor.sha256[:16]}",
        "spectrum": found.spectrum.model_dump(include={"frequencies", "candidate", "reference"}),
        "face_rate": found.face_rate.at_90.value,
    }


def _detector(name: str, stage: Stage, place: Path, manifests: Mapping[str, Manifest]) -> DetectorFacts:
    card = read_json(place / "detector" / "detector.json")
    label = name.removeprefix("fit ")
    scored = [m for key, m in manifests.items() if key.startswith(f"score {label} on ")]
    speeds = [speed for m in scored if (speed := m.facts["images_per_second"]) is not None]
    peaks = [m.peak_memory_mb for m in scored if m.peak_memory_mb is not None]
    return DetectorFacts(
        name=plain(label).removesuffix(f"@{card['trained_on']}"),
        seed=_seed(stage, name),
        trained_on=card["trained_on"],
        family=card["family"],
        citation=card["citation"],
        variant=card["variant"],
        parameters=card["parameters"],
        calibration=card["calibration"],
        images_per_second=float(np.median(speeds)) if speeds else None,
        peak_memory_mb=max(peaks, default=None),
        seconds=manifests[name].seconds,
        facts=card["facts"],
        history=card["history"],
    )


def _evidence(
    stage: Stage,
    inputs: Mapping[str, Path],
    manifests: Mapping[str, Manifest],
    faces: FaceSet,
    forged: Mapping[str, FaceSet],
    shown: Collection[str],
) -> Evidence:
    """Where the detectors of the first seed look, and the spectra of forged and real test faces."""
    from detect.explain import spectrum_difference

    explained = [name for name in inputs if name.startswith("explain ") and _seed(stage, name) == stage.seed]
    real = faces.view("test")
    return Evidence(
        spectra={plain(name): spectrum_difference(real, found.view("test")) for name, found in forged.items()},
        sights=[_sight(name.removeprefix("explain "), inputs, shown) for name in explained],
        method=next((str(manifests[name].facts["method"]) for name in explained), ""),
    )


def _sight(label: str, inputs: Mapping[str, Path], shown: Collection[str]) -> Sight:
    from safetensors.numpy import load_file

    maps = load_file(inputs[f"explain {label}"] / "maps.safetensors")
    trained_on = read_json(inputs[f"fit {label}"] / "detector" / "detector.json")["trained_on"]
    return Sight(
        detector=plain(label).removesuffix(f"@{trained_on}"),
        trained_on=trained_on,
        saliency={plain(name): maps[f"forged {plain(name)}"] for name in shown if f"forged {plain(name)}" in maps},
        weights=maps.get("frequency weights"),
    )


def _samples(faces: FaceSet) -> Images:
    """The first test images: their latents are random and nobody chose among them."""
    return faces.view("test").head(SAMPLES).read()


def _filmstrip(folder: Path, kimg: float) -> list[tuple[float, Images]]:
    """The first eight fixed latents at up to eight moments of the training, up to so many thousand images."""
    grids = sorted(file for file in folder.glob("*k.png") if float(file.stem.rstrip("k")) <= kimg)
    chosen = [grids[i] for i in sorted(set(np.linspace(0, len(grids) - 1, 8).round().astype(int)))] if grids else []
    return [(float(path.stem.rstrip("k")), cut_grid(Image.open(path))[:8]) for path in chosen]


def _strolls(name: str, stage: Stage, inputs: Mapping[str, Path]) -> Images:
    """Faces of the generator that made a forged set, on ways between latents."""
    from forge.generator import TrainedGenerator, generator_place
    from forge.networks import GENERATORS
    from forge.showing import Painter, strolls

    kind = GENERATORS.load(stage.inputs[f"train {name}"].settings["architecture"])
    snapshot = stage.inputs[f"forged {name}"].settings["snapshot"]
    trained = TrainedGenerator.open(generator_place(inputs[f"train {name}"], snapshot), implementation=kind)
    return strolls(Painter(trained, stage.seed))


def _finder(real: FaceSet | None, forged: list[FaceSet]) -> Callable[[str, str], Images | None]:
    """A function (set, id) -> image, or None where it may not be shown."""
    sets = {faces.card.name: faces for faces in [*forged, *([real] if real else [])]}
    positions = {name: {key: i for i, key in enumerate(faces.table["id"])} for name, faces in sets.items()}

    def find(source: str, sample_id: str) -> Images | None:
        position = positions.get(source, {}).get(sample_id)
        return None if position is None else sets[source].read([position])[0]

    return find
