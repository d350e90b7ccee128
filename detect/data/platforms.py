"""Perturbations of platforms: how an image of a photo arrives when the photo was sent through a social network.

The stored image is taken for the face in a photo that is sent whole. A platform shrinks photos above its longest side
and compresses them as JPEG, in this order; the face shrinks with its photo, is compressed at that size, and is enlarged
back, so that all detectors see one size. The number in a name is the photo's longest side in pixels before it is sent:
the larger the photo, the less is left of a face (4000: a phone's 12 megapixels). Without a number it is 2560, 5
megapixels, of which the three keep .625, .8 and .5.

Platforms change what they do, by client, by year and by picture; these are like them, not their code. Metadata, which
they strip as well, is not part of an image here. Progressive files decode to the pixels of other ones.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detect.data.file_formats import each
from detect.data.perturb import Perturbation, Strength
from forge.faces.imaging.jpeg import coded


class Platform(Perturbation):
    """Shrinking to a longest side, then JPEG.

    Attributes:
        longest: side in pixels that larger photos are shrunk to.
        quality: of the JPEG, chroma at half size.
        kernel: that shrinks.
    """

    strength = Strength("the longest side of the photo in pixels", 256, 20_000, whole=True, default=2560)
    longest: ClassVar[int]
    quality: ClassVar[int]
    kernel: ClassVar[Image.Resampling]

    def change(self, images: Tensor) -> Tensor:
        """Shrink, compress, and enlarge back."""
        return each(images, self._sent)

    def _sent(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        share = min(1.0, self.longest / (self.value or self.longest))
        if share == 1.0:
            return coded(image, self.quality)
        height, width = image.shape[:2]
        small = Image.fromarray(image).resize((_pixels(width, share), _pixels(height, share)), self.kernel)
        arrived = Image.fromarray(coded(np.asarray(small), self.quality))
        return np.asarray(arrived.resize((width, height), Image.Resampling.BILINEAR))


class WhatsApp(Platform):
    """A photo sent in standard quality, approximately.

    The company publishes neither number. 1600 px is the longest side that export presets of photo editors and emulators
    of the platform name; quality 80 is an assumption of this project between their 65 and 85.
    """

    id, title = "whatsapp", "WhatsApp-like"
    summary = "as the face in a photo of {} px sent by WhatsApp: longest side 1600 px, JPEG about 80, enlarged back"
    longest, quality, kernel = 1600, 80, Image.Resampling.BILINEAR


class Facebook(Platform):
    """A photo in an album, approximately.

    Longest side 2048 px and Lanczos by the product manager's words of 2010 (interview of S. Odio by P. Yuen, "An in
    depth look at Facebook's new photo service"); JPEG near quality 85 by what ImageMagick reads from downloaded files
    (dsp.stackexchange.com, question 74275, 2021; N. Robertson, "How Facebook crunches images", 2010). The quality
    depends on the picture.
    """

    id, title = "facebook", "Facebook-like"
    summary = (
        "as the face in a photo of {} px on Facebook: longest side 2048 px (Lanczos), JPEG about 85, enlarged back"
    )
    longest, quality, kernel = 2048, 85, Image.Resampling.LANCZOS


class Telegram(Platform):
    """A photo sent compressed by the desktop client.

    Longest side 1280 px with Qt's smooth transformation, then JPEG at quality 87: constants of
    telegramdesktop/tdesktop, `Telegram/SourceFiles/storage/localimageloader.cpp` (`PhotoSideLimit`,
    `ComputePhotoJpegBytes`). A JPEG that is small already (4 bits a pixel or less) is passed on there as it is; a
    stored image has no file, so that it is always compressed here.
    """

    id, title = "telegram", "Telegram-like"
    summary = "as the face in a photo of {} px sent by Telegram: longest side 1280 px, JPEG 87, enlarged back"
    longest, quality, kernel = 1280, 87, Image.Resampling.BILINEAR


def _pixels(side: int, share: float) -> int:
    return max(1, int(side * share + 0.5))
