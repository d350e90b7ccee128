"""`forge` stands without `detect`, and `detect` without `benchmarks`."""

from __future__ import annotations

import importlib
import multiprocessing
import pkgutil
import sys
import warnings
from pathlib import Path

import numpy as np

from detect.artifact import fit_detector
from detect.detectors.registry import DETECTORS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("forge", "detect", "benchmarks")


class Blocked:
    """Refuses imports of some packages, as where they are not installed."""

    def __init__(self, *packages: str) -> None:
        self.packages = packages

    def find_spec(self, name: str, path=None, target=None) -> None:
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is blocked")


def _imported(package: str) -> int:
    """Import every module of a package; return their number."""
    modules = list(pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."))
    for module in modules:
        importlib.import_module(module.name)
    return len(modules)


def _alone(folder: Path, images, results) -> None:
    """Import forge without the others, then detect without benchmarks; load a detector and score images."""
    warnings.simplefilter("ignore")
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    block = Blocked("detect", "benchmarks")
    sys.meta_path.insert(0, block)
    counts = [_imported("forge")]
    assert not any(name.partition(".")[0] in block.packages for name in sys.modules)
    block.packages = ("benchmarks",)
    counts.append(_imported("detect"))
    trained = importlib.import_module("detect.artifact").load_trained(folder)
    scores = trained.detector.score(images, importlib.import_module("forge.core.compute").Compute())
    assert not any(name.partition(".")[0] == "benchmarks" for name in sys.modules)
    results.put((counts, scores))


def test_every_module_imports_without_what_lies_above(data, context, sets, tmp_path):
    trained = fit_detector("dct", DETECTORS.load("dct").Settings(max_iterations=2), data, context())
    trained.save(tmp_path / "dct")
    images = sets[0].view("test").read()[:3]
    # a fork: torch and the other libraries need not be imported again, modules of the repository are
    process = multiprocessing.get_context("fork")
    results = process.SimpleQueue()
    child = process.Process(target=_alone, args=(tmp_path / "dct", images, results))
    child.start()
    child.join(120)
    assert child.exitcode == 0 and not results.empty()
    counts, scores = results.get()
    assert counts == [len(list((ROOT / package).rglob("*.py"))) - 1 for package in ("forge", "detect")]
    assert np.array_equal(scores, trained.detector.score(images, context().compute))
