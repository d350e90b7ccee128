"""The routes: a page over runs with "try a photo", the same as JSON, and the files of reports."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException

from benchmarks.inference.map_output import share_text
from benchmarks.serve import running
from benchmarks.serve.index import RunIndex
from benchmarks.serve.limits import FORMATS, Limits, Refused, read_away, read_upload
from benchmarks.serve.question import Question, is_on
from benchmarks.serve.queue import Answer, DetectionQueue
from benchmarks.serve.security import FILE_POLICY, SecurityHeaders, is_loopback, picture_policy, report_policy
from forge.core.compute import Compute
from forge.core.errors import BenchError, InputError, UnknownNameError
from forge.core.files import explain_os_error
from forge.faces.imaging.views import VIEWS

# One style sheet for all pages; colours first, since the others use its variables.
_STYLES = ("report/templates/colours.css", "report/templates/page.css", "serve/static/serve.css")
_WISHES = ("view", "error_rate", "prior")  # fields of the form that keep what was typed
# what reports consist of; nothing else is handed out, whatever lies there
_TYPES = {".md": "text/plain", ".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
_SHOWN = frozenset({".html", ".svg", ".png", ".gif", ".webp", ".json", *_TYPES})


def create_app(index: RunIndex, *, host: str = "127.0.0.1", limits: Limits | None = None, device: str) -> FastAPI:
    """Return the server's application.

    Args:
        index: runs and detectors.
        host: where it listens; what it is called decides which requests are taken.
        limits: of requests.
        device: cpu, cuda or cuda:N.
    """
    limits = limits or Limits()
    app = FastAPI(title="bench serve", docs_url=None, redoc_url=None, openapi_url=None)  # its pages load from elsewhere
    # one device for all requests: detectors are loaded onto it once
    queue = DetectionQueue(index, limits, Compute(device))
    app.state.queue = queue
    pages = Pages(index, limits, local=is_loopback(host))
    app.add_middleware(SecurityHeaders, host=host)
    _add_pages(app, queue, pages)
    # Pages, API, files: no two of them share a path, so that the order does not decide which route answers.
    _add_api(app, queue)
    _add_files(app, index)
    _add_running(app, pages)
    _add_errors(app, pages)
    return app


class Pages:
    """Pages of the server.

    Args:
        index: runs and detectors.
        limits: which the page tells.
        local: whether only this machine reaches the server.
    """

    def __init__(self, index: RunIndex, limits: Limits, *, local: bool) -> None:
        self.index = index
        self._templates = Environment(
            loader=PackageLoader("benchmarks.serve"),
            autoescape=True,  # names of runs and detectors come from folders of any origin
            undefined=StrictUndefined,  # a misspelt variable is an error, not an empty place on the page
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"chance": chance, "score": _score, "pathpart": _path_part, "share": share_text}
        self.local = local
        self._templates.globals |= {"limits": limits, "local": local, "reports": index.reports.name, "views": VIEWS}

    def front_page(
        self,
        *,
        chosen: str = "",
        explain: bool = True,
        maps: bool = True,
        wishes: Mapping[str, str] | None = None,
        answer: Answer | None = None,
        problem: str = "",
        status: int = 200,
    ) -> HTMLResponse:
        """Return the page, perhaps with an answer or with what went wrong."""
        runs = self.index.runs()  # read again with every request: runs finish while the server runs
        groups = [("Detectors in folders", self.index.folders)] if self.index.folders else []
        groups += [(run.name, list(run.choices)) for run in runs if run.choices]
        # the first of these is preselected
        ready = [choice.id for _, choices in groups for choice in choices if choice.ready]
        return self._answered(
            "index.html.j2",
            status,
            runs=runs,
            suites=running.suites(self.index.stored),
            groups=groups,
            ready=ready,
            # a folder may hold a localiser, which is known when it is loaded
            mapped=bool(self.index.folders) or any(run.localisers for run in runs),
            # The form keeps what was chosen, also on the page of an error.
            chosen=chosen or next(iter(ready), ""),
            explain=explain,
            maps=maps,
            wishes=dict.fromkeys(_WISHES, "") | dict(wishes or {}),
            answer=answer,
            problem=problem,
        )

    def running_page(self, name: str, *, part: bool) -> HTMLResponse:
        """Return the page of a run under way, or the part of it that changes."""
        suite = running.suite(self.index.stored, name)
        template = "running_part.html.j2" if part else "running.html.j2"
        return self._answered(template, 200, suite=suite, now=int(time.time()))  # the time keeps pictures new

    def part(self, *, answer: Answer | None = None, problem: str = "", status: int = 200) -> HTMLResponse:
        """Return the answer alone, for the script to put into the page."""
        return self._answered("answer.html.j2", status, answer=answer, problem=problem)

    def message(self, title: str, sentence: str, status: int) -> HTMLResponse:
        """Return a page that says one sentence."""
        return self._answered("message.html.j2", status, title=title, sentence=sentence)

    def _answered(self, template: str, status: int, **values: Any) -> HTMLResponse:  # noqa: ANN401 - of templates
        text = self._templates.get_template(template).render(values)
        return HTMLResponse(text, status_code=status, headers=_retry(status))


def _retry(status: int) -> dict[str, str] | None:
    """Return the header that tells a client when to ask a busy server again, in seconds (RFC 9110, 10.2.3)."""
    return {"Retry-After": "2"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None


def chance(probability: float) -> str:
    """Return a probability for people, which is never shown as certain unless it is.

    >>> chance(0.41234), chance(0.99997), chance(1e-5), chance(1.0)
    ('0.412', 'more than 0.999', 'less than 0.001', '1')
    """
    if probability in (0.0, 1.0):
        return f"{probability:.0f}"
    if round(probability, 3) == 1:  # rounding to three digits would print 1.000 for what is not certain
        return "more than 0.999"
    return f"{probability:.3f}" if round(probability, 3) > 0 else "less than 0.001"


def _score(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")  # the sign of typography, which a screen reader reads as minus


def _path_part(name: str) -> str:
    return quote(name, safe="")  # "/" too: a name is one part of the path


async def _judged(request: Request, queue: DetectionQueue, seen: dict[str, Any]) -> Answer:
    """Read a form and answer it; `seen` receives what the form chose, also where this fails."""
    try:
        # The place is taken before a byte of the body is read, and given back when the answer is there or refused.
        with queue.admitted():
            upload = await read_upload(request, queue.limits)
            fields = upload.fields
            # filled before anything is refused: the page shows what was chosen also where that cannot be
            seen |= {"chosen": fields.get("detector", "")}
            seen |= {"explain": is_on(fields, "explain"), "maps": is_on(fields, "map")}
            seen["wishes"] = {name: fields[name] for name in _WISHES if name in fields}
            question = Question.of(fields)
            choice = queue.index.choose(fields.get("detector", ""))
            # `is_disconnected` is asked when it is this photo's turn: a closed connection needs no answer.
            return await queue.ask(choice, upload.photo, question, gone=request.is_disconnected)
    except Refused as error:
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            # other refusals have read the body already, or its form was no upload of a browser
            await read_away(request, queue.limits)
        raise


def _for_script(request: Request) -> bool:
    """Return whether the page's script sent the request and inserts the answer into the page."""
    return request.headers.get("x-part") == "answer"


