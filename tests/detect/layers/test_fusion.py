from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from detect.detectors.image_classifiers import Xception
from detect.detectors.timm_network import TimmSettings
from detect.layers.fusion import fuse_batch_norms
from forge.core.compute import Compute


def settled(network):
    """A network whose batch norms have statistics and weights of their own, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.running_var):
                values.data = torch.rand(values.shape, generator=generator) + 0.5
            for values in (layer.bias, layer.running_mean):
                values.data = torch.randn(values.shape, generator=generator) / 10
    return network.eval()


def norms(network):
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize(("name", "before", "after"), [("legacy_xception", 40, 0), ("resnet18", 20, 0)])
def test_a_folded_network_is_the_same_function(name, before, after):
    network = settled(timm.create_model(name, num_classes=1))
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    fused = fuse_batch_norms(network)
    assert (norms(network), norms(fused)) == (before, after)
    inputs = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = network(inputs)
        torch.testing.assert_close(fused(inputs), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


class Branching(nn.Module):
    """The first convolution's output is read twice, the second convolution is used twice, the last pair is plain."""

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.last = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(4))

    def forward(self, x):
        once = self.first(x)
        x = self.norms[0](once) + once
        x = self.norms[1](self.shared(x)) + self.norms[2](self.shared(x))
        return self.norms[3](self.last(x))


class Untraceable(nn.Sequential):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else x


def test_only_what_is_safe_is_folded():
    network = settled(Branching())
    fused = fuse_batch_norms(network)
    assert isinstance(fused.norms[3], nn.Identity) and norms(fused) == 3
    inputs = torch.rand(2, 4, 5, 5)
    torch.testing.assert_close(fused(inputs), network(inputs))
    without = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert norms(fuse_batch_norms(without)) == 1
    assert norms(fuse_batch_norms(settled(Untraceable(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))))) == 1


def test_scores_are_those_of_the_network_and_follow_a_new_one():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    detector = Xception(TimmSettings(), 32)
    for seed in range(2):
        torch.manual_seed(seed)
        detector.network = settled(detector.build())
        expected = detector.logits(detector.network, detector.prepare(torch.from_numpy(images))).detach()
        np.testing.assert_allclose(detector.score(images, Compute(precision="fp32")), expected, rtol=1e-3)
        assert norms(detector.network) == 40  # what is saved and explained stays as it was fitted
