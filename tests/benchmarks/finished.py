"""A finished run as far as its detectors are asked about photos: made in milliseconds, nothing is trained."""

import numpy as np
from PIL import Image
from synthetic import make_results, make_scores

from benchmarks.evaluation.results import StageFacts
from benchmarks.report.digests import write_sums
from benchmarks.workflow.store import Store, write_manifest
from detect.artifact import DetectorCard, TrainedDetector
from detect.detectors.dct import LogDct
from detect.detectors.discriminator import FromScratch
from detect.discriminator_source import Blueprint
from detect.scoring import write_scores
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
    results, stages = make_results(scores, name="mine"), []
    for name, detector in (("dct", regression()), ("disc-scratch", network())):
        card = DetectorCard(
            name=name, family=name, citation="", variant="", settings=detector.settings.model_dump(), resolution=16,
            seed=0, trained_on="dcgan", data=[], calibration={"a": 1.0, "b": 0.0}, parameters=1, facts={}, history=[],
        )  # fmt: skip
        stages.append(StageFacts(name=f"fit {name}@dcgan", key=name * 16, seconds=1.0, peak_memory_mb=None))
        with Store(folder / "runs").publish("fit", name * 16) as folder_of_fit:
            TrainedDetector(detector, card).save(folder_of_fit / "detector")
            write_manifest(
                folder_of_fit, stage=f"fit {name}@dcgan", version=1, key=name * 16, settings={}, inputs={}, seed=0,
                environment={}, seconds=1.0, peak_memory_mb=None,
            )  # fmt: skip
    results = results.model_copy(update={"stages": stages})
    write_json(folder / "reports/mine/results.json", results.model_dump(mode="json"))
    write_scores(scores, folder / "reports/mine/scores.parquet")
    write_sums(folder / "reports/mine")
    for name in ("me.png", "you.png", "more/me.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return folder
