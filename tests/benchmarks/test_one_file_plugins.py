"""Plug-ins, one file each, in one run: every one is seen in the results or on the page."""

import contextlib
import io
import json

import pytest
from synthetic import SPARING, call_bench, html_of

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("one-file-plugins")]

FILES = {
    "tiny.py": '''
import torch
from torch import nn

from forge.generators.base import Architecture, NetworkSettings


class Tiny(Architecture):
    citation, resolutions, Settings = "a test", (16, 32), NetworkSettings

    def generator(self):
        pixels = 3 * self.resolution**2
        layers = nn.Linear(8, pixels), nn.Tanh(), nn.Unflatten(1, (3, self.resolution, self.resolution))
        return nn.Sequential(*layers)

    def discriminator(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * self.resolution**2, 1), nn.Flatten(0))

    def latents(self, count, device):
        return torch.randn(count, 8, device=device)
''',
    "blurred.py": '''
import numpy as np
from scipy.ndimage import gaussian_filter

from forge.generators.translation.pix2pix import Pix2Pix


class Blurred(Pix2Pix):
    """Sharpen a blurred face."""

    inputs = 3

    def condition(self, image, source):
        sigma = source.uniform(1, 3)
        blurred = gaussian_filter(image.astype(np.float32), (sigma, sigma, 0))
        return (blurred / 127.5 - 1).astype(np.float32).transpose(2, 0, 1)
''',
    "bright.py": '''
import numpy as np

from detect.detectors.base import Detector, DetectorSettings, FitSummary


class Bright(Detector[DetectorSettings]):
    family, citation, variant = "bright", "a test", ""

    def fit(self, data, context):
        return FitSummary([], {})

    def score(self, images, compute):
        return images.reshape(len(images), -1).mean(axis=1, dtype=np.float64)

    def save(self, directory):
        (directory / "nothing.txt").write_text("")

    @classmethod
    def load(cls, directory, settings, resolution):
        return cls(settings, resolution)
''',
    "f1.py": '''
from benchmarks.evaluation.metrics.base import Metric, Value


class F1(Metric):
    id, title, unit = "f1", "F1 score", "percent"
    meaning = "Harmonic mean of precision and recall at the threshold fixed on validation images."

    def compute(self, test):
        called, forged = test.score >= test.threshold, test.label == 1
        return Value(float(2 * (called & forged).sum() / (called.sum() + forged.sum())))
''',
    "brightness.py": '''
from forge.quality.metric import ScalarMetric


class Brightness(ScalarMetric):
    """Difference of the mean grey levels."""

    id, title = "brightness", "brightness difference"

    def compute(self, sides):
        return abs(float(sides.candidate.mean()) - float(sides.reference.mean()))
''',
    "fog.py": '''
from detect.data.perturb import Perturbation


class Fog(Perturbation):
    id, title, summary = "fog", "fog", "halfway to white"

    def change(self, images):
        return images // 2 + 127
''',
    "haze.py": '''
from typing import ClassVar

import numpy as np

from detect.attacks.base import Access, Attack, AttackSettings


class Haze(Attack[AttackSettings]):
    """Every value moves towards mid-grey by the budget."""

    citation = "a test, 2026"
    access: ClassVar[Access] = "nothing"

    def changed(self, images, target, epsilon, seed):
        change = np.clip(128 - images.astype(np.int16), -int(epsilon), int(epsilon))
        return (images + change).astype(np.uint8)
''',
    "noise.py": '''
import io

import numpy as np
from PIL import Image

from forge.faces.sources.base import Item, Source


class Noise(Source):
    name, licence, citation, attributes = "noise", "CC0", "a test", ()

    def __len__(self):
        return 120

    def chunk(self, positions):
        return [self.item(position) for position in positions]

    def item(self, position):
        pixels = np.random.default_rng(position).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return Item(f"{position}.png", file.getvalue(), f"p{position}", {})

    def fingerprint(self):
        return "0" * 64

    def settings(self):
        return {}
''',
    "count.py": '''
from benchmarks.report.sections.base import Section


class Count(Section):
    id, title, position = "stage-count", "Number of stages", 1550

    def build(self, run):
        return f"{len(run.results.stages)} stages"
''',
}  # fmt: skip
COMMAND = (
    *(
        "run",
        "-g",
        "tiny.py:Tiny,blurred.py:Blurred",
        "-d",
        "bright.py:Bright,dct",
        "--data",
        "noise.py:Noise",
        "--preset",
        "smoke",
    ),
    *("--metric", "f1.py:F1,brightness.py:Brightness", "--section", "count.py:Count"),
    *(
        "--set",
        "conditions.robust=[fog.py:Fog]",
        "--set",
        "conditions.attacked={haze.py:Haze: [8], pgd: [2, 4], square: [4], latent: [], spectrum-match: [], "
        "transfer: [4], launder: []}",
        "--set",
        "attacks={transfer: {surrogate: dct}, square: {queries: 5}}",
        "--set",
        "generator.training.kimg=0.2",
        "--set",
        "generators.blurred.network={generator_width: 4, discriminator_width: 4}",
        "--name",
        "plugins",
        "--quiet",
    ),
    *SPARING,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of the report of one run with all plug-ins."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, code in FILES.items():
        (folder / name).write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        code, err = run_in(folder, patch)
    assert code == 0, err
    return folder / "reports/plugins"


def run_in(folder, patch):
    """Run the command in a folder; without capsys, which lives as long as one test."""

    class Streams:
        def readouterr(self):
            return out.getvalue(), err.getvalue()

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code, _, text = call_bench(folder, patch, Streams())(*COMMAND)
    return code, text


@pytest.fixture(scope="module")
def results(report):
    return json.loads((report / "results.json").read_text())


SEEN = {
    "generator": lambda results: "tiny" in {generator["name"] for generator in results["generators"]},
    "translator": lambda results: results["families"] == {"tiny": "tiny", "blurred": "translation"},
    "detector": lambda results: any(cell["detector"] == "bright" for cell in results["cells"]),
    "detection metric": lambda results: any(metric["id"] == "f1" for metric in results["metrics"]),
    "quality metric": lambda results: "brightness difference" in json.dumps(results["generators"][0]["quality"]),
    "perturbation": lambda results: (
        {c["perturbation"] for c in results["cells"] if c["condition"] == "robust"} == {"fog"}
    ),
    "attack": lambda results: any(point["attack"] == "haze" and point["epsilon"] == 8 for point in results["security"]),
    "source": lambda results: results["data"]["name"] == "noise" or results["data"]["source"] == "noise.py:Noise",
    "section": lambda results: "count.py:Count" in json.dumps(results),
}


@pytest.mark.parametrize("registry", SEEN)
def test_a_plugin_of_one_file_is_in_the_results(registry, results):
    assert SEEN[registry](results)


@pytest.mark.parametrize(
    "word", ["tiny", "blurred", "bright", "F1 score", "brightness difference", "fog", "noise", "Number of stages"]
)
def test_a_plugin_of_one_file_is_on_the_page(word, report):
    assert word in html_of(report)


def test_the_section_and_the_metric_are_in_the_texts(report):
    assert "## Number of stages" in (report / "report.md").read_text()
    assert "f1" in (report / "results.csv").read_text().partition("\n")[0].split(",")


def test_attacks_are_in_the_results_the_page_and_the_texts(report, results):
    points = {(p["detector"], p["attack"], p["epsilon"]): p for p in results["security"]}
    before = {name: p for (name, attack, _), p in points.items() if not attack}
    assert set(before) == {"bright", "dct"} and all(p["epsilon"] == 0 for p in before.values())
    # the log-DCT has a gradient, a mean of pixels that NumPy takes has none
    assert ("dct", "pgd", 4) in points and ("bright", "pgd", 4) not in points
    assert points["dct", "pgd", 4]["auc"] < before["dct"]["auc"]
    # mean over both generators; forgeries made from real faces have none drawn for the attacker
    assert (
        points["bright", "haze", 8]["generators"] == 2 and points["bright", "spectrum-match", None]["generators"] == 1
    )
    assert {"square", "latent", "transfer", "launder"} <= {attack for _, attack, _ in points}
    assert points["dct", "transfer", 4]["auc"] < before["dct"]["auc"]  # the surrogate is of the same kind
    assert points["dct", "latent", None]["generators"] == 1 and ("bright", "latent", None) not in points
    costs = [fact for fact in results["attacks"] if fact["attack"] == "attack:haze:8"]
    assert {fact["largest"] for fact in costs} == {8} and all(20 < fact["psnr"] < 45 for fact in costs)
    attacked = [cell for cell in results["cells"] if cell["condition"] == "attacked"]
    assert attacked and {cell["tested_on"] for cell in attacked} == {"tiny", "blurred"}
    assert not any("attacked" in mean["column"] for mean in results["means"])
    page, text = html_of(report), (report / "report.md").read_text()
    assert "Under attack" in page and "no gradient" in page and "## Under attack" in text and "haze, 8/255" in text
