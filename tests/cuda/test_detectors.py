"""Detectors on a GPU: scores agree with a CPU, fits in bf16 are finite, graphs fit what eager steps fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.experiment.configs import shipped
from detect.data import batches
from detect.detectors.base import FitContext
from detect.detectors.network import NetworkDetector
from detect.detectors.registry import DETECTORS
from detect.discriminator_source import DiscriminatorSource
from detect.scoring import score_view
from detect.training import loop
from forge.core.compute import Compute
from forge.core.execution import Execution
from forge.core.progress import silent
from forge.generators import GENERATORS
from forge.generators.artifact import write_generator

NETWORKS = (
    "xception", "resnet50", "resnet50-nodown", "efficientnet-b0", "convnext-tiny", "mobilenetv3", "timm:resnet18",
    "meso4", "mesoinception4", "patch-forensics", "gramnet", "npr", "ferretnet", "disc-finetune", "disc-scratch",
    "disc-gradient", "dct-cnn", "f3net", "spsl", "freqnet",
)  # fmt: skip
OTHERS = ("disc-raw", "disc-probe", "dct", "spectrum", "logistic", "svm", "naive-bayes", "hmm", "trivial-cues")


@pytest.fixture(scope="session")
def adversary(tmp_path_factory) -> DiscriminatorSource:
    """An untrained dcgan: what its discriminator judges does not matter here."""
    folder, implementation = tmp_path_factory.mktemp("dcgan"), GENERATORS.load("dcgan")
    settings = implementation.Settings(latent=8, generator_width=4, discriminator_width=8)
    torch.manual_seed(0)
    architecture = implementation(settings, 32)
    write_generator(
        folder, raw=architecture.generator(), averaged=architecture.generator(),
        discriminator=architecture.discriminator(),
        card={
            "name": "dcgan", "architecture": "dcgan", "settings": settings.model_dump(mode="json"), "resolution": 32,
            "seed": 0, "kimg": 1.0, "training": {}, "data": {}, "precision": "fp32", "parameters": {},
        },
    )  # fmt: skip
    return DiscriminatorSource(folder)


@pytest.fixture
def fit(data, device, adversary, tmp_path):
    def run(name: str, work: str, *, precision: str = "fp32", where: str | None = None, **options):
        implementation = DETECTORS.load(name)
        short = {"max_images": 320, "validate_every": 160} | options if name in NETWORKS else {}
        detector = implementation(implementation.Settings(**shipped("detectors", name, "smoke") | short), 32)
        device_name: Path = tmp_path / work
        device_name.mkdir(exist_ok=True)
        compute = Compute(where or str(device), precision)
        return detector, detector.fit(data, FitContext(0, compute, device_name, silent, discriminator=adversary))

    return run


def losses(summary) -> list[float]:
    return [entry["train_loss"] for entry in summary.history]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fit_in_bf16_is_finite_and_its_scores_agree_with_a_cpu(fit, data, device, name):
    detector, summary = fit(name, "work", precision="bf16")
    assert np.isfinite(losses(summary)).all()
    assert isinstance(detector, NetworkDetector)
    places = (str(device), "cpu")
    on_device, on_cpu = (score_view(detector, data.val_forged, Compute(device_name, "fp32")) for device_name in places)
    assert np.linalg.norm(on_device - on_cpu) < 2e-3 * np.linalg.norm(on_cpu)


@pytest.mark.parametrize("name", OTHERS)
def test_detectors_without_a_network_of_their_own_score_alike(fit, data, device, name):
    detector, _ = fit(name, "work")
    other, _ = fit(name, "other", where="cpu")
    on_device, on_cpu = (
        score_view(made, data.val_forged, Compute(device_name, "fp32"))
        for made, device_name in ((detector, str(device)), (other, "cpu"))
    )
    assert np.linalg.norm(on_device - on_cpu) < 1e-2 * np.linalg.norm(on_cpu)


@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_fit_what_eager_steps_fit(fit, device, monkeypatch, name):
    summaries = {}
    for graph in (False, True):
        monkeypatch.setattr(loop, "execution_of", lambda implementation, name, graph=graph: Execution(graph=graph))
        summaries[graph] = fit(name, f"work-{graph}")[1]
    assert losses(summaries[True]) == pytest.approx(losses(summaries[False]), rel=2e-3, abs=2e-3)


def test_a_fit_that_continues_from_its_checkpoint_has_the_same_losses(fit, monkeypatch):
    whole = fit("xception", "whole")[1]
    step = loop.Fit.advance

    def interrupted(self):
        step(self)
        if self.progress.step == 25:
            self._save()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Fit, "advance", interrupted)
        fit("xception", "cut")
    assert losses(fit("xception", "cut")[1]) == pytest.approx(losses(whole), rel=1e-3, abs=1e-3)


def test_sets_larger_than_the_device_s_share_stream_the_same_batches(data, device, monkeypatch):
    def batch(number: int, preload: int) -> torch.Tensor:
        made = batches.BalancedBatches(
            data.train_real, data.train_forged, size=16, seed=0, device=device, preload_bytes=preload
        )
        for before in range(number):
            made.batch(before)
        return made.batch(number)[0]

    for number in (0, 1, 7, 30):
        assert torch.equal(batch(number, 0), batch(number, 1 << 30))
