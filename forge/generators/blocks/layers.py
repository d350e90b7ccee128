"""Layers that several architectures share: labels, equalised learning rate, [1,3,3,1] resampling, modulation."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


def spectral(layer: nn.Module, wanted: bool) -> nn.Module:
    """Return the layer with its weights divided by their largest singular value (Miyato et al. 2018), if wanted."""
    # torch estimates the singular value by one power iteration at each forward in training mode; its vectors are
    # buffers and so part of every checkpoint
    return nn.utils.spectral_norm(layer) if wanted else layer


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and shift depend on the labels (Dumoulin et al. 2017); several columns add up.

    Args:
        channels: of the images.
        classes: values of each label column.
    """

    def __init__(self, channels: int, classes: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)  # scale and shift come from the labels
        self.scales = nn.ModuleList(nn.Embedding(count, channels) for count in classes)
        self.shifts = nn.ModuleList(nn.Embedding(count, channels) for count in classes)
        for embedding in (*self.scales, *self.shifts):
            nn.init.zeros_(embedding.weight)  # scale 1, shift 0: plain batch norm at the start, whatever the label

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Normalise [N, C, H, W] given labels int64 [N, columns]."""
        scale = 1 + sum(embed(labels[:, i]) for i, embed in enumerate(self.scales))  # [N, C], one term a label column
        shift = sum(embed(labels[:, i]) for i, embed in enumerate(self.shifts))  # [N, C]
        normalised: Tensor = self.norm(images)
        # one pass over the images instead of two; the embeddings are fp32, the images may be bf16 under autocast
        return torch.addcmul(
            shift[:, :, None, None].to(normalised.dtype), normalised, scale[:, :, None, None].to(normalised.dtype)
        )


class Projection(nn.Module):
    """Label term of a projection discriminator's logit (Miyato and Koyama 2018).

    Args:
        features: length of the feature vector.
        classes: values of each label column.
    """

    def __init__(self, features: int, classes: tuple[int, ...]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(count, features) for count in classes)  # e(y) of each column

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Map features [N, F] and labels int64 [N, columns] to [N]: <f, e(y)> / sqrt(F), summed over the columns."""
        # the inner product of F features of unit variance has the deviation sqrt(F), which would drown the logit
        wanted: Tensor = sum(embed(labels[:, i]) for i, embed in enumerate(self.embeddings))  # [N, F]
        return (features * wanted).sum(1) / math.sqrt(features.shape[1])


class EqualLinear(nn.Module):
    """A dense layer whose weights are N(0, 1) and scaled as they are used (Karras et al. 2018, section 4.1).

    Args:
        inputs: length of the input.
        outputs: length of the output.
        gain: of the result, the square root of two before a leaky ReLU.
        bias: what the bias starts at.
        slower: divides the learning rate (StyleGAN's mapping network learns 100 times slower).
    """

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0, bias: float = 0.0, slower: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * slower)
        self.bias = nn.Parameter(torch.full((outputs,), bias * slower))
        # Stored weights are N(0, 1): Adam's steps do not depend on the size of gradients, so all layers then move at
        # one relative rate. He's factor, gain / sqrt(inputs), is applied at run time. A weight that is stored `slower`
        # times as large and scaled down by as much changes `slower` times as little per step.
        self.scale, self.bias_scale = gain / math.sqrt(inputs) / slower, gain / slower

    def forward(self, values: Tensor) -> Tensor:
        """Map [N, inputs] to [N, outputs]."""
        return functional.linear(values, self.weight * self.scale, self.bias * self.bias_scale)


class EqualConv(nn.Module):
    """A convolution with equalised learning rate, padded to keep the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        weight = torch.randn(outputs, inputs, kernel, kernel)
        # the memory layout of the images (see `Generator.synthesise`), or each convolution would transpose its weights
        self.weight = nn.Parameter(weight.to(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        # odd kernels with half their side of padding keep H and W
        # He's factor at run time, as in EqualLinear; the fan-in of an output pixel is inputs * kernel^2
        self.scale, self.gain, self.padding = gain / math.sqrt(inputs * kernel**2), gain, kernel // 2

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W]."""
        bias = None if self.bias is None else self.bias * self.gain
        return functional.conv2d(images, self.weight * self.scale, bias, padding=self.padding)


