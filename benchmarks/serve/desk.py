"""The one queue: photos are judged one after another, by detectors that stay loaded."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.judge import Judge, cannot_explain, caution, face_of, intake_for, opinions
from benchmarks.report.colour import overlay
from benchmarks.serve.catalogue import Catalogue, Choice
from benchmarks.serve.limits import Limits, Refused, check_photo
from forge.compute import Compute
from forge.faces.faceset import Images
from forge.faces.sources.base import Item

KEPT = 4  # detectors in memory
_SEEN = 224  # pixels that a face has at least on the page


@dataclass(frozen=True)
class Answer:
    """What a detector says of a photo, and what it rests on.

    Attributes:
        source: run or folder of the detector.
        detector: its name.
        trained_on: its training forgeries.
        score: of the photo.
        probability: of being forged.
        verdict: "forged" or "real".
        threshold: score from which a photo is called forged; None: probability 0.5.
        turning: the probability at that threshold.
        crop: "face": found and aligned; "none": the largest square in the middle.
        resolution: pixels of what the detector saw.
        seen: what it saw, a data URI (PNG).
        saliency: the same with what the score hangs on in orange, or None.
        said: how that was found, or why there is none; "" where it was not asked for.
        caution: what to keep in mind.
        milliseconds: that the answer took, without waiting.
    """

    source: str
    detector: str
    trained_on: str
    score: float
    probability: float
    verdict: str
    threshold: float | None
    turning: float
    crop: str
    resolution: int
    seen: str
    saliency: str | None
    said: str
    caution: str
    milliseconds: int

    def as_json(self) -> dict[str, Any]:
        """What /api/detect says."""
        return asdict(self)


class Desk:
    """Answers for photos: one at a time, a bounded number waiting, the detectors used last in memory.

    Args:
        catalogue: where detectors come from.
        limits: how many may wait, and what a photo may be.
        compute: the device.
    """

    def __init__(self, catalogue: Catalogue, limits: Limits, compute: Compute) -> None:
        self.catalogue, self.limits, self.compute = catalogue, limits, compute
        self._turn = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, "judge")  # one thread: what torch and its allocator keep, they keep once
        self._inside = 0
        self._judges: OrderedDict[tuple[object, ...], Judge] = OrderedDict()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place among those that are read, waiting or answered.

        Raises:
            Refused: there is none left.
        """
        if self._inside >= self.limits.inside:
            raise Refused(503, f"{self._inside} photos are waiting already; try again in a moment")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def ask(self, choice: Choice, photo: bytes, *, explain: bool, gone: Callable[[], Any]) -> Answer:
        """Judge a photo when it is its turn.

        Args:
            choice: the detector.
            photo: the bytes of its file.
            explain: whether to say where the detector looked.
            gone: awaited when it is its turn; true: nobody waits for the answer any more.

        Raises:
            Refused: the photo cannot be used.
            BenchError: the detector cannot be loaded.
        """
        async with self._turn:
            if await gone():
                raise Refused(400, "the connection was closed before it was this photo's turn")
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self.judge, choice, photo, explain)

    def judge(self, choice: Choice, photo: bytes, explain: bool = False) -> Answer:
        """Judge a photo here and now; see `ask`."""
        begin = time.perf_counter()
        check_photo(photo, self.limits)
        judge = self._loaded(choice)
        face = face_of(Item("the photo", photo), intake_for(judge.trained.card.resolution, judge.crop))
        if isinstance(face, str):
            raise Refused(422, f"the photo cannot be used: {face}")
        (opinion,) = opinions(judge, face.images, self.compute)
        saliency, said = self._explained(judge, face.images) if explain else (None, "")
        at = 0.5
        if judge.threshold is not None:
            at = float(judge.trained.calibration.probability(np.array([judge.threshold]))[0])
        return Answer(
            source=choice.source,
            detector=judge.name,
            trained_on=judge.trained_on,
            **vars(opinion),
            threshold=judge.threshold,
            turning=at,
            crop=judge.crop,
            resolution=face.images.shape[1],
            seen=_png(face.images[0]),
            saliency=saliency,
            said=said,
            caution=f"The photo was read as: {face.note}. {caution(judge)}" if face.note else caution(judge),
            milliseconds=round(1000 * (time.perf_counter() - begin)),
        )

    def warm(self, choice: Choice) -> None:
        """Load a detector and use it once in the background: the first photo need not wait; problems show up then."""

        def use() -> None:
            judge = self._loaded(choice)
            side = judge.trained.card.resolution
            face = np.full((1, side, side, 3), 128, np.uint8)
            opinions(judge, face, self.compute)
            self._explained(judge, face)

        self._worker.submit(use)

    def _loaded(self, choice: Choice) -> Judge:
        key = self.catalogue.stamp(choice)
        judge = self._judges.pop(key, None) or self.catalogue.load(choice)
        self._judges[key] = judge
        while len(self._judges) > KEPT:
            self._judges.popitem(last=False)
        return judge

    def _explained(self, judge: Judge, face: Images) -> tuple[str | None, str]:
        from detect.explain import method

        maps = judge.trained.detector.saliency(face, self.compute)
        if maps is None:
            return None, cannot_explain(judge)
        return _png(overlay(face, maps)[0]), f"in orange the pixels that its score hangs on ({method()})"


def _png(image: Images) -> str:
    """A face uint8 [H, W, 3] as a data URI, enlarged by a whole factor where it is small: its pixels stay visible."""
    times = max(1, -(-_SEEN // image.shape[0]))
    data = BytesIO()
    Image.fromarray(image.repeat(times, axis=0).repeat(times, axis=1)).save(data, format="PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
