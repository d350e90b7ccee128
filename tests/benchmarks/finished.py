"""A finished run as far as its detectors are asked about photos: made in milliseconds, nothing is trained."""

import numpy as np
import pandas as pd
from PIL import Image
from synthetic import make_results, make_scores

from benchmarks.evaluation.localisation import localised, packed, packed_edges, write_rows
from benchmarks.evaluation.pixels import LevelScale, PixelCounts
from benchmarks.evaluation.run_facts import StageFacts
from benchmarks.report.digests import write_sums
from benchmarks.workflow.store import Store, write_manifest
from detect.artifact import DetectorCard, TrainedDetector
from detect.detectors.dct import LogDct
from detect.detectors.discriminator import FromScratch
from detect.detectors.noise_map import NoiseMap
from detect.discriminator_source import Blueprint
from detect.scoring import write_scores
from forge.core.compute import Compute
from forge.core.files import write_json


def network():
    """Make a detector with gradients: a discriminator's network, not fitted."""
    detector = FromScratch(FromScratch.Settings(), 16)
    detector.blueprint = Blueprint("dcgan", {}, 16)
    detector.network = detector.build().eval()
    return detector


def regression():
    """Make a detector without gradients."""
    detector = LogDct(LogDct.Settings(), 16)
    rng = np.random.default_rng(0)
    detector.mean, detector.std, detector.fitted = rng.random(768), rng.random(768) + 1, detector.classifier()
    detector.fitted.restore({"coefficients": rng.normal(size=768), "intercept": np.zeros(1)})
    return detector


def finished_run(folder):
    """Write what is read of the run `mine` (reports/, runs/) and photos into a folder, and return it."""
    scores = make_scores({("dct", "dcgan"): {"dcgan": 2.0}, ("disc-scratch", "dcgan"): {"dcgan": 1.0}}, n=20)
    write_run(folder, "mine", scores, [("dct", "dcgan", regression()), ("disc-scratch", "dcgan", network())])
    for name in ("me.png", "you.png", "more/me.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return folder


def localised_run(folder):
    """Write the run `where` into a folder: a detector without maps, and a localiser that learned nothing."""
    skill = {("dct", "splice"): {"splice": 2.0}, ("noise-map", "elsewhere"): {"splice": 1.0}}
    noise_map = NoiseMap(NoiseMap.Settings(), 16)
    fits = [("dct", "splice", regression()), ("noise-map", "elsewhere", noise_map)]
    write_run(folder, "where", make_scores(skill, n=20), fits, masks=mask_rows(noise_map))
    return folder


def mask_rows(detector, count=8):
    """Measure a localiser on noise whose left upper quarter is smooth, as rows of masks.parquet."""
    frames, scale = [], None
    for number, (split, generator) in enumerate((s, g) for s in ("val", "test") for g in ("splice", "")):
        images = np.random.default_rng(number).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        masks = np.zeros((count, 16, 16), bool)
        if generator:
            masks[:, :8, :8] = True
            images[:, :8, :8] = images[:, :8, :8] // 8 + 112
        maps = detector.maps(images, Compute())
        scale = scale or LevelScale.of(maps)
        altered, untouched = packed(PixelCounts.of(scale.levels(maps), masks))
        names = [f"{generator}-{split}-{n}" for n in range(count)]
        columns = {
            "detector": "noise-map", "trained_on": "elsewhere", "seed": 0, "source": "map", "sample_id": names,
            "identity": names, "generator": generator, "pair": "", "split": split, "altered": altered,
            "untouched": untouched, "edges": packed_edges(scale),
        }  # fmt: skip
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def write_run(folder, run, scores, fits, masks=None):
    """Write the report of a run, and its fitted detectors (name, training, detector) into the store."""
    stages = []
    for name, trained_on, detector in fits:
        card = DetectorCard(
            name=name, family=name, citation="", variant="", settings=detector.settings.model_dump(), resolution=16,
            seed=0, trained_on=trained_on, data=[], calibration={"a": 1.0, "b": 0.0}, parameters=1, facts={},
            history=[],
        )  # fmt: skip
        stage, key = f"fit {name}@{trained_on}", (name + run) * 8
        stages.append(StageFacts(name=stage, key=key, seconds=1.0, peak_memory_mb=None))
        with Store(folder / "runs").publish("fit", key) as folder_of_fit:
            TrainedDetector(detector, card).save(folder_of_fit / "detector")
            write_manifest(
                folder_of_fit, stage=stage, version=1, key=key, settings={}, inputs={}, seed=0, environment={},
                seconds=1.0, peak_memory_mb=None,
            )  # fmt: skip
    report = folder / "reports" / run
    changes = {"stages": stages, "localisation": [] if masks is None else localised(masks)}
    write_json(
        report / "results.json", make_results(scores, name=run).model_copy(update=changes).model_dump(mode="json")
    )
    write_scores(scores, report / "scores.parquet")
    if masks is not None:
        write_rows(masks, report / "masks.parquet")
    write_sums(report)
