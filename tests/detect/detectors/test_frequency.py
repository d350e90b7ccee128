from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from scipy.fft import dctn
from torch import nn

from detect.detectors import dct_cnn, f3net, freqnet
from detect.detectors.dct_cnn import DctCnn, DctCnnSettings
from detect.detectors.f3net import F3Net, F3NetSettings
from detect.detectors.freqnet import FreqNet
from detect.detectors.spsl import Spsl, SpslSettings, phase_image
from detect.features.dct import log_dct
from detect.layers.xception import xception

pytestmark = pytest.mark.e2e


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def images(count=2, size=32, seed=0):
    """Prepared inputs of grey levels 0 to 255, float [count, 3, size, size] in -1..1."""
    levels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed))
    return levels / 127.5 - 1


def rounded(tensor):
    """In bf16, as autocast would leave it."""
    return tensor.bfloat16().float()


# dct-cnn


def test_dct_cnn_has_the_published_layers():
    """Keras's summary of the authors' five-class model at 128 px: 84 + 224 + 1168 + 4640 + 163845."""
    assert count(dct_cnn.DctCnnNetwork(128, outputs=5)) == 169_961
    assert count(DctCnn(DctCnnSettings(input_size=128), 64).build()) == 6116 + 32 * 32 * 32 + 1


