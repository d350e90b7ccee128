"""The one queue: photos are judged one after another, by detectors that stay loaded."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from benchmarks.inference.inspection import Inspector
from benchmarks.inference.judged import judged, of_view
from benchmarks.inference.photo_maps import NoLocaliserError, PhotoLocaliser
from benchmarks.inference.photos import intake_for, read_face
from benchmarks.inference.predictor import Predictor, cannot_explain, caution
from benchmarks.report.colour import overlay
from benchmarks.serve.face_answer import FaceAnswer, Reencoded, face_answer
from benchmarks.serve.index import Choice, RunIndex
from benchmarks.serve.limits import Limits, Refused, check_photo
from benchmarks.serve.photo_map import PhotoMap, photo_map, png
from benchmarks.serve.question import Question
from detect.explain import method
from forge.core.compute import Compute
from forge.core.errors import BenchError
from forge.faces.crop import CROPS, FaceCrop, finder_for
from forge.faces.faceset import Images

KEPT = 4  # detectors in memory, and as many localisers

V = TypeVar("V")


@dataclass(frozen=True)
class Answer:
    """Prediction of a detector for a photo, with threshold, face crop and saliency.

    Attributes:
        source: run or folder of the detector.
        detector: its name.
        trained_on: its training forgeries.
        score: of the main face.
        probability: of being forged.
        verdict: "forged", "real" or "cannot say".
        reason: why it cannot be said; "" where it can.
        called: side of the threshold, "forged" or "real".
        unlike: how the photo differs from those of the training; "" where it does not.
        reencoded: the main face after six re-encodings.
        box: of the main face, left, top, right and bottom in pixels of the photo; None where no face was searched.
        others: further faces of the photo.
        rules: when the detector abstains, and how often it errs, sentences.
        threshold: score from which a photo is called forged; None where no finite score is.
        turning: the probability at that threshold.
        rule: how the threshold was chosen.
        crop: "face": found and aligned; "ff++": found, not turned; "none": the largest square in the middle.
        resolution: pixels of what the detector saw.
        seen: what it saw, a data URI (PNG).
        saliency: the same with what the score hangs on in orange, or None.
        explanation: how that was found, or why there is none; "" where it was not asked for.
        map: where the photo may have been altered, or None.
        no_map: why there is no map; "" where there is one, or none was asked for.
        view: how the photo was shown to the detector, a name in `VIEWS`.
        prior: share of forgeries among such photos, for which probabilities hold.
        error_rate: at which the detector abstains because of its score; None: it cannot.
        caution: what to keep in mind.
        milliseconds: that the answer took, without waiting.
    """

    source: str
    detector: str
    trained_on: str
    score: float
    probability: float
    verdict: str
    reason: str
    called: str
    unlike: str
    reencoded: list[Reencoded]
    box: tuple[int, int, int, int] | None
    others: list[FaceAnswer]
    rules: list[str]
    threshold: float | None
    turning: float
    rule: str
    crop: str
    resolution: int
    seen: str
    saliency: str | None
    explanation: str
    map: PhotoMap | None
    no_map: str
    view: str
    prior: float
    error_rate: float | None
    caution: str
    milliseconds: int

    def as_json(self) -> dict[str, Any]:
        """Return the answer of /api/detect."""
        return asdict(self)


class DetectionQueue:
    """Answers for photos: one at a time, a bounded number waiting, the detectors used last in memory.

    Args:
        index: where detectors come from.
        limits: how many may wait, and what a photo may be.
        compute: the device.
    """

    def __init__(self, index: RunIndex, limits: Limits, compute: Compute) -> None:
        self.index, self.limits, self.compute = index, limits, compute
        self._turn = asyncio.Lock()  # fair: asyncio wakes waiters in the order of their arrival
        self._worker = ThreadPoolExecutor(1, "judge")  # one thread: what torch and its allocator keep, they keep once
        self._inside = 0
        # oldest first; keyed by stamp, so that a replaced detector is another key
        self._predictors: OrderedDict[tuple[object, ...], Predictor] = OrderedDict()
        # of the same keys; a sentence where there is none
        self._localisers: OrderedDict[tuple[object, ...], PhotoLocaliser | str] = OrderedDict()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place among those that are read, waiting or answered.

        Raises:
            Refused: there is none left.
        """
        # Counted without a lock: all of it runs in the one thread of the event loop.
        if self._inside >= self.limits.inside:
            raise Refused(503, f"{self._inside} photos are waiting already; try again in a moment")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def ask(self, choice: Choice, photo: bytes, question: Question, *, gone: Callable[[], Any]) -> Answer:
        """Judge a photo when it is its turn.

        Args:
            choice: the detector.
            photo: the bytes of its file.
            question: what is asked of it.
            gone: awaited when it is its turn; true: the client has closed the connection.

        Raises:
            Refused: the photo cannot be used, or not as the question asks.
            BenchError: the detector cannot be loaded.
        """
        async with self._turn:
            # Asked as late as possible: the one before may have taken seconds, in which people leave.
            if await gone():
                raise Refused(400, "the connection was closed before it was this photo's turn")
            loop = asyncio.get_running_loop()
            # the event loop keeps answering pages meanwhile
            return await loop.run_in_executor(self._worker, self.judge, choice, photo, question)

    def judge(self, choice: Choice, photo: bytes, question: Question) -> Answer:
        """Judge a photo here and now; see `ask`."""
        begin = time.perf_counter()
        # In the worker's turn, so that at most one photo is decoded at a time.
        check_photo(photo, self.limits)
        judge = question.judge_of(self._loaded(choice))  # loading takes seconds the first time
        predictor = judge.predictor
        # prepared as the run prepared its faces, else its threshold would not hold
        intake = intake_for(predictor.trained.card.resolution, predictor.crop, question.view)
        read = read_face(photo, intake, Inspector(intake, reencode=not intake.view, count=True))
        if read.problems[0]:
            raise Refused(422, f"the photo cannot be used: {read.problems[0]}")
        rows, images = judged(judge, read, self.compute, question.view)
        pictures = iter(images)
        main, *others = (face_answer(predictor, row, None if "problem" in row else next(pictures)) for row in rows)
        saliency, explanation = self._explained(predictor, images[:1]) if question.explain else (None, "")
        located, no_map = self._located(choice, predictor, images[:1]) if question.maps else (None, "")
        threshold, note = predictor.threshold, read.notes[0]
        return Answer(
            source=choice.source,
            detector=predictor.name,
            trained_on=predictor.trained_on,
            score=main.score,
            probability=main.probability,
            verdict=main.verdict,
            reason=main.reason,
            called=main.called,
            unlike=main.unlike,
            reencoded=main.reencoded,
            box=main.box,
            others=others,
            rules=[*judge.sentences(), *filter(None, (predictor.of_prior(), of_view(question.view)))],
            threshold=threshold.score if math.isfinite(threshold.score) else None,  # JSON has no infinity
            turning=threshold.probability,
            rule=threshold.rule,
            crop=predictor.crop,
            resolution=read.images.shape[1],
            seen=main.seen,
            saliency=saliency,
            explanation=explanation,
            map=located,
            no_map=no_map,
            view=question.view,
            prior=predictor.prior,
            error_rate=None if judge.validation is None else judge.error_rate,
            caution=f"The photo was read as: {note}. {caution(predictor)}" if note else caution(predictor),
            milliseconds=round(1000 * (time.perf_counter() - begin)),
        )

    def warm(self, choice: Choice) -> None:
        """Load a detector and use it once in the background: the first photo need not wait; problems show up then."""

        def use() -> None:
            predictor = self._loaded(choice)
            side = predictor.trained.card.resolution
            face = np.full((1, side, side, 3), 128, np.uint8)
            predictor.trained.detector.score(face, self.compute)
            finder_for(CROPS[predictor.crop] or FaceCrop())
            self._explained(predictor, face)
            self._located(choice, predictor, face)

        self._worker.submit(use)  # the one worker: an upload that comes meanwhile waits until it is loaded

    def _loaded(self, choice: Choice) -> Predictor:
        return _kept(self._predictors, self.index.stamp(choice), lambda: self.index.load(choice))

    def _located(self, choice: Choice, predictor: Predictor, face: Images) -> tuple[PhotoMap | None, str]:
        """Return the map of a face; None and why there is none."""

        def loaded() -> PhotoLocaliser | str:
            try:
                return self.index.load_localiser(choice, predictor)
            except NoLocaliserError as error:
                return f"No map: {error}."

        try:
            localiser = _kept(self._localisers, self.index.stamp(choice), loaded)
            return (None, localiser) if isinstance(localiser, str) else (photo_map(localiser, face, self.compute), "")
        except BenchError as error:  # say, its weights are no longer in the store: the score is there all the same
            return None, f"No map: {error}."

    def _explained(self, predictor: Predictor, face: Images) -> tuple[str | None, str]:
        maps = predictor.trained.detector.saliency(face, self.compute)
        if maps is None:
            return None, cannot_explain(predictor)
        return png(overlay(face, maps)[0]), f"in orange the pixels that its score hangs on ({method()})"


def _kept(memory: OrderedDict[tuple[object, ...], V], key: tuple[object, ...], load: Callable[[], V]) -> V:
    """Return what a memory of at most `KEPT` entries holds for a key, loaded where it has none."""
    # Taken out and put back at the end: the order of the dictionary is that of last use.
    value = memory.pop(key) if key in memory else load()
    memory[key] = value
    while len(memory) > KEPT:
        memory.popitem(last=False)
    return value
