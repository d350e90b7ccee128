"""What the speed figures compare with must be real training steps of the same size."""

import pytest
import torch

from benchmarks import textbook
from forge.networks.dcgan import DCGAN, DCGANSettings
from forge.networks.layers import Downsample, upsample
from forge.networks.stylegan_lite import Generator, StyleGANSettings

SMALL = StyleGANSettings(latent=8, style=8, channels_base=64, channels_min=4, channels_max=8, mixing=0)


def test_the_plain_steps_run():
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    textbook.stylegan_step(SMALL, images, 2)()
    textbook.dcgan_step(DCGAN(DCGANSettings(latent=8, generator_width=4, discriminator_width=4), 16), images)()


def test_the_plain_generator_has_our_channels():
    ours, plain = Generator(SMALL, 32, ()), textbook._Generator(SMALL, 32)

    def kernels(network):
        return sum(p.numel() for name, p in network.named_parameters() if name.endswith("weight") and p.dim() >= 4)

    assert kernels(ours) == kernels(plain)
    assert plain(torch.randn(2, 8)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("size", [4, 8])
def test_zero_insertion_and_our_resampling_agree(size):
    images = torch.randn(2, 3, size, size)
    inside = (..., slice(2, -2), slice(2, -2))
    assert torch.allclose(textbook._zero_insertion(images)[inside], upsample(images)[inside], atol=1e-5)
    assert torch.allclose(textbook._FilterThenSkip()(images), Downsample(3)(images), atol=1e-6)