class ModulatedConv(nn.Module):
    """A convolution whose input channels each image scales by its style (Karras et al. 2020, section 2.2).

    The style scales the input and demodulation scales the output, which is the same as scaling the weights of each
    image but needs no grouped convolution, and so is several times faster.

    Args:
        inputs: channels in.
        outputs: channels out.
        style: length of the style vector w.
        kernel: height and width of the kernel.
        demodulate: divide each output channel by the norm of its scaled weights.
        gain: of the result.
    """

    def __init__(
        self, inputs: int, outputs: int, style: int, kernel: int, *, demodulate: bool = True, gain: float = 1.0
    ) -> None:
        super().__init__()
        weight = torch.randn(outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(weight.to(memory_format=torch.channels_last))
        self.style = EqualLinear(style, inputs, bias=1.0)  # bias 1: all channels pass unscaled at the start
        self.scale, self.gain, self.demodulate = 1 / math.sqrt(inputs * kernel**2), gain, demodulate
        self.padding = kernel // 2

    def forward(self, images: Tensor, w: Tensor) -> tuple[Tensor, Tensor | None]:
        """Convolve [N, inputs, H, W] in the style w [N, style].

        Returns:
            The convolved images [N, outputs, H, W] and the factor [N, outputs, 1, 1] that still has to scale them (None
            where there is no demodulation), for the caller to fuse with what follows.
        """
        style = self.style(w)  # s, [N, inputs]
        # with demodulation the gain is part of the factor below; without it nothing scales the result later
        weight = self.weight * (self.scale * (1.0 if self.demodulate else self.gain))
        convolved = functional.conv2d(images * style[:, :, None, None].to(images.dtype), weight, padding=self.padding)
        if not self.demodulate:
            return convolved, None
        # Weights of an image are w'[o, i, k] = s[i] w[o, i, k]; demodulation divides output channel o by the root of
        # the sum over i and k of w'^2, which is the sum over i of s[i]^2 times the sum over k of w[o, i, k]^2: one
        # matrix product for the whole batch. In fp32, as squares of bf16 lose half their digits.
        power = functional.linear(style.float().square(), weight.float().square().sum(dim=(2, 3)))  # [N, outputs]
        # 1e-8 as in StyleGAN2: rsqrt stays finite where a style is all zeros
        return convolved, (self.gain * torch.rsqrt(power + 1e-8))[:, :, None, None]


def upsample(images: Tensor) -> Tensor:
    """Double height and width with the filter [1,3,3,1] (as bilinear interpolation; edges are repeated)."""
    # with align_corners off, output pixels lie 1/4 and 3/4 of the way between inputs: weights 3/4 and 1/4, which are
    # the even and the odd taps of [1,3,3,1] / 4
    return functional.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)