def test_dct_cnn_sees_z_scores_of_its_training_images(data, context):
    detector = DctCnn(DctCnnSettings(batch=8, max_images=16), 32)
    detector.fit(data, context())
    seen = []
    detector.network.layers[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    train = np.concatenate([data.train_real.read(), data.train_forged.read()])
    detector.network(detector.prepare(torch.from_numpy(train)))
    z = seen[0].flatten(1)
    assert z.mean(0).abs().max() < 1e-3 and (z.std(0, correction=0) - 1).abs().max() < 1e-3
    computed = log_dct(torch.from_numpy(train))
    torch.testing.assert_close(computed.mean(0), detector.network.mean, rtol=0, atol=1e-3)


def test_dct_cnn_transforms_in_fp32_under_autocast():
    network = dct_cnn.DctCnnNetwork(32).eval()
    seen = []
    network.layers[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    levels = (images() + 1) * 127.5
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert network(levels).dtype == torch.float32
    expected = np.log(np.abs(dctn(levels.double().numpy(), axes=(2, 3), norm="ortho")) + 1e-12)
    np.testing.assert_allclose(np.exp(seen[0].numpy()), np.exp(expected), atol=0.01)


# xception


def test_a_whole_xception_is_timms_and_a_short_one_lacks_only_its_middle():
    whole = timm.create_model("legacy_xception", num_classes=1)
    block = count(whole.block5)
    assert count(xception(3)) == count(whole)
    assert count(xception(3, middle=0)) == count(whole) - 8 * block
    three = xception(3, middle=3)
    kept = [number for number in range(4, 12) if not isinstance(getattr(three, f"block{number}"), nn.Identity)]
    assert kept == [4, 5, 8]
    assert three(images()).shape == (2, 1)


@pytest.mark.parametrize(("channels", "middle"), [(12, 8), (6, 2), (4, 0)])
def test_an_xception_starts_from_a_file_of_timms(tmp_path, channels, middle):
    source = timm.create_model("legacy_xception", num_classes=10)
    save_file(source.state_dict(), tmp_path / "start.safetensors")
    network = xception(channels, middle=middle, weights=str(tmp_path / "start.safetensors"))
    assert torch.equal(network.block12.skip.weight, source.block12.skip.weight)
    # the same grey image in every channel gives the same maps
    grey = images()[:, :1]
    expected, computed = source.conv1(grey.expand(-1, 3, -1, -1)), network.conv1(grey.expand(-1, channels, -1, -1))
    if channels % 3 == 0:
        torch.testing.assert_close(computed, expected, rtol=0, atol=1e-5)
    assert torch.equal(network.conv1.weight[:, :3] * (channels / 3), source.conv1.weight) or channels % 3


# f3net


@pytest.mark.parametrize("size", [10, 32, 45])
def test_bands_divide_the_coefficients(size):
    module = f3net.Decomposition(size)
    bands = module.bands[:, 0]
    assert torch.equal(bands[:3].sum(0), torch.ones(size, size)) and torch.equal(bands[3], torch.ones(size, size))
    statistics = f3net.LocalStatistics()
    assert torch.equal(statistics.bands.sum(0), torch.ones(10, 10)) and len(statistics.bands) == 6


def test_low_and_middle_bands_hold_a_sixteenth_of_the_coefficients_each():
    bands = f3net.Decomposition(256).bands[:, 0]
    low, middle, high, _ = (bands.mean((1, 2)) * 16).tolist()
    assert (low, middle, high) == pytest.approx((1, 1, 14), abs=0.1)


def test_bands_without_masks_sum_to_the_image_and_the_open_one_is_it():
    module = f3net.Decomposition(32)
    nn.init.zeros_(module.weights)
    pixels = images()
    parts = module(pixels).unflatten(1, (4, 3))
    torch.testing.assert_close(parts[:, 3], pixels, rtol=0, atol=1e-5)
    torch.testing.assert_close(parts[:, :3].sum(1), pixels, rtol=0, atol=1e-5)
    low = dctn(parts[:, 0].detach().double().numpy(), axes=(2, 3), norm="ortho")
    i, j = np.indices((32, 32))
    assert np.abs(low[..., i + j > 32 / 2.82]).max() < 1e-4


def test_local_statistics_are_those_of_a_loop():
    module, pixels = f3net.LocalStatistics(), images(1, 33)
    computed = module(pixels)[0].detach().numpy()
    grey = (pixels[0].double().numpy().transpose(1, 2, 0) @ [0.299, 0.587, 0.114] + 1) * 127.5
    padded = np.pad(grey, 4)
    i, j = np.indices((10, 10))
    learned = np.tanh(module.weights.detach().double().numpy() / 2)  # another form of 2 sigmoid(w) - 1
    for y, x in [(0, 0), (3, 8), (15, 15)]:
        window = dctn(padded[2 * y : 2 * y + 10, 2 * x : 2 * x + 10], norm="ortho")
        for band in range(6):
            inside = (i + j >= 20 / 6 * band) & (i + j < 20 / 6 * (band + 1))
            expected = np.log10(np.abs(window * (inside + learned[band])).sum() + 0.01)
            assert computed[band, y, x] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", [32, 33, 40, 62, 64, 70])
def test_both_streams_have_one_size(size):
    stem = xception(12, middle=0).conv1
    pixels = images(1, size)
    assert f3net.LocalStatistics()(pixels).shape[-2:] == stem(f3net.Decomposition(size)(pixels)).shape[-2:]


def test_mixing_starts_as_nothing_and_follows_its_formula():
    torch.manual_seed(0)
    block, first, second = f3net.MixBlock(3).eval(), torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    assert all(map(torch.equal, block(first, second), (first, second)))
    nn.init.constant_(block.gates, 3.0)
    q = [layer(maps) for layer, maps in zip(block.queries, (first, second), strict=True)]
    k = [layer(maps) for layer, maps in zip(block.keys, (first, second), strict=True)]
    energy = torch.einsum("nchw,ncgw->nchg", q[0], k[0]) + torch.einsum("nchw,ncgw->nchg", q[1], k[1])
    expected = first + np.tanh(1.5) * block.passed[0](second * energy.softmax(-1))
    torch.testing.assert_close(block(first, second)[0], expected)


def test_f3net_has_two_xceptions_two_mixers_and_its_masks():
    whole = count(timm.create_model("legacy_xception", num_classes=0))
    wider = 9 * 32 * ((12 - 3) + (6 - 3))
    mixers = sum(4 * (c * c + c) + 2 * (2 * c + 2 * c) + 2 for c in (728, 1024))
    network = F3Net(F3NetSettings(), 32).build()
    assert count(network) == 2 * whole + wider + mixers + 4 * 32 * 32 + 6 * 100 + 4096 + 1
    small = F3Net(F3NetSettings(middle=0), 32).build().eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert small.decomposition(rounded(images())).dtype == torch.float32
        logits = F3Net(F3NetSettings(), 32).logits(small, images(8))
    assert logits.shape == (8,) and logits.dtype == torch.float32 and len(logits.unique()) == 8


# spsl


@pytest.mark.parametrize("size", [16, 15])
def test_the_phase_image_is_numpys(size):
    pixels = images(3, size)
    computed = phase_image(pixels)
    grey = (pixels.double().numpy().mean(1) + 1) / 2
    # norm="ortho" multiplies what numpy gives by the side
    expected = np.fft.ifft2(np.exp(1j * np.angle(np.fft.fft2(grey)))).real * size
    np.testing.assert_allclose(computed[:, 0].numpy(), expected, atol=1e-6)
    torch.testing.assert_close(computed.square().mean((1, 2, 3)), torch.ones(3))


def test_phase_tells_neither_contrast_nor_company():
    pixels = images(4)
    torch.testing.assert_close(phase_image(0.5 * (pixels + 1) - 1), phase_image(pixels), rtol=0, atol=1e-5)
    torch.testing.assert_close(phase_image(pixels[1:2]), phase_image(pixels)[1:2], rtol=0, atol=1e-6)


def test_flat_images_have_a_plain_phase():
    flat = torch.stack([torch.full((3, 16, 16), value) for value in (-1.0, 0.0, 1.0)])
    computed = phase_image(flat)
    assert torch.isfinite(computed).all() and not computed[0].any()
    assert computed[1:].std((1, 2, 3)).max() < 1e-3  # only frequency zero is there


def test_spsl_is_xception_without_its_middle():
    whole = timm.create_model("legacy_xception", in_chans=4, num_classes=1)
    assert count(Spsl(SpslSettings(middle=8), 32).build()) == count(whole)
    network = Spsl(SpslSettings(), 32).build()
    assert count(network) == count(whole) - 8 * count(whole.block5)
    assert network(images()).shape == (2, 1)


# freqnet


def numpy_high_pass(maps, axes):
    """The authors' steps: centre, remove a block, back, real part."""
    spectrum = np.fft.fftshift(np.fft.fftn(maps, axes=axes), axes=axes)
    block = [slice(None)] * maps.ndim
    for axis in axes:
        n = maps.shape[axis]
        block[axis] = slice(n // 2 - n // 4, n // 2 + n // 4)
    spectrum[tuple(block)] = 0
    return np.fft.ifftn(np.fft.ifftshift(spectrum, axes=axes), axes=axes).real


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 8, 15, 10), (1, 5, 7, 9)])
def test_high_passes_are_those_of_the_authors_steps(shape):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for computed, axes in ((freqnet.high_pass(maps), (2, 3)), (freqnet.high_pass_channels(maps), (1,))):
        np.testing.assert_allclose(computed.numpy(), numpy_high_pass(maps.double().numpy(), axes), atol=1e-5)


