"""Seven plug-ins of one file each in one run: every one is seen where its like among the shipped ones is seen."""

import csv
import json
import sys

import pytest

from benchmarks.cli import main as cli
from forge.core.registry import allow_files

pytestmark = pytest.mark.e2e

PLUGINS = {
    "generator": """
import torch
from torch import nn

from forge.generators.base import Architecture


class Painter(Architecture):
    citation, resolutions = "unpublished", (16,)

    def generator(self):
        return nn.Sequential(nn.Linear(8, 3 * 16 * 16), nn.Tanh(), nn.Unflatten(1, (3, 16, 16)))

    def discriminator(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 1), nn.Flatten(0))

    def latents(self, count, device):
        return torch.randn(count, 8, device=device)
""",
    "detector": """
from detect.classifiers.linear import LinearClassifier
from detect.detectors.feature_based import FeatureDetector, LinearSettings


class Brightness(FeatureDetector[LinearSettings]):
    family, citation = "brightness", "unpublished"

    def features(self, pixels):
        return pixels.float().mean((1, 2))

    def classifier(self):
        limits = {"max_iterations": self.settings.max_iterations, "tolerance": self.settings.tolerance}
        return LinearClassifier("logistic", l2=0.01, **limits)
""",
    "metric": """
from benchmarks.evaluation.metrics.base import Metric, Value


class Mine(Metric):
    id, title, meaning, unit = "gap", "score gap", "Mean score of forged images minus that of real ones.", "number"

    def compute(self, test):
        return Value(float(test.score[test.label == 1].mean() - test.score[test.label == 0].mean()))
""",
    "quality": '''
from forge.quality.metric import ScalarMetric


class Mine(ScalarMetric):
    """Difference of the mean grey levels."""

    id, title = "brightness", "brightness difference"

    def compute(self, sides):
        return abs(float(sides.candidate.mean()) - float(sides.reference.mean()))
''',
    "perturbation": """
from detect.data.perturb import Perturbation


class Mine(Perturbation):
    id, title, summary = "fog", "fog", "halfway to white"

    def change(self, images):
        return images // 2 + 127
""",
    "source": """
import io

import numpy as np
from PIL import Image

from forge.faces.sources.base import Item, Source


class Mine(Source):
    name, licence, citation, attributes = "squares", "CC0", "", ()

    def __len__(self):
        return 160

    def chunk(self, positions):
        return [self.item(position) for position in positions]

    def item(self, position):
        file = io.BytesIO()
        pixels = np.random.default_rng(position).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC).save(file, "PNG")
        return Item(f"{position}.png", file.getvalue())

    def fingerprint(self):
        return "0" * 64
""",
    "section": """
from benchmarks.report.sections.base import Section


class Mine(Section):
    id, title, position = "counts", "Number of detectors", 1550

    def build(self, run):
        return f"{len(run.results.detectors)} detector counted"
""",
}
SMALL = (
    "data.resolution=16", "images={train: 32, val: 16, test: 24}", "quality={n: 32, face_n: 1}",
    "generator.training.kimg=0.2", "conditions.robust=[perturbation.py:Mine]",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the one run, with its seven plug-in files."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, code in PLUGINS.items():
        (folder / f"{name}.py").write_text(code)
    settings = [word for setting in SMALL for word in ("--set", setting)]
    named = ["-g", "generator.py:Painter", "-d", "detector.py:Brightness", "--metric", "metric.py:Mine,quality.py:Mine"]
    named += ["--data", "source.py:Mine", "--section", "section.py:Mine"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("BENCH_HOME", raising=False)
        patch.delenv("BENCH_REPORTS", raising=False)
        command = [
            "bench",
            "run",
            *named,
            *settings,
            "--preset",
            "smoke",
            "--name",
            "mine",
            "--workers",
            "1",
            "--quiet",
        ]
        patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert not stopped.value.code
    yield folder
    allow_files([], anew=True)


def shown_generator(results, report):
    (generator,) = results["generators"]
    return generator["name"] == "painter" and (report / "samples-painter.png").exists()


def shown_detector(results, report):
    (detector,) = results["detectors"]
    return detector["family"] == "brightness" and {row["detector"] for row in csv_rows(report)} == {"brightness"}


def csv_rows(report):
    return list(csv.DictReader((report / "results.csv").read_text().splitlines()))


def shown_metric(results, report):
    return all(row["gap"] for row in csv_rows(report)) and "score gap" in (report / "index.html").read_text()


def shown_quality(results, report):
    rows = [row for row in results["generators"][0]["quality"] if row["metric"] == "brightness difference"]
    return len(rows) == 1 and rows[0]["value"] > 0 and rows[0]["floor"] is not None


def shown_perturbation(results, report):
    return {cell["perturbation"] for cell in results["cells"] if cell["condition"] == "robust"} == {"fog"}


def shown_source(results, report):
    return results["data"]["licence"] == "CC0" and "squares" in results["data"]["name"]


def shown_section(results, report):
    return all("1 detector counted" in (report / page).read_text() for page in ("index.html", "report.md"))


@pytest.mark.xdist_group("one-file-plugins")
@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_of_one_file_is_seen_in_its_place(plugin, folder):
    report = folder / "runs/reports/mine"
    results = json.loads((report / "results.json").read_text())
    assert globals()[f"shown_{plugin}"](results, report)
