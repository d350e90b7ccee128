"""A generator that comes with an installed package is trained, scored and reported like our own."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from synthetic import SPARING, TINY, call_bench
from test_detection_metrics import F1

pytestmark = pytest.mark.e2e

CODE = '''
import torch
from torch import nn

from forge.generators.base import Architecture, NetworkSettings


class DotsSettings(NetworkSettings):
    width: int = 16


class Dots(Architecture):
    """Two dense layers; labels choose the brightness."""

    citation = "a fixture"
    resolutions = (32,)
    conditional = "optional"
    Settings = DotsSettings

    def generator(self):
        return Painter(self.settings.width, 3 * self.resolution**2, self.classes)

    def discriminator(self):
        return Judge(3 * self.resolution**2, self.classes)

    def latents(self, count, device):
        return torch.randn(count, 8, device=device)


class Painter(nn.Module):
    def __init__(self, width, pixels, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, pixels), nn.Tanh())
        self.embed = nn.ModuleList(nn.Embedding(count, 8) for count in classes)

    def forward(self, latents, labels=None):
        for i, embed in enumerate(self.embed):
            latents = latents + embed(labels[:, i])
        return self.layers(latents).unflatten(1, (3, 32, 32))


class Judge(nn.Module):
    def __init__(self, pixels, classes):
        super().__init__()
        self.layer = nn.Linear(pixels, 1)
        self.embed = nn.ModuleList(nn.Embedding(count, 1) for count in classes)

    def forward(self, images, labels=None):
        logits = self.layer(images.flatten(1)).flatten()
        if labels is not None:
            for i, embed in enumerate(self.embed):
                logits = logits + embed(labels[:, i]).flatten()
        return logits
'''
METADATA = "Metadata-Version: 2.1\nName: bench-dots\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def install(folder: Path) -> Path:
    """Install a wheel with an entry point, as pip does from a registry."""
    wheel, info = folder / "bench_dots-1.0-py3-none-any.whl", "bench_dots-1.0.dist-info"
    files = {
        "bench_dots.py": CODE,
        f"{info}/METADATA": METADATA,
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": "[forge.generators]\ndots = bench_dots:Dots\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target"]
    subprocess.run([*pip, str(target), str(wheel)], check=True, capture_output=True)
    return target


HALF = """
from forge.generators.base import Architecture
from detect.detectors.base import Detector


class Painter(Architecture):
    citation, resolutions = "", (32,)

    def generator(self): ...
    def latents(self, count, device): ...


class Looker(Detector):
    family = citation = variant = ""

    def fit(self, data, context): ...
    def save(self, directory): ...


class Raising(Detector):
    family = citation = variant = ""

    def __init__(self, settings, resolution):
        raise RuntimeError("no such camera")

    def fit(self, data, context): ...
    def score(self, images, compute): ...
    def save(self, directory): ...
    @classmethod
    def load(cls, directory, settings, resolution): ...


class Importing(Looker):
    def score(self, images, compute):
        import not_installed_here

    @classmethod
    def load(cls, directory, settings, resolution): ...
