"""StyleGAN-lite: the ideas of StyleGAN2 (Karras et al. 2020) in plain PyTorch, sized for minutes instead of weeks.

What is kept: mapping network, modulated convolutions with demodulation, noise inputs, skip generator, residual
discriminator, [1,3,3,1] filters, equalised learning rates, minibatch standard deviation, style mixing, truncation.
What is lighter: the first convolution of a resolution runs before the upsampling, at a quarter of the cost.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from forge.generators.base import NormalArchitecture
from forge.generators.blocks.excitation import SkipExcitation, check_source
from forge.generators.blocks.growth import Growing, HalfEntry, begin_at_zero
from forge.generators.blocks.layers import (
    Downsample,
    EqualConv,
    EqualLinear,
    MinibatchDeviation,
    ModulatedConv,
    Projection,
    spectral,
    upsample,
)
from forge.generators.blocks.san import DirectionHead
from forge.generators.stylegan_settings import StyleGANSettings, channel_table

GAIN = math.sqrt(2)  # of a leaky ReLU
NOISE_RATE = 0.1  # noise grows this much slower than weights: else speckle hides the faces for the first 40 k images


class Mapping(nn.Module):
    """Latent [N, L] and labels to style [N, style]; keeps the mean style for truncation."""

    average: Tensor

    def __init__(self, settings: StyleGANSettings, classes: tuple[int, ...]) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Embedding(count, settings.style) for count in classes)
        # the embeddings are appended to z
        widths = [settings.latent + settings.style * len(classes)] + [settings.style] * settings.mapping_layers
        self.layers = nn.ModuleList(
            EqualLinear(before, after, gain=GAIN, slower=100.0) for before, after in itertools.pairwise(widths)
        )
        # running mean of w, the centre of truncation; a buffer, so that it is stored with the weights
        self.register_buffer("average", torch.zeros(settings.style))

    def forward(self, latents: Tensor, labels: Tensor | None, *, averages: bool = True) -> Tensor:
        """Map latents [N, L], labels int64 [N, C] to w [N, style]; in training the mean style follows if `averages`."""
        # z and each embedding have mean square 1, so that at the start neither outweighs the other in w
        parts = [_normalised(latents)]
        if labels is not None:
            parts += [_normalised(embed(labels[:, i])) for i, embed in enumerate(self.embed)]
        w = torch.cat(parts, 1)
        for layer in self.layers:
            w = leaky_relu(layer(w), 0.2)
        # decay 0.995, StyleGAN2's; not in evaluation, where sampling must not move the centre, and outside of the graph
        if self.training and averages:
            self.average.lerp_(w.detach().float().mean(0), 0.005)
        return w


def _normalised(values: Tensor) -> Tensor:
    # 1e-8: a vector of zeros stays zero instead of NaN
    return values * torch.rsqrt(values.square().mean(1, keepdim=True) + 1e-8)


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU."""

    constant: Tensor

    def __init__(self, inputs: int, outputs: int, style: int, size: int, *, noise: bool) -> None:
        super().__init__()
        self.convolution = ModulatedConv(inputs, outputs, style, 3, gain=GAIN)
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))
        # one strength a layer, 0 at first: noise comes in only as far as it lowers the loss
        self.noise_strength = nn.Parameter(torch.zeros(())) if noise else None
        # what `fixed_noise` uses; a buffer, so that a stored generator repeats its pictures
        self.register_buffer("constant", torch.randn(1, 1, size, size))

    def forward(self, images: Tensor, w: Tensor, fixed_noise: bool) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W]."""
        features, factor = self.convolution(images, w)  # factor: [N, outputs, 1, 1]
        # demodulation and bias in one pass over the features
        features = torch.addcmul(self.bias.to(features.dtype), features, cast(Tensor, factor).to(features.dtype))
        if self.noise_strength is not None:
            shape = (len(features), 1, *features.shape[2:])  # [N, 1, H, W]: the same noise for all channels
            # in evaluation drawn on the CPU: a seed then gives the same face on every device
            source = features.device if self.training else torch.device("cpu")
            noise = self.constant if fixed_noise else torch.randn(shape, device=source).to(features.device)
            features = features + (noise * (NOISE_RATE * self.noise_strength)).to(features.dtype)
        return leaky_relu(features, 0.2)


class SynthesisBlock(nn.Module):
    """One resolution of the generator: convolve, double, convolve; the picture so far is doubled and added to."""

    def __init__(self, inputs: int, outputs: int, settings: StyleGANSettings, size: int, *, last: bool) -> None:
        super().__init__()
        # the first convolution runs before the doubling, so its noise has half the side
        self.first = StyledConv(inputs, outputs, settings.style, size // 2, noise=settings.noise)
        self.second = StyledConv(outputs, outputs, settings.style, size, noise=settings.noise)
        self.skip = EqualConv(inputs, outputs, 1, bias=False) if settings.generator == "residual" else None
        self.picture = ToPicture(outputs, settings.style) if settings.generator == "skip" or last else None
        self.link: SkipExcitation | None = None

    def forward(
        self,
        images: Tensor,
        picture: Tensor | None,
        w: tuple[Tensor, Tensor, Tensor],
        fixed_noise: bool,
        coarse: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Map [N, inputs, H/2, W/2] to [N, outputs, H, W]; `picture` is [N, 3, H/2, W/2] or None.

        `coarse` are the maps that the link comes from, where the block has one.
        """
        features = self.second(upsample(self.first(images, w[0], fixed_noise)), w[1], fixed_noise)
        if self.skip is not None:
            # bilinear doubling and a 1x1 convolution commute; convolving first costs a quarter. The sum of two signals
            # of variance 1 has variance 2, hence sqrt(1/2)
            features = (features + upsample(self.skip(images))) * math.sqrt(0.5)
        if self.link is not None and coarse is not None:
            features = self.link(coarse, features)
        if self.picture is None:
            # skip generator (Karras et al. 2020, section 4.1): the picture is the sum of the colours of all resolutions
            return features, None
        colours = self.picture(features, w[2])
        return features, colours if picture is None else colours + upsample(picture)


