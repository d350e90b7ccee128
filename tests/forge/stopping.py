"""Stops of a training, which stand for killed processes."""

from forge.core.progress import ProgressEvent


class Stopped(Exception):  # noqa: N818 - stands for a killed process
    pass


def stop_after(images: int):
    """Return an observer that raises `Stopped` once this many images are done."""

    def on_progress(event: ProgressEvent) -> None:
        if event.done >= images:
            raise Stopped

    return on_progress