"""


@pytest.mark.parametrize(
    ("option", "name", "sentence"),
    [
        ("-g", "Painter", "does not define discriminator, which every generator has; add what is missing"),
        ("-d", "Looker", "does not define load, score, which every detector has; add what is missing"),
        ("-d", "Raising", "cannot be made: RuntimeError: no such camera"),
        ("-d", "Importing", "imports 'not_installed_here', which is not installed here; install it first"),
    ],
)
def test_what_a_plugin_lacks_is_one_sentence_before_any_work(option, name, sentence, tmp_path, monkeypatch, capsys):
    call = call_bench(tmp_path, monkeypatch, capsys)
    (tmp_path / "half.py").write_text(HALF)
    options = {"-g": "gan", "-d": "dct"} | {option: f"half.py:{name}"}
    code, _, err = call("run", *(word for pair in options.items() for word in pair), "--preset", "smoke")
    assert code == 2 and f"half.py:{name}' " in err.replace(":'", "' ").replace("': ", "' ") and sentence in err
    assert err.count("\n") == 1 and not list((tmp_path).glob("runs/results/*"))


def test_a_generator_from_an_installed_package_runs_by_its_name(tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    code, _, err = bench("run", "-g", "dots", "-d", "dct", "--preset", "smoke")
    assert code == 2 and "generator 'dots' is not known" in err
    monkeypatch.syspath_prepend(str(install(tmp_path)))
    assert "dots" in bench("list", "generators")[1]
    settings = ["--set", "generator.training.kimg=0.5", "--set", "generator.training.batch=16"]
    settings += ["--set", "generator.network.width=8", "--set", "data.count=160", "--set", "images.train=16"]
    command = ["run", "-g", "dots", "-d", "dct", "--preset", "smoke", "--condition", "smile", *settings, *SPARING]
    code, _, err = bench(*command, "--name", "own", "--quiet")
    assert code == 0, err
    results = json.loads((tmp_path / "reports" / "own" / "results.json").read_text())
    assert [entry["name"] for entry in results["generators"]] == ["dots"]
    assert list(results["generators"][0]["condition"]["values"]) == ["smile"]


BESIDE = """
import numpy as np

from helper import SIGN
from detect.detectors.base import Detector, FitSummary


class Bright(Detector):
    family = citation = variant = "bright"

    def fit(self, data, context):
        return FitSummary([], {})

    def score(self, images, compute):
        return SIGN * images.reshape(len(images), -1).mean(axis=1, dtype=np.float64)

    def save(self, directory):
        (directory / "nothing.txt").write_text("")

    @classmethod
    def load(cls, directory, settings, resolution):
        return cls(settings, resolution)
"""


def test_a_file_beside_a_plugin_is_part_of_what_is_asked_for(tmp_path, monkeypatch, capsys):
    call = call_bench(tmp_path, monkeypatch, capsys)
    (tmp_path / "bright.py").write_text(BESIDE)
    keys = []
    for sign in (1, -1):
        (tmp_path / "helper.py").write_text(f"SIGN = {sign}\n")
        code, out, err = call("run", "-g", "gan", "-d", "bright.py:Bright", "--preset", "smoke", "--dry-run", "--json")
        assert code == 0, err
        keys.append({row["stage"]: row["key"] for row in json.loads(out)})
    changed = {stage for stage in keys[0] if keys[0][stage] != keys[1][stage]}
    assert "fit bright@gan" in changed and "train gan" not in changed


@pytest.mark.usefixtures("trained_gan")
def test_a_fitted_plugin_detector_is_used_again_under_its_own_name(tmp_path, monkeypatch, capsys):
    call = call_bench(tmp_path, monkeypatch, capsys)
    (tmp_path / "bright.py").write_text(BESIDE)
    (tmp_path / "helper.py").write_text("SIGN = 1\n")
    small = [*TINY, "--quiet"]
    (tmp_path / "my.py").write_text(F1)
    code, _, err = call("run", "-g", "gan", "-d", "bright.py:Bright", *small, "--name", "first", "--metric", "my.py:F1")
    assert code == 0, err
    assert ",f1" in (tmp_path / "reports/first/results.csv").read_text().partition("\n")[0]
    folder = next((tmp_path / "runs/results").glob("fit-*/detector"))
    again = ["run", "-g", "gan", "-d", f"{folder},random", *small, "--name", "second"]
    code, _, err = call(*again)
    assert code == 2 and "--plugin bright.py:Bright" in err and err.count("\n") == 1
    (tmp_path / "moved").mkdir()
    for name in ("bright.py", "helper.py"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    code, _, err = call(*again, "--plugin", "moved/bright.py:Bright")
    assert code == 0, err
    results = json.loads((tmp_path / "reports/second/results.json").read_text())
    assert {cell["detector"] for cell in results["cells"]} == {"bright", "random"}
