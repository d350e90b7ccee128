"""Speed of `bench serve` over HTTP: answers one by one and in parallel, and memory over many."""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from benchmarks.speed.figure import Figure, timed
from detect.artifact import DetectorCard, TrainedDetector
from detect.detectors.image_classifiers import Xception
from detect.detectors.timm_network import TimmSettings

RESOLUTION = 64
SIZE = (1600, 1200)  # pixels of the photo
# requests before timing; requests timed; uploads at once; uploads for the growth of memory
WARM, TIMED, AT_ONCE, UPLOADS = 10, 30, 50, 500
_BOUNDARY = "photo-boundary"


def serving(photos: str | None) -> list[Figure]:
    """An Xception with random weights behind a server of its own: answers one by one, at once, and memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_detector(folder / "xception")
        # A process of its own, as it is used: client and server do not share an interpreter.
        with _server(folder) as (port, process):
            plain, explained = _form(explain=False), _form(explain=True)
            figures = [
                Figure("bench serve, a photo", _median(port, plain), "ms", _how("median")),
                Figure("… with where it looked", _median(port, explained), "ms", _how("median")),
                *_at_once(port, plain),
                *_growth(port, plain, process),
            ]
    return figures


def write_detector(folder: Path) -> None:
    """An Xception with random weights in a folder with detector.json."""
    detector = Xception(TimmSettings(), RESOLUTION)
    detector.network = detector.build().eval()
    card = DetectorCard(
        name="xception",
        family=detector.family,
        citation=detector.citation,
        variant="random weights",
        settings=detector.settings.model_dump(mode="json"),
        resolution=RESOLUTION,
        seed=0,
        trained_on="nothing",
        data=[],
        calibration={"a": 1.0, "b": 0.0},
        parameters=detector.parameters,
        facts={},
        history=[],
    )
    TrainedDetector(detector, card).save(folder)


@contextmanager
def _server(folder: Path) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its port and its process."""
    # port 0: one that is free
    command = [sys.executable, "-m", "benchmarks.cli.main", "serve", "--port", "0", "--detector", f"{folder}/xception"]
    options = ["--reports", f"{folder}/reports", "--store", f"{folder}/runs"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            # the first line is the address, printed when the socket listens
            line = process.stdout.readline() if process.stdout else ""
            yield urlsplit(line.split()[0]).port or 0, process.pid
        finally:
            process.send_signal(signal.SIGINT)  # Ctrl-C, which uvicorn answers by closing


def _form(*, explain: bool) -> bytes:
    # Smooth noise: a photo of plain noise would be a JPEG several times as large.
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (SIZE[1] // 40, SIZE[0] // 40, 3), dtype=np.uint8)
    data = BytesIO()
    Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC).save(data, format="JPEG", quality=90)
    part = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    photo = (part % ("photo", '; filename="photo.jpg"')).encode() + data.getvalue()
    explanation = f"\r\n{part % ('explain', '')}{int(explain)}\r\n--{_BOUNDARY}--\r\n"
    return photo + explanation.encode()


def _ask(port: int, form: bytes) -> int:
    """Post a form; the status of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)  # seconds: fifty uploads wait in one queue
    try:
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        connection.request("POST", "/api/detect", form, headers)
        response = connection.getresponse()
        json.loads(response.read())  # the answer is read to its end and is JSON
        return response.status
    finally:
        connection.close()


def _how(what: str) -> str:
    return f"{what} of {TIMED} requests over HTTP, JPEG of {SIZE[0]} x {SIZE[1]}, xception {RESOLUTION} px"


def _median(port: int, form: bytes) -> float:
    # The first requests load the network and its kernels.
    for _ in range(WARM):
        _ask(port, form)
    return 1000 * statistics.median(timed(lambda: _ask(port, form)) for _ in range(TIMED))


def _at_once(port: int, form: bytes) -> list[Figure]:
    with ThreadPoolExecutor(AT_ONCE) as many:
        statuses: list[int] = []
        seconds = timed(lambda: statuses.extend(many.map(lambda _: _ask(port, form), range(AT_ONCE))))
    failed = sum(status != 200 for status in statuses)  # refused ones are counted, not raised
    how = f"{failed} of {AT_ONCE} uploads at the same time failed"
    return [
        Figure(f"{AT_ONCE} uploads at once", seconds, "s", how),
        Figure(f"… of which failed, of {AT_ONCE}", failed, "uploads", how),
    ]


def _growth(port: int, form: bytes, process: int) -> list[Figure]:
    """Resident memory before and after many uploads; nothing where the system does not tell it."""
    before = _resident(process)
    for _ in range(UPLOADS):
        _ask(port, form)
    after = _resident(process)
    if before is None or after is None:
        return []
    how = f"resident memory of the server: {before:.0f} MB, then {after:.0f} MB"
    return [Figure(f"growth over {UPLOADS} uploads", after - before, "MB", how)]


def _resident(process: int) -> float | None:
    """Resident memory of a process in MB, from Linux's /proc."""
    file = Path(f"/proc/{process}/statm")
    if not file.is_file():
        return None
    # the second field of statm is resident pages
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
