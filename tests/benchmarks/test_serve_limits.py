"""`bench serve` among strangers: what uploads may be, who may ask, which files are handed out."""

import base64
import hashlib
import io
import struct
import tempfile
import zlib

import numpy as np
import pytest
from fastapi.testclient import TestClient
from finished import finished_run
from PIL import Image, ImageFile

from benchmarks.serve.app import create_app, report_file
from benchmarks.serve.index import RunIndex
from benchmarks.serve.limits import MOST_SCANS, Limits, Refused, check_photo
from benchmarks.serve.security import names_of, picture_policy, report_policy

FIELD = b'--x\r\nContent-Disposition: form-data; name="photo"\r\n\r\nhello\r\n--x--\r\n'  # a text, no file
LIMITS = Limits(bytes=300_000, pixels=1_000_000)


@pytest.fixture(scope="module")
def home_folder(tmp_path_factory):
    folder = finished_run(tmp_path_factory.mktemp("guarded"))
    (folder / "secret.json").write_text("{}", encoding="utf-8")
    report = folder / "reports/mine"
    (report / "index.html").write_text(page_with("default-src 'none'"), encoding="utf-8")
    (report / "results.csv").write_text("a,b\n", encoding="utf-8")
    (report / "run.py").write_text("", encoding="utf-8")
    (report / ".hidden.json").write_text("{}", encoding="utf-8")
    (report / "figures").mkdir()
    (report / "figures/roc.svg").write_text("<svg><style>a{}</style></svg>", encoding="utf-8")
    (report / "out.json").symlink_to(folder / "secret.json")
    (folder / "reports/notes").mkdir()
    (folder / "reports/notes/own.json").write_text("{}", encoding="utf-8")
    return folder


def client_of(home_folder, **settings):
    app = create_app(RunIndex(home_folder / "reports", home_folder / "runs"), device="cpu", limits=LIMITS, **settings)
    return TestClient(app, base_url="http://127.0.0.1:8000")


@pytest.fixture(scope="module")
def client(home_folder):
    with client_of(home_folder) as test_client:
        yield test_client


def page_with(policy):
    return f'<html><head><meta http-equiv="Content-Security-Policy" content="{policy}"></head><body></body></html>'