def _add_pages(app: FastAPI, queue: DetectionQueue, pages: Pages) -> None:
    @app.get("/")
    async def index() -> Response:
        return pages.front_page()

    # The address of the form, opened or reloaded by hand, leads back to the form.
    @app.get("/try")
    async def form() -> Response:
        return RedirectResponse("/#try", status_code=303)  # 303: the browser asks with GET

    @app.post("/try")
    async def judged(request: Request) -> Response:
        seen: dict[str, Any] = {}
        try:
            answer = await _judged(request, queue, seen)
        except BenchError as error:
            # Without a script a form's answer is a page of its own; it then holds the form again, with the error.
            if _for_script(request):
                raise  # the handlers below answer in the form that the request asked for
            return pages.front_page(**seen, problem=str(error), status=status_of(error))
        return pages.part(answer=answer) if _for_script(request) else pages.front_page(**seen, answer=answer)

    # Read once: a page never shows styles of another version than its own.
    styles = b"".join((package_files("benchmarks") / name).read_bytes() for name in _STYLES)
    # In a file of its own, since the policy of these pages allows no inline script.
    script = (package_files("benchmarks") / "serve/static/try.js").read_bytes()

    @app.get("/static/serve.css")
    async def style() -> Response:
        return Response(styles, media_type="text/css")

    @app.get("/static/try.js")
    async def dropping() -> Response:
        return Response(script, media_type="text/javascript")


def _add_api(app: FastAPI, queue: DetectionQueue) -> None:
    @app.get("/api/runs")
    async def runs() -> Response:
        folders = [
            {"id": choice.id, "detector": choice.detector, "trained_on": choice.trained_on, "ready": choice.ready}
            for choice in queue.index.folders
        ]
        limits = {"bytes": queue.limits.bytes, "pixels": queue.limits.pixels, "formats": FORMATS, "views": list(VIEWS)}
        return JSONResponse({"runs": [run.as_json() for run in queue.index.runs()], "folders": folders} | limits)

    @app.get("/api/running")
    async def suites() -> Response:
        return JSONResponse({"running": [suite.as_json() for suite in running.suites(queue.index.stored)]})

    @app.post("/api/detect")
    async def detect(request: Request) -> Response:
        answer = await _judged(request, queue, {})
        return JSONResponse(answer.as_json())


