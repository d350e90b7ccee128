"""Skip-layer excitation: the formula of FastGAN, the start, and the places that it can come from."""

import pytest
import torch
from torch.nn.functional import conv2d

from forge.core.errors import InputError
from forge.generators import GENERATORS
from forge.generators.blocks.excitation import SkipExcitation

DCGAN = {"latent": 8, "generator_width": 4, "discriminator_width": 4}
STYLE = {"latent": 8, "style": 8, "channels_base": 128, "channels_min": 4, "channels_max": 8, "noise": False}


@pytest.mark.parametrize("equalised", [True, False])
def test_a_gate_of_one_half_leaves_the_maps_as_they_are(equalised):
    link = SkipExcitation(6, 4, equalised=equalised)
    fine = torch.randn(2, 4, 16, 16)
    assert torch.equal(link(torch.randn(2, 6, 8, 8), fine), fine)


def test_a_gate_of_one_doubles_and_of_zero_closes():
    link = SkipExcitation(6, 4, equalised=False)
    fine, coarse = torch.randn(2, 4, 16, 16), torch.randn(2, 6, 4, 4)
    torch.nn.init.constant_(link.second.bias, 100.0)
    assert torch.allclose(link(coarse, fine), 2 * fine)
    torch.nn.init.constant_(link.second.bias, -100.0)
    assert link(coarse, fine).abs().max() < 1e-30


def test_it_is_the_paper_s_formula_with_convolutions():
    link = SkipExcitation(6, 4, equalised=False)
    torch.nn.init.normal_(link.second.weight)
    coarse, fine = torch.randn(3, 6, 8, 8), torch.randn(3, 4, 32, 32)
    pooled = coarse.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean(dim=(3, 5))  # blocks of 2x2
    hidden = conv2d(pooled, link.first.weight.reshape(4, 6, 4, 4), link.first.bias)
    hidden = hidden * hidden.sigmoid()
    gate = conv2d(hidden, link.second.weight[:, :, None, None], link.second.bias).sigmoid()
    assert torch.allclose(link(coarse, fine), 2 * gate * fine, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "network", "side"), [("dcgan", DCGAN, 4), ("dcgan", DCGAN, 8), ("stylegan-lite", STYLE, 8)]
)
def test_a_generator_with_a_link_begins_as_the_one_without_and_then_uses_it(name, network, side):
    architecture = GENERATORS.load(name)
    plain = architecture(architecture.Settings(**network), 64).generator().eval()
    linked = architecture(architecture.Settings(**network, excitation=side), 64).generator().eval()
    assert linked.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    latents = torch.randn(2, 8)
    with torch.no_grad():
        before = linked(latents)
        assert torch.equal(before, plain(latents))
        link = next(module for module in linked.modules() if isinstance(module, SkipExcitation))
        torch.nn.init.normal_(link.second.weight, 0, 3.0)
        torch.nn.init.normal_(link.second.bias)
        assert not torch.equal(linked(latents), before)


@pytest.mark.parametrize(
    ("name", "network", "resolution", "side", "message"),
    [
        ("dcgan", DCGAN, 64, 32, "side 32, the finest have 32; choose one of 4, 8, 16"),
        ("dcgan", DCGAN, 64, 5, "choose one of 4, 8, 16"),
        ("dcgan", DCGAN, 16, 8, "choose one of 4"),
        ("stylegan-lite", STYLE, 64, 64, "choose one of 4, 8, 16, 32"),
    ],
)
def test_maps_that_do_not_exist_are_refused_naming_those_that_do(name, network, resolution, side, message):
    architecture = GENERATORS.load(name)
    with pytest.raises(InputError, match=message):
        architecture(architecture.Settings(**network, excitation=side), resolution)