def encoded(kind, size=(40, 50), **settings):
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 128, (size[1], size[0], 3), dtype=np.uint8)
    noise[:, : size[0] // 2] += 100  # it must not look blank when it is made small
    Image.fromarray(noise).save(data, format=kind, **settings)
    return data.getvalue()


def header_of(width, height):
    """A PNG that has a header and hardly anything else."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    parts = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, body)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ask(client, photo, name="me.png", **more):
    return client.post("/api/detect", files={"photo": (name, photo)}, **more)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_content_of_a_file_decides_and_not_its_name(client, kind):
    assert ask(client, encoded(kind), name="notes.txt").status_code == 200


@pytest.mark.parametrize(
    ("photo", "status", "said"),
    [
        (b"", 400, "empty"),
        (b"hello", 415, "not a JPEG, PNG or WebP"),
        (encoded("GIF"), 415, "not a JPEG, PNG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a JPEG, PNG or WebP"),
        (encoded("JPEG")[:1200], 422, "truncated"),
        (encoded("JPEG")[:300], 422, "header"),
        (encoded("PNG")[:300], 422, "truncated"),
        (encoded("WEBP")[:300], 422, ""),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), 415, ""),
        (encoded("PNG", (400, 400)), 413, "at most 0.3 MB"),
        (header_of(1001, 1000), 413, "1001 x 1000, at most 1 megapixels"),
        (header_of(60_000, 60_000), 413, "too many pixels"),
        (encoded("JPEG") + b"\xff\xda" * 65, 422, "more than 64 scans"),
    ],
    ids=range(13),
)
def test_what_cannot_be_judged_is_refused_with_a_sentence(client, photo, status, said):
    answer = ask(client, photo)
    sentence = answer.json()["error"]
    assert answer.status_code == status and said in sentence and "\n" not in sentence and "Traceback" not in sentence


def test_a_decompression_bomb_is_refused_before_a_pixel_is_decoded(monkeypatch):
    data = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(data, format="PNG")
    assert len(data.getvalue()) < 50_000

    def load(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    for bomb in (data.getvalue(), header_of(50_000, 50_000)):
        with pytest.raises(Refused, match="at most 40 megapixels"):
            check_photo(bomb, Limits())


def test_a_progressive_photo_is_no_attack():
    photo = encoded("JPEG", progressive=True)
    assert 5 < photo.count(b"\xff\xda") < MOST_SCANS  # it is one, with the scans that encoders write
    check_photo(photo, LIMITS)
    scan = photo.index(b"\xff\xda")
    with pytest.raises(Refused, match="scans"):
        check_photo(photo[:scan] + (MOST_SCANS + 1) * photo[scan:-2] + photo[-2:], LIMITS)


def test_a_body_that_is_too_large_is_refused_without_being_kept(client):
    answer = ask(client, bytes(2_000_000))
    assert answer.status_code == 413 and "at most 0.3 MB" in answer.json()["error"]
    sent = []

    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        for _ in range(1000):
            sent.append(1)
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}  # its length is not said beforehand
    assert client.post("/api/detect", content=endless(), headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"photo=1", "application/x-www-form-urlencoded", 415),
        (b"{}", "application/json", 415),
        (b"", "", 415),
        (b"hello", "multipart/form-data", 400),
        (b"hello", "multipart/form-data; boundary=x", 400),
        (FIELD, "multipart/form-data; boundary=x", 400),
    ],
)  # fmt: skip
def test_what_is_no_form_with_a_photo_is_refused(client, body, kind, status):
    answer = client.post("/api/detect", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status and answer.json()["error"]


def test_an_upload_never_becomes_a_file(home_folder, monkeypatch):
    def rollover(self):
        raise AssertionError("written to a disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    index = RunIndex(home_folder / "reports", home_folder / "runs")
    with TestClient(create_app(index, device="cpu"), base_url="http://127.0.0.1") as client:
        photo = encoded("PNG", (800, 800))
        assert len(photo) > 1_500_000 and ask(client, photo).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000"])
def test_a_name_that_somebody_else_pointed_here_is_refused(client, host):
    answer = client.get("/api/runs", headers={"Host": host})
    assert answer.status_code == 403 and "mine" not in answer.text


UNREADABLE = [
    {"Host": "[::"},
    {"Host": ""},
    {"Host": "127.0.0.1:port"},
    {"Origin": "http://["},
    {"Origin": "http://127.0.0.1:99999999"},
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": "multipart/form-data; boundary*=nonsense''%ff"},
    {"Content-Type": 'multipart/form-data; boundary="'},
]


@pytest.mark.parametrize("headers", UNREADABLE)
def test_a_header_that_cannot_be_read_is_a_bad_request(client, headers):
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    answer = client.post("/api/detect", content=FIELD, headers=raw)
    assert answer.status_code == 400 and "cannot be read" in answer.text
    if "Origin" in headers:
        assert client.get("/", headers=raw).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:8000", "[::1]:8000"])
def test_loopback_has_its_usual_names(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_other_hosts_are_taken_only_where_they_were_asked_for(home_folder):
    with client_of(home_folder, host="lab.example") as client:
        assert client.get("/", headers={"Host": "lab.example:80"}).status_code == 200
        assert client.get("/", headers={"Host": "10.0.0.7"}).status_code == 403
        assert "open to everybody in the network" in client.get("/", headers={"Host": "lab.example"}).text
    with client_of(home_folder, host="0.0.0.0") as client:  # an address cannot be pointed elsewhere, a name can
        assert client.get("/", headers={"Host": "10.0.0.7:8000"}).status_code == 200
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert "localhost" in names_of("lab.example")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_forms_of_other_sites_are_refused(client, headers, status):
    assert ask(client, encoded("PNG"), headers=headers).status_code == status


def test_every_answer_carries_a_strict_policy(client):
    for url in ("/", "/gone", "/api/runs", "/static/try.js", "/reports/mine/", "/reports/mine/results.csv"):
        headers = client.get(url).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        # browsers show nothing where both stand
        assert ("sandbox" in policy) != ("cross-origin-opener-policy" in headers)


def test_a_report_may_use_what_its_own_policy_names_by_hash():
    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    style, script = digest("a{}"), digest("1")
    policy = report_policy(page_with(f"default-src *; style-src {style}; script-src {script} 'unsafe-inline' http://x"))
    assert f"style-src {style}; script-src {script}; " in policy and "unsafe" not in policy and "http" not in policy
    assert "default-src 'none'" in policy and "sandbox allow-scripts" in policy and "same-origin" not in policy
    assert "script-src 'none'" in report_policy("<script>1</script>")
    assert f"style-src {style};" in picture_policy("<svg><style>a{}</style></svg>")


def test_files_of_a_report_are_handed_out(client):
    assert client.get("/reports/mine/").headers["content-type"].startswith("text/html")
    assert client.get("/reports/mine", follow_redirects=False).headers["location"] == "/reports/mine/"
    assert client.get("/reports/mine/results.csv").text == "a,b\n"
    figure = client.get("/reports/mine/figures/roc.svg")
    assert (
        figure.headers["content-type"].startswith("image/svg")
        and "sandbox" in figure.headers["content-security-policy"]
    )


@pytest.mark.parametrize(
    "path",
    [
        "mine/../../secret.json", "mine/%2e%2e/%2e%2e/secret.json", "mine/..%2f..%2fsecret.json", "mine/out.json",
        "mine/%2fetc%2fpasswd", "mine/..%5c..%5csecret.json", "mine/.hidden.json", "mine/run.py", "mine/figures",
        "mine/gone.json", "mine/%00.json", "notes/own.json", "..%2fsecret.json", "%2e%2e/secret.json", "notes/", "",
    ],
)  # fmt: skip
def test_nothing_but_files_of_reports_is_handed_out(client, path):
    answer = client.get(f"/reports/{path}")
    assert answer.status_code == 404 and answer.text != "{}"


@pytest.mark.parametrize(
    "path", ["../../secret.json", "/etc/hostname", "figures/../../../secret.json", "out.json", "a\\b"]
)
def test_a_path_out_of_its_report_is_missing(home_folder, path):
    with pytest.raises(Refused, match="no such file"):
        report_file(home_folder / "reports/mine", path)
