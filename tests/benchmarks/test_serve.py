"""`bench serve`: the page, its answers, the queue, and what starting it says."""

import asyncio
import io
import json
import shutil
import socket
import threading
from html.parser import HTMLParser

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient
from finished import finished_run
from PIL import Image
from synthetic import call_bench

from benchmarks.cli import serve
from benchmarks.report.digests import write_sums
from benchmarks.serve.app import create_app
from benchmarks.serve.index import RunIndex
from benchmarks.serve.limits import Limits
from benchmarks.speed import serving
from forge.core.errors import InputError
from forge.core.files import read_json, write_json

DCT, DISC = "mine dct@dcgan", "mine disc-scratch@dcgan"


@pytest.fixture(scope="module")
def home_folder(tmp_path_factory):
    folder = finished_run(tmp_path_factory.mktemp("served"))
    page = "<!doctype html><html><head></head><body>the report</body></html>"
    (folder / "reports/mine/index.html").write_text(page, encoding="utf-8")
    return folder


def app_of(home_folder, **settings):
    return create_app(RunIndex(home_folder / "reports", home_folder / "runs"), device="cpu", **settings)


@pytest.fixture(scope="module")
def client(home_folder):
    with TestClient(app_of(home_folder), base_url="http://127.0.0.1:8000") as test_client:
        yield test_client