def test_a_constant_image_has_no_high_frequencies():
    assert freqnet.high_pass(torch.full((1, 3, 16, 16), 0.7)).abs().max() < 1e-6
    assert freqnet.high_pass_channels(torch.full((1, 64, 4, 4), 0.7)).abs().max() < 1e-6


def test_a_filter_first_used_in_scoring_serves_training():
    maps = torch.randn(1, 3, 22, 22)
    with torch.inference_mode():
        freqnet.high_pass(maps)
    freqnet.high_pass(maps.requires_grad_()).sum().backward()
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize("size", [8, 7])
def test_spectral_convolution_is_that_of_the_real_and_the_imaginary_part(size):
    layer, maps = freqnet.SpectralConv(4), torch.randn(2, 4, size, size)
    spectrum = np.fft.fftshift(np.fft.fft2(maps.double().numpy()), axes=(2, 3))
    real, imaginary = (w.detach().double().numpy()[:, :, 0, 0] for w in (layer.real.weight, layer.imaginary.weight))
    mixed = np.einsum("oc,nchw->nohw", real, spectrum.real) + 1j * np.einsum("oc,nchw->nohw", imaginary, spectrum.imag)
    back = np.fft.ifft2(np.fft.ifftshift(mixed, axes=(2, 3)))
    assert np.abs(back.imag).max() < 1e-9
    np.testing.assert_allclose(layer(maps).detach().numpy(), back.real, atol=1e-5)


def test_freqnet_has_the_published_number_of_parameters():
    """The paper: 1.9 million; counted by hand from the authors' code."""
    network = FreqNet(FreqNet.Settings(), 32).build()
    spectral = 2 * (2 * 64**2 + 2 * 256**2)
    pointwise = (3 * 64 + 64) + (64 * 64 + 64) + 2 * (256 * 256 + 256)
    residual = timm.create_model("resnet50", num_classes=0)
    stages = count(residual.layer1) + count(residual.layer2)
    assert count(network) == spectral + pointwise + stages + 513 == 1_850_433


def test_freqnet_filters_in_fp32_under_autocast():
    maps = rounded(images())
    expected = freqnet.high_pass(maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(freqnet.high_pass(maps.bfloat16()), expected)