class Downsample(nn.Module):
    """Halve height and width with the filter [1,3,3,1]; in fp32 on a CPU, as bf16 is 8 times slower.

    Args:
        channels: of the images.
        reflect: mirror the images at their borders; else zeros are outside.
    """

    kernel: Tensor

    def __init__(self, channels: int, *, reflect: bool = False) -> None:
        super().__init__()
        self.reflect = reflect
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        kernel = torch.outer(line, line) / line.sum() ** 2  # sums to 1: brightness is kept
        # depthwise: one and the same kernel per channel. It is a constant, so checkpoints leave it out
        self.register_buffer("kernel", kernel.expand(channels, 1, 4, 4).contiguous(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, H / 2, W / 2]."""
        dtype = torch.float32 if images.device.type == "cpu" else images.dtype
        channels, padding = images.shape[1], 0 if self.reflect else 1
        padded = functional.pad(images, (1, 1, 1, 1), mode="reflect") if self.reflect else images
        # autocast would cast both operands to bf16 again. Side (H + 2 - 4) / 2 + 1 = H / 2
        with torch.autocast(images.device.type, enabled=False):
            return functional.conv2d(
                padded.to(dtype), self.kernel.to(dtype), stride=2, padding=padding, groups=channels
            ).to(images.dtype)


class _Normalise(torch.autograd.Function):
    """Instance norm and, if wanted, ReLU of rows [N, P, C]: P pixels of C channels."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rectify: bool) -> Tensor:  # noqa: ANN401 - torch's
        centred = rows - rows.mean(1, keepdim=True)
        # over pixels, [N, 1, C]; biased, as instance norm has it
        scale = torch.rsqrt((centred * centred).mean(1, keepdim=True) + 1e-5)
        normalised = centred.mul_(scale)
        ctx.save_for_backward(normalised, scale)
        ctx.rectify = rectify
        return normalised.clamp_min(0) if rectify else normalised

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - torch's
        normalised, scale = ctx.saved_tensors
        if ctx.rectify:
            gradient = torch.ops.aten.threshold_backward(gradient, normalised, 0)  # 0 where ReLU was
        # y = (x - m) s: dx = s (g - mean(g) - y mean(g y)), where the last two terms come from m and s
        mean, along = gradient.mean(1, keepdim=True), (gradient * normalised).mean(1, keepdim=True)
        return torch.addcmul(gradient - mean, normalised, along, value=-1).mul_(scale), None


class InstanceNorm(nn.Module):
    """Instance norm without weights (Ulyanov et al. 2016), and ReLU in the same pass.

    On a CPU in fp32: torch copies channels-last images for its instance norm, and its ReLU keeps another copy for the
    gradient. Elsewhere torch's own is fast.

    Args:
        rectify: whether ReLU follows.
    """

    def __init__(self, *, rectify: bool) -> None:
        super().__init__()
        self.rectify = rectify

    def forward(self, images: Tensor) -> Tensor:
        """Normalise [N, C, H, W] over H and W."""
        if images.device.type != "cpu":
            normalised = functional.instance_norm(images)
            return functional.relu(normalised, inplace=True) if self.rectify else normalised
        rows = images.float().permute(0, 2, 3, 1)  # of channels-last images this moves no byte
        flat: Tensor = _Normalise.apply(rows.flatten(1, 2), self.rectify)
        return flat.reshape(rows.shape).permute(0, 3, 1, 2).to(images.dtype)


class GroupNorm(nn.Module):
    """Group norm without weights (Wu and He 2018), in groups of up to eight, computed in fp32.

    It keeps how strong the channels of a group are beside each other, which instance norm takes away. To carry it past
    an instance norm, generators learn to make spikes that decide its statistics: bright specks in the same place of
    most images (Karras et al. 2020, section 2).
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalise [N, C, H, W] over each group of channels of an image."""
        return functional.group_norm(images.float(), math.gcd(8, images.shape[1])).to(images.dtype)


class MinibatchDeviation(nn.Module):
    """Append a map of how much the images of a group differ (Karras et al. 2018, section 3).

    Groups are neighbours in the batch, so that real and forged images in one batch do not mix.

    Args:
        group: images per group; a smaller batch is one group, and a batch is cut into groups of the largest size up to
            this that divides it.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C + 1, H, W]."""
        count, channels, height, width = images.shape
        size = next(size for size in range(min(self.group, count), 0, -1) if count % size == 0)
        # [G, size, C, H, W], fp32: variances of bf16 lose too many digits
        grouped = images.float().reshape(-1, size, channels, height, width)
        # the standard deviation of each feature over the group, averaged over features and pixels: one number per group
        # 1e-8 under the root: at 0 its slope is infinite, and a group of equal images would have NaN gradients
        deviation = (grouped.var(1, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        plane = deviation.repeat_interleave(size)[:, None, None, None].expand(-1, 1, height, width)  # [N, 1, H, W]
        return torch.cat([images, plane.to(images.dtype)], 1)


Norm = Literal["instance", "group", "none"]


def normed(norm: Norm) -> nn.Module:
    """Return a norm without weights, or nothing."""
    if norm == "group":
        return GroupNorm()
    return InstanceNorm(rectify=False) if norm == "instance" else nn.Identity()