@pytest.fixture
def own_folder(home_folder, tmp_path):
    """A copy of the run that a test may change."""
    shutil.copytree(home_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def ask(client, photo, url="/api/detect", headers=None, **fields):
    return client.post(url, files={"photo": ("me.jpg", photo)}, data=fields, headers=headers)


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_an_answer_is_that_of_bench_detect_on_the_same_file(client, home_folder, tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    monkeypatch.chdir(home_folder)
    for detector in ("dct", "disc-scratch"):
        code, out, _ = bench("detect", "mine", "me.png", "-d", detector, "--json")
        (row,) = json.loads(out)["images"]
        answer = ask(client, (home_folder / "me.png").read_bytes(), detector=f"mine {detector}@dcgan").json()
        assert code == 0 and {key: answer[key] for key in ("score", "probability", "verdict")} == {
            key: row[key] for key in ("score", "probability", "verdict")
        }
        assert (answer["detector"], answer["trained_on"], answer["source"]) == (detector, "dcgan", "mine")
        assert answer["called"] == ("forged" if answer["score"] >= answer["threshold"] else "real")
        assert [change["score"] for change in answer["reencoded"]] == pytest.approx(list(row["reencoded"].values()))
        assert answer["reason"] == row.get("reason", "") and answer["unlike"] == row["unlike"]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"prior": "0.01", "error_rate": "0.2"}, ("--prior", "0.01", "--error-rate", "0.2")),
        ({"detector": DISC, "view": "centre-crop"}, ("-d", "disc-scratch", "--view", "centre-crop")),
    ],
)
def test_view_prior_and_error_rate_are_those_of_bench_detect(
    fields, options, client, home_folder, tmp_path, monkeypatch, capsys
):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    monkeypatch.chdir(home_folder)
    said = json.loads(bench("detect", "mine", "me.png", *options, "--json")[1])
    (row,) = said["images"]
    answer = ask(client, (home_folder / "me.png").read_bytes(), **{"detector": DCT} | fields).json()
    assert {key: answer[key] for key in ("score", "probability", "verdict", "called")} == {
        key: row[key] for key in ("score", "probability", "verdict", "called")
    }
    assert (answer["threshold"], answer["turning"]) == (said["threshold"]["score"], said["threshold"]["probability"])
    assert (answer["prior"], answer["error_rate"]) == (said["verdicts"]["prior"], said["verdicts"]["error_rate"])
    assert len(answer["reencoded"]) == len(row.get("reencoded", {}))
    assert answer["view"] == fields.get("view", "resize") and len(answer["rules"]) > len(said["verdicts"]["sentences"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prior": "1"}, "prior is the share of forgeries"),
        ({"prior": "many"}, "prior must be a number between 0 and 1, e.g. 0.01, got 'many'"),
        ({"error_rate": "nan"}, "error_rate must lie between 0 and 1"),
        ({"error_rate": "0.0001"}, "it needs 9,999 validation images"),
        ({"view": "tile"}, "tiles"),
        ({"detector": DCT, "view": "tiles"}, "has no view tiles"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_and_stay_in_the_form(fields, said, client, home_folder):
    photo = (home_folder / "me.png").read_bytes()
    refused = ask(client, photo, **fields)
    assert refused.status_code == 422 and said in refused.json()["error"] and "--prior" not in refused.text
    page = ask(client, photo, "/try", **fields)
    assert page.status_code == 422 and "<details open" in page.text
    tags = Tags(page.text).found
    for name in ("prior", "error_rate"):
        (value,) = [attrs["value"] for tag, attrs in tags if tag == "input" and attrs.get("name") == name]
        assert value == fields.get(name, "")


def test_a_photo_is_turned_upright_as_its_camera_says(client, home_folder):
    upright = Image.open(home_folder / "me.png")
    turned, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # shown after turning it clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, format="PNG", exif=exif)
    first, second = (ask(client, data).json() for data in ((home_folder / "me.png").read_bytes(), turned.getvalue()))
    assert (first["score"], first["seen"]) == (second["score"], second["seen"])


def test_an_answer_shows_what_was_seen_and_where_the_detector_looked(client, home_folder):
    photo = (home_folder / "me.png").read_bytes()
    looked = ask(client, photo, detector=DISC, explain="1").json()
    assert all(looked[key].startswith("data:image/png;base64,") for key in ("seen", "saliency"))
    assert looked["seen"] != looked["saliency"] and "gradients" in looked["explanation"]
    cannot = ask(client, photo, detector=DCT, explain="1").json()
    assert cannot["saliency"] is None and "dct cannot say which pixels its score depends on" in cannot["explanation"]
    assert ask(client, photo, detector=DISC).json()["saliency"] is None


def test_without_a_script_the_form_is_answered_by_a_whole_page(client, home_folder):
    page = ask(client, (home_folder / "me.png").read_bytes(), "/try", detector=DISC, explain="1")
    tags = Tags(page.text).found
    assert page.status_code == 200 and sum(tag == "article" for tag, _ in tags) == 1
    assert ("option", {"value": DISC, "selected": None}) in tags
    assert any(tag == "input" and "checked" in attrs for tag, attrs in tags)
    (form,) = [attrs for tag, attrs in tags if tag == "form"]
    assert (form["action"], form["method"], form["enctype"]) == ("/try", "post", "multipart/form-data")
    refused = ask(client, b"hello", "/try", detector=DCT)
    assert refused.status_code == 415 and "not a JPEG, PNG or WebP" in refused.text and "<form" in refused.text
    assert ("option", {"value": DCT, "selected": None}) in Tags(refused.text).found


def test_the_script_gets_the_answer_alone(client, home_folder):
    part = ask(client, (home_folder / "me.png").read_bytes(), "/try", headers={"X-Part": "answer"})
    assert part.status_code == 200 and "<article" in part.text and "<html" not in part.text
    problem = ask(client, b"", "/try", headers={"X-Part": "answer"})
    assert problem.status_code == 400 and 'role="alert"' in problem.text and "<html" not in problem.text


def test_pages_name_no_remote_address_and_no_inline_code(client, home_folder):
    for page in (client.get("/"), ask(client, (home_folder / "me.png").read_bytes(), "/try"), client.get("/gone")):
        for tag, attrs in Tags(page.text).found:
            assert tag != "style" and "style" not in attrs and not [name for name in attrs if name.startswith("on")]
            addresses = [attrs[name] or "" for name in ("src", "href", "action") if name in attrs]
            assert all(address.startswith(("/", "#", "data:")) for address in addresses)
            assert not (tag == "script" and "src" not in attrs)
    for name, media_type in (("serve.css", "text/css"), ("try.js", "text/javascript")):
        response = client.get(f"/static/{name}")
        assert response.headers["content-type"].startswith(media_type) and "http" not in response.text


def test_runs_are_listed_with_their_best_result(client):
    (run,) = client.get("/api/runs").json()["runs"]
    assert (run["name"], run["preset"], run["data"], run["generators"]) == (
        "mine",
        "quick",
        "rendered, 64 px",
        ["dcgan"],
    )
    assert run["best"].startswith("dct: AUC 0.") and "generators it was trained on" in run["best"]
    assert [choice["id"] for choice in run["choices"]] == [DCT, DISC] and all(
        choice_of_run["ready"] for choice_of_run in run["choices"]
    )
    page = client.get("/").text
    assert 'href="/reports/mine/"' in page and run["best"] in page


def test_a_published_leaderboard_speaks_for_its_run(own_folder):
    values = [
        {"what": f"{name}, cross", "value": value, "low": value - 0.02, "high": value + 0.02}
        for name, value in (("a", 0.9), ("b", 0.91), ("c", 0.6))
    ]
    ranks = {"a": "1 (1–2)", "b": "1 (1–2)", "c": "3"}
    told = {"name": "mine", "protocol": 1, "data": "ab" * 32, "environment": {}, "primary": "cross"}
    write_json(own_folder / "reports/mine/expected.json", told | {"values": values, "ranks": ranks})
    write_sums(own_folder / "reports/mine")
    (run,) = RunIndex(own_folder / "reports", own_folder / "runs").runs()
    assert (
        run.best == "b: AUC 0.91 [0.89, 0.93] on generators it was not trained on; 1 more cannot be told apart from it"
    )


def test_names_of_runs_are_text_and_never_markup(own_folder):
    results = read_json(own_folder / "reports/mine/results.json")
    results["data"]["name"] = "<script>alert(1)</script>"
    results["generators"][0]["name"] = '"><img src=x onerror=alert(2)>'
    write_json(own_folder / "reports/a<b>&'c/results.json", results)
    with TestClient(app_of(own_folder), base_url="http://127.0.0.1") as client:
        page = client.get("/").text
    tags = Tags(page).found
    assert "alert(1)" in page and not any(tag == "img" and "onerror" in attrs for tag, attrs in tags)
    assert [attrs for tag, attrs in tags if tag == "script"] == [{"src": "/static/try.js", "defer": None}]
    assert "<b>&'c" not in page


def test_a_damaged_run_is_listed_as_such_beside_the_others(own_folder):
    (own_folder / "reports/broken").mkdir()
    (own_folder / "reports/broken/results.json").write_text("{", encoding="utf-8")
    write_json(own_folder / "reports/strange/results.json", {"cells": 3})
    runs = {run.name: run for run in RunIndex(own_folder / "reports", own_folder / "runs").runs()}
    assert runs["broken"].problem and runs["strange"].problem and not runs["mine"].problem
    with TestClient(app_of(own_folder), base_url="http://127.0.0.1") as client:
        assert client.get("/").text.count("Cannot be read") == 2


def test_without_detectors_the_page_says_how_to_get_one(own_folder, home_folder):
    photo = (home_folder / "me.png").read_bytes()
    with TestClient(app_of(own_folder / "more"), base_url="http://127.0.0.1") as client:
        page = client.get("/").text
        assert "No detector can be asked yet" in page and "bench run --generator" in page and "<form" not in page
        refused = ask(client, photo)
        assert refused.status_code == 409 and "`bench run` trains some" in refused.json()["error"]
    shutil.rmtree(own_folder / "runs")  # a report from elsewhere
    with TestClient(app_of(own_folder), base_url="http://127.0.0.1") as client:
        assert "finished elsewhere" in client.get("/").text
        refused = ask(client, photo, detector=DCT)
        assert refused.status_code == 409 and "is not in" in refused.json()["error"]
        unknown = ask(client, photo, detector="mine dtc@dcgan")
        assert unknown.status_code == 404 and f"did you mean '{DCT}'" in unknown.json()["error"]


def test_a_detector_in_a_folder_is_offered_and_judges_at_one_half(own_folder):
    folder = next(file.parent for file in own_folder.glob("runs/results/fit-*/detector/network.json"))
    index = RunIndex(own_folder / "none", own_folder / "runs", folders=[folder])
    with TestClient(create_app(index, device="cpu"), base_url="http://127.0.0.1") as client:
        answer = ask(client, (own_folder / "me.png").read_bytes()).json()
    assert answer["detector"] == "disc-scratch" and (answer["threshold"], answer["turning"]) == (0, 0.5)
    with pytest.raises(InputError, match=r"no detector\.json"):
        RunIndex(own_folder, own_folder, folders=[own_folder])


def test_few_detectors_stay_loaded_and_a_run_made_again_is_read_again(own_folder, monkeypatch):
    monkeypatch.setattr("benchmarks.serve.queue.KEPT", 1)
    app = app_of(own_folder)
    queue, loads = app.state.queue, []
    load = queue.index.load
    monkeypatch.setattr(queue.index, "load", lambda choice: loads.append(choice.id) or load(choice))
    photo = (own_folder / "me.png").read_bytes()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for detector in (DCT, DCT, DISC, DCT):
            assert ask(client, photo, detector=detector).status_code == 200
        assert loads == [DCT, DISC, DCT]
        results = read_json(own_folder / "reports/mine/results.json")
        for cell in results["cells"]:
            cell["threshold"] = 1e9
        write_json(own_folder / "reports/mine/results.json", results)
        write_sums(own_folder / "reports/mine")
        assert ask(client, photo, detector=DCT).json()["threshold"] == 1e9


def test_many_at_once_are_answered_one_after_another(home_folder, monkeypatch):
    app = app_of(home_folder)
    judge, inside, most = app.state.queue.judge, [], []

    def watched(*arguments):
        inside.append(1)
        most.append(len(inside))
        try:
            return judge(*arguments)
        finally:
            inside.pop()

    monkeypatch.setattr(app.state.queue, "judge", watched)
    photo = (home_folder / "me.png").read_bytes()

    async def rush():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await asyncio.gather(*(ask(client, photo, detector=DCT) for _ in range(50)))

    answers = asyncio.run(rush())
    assert {answer.status_code for answer in answers} == {200} and len({a.json()["score"] for a in answers}) == 1
    assert most == [1] * 50


def test_beyond_the_queue_a_sentence_says_to_try_again(home_folder, monkeypatch):
    app = app_of(home_folder, limits=Limits(inside=3))
    judge, full = app.state.queue.judge, threading.Event()

    def held(*arguments):
        assert full.wait(20)
        return judge(*arguments)

    monkeypatch.setattr(app.state.queue, "judge", held)
    photo = (home_folder / "me.png").read_bytes()

    async def rush():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            waiting = [asyncio.create_task(ask(client, photo)) for _ in range(5)]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert {task.result().status_code for task in done} == {503}
            form = {"data": {"detector": DCT}, "files": {"photo": ("me.png", photo)}}
            same = {"origin": "http://127.0.0.1"}
            pages = [await client.post("/try", headers=same | part, **form) for part in ({}, {"x-part": "answer"})]
            assert [(page.status_code, page.headers["retry-after"]) for page in pages] == [(503, "2")] * 2
            full.set()
            answers = await asyncio.gather(*waiting)
            return answers, await ask(client, photo)

    answers, later = asyncio.run(rush())
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 2 and later.status_code == 200
    (refused, _) = [answer for answer in answers if answer.status_code == 503]
    assert "3 photos are waiting already" in refused.json()["error"] and refused.headers["retry-after"]


def test_a_real_server_answers_and_says_nothing_of_the_upload(home_folder, monkeypatch, capfd):
    servers, run = [], uvicorn.Server.run
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: servers.append(self) or run(self, sockets))
    listening = serve.listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    arguments = (listening, "127.0.0.1", [], [], (10, 40), home_folder / "runs", home_folder / "reports", "cpu")
    thread = threading.Thread(target=serve._serve, args=arguments)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:  # connections wait until it is up
        for photo, status in (((home_folder / "me.png").read_bytes(), 200), (b"hello", 415), (bytes(20_000_000), 413)):
            answer = client.post("/api/detect", files={"photo": ("holiday.jpg", photo)}, data={"detector": DCT})
            assert answer.status_code == status and "server" not in answer.headers
    servers[0].should_exit = True
    thread.join(20)
    listening.close()
    out, err = capfd.readouterr()
    assert not thread.is_alive() and err == "" and out == f"http://127.0.0.1:{port}/   (Ctrl-C stops it)\n"


def test_what_speed_measures_is_such_an_upload(client, monkeypatch):
    monkeypatch.setattr(serving, "SIZE", (400, 320))
    media_type = {"Content-Type": f"multipart/form-data; boundary={serving._BOUNDARY}"}
    for explain in (False, True):
        answer = client.post("/api/detect", content=serving._form(explain=explain), headers=media_type)
        assert answer.status_code == 200 and bool(answer.json()["explanation"]) == explain


def test_a_port_in_use_is_one_sentence_and_zero_takes_a_free_one(tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    with serve.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        code, _, err = bench("serve", "--port", str(port))
    assert port > 0 and code == 2 and err.count("\n") == 1
    assert f"port {port} of 127.0.0.1 is taken" in err and "--port 0" in err
    with pytest.raises(InputError, match=r"--host 203\.0\.113\.9 --port 0 cannot be listened at"):
        serve.listen("203.0.113.9", 0)


def test_a_missing_extra_names_the_command_that_installs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "uvicorn" else object())
    code, _, err = call_bench(tmp_path, monkeypatch, capsys)("serve")
    assert code == 2 and "bench serve needs uvicorn" in err and "pip install -e '.[serve]'" in err


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_starting_prints_the_address_and_who_can_reach_it(host, warned, tmp_path, monkeypatch, capsys):
    ran = []

    def run(self, sockets):
        ran.append((sockets[0].getsockname(), self.config.access_log))
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn.Server.run", run)
    code, out, err = call_bench(tmp_path, monkeypatch, capsys)("serve", "--port", "0", "--host", host)
    (((bound, port), logged),) = ran
    assert (code, err) == (0, "") and f"http://{host}:{port}/" in out and bound == host and not logged
    assert ("Everybody in the network" in out) == warned
    with socket.socket() as again:
        again.bind((host, port))  # it was closed