def _add_files(app: FastAPI, index: RunIndex) -> None:
    @app.get("/reports/{name}")
    async def whole(name: str) -> Response:
        index.page_of(name)  # unknown names end here with 404, before they become a redirect
        # With the slash at the end, links of the page to files beside it resolve within its folder. 307 keeps the
        # method.
        return RedirectResponse(f"/reports/{_path_part(name)}/", status_code=307)

    @app.get("/reports/{name}/{path:path}")
    async def part(name: str, path: str) -> Response:
        file = report_file(index.page_of(name), path or "index.html")
        # a type that the browser is not left to guess (nosniff)
        media_type = _TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        # These two can hold scripts and styles: each gets the policy of its own content.
        if file.suffix.lower() in (".html", ".svg"):
            text = file.read_text(encoding="utf-8")
            policy = report_policy(text) if file.suffix.lower() == ".html" else picture_policy(text)
            return Response(text, media_type=media_type, headers={"Content-Security-Policy": policy})
        # data and bitmaps: nothing in them may run
        return FileResponse(file, media_type=media_type, headers={"Content-Security-Policy": FILE_POLICY})


def _add_running(app: FastAPI, pages: Pages) -> None:
    store = pages.index.stored

    @app.get("/running/{name}")
    async def suite(request: Request, name: str) -> Response:
        return pages.running_page(name, part=request.headers.get("x-part") == "running")

    @app.get("/running/{name}/{key}.png")
    async def samples(name: str, key: str) -> Response:
        # Of translators the grids show photos beside forgeries: for this machine alone.
        file = running.picture(store, name, key) if pages.local else None
        if file is None:
            raise Refused(404, "this stage has no samples")
        return Response(file.read_bytes(), media_type="image/png", headers={"Cache-Control": "no-store"})

    script = (package_files("benchmarks") / "serve/static/live.js").read_bytes()

    @app.get("/static/live.js")
    async def live() -> Response:
        return Response(script, media_type="text/javascript")


def report_file(folder: Path, path: str) -> Path:
    """Return a file of a report.

    Args:
        folder: of the report.
        path: within it.

    Raises:
        Refused: it is not there, is hidden, is none of the kinds that reports consist of, or lies outside.
    """
    # One sentence for every reason: an answer must not tell which files exist outside of reports.
    missing = Refused(404, "this report has no such file")
    parts = Path(path).parts
    # "\0" ends a path in C, "\\" separates on Windows, "." begins what is hidden
    if "\0" in path or "\\" in path or any(part.startswith((".", "/")) for part in parts):
        raise missing
    # links are followed before the check: what they point to must lie in the report too
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()) or file.suffix.lower() not in _SHOWN or not file.is_file():
        raise missing
    return file


def status_of(error: BenchError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, Refused):
        return error.status
    # 409: the request is right, the state of the store is not
    return 404 if isinstance(error, UnknownNameError) else 409 if isinstance(error, InputError) else 500


def _add_errors(app: FastAPI, pages: Pages) -> None:
    def answered(request: Request, sentence: str, status: int) -> Response:
        if _for_script(request):
            # Three readers: the page's script inserts a part, programs want JSON, people a page.
            return pages.part(problem=sentence, status=status)
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": sentence}, status_code=status, headers=_retry(status))
        return pages.message(HTTPStatus(status).phrase, sentence, status)

    def handled(error_class: type[Exception], explain: Callable[[Any], tuple[str, int]]) -> None:
        async def handler(request: Request, error: Exception) -> Response:
            return answered(request, *explain(error))

        app.add_exception_handler(error_class, handler)

    # The most derived class wins in Starlette, so that the order of these lines does not matter.
    handled(BenchError, lambda error: (str(error), status_of(error)))
    # sentences of the framework are replaced where this server has one
    handled(HTTPException, lambda error: (_SENTENCES.get(error.status_code, str(error.detail)), error.status_code))
    handled(OSError, lambda error: (str(explain_os_error(error)), 500))
    # no text of the exception: it may hold paths of this machine
    handled(Exception, lambda error: (f"this should not happen: {type(error).__name__}", 500))


_SENTENCES = {404: "there is no such page here", 405: "this page is not asked in this way"}
