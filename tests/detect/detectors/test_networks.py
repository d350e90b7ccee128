"""What is particular to each published network: sizes, layers and closed forms; that they learn is tested elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from detect.detectors.ferretnet import FerretNetwork
from detect.detectors.gramnet import GramNetwork, gram
from detect.detectors.meso import Inception, meso4, mesoinception4, same_max_pool
from detect.detectors.npr import NprNetwork
from detect.detectors.patch_forensics import PatchXception
from detect.detectors.registry import DETECTORS

OWN = ("convnext-tiny", "efficientnet-b0", "ferretnet", "gramnet", "meso4", "mesoinception4", "mobilenetv3", "npr",
       "patch-forensics", "resnet50", "resnet50-nodown")  # fmt: skip


def size_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def detector(name: str, side: int = 32, **settings):
    method = DETECTORS.load(name)
    return method(method.Settings(**settings), side)


@pytest.mark.parametrize("name", OWN)
def test_it_says_what_it_is_and_where_it_departs(name):
    method = DETECTORS.load(name)
    assert method.family == name and "20" in method.citation and method.variant and method.__doc__
    assert all(field.description for field in method.Settings.model_fields.values())


def test_published_numbers_of_parameters():
    assert size_of(meso4()) == 27_977
    assert size_of(mesoinception4()) == 28_615
    assert size_of(NprNetwork()) == 1_437_761  # published as 1.44 M
    assert size_of(FerretNetwork()) == 126_289  # published as 126 k
    assert round(size_of(FerretNetwork(96)) / 1e6, 2) == 1.06  # FerretNet-B


# Meso


@pytest.mark.parametrize("make", [meso4, mesoinception4])
def test_each_convolution_of_meso_has_its_own_statistics(make):
    network = make(64)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len({id(norm) for norm in norms}) == 4
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    assert len({id(norm.running_mean) for norm in norms}) == 4


@pytest.mark.parametrize(("side", "left"), [(256, 8), (64, 2), (50, 2), (32, 1)])
def test_the_first_dense_layer_of_meso_follows_from_the_input(side, left):
    network = meso4(side).eval()
    assert network.hidden.in_features == 16 * left * left
    assert network(torch.rand(2, 3, side, side)).shape == (2, 1)


@pytest.mark.parametrize(("size", "length"), [(2, 8), (2, 7), (4, 8), (4, 5), (4, 6), (4, 7)])
def test_pooling_fills_up_like_keras(size, length):
    """Keras: ceil(n / s) windows, missing pixels half before and the larger half after."""
    images = torch.randn(1, 1, length, length)
    count = math.ceil(length / size)
    before = (count * size - length) // 2
    spans = [(max(0, k * size - before), min(length, (k + 1) * size - before)) for k in range(count)]
    expected = [[images[0, 0, a:b, c:d].max() for c, d in spans] for a, b in spans]
    assert torch.equal(same_max_pool(images, size)[0, 0], torch.tensor(expected))


def test_inception_keeps_the_size_and_joins_four_branches():
    block = Inception(3, (1, 4, 4, 2))
    assert block(torch.rand(2, 3, 9, 9)).shape == (2, 11, 9, 9)
    assert [leave.dilation for leave in block.exits] == [(1, 1), (2, 2), (3, 3)]


def test_the_loss_of_meso_is_the_squared_error_of_the_probability():
    meso = detector("meso4")
    network, inputs, labels = meso.build().eval(), torch.rand(4, 3, 32, 32), torch.tensor([0.0, 0, 1, 1])
    expected = ((torch.sigmoid(network(inputs).flatten()) - labels) ** 2).mean()
    torch.testing.assert_close(meso.loss(network, inputs, labels), expected)


# PatchForensics


@pytest.mark.parametrize(("blocks", "seen"), [(1, 19), (2, 43), (3, 91)])
def test_a_patch_sees_as_much_as_it_says(blocks, seen):
    network = PatchXception(blocks).eval()
    image = torch.randn(1, 3, 129, 129, requires_grad=True)
    patches = network(image)
    middle = patches.shape[-1] // 2
    patches[0, middle, middle].backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == seen


def test_an_image_is_judged_by_the_mean_probability_of_its_patches():
    patches = torch.tensor([[[-2.0, 1.0], [0.5, 3.0]], [[4.0, -4.0], [0.0, 0.0]]])
    logits = detector("patch-forensics").logits(lambda inputs: patches, torch.zeros(2, 3, 8, 8))
    mean = torch.sigmoid(patches).mean((1, 2))
    torch.testing.assert_close(logits, torch.log(mean / (1 - mean)))


def test_certain_patches_give_finite_logits():
    patches = torch.tensor([[[300.0]], [[-300.0]]])
    logits = detector("patch-forensics").logits(lambda inputs: patches, torch.zeros(2, 3, 8, 8))
    torch.testing.assert_close(logits, torch.tensor([300.0, -300.0]))


def test_the_loss_is_the_cross_entropy_of_each_patch():
    patchwise = detector("patch-forensics")
    network, inputs, labels = patchwise.build().eval(), torch.randn(2, 3, 32, 32), torch.tensor([0.0, 1.0])
    outputs = network.head(network.features(inputs))
    expected = cross_entropy(outputs, labels.long()[:, None, None].expand(2, *outputs.shape[2:]))
    torch.testing.assert_close(patchwise.loss(network, inputs, labels), expected)


# Gram-Net, NPR, ResNet50 without halvings


def test_gram_against_numpy():
    features = torch.randn(2, 5, 4, 6)
    f = features.numpy()
    expected = np.einsum("nihw,njhw->nij", f, f) / (5 * 4 * 6)
    np.testing.assert_allclose(gram(features)[:, 0].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_gramnet_joins_six_gram_features():
    network = GramNetwork().eval()
    assert network.hidden.in_features == 512 + 6 * 32
    assert network(torch.rand(2, 3, 32, 32)).shape == (2,)


def test_npr_does_not_see_brightness_and_takes_odd_sizes():
    npr = detector("npr", 33)
    network = npr.build().eval()
    images = torch.randint(0, 200, (2, 33, 33, 3), dtype=torch.uint8)
    with torch.no_grad():
        dark, bright, even = (
            npr.logits(network, npr.prepare(pixels)) for pixels in (images, images + 40, images[:, :32, :32])
        )
    torch.testing.assert_close(dark, bright, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dark, even)


def test_resnet50_without_halvings_keeps_the_resolution():
    plain, full = (detector(name).build(blank=True) for name in ("resnet50", "resnet50-nodown"))
    assert size_of(plain) == size_of(full) == 23_510_081
    image = torch.rand(1, 3, 32, 32)
    sides = [net.maxpool(net.conv1(image)).shape[-1] for net in (plain, full)]
    assert sides == [8, 32]
    assert abs(float(plain.fc.weight.detach().std()) - 0.02) < 0.002


def test_resnet50_has_the_recipe_of_the_paper():
    recipe = DETECTORS.load("resnet50").Settings()
    assert (recipe.blur, recipe.blur_sigma, recipe.jpeg, recipe.jpeg_quality) == (0.5, (0, 3), 0.5, (30, 100))
    assert (recipe.schedule, recipe.decay, recipe.min_learning_rate) == ("plateau", 0.1, 1e-6)


@pytest.mark.parametrize("name", ["ferretnet", "gramnet", "meso4", "mesoinception4", "npr", "patch-forensics"])
def test_logits_of_mixed_precision_are_not_rounded_to_8_bits(name):
    made = detector(name)
    network = made.build().eval()
    inputs = made.prepare(torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = made.logits(network, inputs)
    assert logits.dtype == torch.float32 and logits.shape == (4,)
    assert not torch.equal(logits, logits.bfloat16().float())
