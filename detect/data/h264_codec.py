"""An image to H.264 and back, by PyAV: the same bytes on every call, whatever the number of cores."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

_BT601 = 5  # AVCOL_SPC_BT470BG: the colours of ITU-R BT.601, which FFmpeg takes for RGB images


def round_trip(image: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    """Return an image as it comes out of a clip of one frame.

    Args:
        image: uint8 [H, W, 3]; sides of odd length are padded with their last row and column, which are cut off again.
        crf: constant rate factor of x264, from 0 (finest) to 51.

    Returns:
        uint8 [H, W, 3].
    """
    height, width = image.shape[:2]
    # chroma at half size needs even sides
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    encoder = VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = padded.shape[1], padded.shape[0], "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1  # several cut the image into slices
    encoder.options = {"crf": str(crf), "preset": "medium"}
    frame = av.VideoFrame.from_ndarray(padded, format="rgb24").reformat(format="yuv420p", dst_colorspace=_BT601)
    frame.pts = 0
    decoder = VideoCodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoded = [shown for packet in (*packets, None) for shown in decoder.decode(packet)]
    pixels = decoded[0].reformat(format="rgb24", src_colorspace=_BT601).to_ndarray()
    return np.ascontiguousarray(pixels[:height, :width])
