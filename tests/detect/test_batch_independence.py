"""Scores that depend on the batch are found by scoring images one by one; honest detectors pass."""

import numpy as np
import pytest
import torch
from torch import nn

from detect.batch_independence import check_batch_independence
from detect.detectors.base import Detector, FitSummary
from detect.detectors.network import NetworkDetector
from detect.detectors.registry import DETECTORS
from detect.scoring import score_view
from detect.training.settings import NetworkSettings
from forge.core.compute import Compute
from forge.core.errors import DetectorError


class Brightness(Detector):
    """The mean of the red channel; a subclass spoils it."""

    family = "brightness"
    citation = "none"
    offset, scale = 0.0, 1.0

    def fit(self, data, context):
        return FitSummary()

    def score(self, images, compute):
        return self.offset + self.scale * images[..., 0].mean(axis=(1, 2), dtype=np.float64)

    def save(self, directory):
        pass

    @classmethod
    def load(cls, directory, settings, resolution):
        return cls(settings, resolution)


class Averaged(Brightness):
    """The same, averaged over the batch, which holds one class: a weak cue becomes a perfect one."""

    family = "averaged"

    def score(self, images, compute):
        return np.full(len(images), super().score(images, compute).mean())


class Tiny(NetworkDetector):
    """A network with a batch norm."""

    family = "tiny"
    citation = "none"

    def build(self, *, blank=False):
        layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(8, 1))


def tiny(network=None):
    torch.manual_seed(0)
    detector = Tiny(NetworkSettings(), 32)
    detector.network = (network or detector.build()).eval()
    return detector


def checked(detector, view, precision="fp32"):
    compute = Compute("cpu", precision)
    check_batch_independence(detector, view, score_view(detector, view, compute), compute, name=detector.family)


def test_a_cue_averaged_over_the_batch_is_refused_by_name(sets):
    view = sets[1].view("test")
    checked(Brightness(Brightness.Settings(), 32), view)
    with pytest.raises(DetectorError, match=r"detector 'averaged' gives image '.*' the score .* within a batch"):
        checked(Averaged(Averaged.Settings(), 32), view)


def test_a_batch_norm_in_training_mode_is_refused_by_name(sets):
    detector = tiny()
    checked(detector, sets[1].view("test"))
    detector.network.train()
    with pytest.raises(DetectorError, match="detector 'tiny' gives image"):
        checked(detector, sets[1].view("test"))


def test_a_batch_norm_that_refuses_a_batch_of_one_is_named(sets):
    detector = tiny(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 1)))
    detector.network.train()
    with pytest.raises(DetectorError, match=r"'tiny' cannot score a batch of one image .ValueError"):
        checked(detector, sets[1].view("test"))


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1e-50), (1e9, 1e-3), (0.0, 0.0), (1e30, 0.0)])
def test_the_scale_of_honest_scores_does_not_matter(sets, offset, scale):
    detector = Brightness(Brightness.Settings(), 32)
    detector.offset, detector.scale = offset, scale
    checked(detector, sets[1].view("test"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rounding_of_a_network_passes(sets, precision):
    checked(tiny(), sets[0].view("test"), precision)


def test_a_network_whose_spread_is_below_the_rounding_of_bf16_passes(sets):
    detector = DETECTORS.load("freqnet")(DETECTORS.load("freqnet").Settings(), 32)
    torch.manual_seed(0)
    detector.network = detector.build().eval()
    checked(detector, sets[1].view("test"), "bf16")


def test_a_batch_norm_in_training_mode_is_found_in_bf16_too(sets):
    detector = tiny()
    detector.network.train()
    with pytest.raises(DetectorError, match="detector 'tiny' gives image"):
        checked(detector, sets[1].view("test"), "bf16")