class ToPicture(nn.Module):
    """Features to colours, by a modulated 1x1 convolution without demodulation."""

    def __init__(self, inputs: int, style: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv(inputs, 3, style, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, images: Tensor, w: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, 3, H, W], fp32."""
        colours: Tensor = self.convolution(images, w)[0]
        # fp32 from here on: the sum over resolutions has to resolve grey levels, and a step of bf16 near 1 is half of
        # one
        return colours.float() + self.bias


class Generator(Growing):
    """Latents [N, L] to images [N, 3, H, W], about -1..1."""

    def __init__(self, settings: StyleGANSettings, resolution: int, classes: tuple[int, ...]) -> None:
        super().__init__()
        table = channel_table(settings, resolution)
        self.mixing = settings.mixing
        self.mapping = Mapping(settings, classes)
        self.constant = nn.Parameter(torch.randn(1, table[4], 4, 4))  # the same learnt input for every image
        self.first = StyledConv(table[4], table[4], settings.style, 4, noise=settings.noise)
        self.picture = ToPicture(table[4], settings.style) if settings.generator == "skip" else None
        sizes = list(table)
        self.blocks = nn.ModuleList(
            SynthesisBlock(table[before], table[size], settings, size, last=size == resolution)
            for before, size in itertools.pairwise(sizes)
        )
        last = cast(SynthesisBlock, self.blocks[-1])
        self.source = settings.excitation  # side of the maps that the link comes from
        if self.source is not None:
            last.link = SkipExcitation(table[self.source], table[resolution], equalised=True)
        self.growth = settings.growth
        if self.growth is not None:
            begin_at_zero(cast(ToPicture, last.picture).convolution)

    @property
    def layers(self) -> int:
        """Style inputs: one for every convolution but those to colours."""
        return 1 + 2 * len(self.blocks)

    def forward(
        self,
        latents: Tensor,
        labels: Tensor | None = None,
        *,
        truncation: float = 1.0,
        fixed_noise: bool = False,
    ) -> Tensor:
        """Make images.

        Args:
            latents: [N, L].
            labels: int64 [N, C], where the generator is conditional.
            truncation: 1 leaves styles as they are, 0 gives the mean face (psi of Karras et al. 2019).
            fixed_noise: the same noise in every image, so that a walk through latents does not flicker.
        """
        w = self.mapping(latents, labels)
        styles = [w] * self.layers
        if self.training and self.mixing:
            # the mean follows the first styles alone, as in StyleGAN2-ADA: it moves once a batch
            styles = self._mixed(w, self.mapping(torch.randn_like(latents), labels, averages=False))
        if truncation != 1.0:  # w' = mean + psi (w - mean)
            styles = [self.mapping.average.lerp(style, truncation) for style in styles]
        return self.synthesise(styles, fixed_noise=fixed_noise)

    def _mixed(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Style mixing (Karras et al. 2019, section 3.1), drawn and applied on the device so that nothing waits for it.

        Args:
            first: styles [N, style] up to a random layer.
            second: styles [N, style] from there on; with probability 1 - mixing nowhere.
        """
        device = first.device
        cut = torch.randint(1, self.layers, (), device=device)  # 1 .. layers - 1: both styles get a layer
        mixes = torch.rand((), device=device) < self.mixing
        # torch.where with device tensors instead of `if`: reading `cut` on the host would wait for the GPU
        return [torch.where(mixes & (cut <= layer), second, first) for layer in range(self.layers)]

    def with_styles(self, latents: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images [N, 3, H, W] and the styles [N, layers, style] they were made from, for the path-length penalty."""
        styles = self.mapping(latents, labels)[:, None].repeat(1, self.layers, 1)
        return self.synthesise(list(styles.unbind(1))), styles

    def synthesise(self, styles: list[Tensor], *, fixed_noise: bool = False) -> Tensor:
        """Make images [N, 3, H, W] from one style [N, style] a layer."""
        images = self.constant.expand(len(styles[0]), -1, -1, -1)  # [N, C, 4, 4]
        # autocast covers convolutions, not the product with the style before them: an fp32 constant would keep the
        # first modulation in fp32
        if torch.is_autocast_enabled(images.device.type):
            images = images.to(torch.get_autocast_dtype(images.device.type))
        images = self.first(images.contiguous(memory_format=torch.channels_last), styles[0], fixed_noise)
        picture = None if self.picture is None else self.picture(images, styles[1])
        coarse = images
        for i, block in enumerate(self.blocks if self.grown else self.blocks[:-1]):
            # as in StyleGAN2, colours take the style of the convolution that follows; the last block has none after it
            # and takes its own second one
            after = styles[min(2 * i + 3, self.layers - 1)]
            images, picture = block(images, picture, (styles[2 * i + 1], styles[2 * i + 2], after), fixed_noise, coarse)
            if images.shape[2] == self.source:
                coarse = images
        # not grown: of the resolution it will have, as the picture of half the side will be doubled then
        return cast(Tensor, picture) if self.grown else upsample(cast(Tensor, picture))


class DiscriminatorBlock(nn.Module):
    """Convolve, halve, convolve; with a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, shortcut: bool) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs, 3, gain=GAIN)
        self.down = Downsample(inputs)
        share = math.sqrt(0.5) if shortcut else 1.0  # of the sum; folded into both paths
        self.second = EqualConv(inputs, outputs, 3, gain=GAIN * share)
        self.skip = EqualConv(inputs, outputs, 1, gain=share, bias=False) if shortcut else None

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / 2, W / 2]."""
        features = leaky_relu(self.second(self.down(leaky_relu(self.first(images), 0.2))), 0.2)
        return features if self.skip is None else features + self.skip(self.down(images))


class Discriminator(Growing):
    """Images [N, 3, H, W] to logits [N]; with labels by projection (Miyato and Koyama 2018)."""

    def __init__(self, settings: StyleGANSettings, resolution: int, classes: tuple[int, ...]) -> None:
        super().__init__()
        # may be wider or narrower than the generator's
        table = channel_table(settings, resolution, settings.discriminator_scale)
        sizes = list(reversed(table))
        self.entry = EqualConv(3, table[resolution], 1, gain=GAIN)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(table[size], table[after], shortcut=settings.discriminator == "residual")
            for size, after in itertools.pairwise(sizes)
        )
        grouped = settings.minibatch_group > 1
        self.deviation = MinibatchDeviation(settings.minibatch_group) if grouped else None
        self.last = EqualConv(table[4] + grouped, table[4], 3, gain=GAIN)  # one channel more for the deviation
        self.dense = EqualLinear(table[4] * 16, table[4], gain=GAIN)  # 4x4 places, flattened
        self.head = EqualLinear(table[4], 1) if settings.head is None else DirectionHead(table[4])
        self.projection = Projection(table[4], classes) if classes else None
        if settings.spectral:
            for module in [m for m in self.modules() if isinstance(m, EqualConv | EqualLinear)]:
                module.scale = 1.0  # the norm takes the place of the equalised scale
                spectral(module, True)
        self.growth = settings.growth
        self.half_entry: HalfEntry | None = None
        if self.growth is not None:
            first = cast(DiscriminatorBlock, self.blocks[0])
            begin_at_zero(first.second, first.skip)
            self.half_entry = HalfEntry(table[sizes[1]], gain=GAIN)

    def features(self, images: Tensor) -> list[Tensor]:
        """Return activations after each block, from fine to coarse."""
        activations = [leaky_relu(self.entry(images), 0.2)] if self.grown else []
        for i, block in enumerate(self.blocks):
            if i > 0 or self.half_entry is None:
                activations.append(block(activations[-1]))
            else:
                half = self.half_entry(images)
                activations.append(half + block(activations[-1]) if self.grown else half)
        # the 1x1 entry sees single pixels, no structure: it does not count as a block
        return activations[-len(self.blocks) :]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Compute logits."""
        features = self.features(images)[-1]  # [N, C, 4, 4]
        if self.deviation is not None:
            features = self.deviation(features)
        features = leaky_relu(self.last(features), 0.2)
        features = leaky_relu(self.dense(features.flatten(1)), 0.2)  # [N, C]
        logits: Tensor = self.head(features).flatten()
        return logits if self.projection is None or labels is None else logits + self.projection(features, labels)


class StyleGANLite(NormalArchitecture):
    """A StyleGAN2 that trains in minutes and needs no compiler."""

    family = "style-gan"
    citation = (
        "Karras, Laine, Aittala, Hellsten, Lehtinen, Aila: Analyzing and Improving the Image Quality of StyleGAN, "
        "CVPR 2020, arXiv 1912.04958"
    )
    resolutions = (16, 32, 64, 128, 256)
    conditional = "optional"
    truncates = True
    Settings = StyleGANSettings
    settings: StyleGANSettings

    def __init__(self, settings: StyleGANSettings, resolution: int, classes: tuple[int, ...] = ()) -> None:
        super().__init__(settings, resolution, classes)
        check_source(settings.excitation, resolution)

    def generator(self) -> nn.Module:
        """Return a fresh generator."""
        return Generator(self.settings, self.resolution, self.classes)

    def discriminator(self) -> nn.Module:
        """Return a fresh discriminator."""
        return Discriminator(self.settings, self.resolution, self.classes)
