"""Match of the mean power at each frequency to that of real images."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from detect.attacks.base import Access, Attack, AttackSettings, Budget, Knowledge, as_pixels
from detect.attacks.target import Target
from detect.data.views import View
from forge.core.errors import InputError
from forge.faces.faceset import Images

_BLOCK = 256  # images whose spectra are computed at a time
_SMALLEST = 1e-12  # of a mean power, in squared grey levels: black corners of all images divide nothing by zero


class SpectrumMatchSettings(AttackSettings):
    """Settings of spectrum matching."""

    profile: Literal["frequency", "radius"] = Field(
        "frequency", description="a gain for each frequency, or for each distance from frequency zero"
    )


class SpectrumMatch(Attack[SpectrumMatchSettings]):
    """A filter that gives images the mean power spectrum of the other class, channel by channel; phases stay.

    X'(u, v) = X(u, v) sqrt(P_other(u, v) / P_own(u, v)) with the mean powers P of images that the attacker has. It asks
    the detector nothing: one filter serves against all.
    """

    citation = (
        "Wesselkamp, Rieck, Arp, Quiring: Misleading Deep-Fake Detection with GAN Fingerprints, IEEE S&P workshop "
        "2022, arXiv 2205.12543 (mean spectrum)"
    )
    access: ClassVar[Access] = "nothing"
    budget: ClassVar[Budget] = "none"
    needs = "views"

    def learn(self, knowledge: Knowledge) -> None:
        """Measure the mean powers of real images and of forgeries.

        Raises:
            InputError: one of both is missing.
        """
        if knowledge.real is None or knowledge.forged is None or not (len(knowledge.real) and len(knowledge.forged)):
            raise InputError("spectrum-match needs real images and forgeries to compare")
        self._real, self._forged = mean_power(knowledge.real), mean_power(knowledge.forged)

    def gain(self, aim: str) -> Tensor:
        """Return the factor of each frequency, float32 [3, H, W // 2 + 1]."""
        towards, away = (self._real, self._forged) if aim == "evade" else (self._forged, self._real)
        if self.settings.profile == "radius":
            towards, away = radial(towards), radial(away)
        return (towards.clamp(min=_SMALLEST) / away.clamp(min=_SMALLEST)).sqrt().float()

    def changed(self, images: Images, target: Target, epsilon: float, seed: int) -> Images:
        """Return filtered images."""
        gain = self.gain(target.aim).to(target.device)
        parts = []
        for block in torch.split(as_pixels(images, target), _BLOCK):
            spectra = torch.fft.rfft2(block.permute(0, 3, 1, 2))
            filtered = torch.fft.irfft2(spectra * gain, s=block.shape[1:3])
            parts.append(filtered.permute(0, 2, 3, 1).round().clamp(0, 255).byte())
        return torch.cat(parts).cpu().numpy()


def mean_power(view: View) -> Tensor:
    """Return the mean over images of the power at each frequency of each channel, float64 [3, H, W // 2 + 1]."""
    total, count = torch.zeros(()), 0
    for images in view.batches(_BLOCK):
        channels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        total = total + torch.fft.rfft2(channels, norm="ortho").abs().double().square().sum(0)
        count += len(images)
    return total / count


def radial(power: Tensor) -> Tensor:
    """Return the mean power of all frequencies of the same rounded distance from zero, at each of them."""
    height, columns = power.shape[1:]
    # distances in cycles of an image, negative frequencies in the second half of the rows
    rows = torch.fft.fftfreq(height, 1 / height)
    radius = torch.hypot(rows[:, None], torch.arange(columns)[None].float()).round().long()
    # a column stands for its mirrored one too, but for the first and, of an even width, the last
    weights = torch.full((height, columns), 2.0, dtype=power.dtype)
    weights[:, 0] = 1
    if height % 2 == 0:
        weights[:, -1] = 1
    sums = torch.zeros(len(power), int(radius.max()) + 1, dtype=power.dtype)
    sums.index_add_(1, radius.flatten(), (power * weights).flatten(1))
    counts = torch.zeros(sums.shape[1], dtype=power.dtype).index_add_(0, radius.flatten(), weights.flatten())
    return (sums / counts)[:, radius]
