"""CycleGAN: two generators, one in each direction, that undo each other (Zhu et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forge.faces.imaging.ops import jpeg
from forge.faces.tensors import to_float, to_uint8
from forge.generators.translation.unpaired import Unpaired, UnpairedSettings

JPEG_QUALITY = 75  # at which a signal that is hidden in a forgery does not survive


class TwoWayNetwork(nn.Module):
    """Both generators of a CycleGAN, which share one training and one file: images to images [N, 3, H, W] in -1..1.

    Args:
        forth: from the source domain to the target domain.
        back: from there to the source domain.
        backward: whether calling the network goes back.

    Attributes:
        towards: what is called: the generator of this direction.
        returning: the other one.
    """

    def __init__(self, forth: nn.Module, back: nn.Module, *, backward: bool = False) -> None:
        super().__init__()
        self.forth, self.back, self._backward = forth, back, backward

    @property
    def towards(self) -> nn.Module:
        """The generator of the direction that is published."""
        return self.back if self._backward else self.forth

    @property
    def returning(self) -> nn.Module:
        """The generator of the other direction."""
        return self.forth if self._backward else self.back

    def forward(self, images: Tensor) -> Tensor:
        """Translate."""
        forged: Tensor = self.towards(images)
        return forged


class CycleGAN(Unpaired):
    """Two generators and two discriminators; either direction makes forgeries.

    Args:
        settings: of the networks.
        resolution: height and width in pixels.
        classes: none.
        backward: whether generators translate from the target domain to the source domain.
    """

    citation = "Zhu et al.: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, ICCV 2017"
    trained_by = "cycle"
    domains = "two-way"

    def __init__(
        self, settings: UnpairedSettings, resolution: int, classes: tuple[int, ...] = (), *, backward: bool = False
    ) -> None:
        super().__init__(settings, resolution, classes)
        self._backward = backward

    def backward(self) -> CycleGAN:
        """Return the architecture of the other direction; weights are those of both."""
        return type(self)(self.settings, self.resolution, self.classes, backward=not self._backward)

    def generator(self) -> TwoWayNetwork:
        """Return fresh generators."""
        return TwoWayNetwork(self.body(), self.body(), backward=self._backward)


@torch.no_grad()
def cycle_errors(network: TwoWayNetwork, images: Tensor) -> tuple[float, float, float]:
    """Measure how well faces are restored from their forgeries, and how well if those are coded as JPEG in between.

    A generator that must restore a face hides it in the forgery as a faint pattern of high frequency (Chu et al. 2017,
    arXiv 1712.02950), which JPEG removes: the more the second error exceeds the first, the more is hidden.

    Args:
        network: in evaluation mode.
        images: faces [N, 3, H, W] in -1..1.

    Returns:
        Mean absolute differences between faces and restored faces in -1..1, without and with JPEG at quality 75, and
        between forgeries and their JPEG.
    """
    pixels = to_uint8(network.towards(images))  # both as bytes: what is stored is what is attacked
    forged, saved = to_float(pixels), to_float(jpeg(pixels, JPEG_QUALITY))
    plain, coded = ((network.returning(each).float() - images).abs().mean() for each in (forged, saved))
    return float(plain), float(coded), float((forged - saved).abs().mean())
