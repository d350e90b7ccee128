"""Tiny videos for tests."""

from functools import cache
from pathlib import Path

import av
import numpy as np

from forge.rendering import render_person_images


def write_clip(path: Path, frames: int = 20, *, size=(64, 48), rotation=0, times=None, seed=0, options=None) -> Path:
    """Write a clip of 10 frames a second: a red corner at the top left, noise of `seed`, grey that brightens by 8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 1))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options=options or {"preset": "ultrafast", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            image = np.broadcast_to(noise + 20 + 8 * (number % 20), (height, width, 3)).astype(np.uint8)
            image[: height // 3, : width // 3] = (255, 0, 0)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if times is None else times[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Write a file with sound and without pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_faces_clip(path: Path, frames: int, people: dict[int, range]) -> Path:
    """Write a clip of 10 frames a second in which rendered people stand side by side, each in some of the frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    faces, wall = _faces(), np.random.default_rng(0).integers(90, 150, (160, 320, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 160, "yuv420p"
        for number in range(frames):
            image = wall.copy()
            for person, present in people.items():
                if number in present:
                    image[8:152, 160 * person + 8 :][:, :144] = faces[person]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@cache
def _faces() -> list[np.ndarray]:
    return [face.image for face in render_person_images(5, 0, 2, size=144, images_per_person=1)]
