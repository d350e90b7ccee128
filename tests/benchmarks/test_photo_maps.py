"""Maps of photos: their localiser and threshold, the files of `bench detect --map`, and the answer of the page."""

import base64
import io
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from finished import finished_run, localised_run, mask_rows
from PIL import Image

from benchmarks import load
from benchmarks.evaluation.localisation import counts_of, localised, scale_of
from benchmarks.evaluation.pixels import threshold
from benchmarks.evaluation.results import PixelValue
from benchmarks.inference.map_output import free_stem
from benchmarks.inference.photo_maps import PhotoLocaliser, PixelThreshold, best_localiser
from benchmarks.inference.photos import intake_for, read_faces
from benchmarks.report.digests import write_sums
from benchmarks.report.heat import STEPS, contour, heat, laid_over, map_picture, palette
from benchmarks.report.run_report import RunReport
from benchmarks.serve.app import create_app
from benchmarks.serve.index import RunIndex
from benchmarks.serve.question import Question
from detect.detectors.noise_map import NoiseMap
from forge.core.compute import Compute
from forge.core.errors import CorruptError, InputError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The runs `mine`, without a localiser, and `where`, with one, in a folder with photos."""
    return localised_run(finished_run(tmp_path_factory.mktemp("where")))


@pytest.fixture
def done(finished, bench, monkeypatch):
    """`bench` beside the finished runs."""
    monkeypatch.chdir(finished)
    yield bench
    shutil.rmtree(finished / "pictures", ignore_errors=True)


def test_colours_have_equal_steps_and_rising_lightness():
    lab, colours = palette()
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.02 and (np.diff(lab[:, 0]) > 0).all()
    assert len(np.unique(colours, axis=0)) == STEPS
    assert np.array_equal(heat(np.array([-9, 0, 1, 9], np.float32), 0, 1), colours[[0, 0, -1, -1]])
    assert np.array_equal(heat(np.full(2, 3, np.float32), 3, 3), colours[[0, 0]])  # one value, no division by zero


def test_a_contour_follows_the_region_and_not_the_rim_of_the_picture():
    region = np.zeros((4, 4), bool)
    region[:2, :2] = True
    inner, outer = contour(region, 4)
    assert not inner[0, :7].any() and not outer[8:, 9:].any() and inner[:8, 7].all() and outer[:9, 8].all()
    assert not (inner & outer).any() and not contour(np.ones((4, 4), bool), 2)[0].any()
    face = np.full((4, 4, 3), 100, np.uint8)
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    short, picture = (
        map_picture(face, values, (0, 1), region=region, threshold=0.5, caption="−1 % of " * count, side=64)
        for count in (1, 30)
    )
    assert picture.width == short.width > 2 * 64 and picture.height > short.height + 2 * 14  # the caption is wrapped
    pixels = np.asarray(picture)
    assert (pixels[:64, :64] == 100).all() and (pixels[40, 68 + 40] == laid_over(face, heat(values, 0, 1))[2, 2]).all()


def test_the_threshold_of_pixels_is_that_of_the_tables(finished):
    rows = mask_rows(NoiseMap(NoiseMap.Settings(), 16))
    level = threshold(counts_of(rows[rows["split"] == "val"]))
    pixels = PixelThreshold.of_run(RunReport.open("where", finished / "reports"), "noise-map", "elsewhere", 0)
    assert pixels.level == level and pixels.value == scale_of(rows).edges[level - 1]
    low, high = pixels.limits
    assert low <= pixels.value <= high
    values = np.array([[pixels.value, np.nextafter(np.float16(pixels.value), np.float16(-np.inf))]], np.float32)
    assert pixels.region(values).tolist() == [[True, False]]
    # the false-alarm area of the run is the mean share of its untouched test images
    area = localised(rows)[0].false_alarm_area.value
    test = counts_of(rows[(rows["split"] == "test") & (rows["generator"] == "")])
    assert area == pytest.approx(test.untouched[:, level:].sum() / test.untouched.sum())
    assert PixelThreshold.of_run(RunReport.open("mine", finished / "reports"), "dct", "dcgan", 0) is None
    everything = PixelThreshold(0, pixels.scale)
    assert everything.value == -np.inf and everything.region(values).all()


def record(detector, trained_on, value, source="map"):
    return SimpleNamespace(detector=detector, trained_on=trained_on, f1=PixelValue(value=value, low=None, high=None),
                           source=source)  # fmt: skip


def test_the_best_localiser_has_the_training_of_the_detector():
    records = [record("unet", "a+b", 0.4), record("unet", "a+b", 0.6), record("unet", "a", 0.9),
               record("noise-map", "elsewhere", 0.3), record("mean training mask", "a+b", 0.99, "control")]  # fmt: skip
    results = SimpleNamespace(localisation=records)
    assert best_localiser(results, "a+b") == ("unet", "a+b")
    assert best_localiser(results, "a") == ("unet", "a")
    assert best_localiser(results, "b") == ("noise-map", "elsewhere")
    assert best_localiser(SimpleNamespace(localisation=records[:3]), "b") == ("unet", "a+b")  # the widest training
    assert best_localiser(SimpleNamespace(localisation=records[4:]), "a+b") is None


def test_sentences_say_what_a_map_is_not():
    pixels = PixelThreshold(1, SimpleNamespace(edges=np.array([-0.5, 2], np.float32)))
    area = PixelValue(value=0.04, low=0.03, high=0.06)
    plain = PhotoLocaliser(None, "unet", "a+b", "dct", pixels, area, {"a": 0.25}, beaten=True)
    text = " ".join(plain.sentences())
    assert "Map by unet, trained on a+b; the score is of dct." in text and "threshold −0.5" in text
    assert "faces without edits too: 4 % [3, 6]" in text and "a 0.25, not above the mean training mask" in text
    assert json.loads(json.dumps(plain.as_json()))["threshold"] == -0.5
    alone = PhotoLocaliser(None, "unet", "a", "unet")
    assert alone.as_json()["threshold"] is None and alone.share(np.ones((2, 2), np.float32)) is None
    assert "brightest part, edited or not" in " ".join(alone.sentences()) and "not measured" in alone.sentences()[-1]
    earlier = PhotoLocaliser(None, "unet", "a", "unet", None, area).sentences()
    assert "again stores it" in earlier[1] and "At the threshold of the run it marks" in earlier[2]
    assert alone.limits(np.array([[1, 3]], np.float32)) == (1, 3)
    useless = PhotoLocaliser(None, "unet", "a", "unet", PixelThreshold(0, pixels.scale))
    assert "takes every pixel" in " ".join(useless.sentences()) and useless.as_json()["threshold"] is None


def test_maps_are_written_beside_the_score_of_another_detector(done):
    before = Path("me.png").read_bytes()
    code, out, err = done("detect", "where", "me.png", "more", "-d", "dct", "--map", "--map-values", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "") and answer["detector"] == "dct" and answer["maps"]["detector"] == "noise-map"
    assert Path("me.png").read_bytes() == before
    folder = Path("pictures/where/noise-map@elsewhere")
    assert {file.name for file in folder.iterdir()} == {
        f"{stem}.{kind}" for stem in ("me-map", "me-2-map") for kind in ("png", "npy")
    }
    row = answer["images"][0]
    values = np.load(row["map_values"], allow_pickle=False)
    assert values.shape == (16, 16) and values.dtype == np.float32
    assert row["altered"] == pytest.approx((values.astype(np.float16) >= answer["maps"]["threshold"]).mean())
    picture = Image.open(row["map"])
    source = picture.text["Source"]
    assert picture.height > 256 and source.startswith("me.png: ") and "noise-map" in source
    assert "without edits too" in source

    code, out, _ = done("detect", "where", "me.png", "-d", "dct", "--map-to", "seen")
    flat = " ".join(out.split())
    assert code == 0 and str(Path("seen/me-map.png")) in out and "area marked" in flat and "the score is of dct" in flat
    assert "of the pixels of untouched test images" in flat and not list(Path("seen").glob("*.npy"))
    code, out, _ = done("detect", "where", "me.png", "-d", "noise-map", "--map-to", "seen", "--out", "scores.csv")
    table = pd.read_csv("scores.csv")
    assert code == 0 and table["map"][0] == str(Path("seen/me-map.png")) and 0 <= table["altered"][0] <= 1
    assert "Map by noise-map, which learned nothing in this run." in " ".join(out.split())
    shutil.rmtree("seen")


def test_pictures_of_two_options_do_not_take_each_others_names():
    taken = set()
    stems = [free_stem(file, taken, suffix) for file, suffix in (
        ("me.jpg", ""), ("a/me-map.jpg", ""), ("me.jpg", "-map"), ("a/me-map.jpg", "-map"), ("b/me.jpg", "-map"),
    )]  # fmt: skip
    assert stems == ["me", "me-map", "me-2-map", "me-map-map", "me-3-map"] and taken == set(stems)


def test_without_a_localiser_one_sentence_says_how_to_get_one(done):
    code, out, err = done("detect", "mine", "me.png", "-d", "dct", "--map")
    flat = " ".join(out.split())
    assert (code, err) == (0, "") and not Path("pictures").exists()
    assert "dct has no map, and no localiser was measured in run mine" in flat
    assert "bench run -g splice,inpaint,retouch -d unet" in flat
    maps = json.loads(done("detect", "mine", "me.png", "-d", "dct", "--map", "--json")[1])["maps"]
    assert maps["detector"] is None and "bench run -g splice" in maps["sentences"][0]
    with pytest.raises(InputError, match="bench run -g splice"):
        load("mine", reports="reports").detect("me.png", detector="dct", maps=True, store="runs", device="cpu")


def test_a_localiser_in_a_folder_has_a_map_without_a_threshold(done):
    folder = next(file.parent for file in Path("runs/results").glob("fit-*/detector/detector.json")
                  if '"noise-map"' in file.read_text())  # fmt: skip
    shutil.copytree(folder, "single")
    code, out, _ = done("detect", "single", "me.png", "--map-to", "seen", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["maps"]["threshold"] is None and "altered" not in answer["images"][0]
    assert Path(answer["images"][0]["map"]).is_file()
    code, out, _ = done("detect", "single", "me.png", "--map-to", "seen")
    assert code == 0 and "area marked" not in out and "edited or not" in " ".join(out.split())
    for folder in ("single", "seen"):
        shutil.rmtree(folder)
    folder = next(file.parent for file in Path("runs/results").glob("fit-*/detector/network.json"))
    code, out, _ = done("detect", str(folder), "me.png", "--map")
    assert code == 0 and "has no map; name a run with a localiser" in " ".join(out.split())


def test_wrong_folders_and_damaged_rows_are_one_sentence(done, finished):
    Path("file").write_text("")
    for path, message in (("runs/x", "lies among the stored results"), ("file", "--map-to file is not a folder")):
        code, out, err = done("detect", "where", "me.png", "--map-to", path)
        assert code == 2 and message in err and err.count("\n") == 1 and out == ""
    file = finished / "reports/where/masks.parquet"
    before = file.read_bytes()
    file.write_bytes(before + b"x")
    try:
        code, _, err = done("detect", "where", "me.png", "--map")
        assert code == 1 and "masks.parquet was changed" in err
        (finished / "reports/where/SHA256SUMS").unlink()
        file.write_bytes(before[:100])
        with pytest.raises(CorruptError, match="damaged"):
            PixelThreshold.of_run(RunReport(finished / "reports/where", note=False), "noise-map", "elsewhere", 0)
    finally:
        file.write_bytes(before)
        write_sums(finished / "reports/where")


def test_the_report_object_gives_maps_as_arrays(done):
    frame = load("where", reports="reports").detect(["me.png", "you.png"], detector="dct", maps=True, store="runs",
                                                    device="cpu")  # fmt: skip
    detector = load("where", reports="reports").detector("noise-map", store="runs").detector
    (faces,) = read_faces([Path("me.png"), Path("you.png")], intake_for(16, "none"))
    assert frame["map_values"][0].shape == (16, 16) and frame["altered"].between(0, 1).all()
    assert np.array_equal(np.stack(frame["map_values"]), detector.maps(faces.images, Compute()))
    assert frame.attrs["maps"]["detector"] == "noise-map" and "Map by noise-map" in " ".join(frame.attrs["notes"])
    plain = load("where", reports="reports").detect("me.png", detector="dct", store="runs", device="cpu")
    assert plain["map_values"][0] == "" and plain["altered"].isna().all() and "maps" not in plain.attrs


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_and_the_answer_show_the_map(finished):
    photo, app = (finished / "me.png").read_bytes(), create_app(
        RunIndex(finished / "reports", finished / "runs"), device="cpu"
    )  # fmt: skip

    def ask(client, url="/api/detect", **fields):
        return client.post(url, files={"photo": ("me.jpg", photo)}, data=fields)

    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert 'id="map"' in client.get("/").text
        assert {run["name"]: run["localisers"] for run in client.get("/api/runs").json()["runs"]} == {
            "mine": [], "where": ["noise-map"]
        }  # fmt: skip
        answer = ask(client, detector="where dct@splice", map="1").json()
        located = answer["map"]
        assert answer["detector"] == "dct" and located["detector"] == "noise-map" and answer["no_map"] == ""
        assert 0 <= located["altered"] <= 1 and located["false_alarm_area"] is not None
        assert any("without edits too" in sentence for sentence in located["sentences"])
        for layer in ("face", "colours", "contour"):
            assert located[layer].startswith("data:image/png;base64,")
        assert ask(client, detector="where dct@splice").json()["map"] is None  # not asked for
        missing = ask(client, detector="mine dct@dcgan", map="1").json()
        assert missing["map"] is None and "bench run -g splice" in missing["no_map"]
        page = ask(client, "/try", detector="where dct@splice", map="1")
        policy = page.headers["content-security-policy"]
        tags = Tags(page.text).tags
        share = f"{100 * located['altered']:.1f} %"
        (layers,) = [attrs for tag, attrs in tags if attrs.get("class") == "layers"]
        assert layers["role"] == "img" and share in layers["aria-label"]
        assert ("input", {"id": "map-shown", "type": "checkbox", "checked": None}) in tags
        assert any(attrs.get("id") == "map-opacity" and attrs["type"] == "range" for _, attrs in tags)
        labels = {attrs.get("for") for tag, attrs in tags if tag == "label"}
        assert {"map", "map-shown", "map-opacity"} <= labels
        # colours are attributes of SVG and pixels: no inline style or script that the policy would forbid
        assert "unsafe-inline" not in policy and not any("style" in attrs for _, attrs in tags)
        unasked = Tags(ask(client, "/try", detector="where dct@splice").text).tags
        assert ("input", {"id": "map", "name": "map", "type": "checkbox", "value": "1"}) in unasked
        # weights that are gone cost the map, not the answer; they are found again without a restart
        fit = next(file.parents[1] for file in finished.glob("runs/results/fit-*/detector/detector.json")
                   if '"noise-map"' in file.read_text())  # fmt: skip
        app.state.queue._localisers.clear()
        fit.rename(finished / "away")
        gone = ask(client, detector="where dct@splice", map="1")
        (finished / "away").rename(fit)
        assert gone.status_code == 200 and gone.json()["map"] is None and "is not in" in gone.json()["no_map"]
        assert ask(client, detector="where dct@splice", map="1").json()["map"] is not None
        text = ask(client, "/try", detector="mine dct@dcgan", map="1").text
        assert "No map:" in text and 'class="layers"' not in text


def test_the_answers_layers_are_the_map(finished):
    app = create_app(RunIndex(finished / "reports", finished / "runs"), device="cpu")
    choice = app.state.queue.index.choose("where noise-map@elsewhere")
    located = app.state.queue.judge(choice, (finished / "me.png").read_bytes(), Question(maps=True)).map
    colours, lines = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
        for uri in (located.colours, located.contour)
    )
    assert colours.shape == (224, 224, 3) and lines.shape == (224, 224, 4)
    shown = {tuple(pixel) for pixel in colours.reshape(-1, 3)}
    assert shown <= {tuple(colour) for colour in palette()[1]} and len(shown) > 10
    assert set(np.unique(lines[..., 3])) <= {0, 255}
