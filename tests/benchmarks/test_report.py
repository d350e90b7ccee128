"""The report as a whole: what lands on the disk, and whether a stranger's browser may open it."""

import base64
import csv
import hashlib
import itertools
import re
from html.parser import HTMLParser
from unittest.mock import patch
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from benchmarks.measures.evaluate import compare, evaluate
from benchmarks.measures.results import (
    CSV_COLUMNS,
    DataFacts,
    DetectorFacts,
    GeneratorFacts,
    Results,
    StageFacts,
)
from benchmarks.report.page import TestRows, heat
from benchmarks.report.write import Pictures, write_report
from detect.scoring import read_scores
from forge.errors import InputError
from forge.files import read_json

EVIL = "<script>alert(1)</script>\"' 🙂 a|b `c` */--> ../x"


def make_scores(skill, *, n=300, seed=0):
    """Rows of detectors whose classes lie `skill[(detector, trained_on)][generator]` standard deviations apart."""
    parts = []
    for i, ((detector, trained_on), apart) in enumerate(skill.items()):
        for split in ("val", "test"):
            for j, (generator, distance) in enumerate([("", 0.0), *apart.items()]):
                # the images' own difficulty is shared by all detectors, as on real images
                shared = np.random.default_rng([seed, split == "val", j]).normal(size=n)
                own = np.random.default_rng([seed, 9, i, split == "val", j]).normal(size=n)
                score = 0.8 * shared + 0.6 * own + distance
                parts.append(
                    pd.DataFrame(
                        {
                            "detector": detector, "trained_on": trained_on, "seed": 0,
                            "sample_id": [f"{generator or 'real'}-{split}-{k:05d}" for k in range(n)], "identity": "",
                            "source": generator or "rendered", "generator": generator, "split": split,
                            "perturbation": "none", "label": int(bool(generator)), "score": score,
                            "probability": 1 / (1 + np.exp(-3 * (score - max(apart.values()) / 2))),
                        }
                    )
                )  # fmt: skip
    return pd.concat(parts, ignore_index=True).astype({"seed": "int64", "label": "int8"})


def evaluated(scores):
    with patch("benchmarks.measures.evaluate.RESAMPLES", 30):  # intervals of the EER need not be good here
        return evaluate(scores)


def make_results(scores, *, name="dcgan-on-rendered", face="rendered", shown=True):
    fits = list(dict.fromkeys(zip(scores["detector"], scores["trained_on"], strict=True)))
    rng = np.random.default_rng(5)
    kimg = np.linspace(0.5, 60, 300)
    log = [
        {"step": float(i), "kimg": float(k), "seconds": float(3 * k), "d_loss": float(1.1 + rng.normal() * 0.15),
         "g_loss": float(1 + k / 60 + rng.normal() * 0.3), "r1": 0.01,
         "d_accuracy": float(np.clip(0.75 + rng.normal() * 0.07, 0, 1))}
        for i, k in enumerate(kimg)
    ]  # fmt: skip
    history = [
        {"images": 400.0 * i, "train_loss": 0.7 / i, "val_loss": 0.72 / i + 0.02, "val_auc": 1 - 0.3 / i**2}
        for i in range(1, 11)
    ]
    generators = sorted({g for g in scores["generator"] if g})
    return Results(
        name=name,
        preset="quick",
        seed=0,
        command=f"bench run --generator {' '.join(generators)} --detector xception dct --seed 0",
        data=DataFacts(
            name=face, digest="ab" * 32, licence="CC0-1.0", citation="Drawn by this project", resolution=64,
            splits={"forge": 3000, "train": 2000, "val": 300, "test": 300},
            rejected={"near duplicate": 12, "no face": 3},
            provenance={"source": "rendered", "seed": 0, "size": 64}, shown=shown,
        ),
        generators=[
            GeneratorFacts(
                name=g, kimg=60.0, parameters={"generator": 3_574_017, "discriminator": 2_765_568}, precision="fp32",
                seconds=180.4, log=log, weights_sha256="cd" * 32, face_rate=0.83,
            )
            for g in generators
        ],
        detectors=[
            DetectorFacts(
                name=d, trained_on=t, family="cnn" if d != "dct" else "frequency",
                citation="Rössler et al. 2019, FaceForensics++, https://arxiv.org/abs/1901.08971",
                variant="64 px input, trained from scratch", parameters=20_811_050, calibration={"a": 2.9, "b": -4.1},
                images_per_second=212.0, peak_memory_mb=1310.0, seconds=116.0,
                facts={"precision": "fp32", "images_seen": 4000, "early": True},
                history=history if d != "dct" else [{"iterations": 41.0, "train_loss": 0.01, "val_auc": 0.99}],
            )
            for d, t in fits
        ],
        cells=evaluated(scores),
        comparisons=compare(scores),
        stages=[
            StageFacts(name=s, key=f"{i}f" * 32, seconds=12.5 * (i + 1), peak_memory_mb=800.0 + i)
            for i, s in enumerate(["faces", "train", "synthesize", "fit", "score", "evaluate"])
        ],
        environment={"python": "3.11.9", "torch": "2.10.0", "device": "CPU, 2 cores", "commit": "0123abc"},
    )  # fmt: skip


def faces(n, seed=0, side=64):
    smooth = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return smooth.repeat(side // 8, axis=1).repeat(side // 8, axis=2)


NO_PICTURES = Pictures(forged={}, filmstrip={}, by_id=lambda source, sample: None)
ONE = {("xception", "dcgan"): {"dcgan": 2.0}}
MANY = {
    ("xception", "dcgan"): {"dcgan": 9.0, "stylegan-lite": 0.0},
    ("xception", "stylegan-lite"): {"dcgan": 1.0, "stylegan-lite": 4.0},
    ("dct", "dcgan"): {"dcgan": 9.0, "stylegan-lite": -1.0},
    ("dct", "stylegan-lite"): {"dcgan": 1.1, "stylegan-lite": 2.0},
}


@pytest.fixture(scope="module")
def many():
    scores = make_scores(MANY, n=200)
    return make_results(scores), scores


@pytest.fixture(scope="module")
def one():
    scores = make_scores(ONE)
    return make_results(scores), scores


@pytest.fixture(scope="module")
def written(many, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    strip = [(10.0 * i, faces(8, i)) for i in range(1, 9)]
    pictures = Pictures(
        forged={"dcgan": faces(64), "stylegan-lite": faces(70, 1)},
        filmstrip={"dcgan": strip},
        by_id=lambda source, sample: None if source == "rendered" else faces(1, len(sample))[0],
    )
    write_report(folder, *many, pictures)
    return folder


class Page(HTMLParser):
    """Checks that tags close in order, and remembers what a test asks for."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.text, self.style = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.seen if name == tag]


def html_of(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


def test_all_files_are_there_and_data_reads_back(written, many):
    results, scores = many
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert {"index.html", "report.md", "results.json", "results.csv", "scores.parquet"} <= names
    assert {"samples-dcgan.png", "samples-stylegan-lite.png"} <= names
    assert Results.model_validate(read_json(written / "results.json")) == results
    pd.testing.assert_frame_equal(read_scores(written / "scores.parquet"), scores)
    with (written / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["detector"] for row in rows] == [cell.detector for cell in results.cells]


def test_same_inputs_same_bytes(many, written, tmp_path):
    results, scores = many
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_report(folder, results, scores, NO_PICTURES)
    again = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*.*")}
    assert len(again) > 10
    for name, data in again.items():
        assert (tmp_path / "b" / name).read_bytes() == data, name


def test_rows_in_another_order_draw_the_same_figures(one, tmp_path):
    results, scores = one
    write_report(tmp_path / "a", results, scores, NO_PICTURES)
    write_report(tmp_path / "b", results, scores.sample(frac=1, random_state=3), NO_PICTURES)
    assert html_of(tmp_path / "a") == html_of(tmp_path / "b")


def test_a_second_report_leaves_no_stale_figures(many, one, tmp_path):
    write_report(tmp_path, *many, NO_PICTURES)
    before = set(tmp_path.glob("figures/*.svg"))
    write_report(tmp_path, *one, NO_PICTURES)
    after = set(tmp_path.glob("figures/*.svg"))
    linked = set(re.findall(r"\]\((figures/[^)]+)\)", (tmp_path / "report.md").read_text(encoding="utf-8")))
    assert len(after) < len(before)
    assert {path.relative_to(tmp_path).as_posix() for path in after} == linked


def test_the_page_fetches_and_runs_nothing(written):
    text = html_of(written)
    page = Page(text)
    assert not page.all("script") and not page.all("iframe") and not page.all("link")
    for _, attrs in page.seen:
        assert not any(name.startswith("on") or name == "style" for name in attrs)
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/webp;base64,"))
    assert "url(" not in page.style and "@import" not in page.style
    for file in written.glob("figures/*.svg"):
        assert not re.search(r"(href|src)=|url\(|@import", file.read_text(encoding="utf-8"))


def test_the_policy_forbids_everything_but_this_style(written):
    page = Page(html_of(written))
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policy and "script-src" not in rules


def test_the_page_is_accessible(written):
    page = Page(html_of(written))
    levels = [int(tag[1]) for tag, _ in page.seen if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert all(attrs.get("alt") for attrs in page.all("img")) and page.all("img")
    assert all(attrs.get("aria-label") for attrs in page.all("svg")) and page.all("svg")
    assert all(attrs.get("scope") in ("row", "col", "rowgroup") for attrs in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    targets = {attrs["id"] for _, attrs in page.seen if "id" in attrs}
    assert all(attrs["href"][1:] in targets for attrs in page.all("a"))
    assert page.all("html")[0]["lang"] == "en"


def test_names_stay_text(tmp_path):
    scores = make_scores({(EVIL, "a+b"): {"a": 1.0, EVIL: -2.0}}, n=60)
    results = make_results(scores, name=EVIL, face=EVIL)
    results = results.model_copy(update={"command": EVIL, "environment": {EVIL: EVIL}})
    write_report(tmp_path, results, scores, Pictures({EVIL: faces(3)}, {EVIL: [(1.0, faces(8))]}, lambda a, b: None))
    page = Page(html_of(tmp_path))
    assert not page.all("script")
    assert page.text.count(EVIL) >= 3  # heading, table, command: as text
    assert [m for m in page.all("img") if EVIL in m["alt"]]
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown.split("```")[0]
    for file in tmp_path.rglob("*"):
        assert re.fullmatch(r"[\w.-]+", file.name), file
    for file in tmp_path.glob("figures/*.svg"):
        ElementTree.parse(file)
        assert "<script" not in file.read_text(encoding="utf-8")


def test_table_rows_of_the_pull_request_text_have_all_columns(tmp_path):
    scores = make_scores({("a|b", "dc|gan"): {"dc|gan": 1.0}}, n=60)
    write_report(tmp_path, make_results(scores), scores, NO_PICTURES)
    lines = [x for x in (tmp_path / "report.md").read_text(encoding="utf-8").splitlines() if x.startswith("|")]
    assert len(lines) == 3
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_sizes(many, written, tmp_path):
    write_report(tmp_path, *many, NO_PICTURES)
    assert (tmp_path / "index.html").stat().st_size < 300_000
    assert (written / "index.html").stat().st_size < 3_000_000


def test_a_large_matrix_stays_small_and_says_what_it_leaves_out(tmp_path):
    names = ["a", "b", "c", "d"]
    skill = {
        (f"detector-{i}", t): {g: 3.0 if g == t else 0.3 * i for g in names} for i in range(3) for t in names
    }  # 48 cells
    scores = make_scores(skill, n=60)
    results = make_results(scores)
    assert len(results.cells) == 48
    write_report(tmp_path, results, scores, NO_PICTURES)
    text = html_of(tmp_path)
    assert len(text.encode()) < 300_000
    page = Page(text)
    assert sum(attrs.get("class") == "cells" for attrs in page.all("table")) == 1
    assert len([1 for tag, attrs in page.seen if tag == "th" and attrs.get("scope") == "row"]) >= 48
    for said in ("results with the lowest AUC, 9 of 48 results", "first 4 of 12;", "lowest AUC, 16 of 48 results"):
        assert said in text


def test_photos_are_shown_only_where_by_id_gives_them(one, tmp_path):
    asked = []

    def by_id(source, sample):
        asked.append((source, sample))
        return None if source == "rendered" else faces(1)[0]

    write_report(tmp_path, *one, Pictures({}, {}, by_id))
    page = Page(html_of(tmp_path))
    shown = [attrs["alt"] for attrs in page.all("img")]
    assert shown and all(alt.startswith("Forged face dcgan-test-") for alt in shown)
    hidden = [text for text in page.text if text == "--show-real"]
    assert len(hidden) == sum(source == "rendered" for source, _ in asked) == 6
    assert {source for source, _ in asked} == {"rendered", "dcgan"}


def test_the_worst_mistakes_are_the_most_confident_ones(one, tmp_path):
    results, scores = one
    write_report(tmp_path, results, scores, NO_PICTURES)
    test = scores[scores["split"] == "test"]
    false_alarms = test[(test["label"] == 0)].nlargest(6, "score")["sample_id"].tolist()
    missed = test[(test["label"] == 1)].nsmallest(6, "score")["sample_id"].tolist()
    ids = re.findall(r'<span class="id">([^<]+)</span>', html_of(tmp_path))
    assert ids == false_alarms + missed


def test_a_run_without_cells_still_makes_a_page(one, tmp_path):
    results, scores = one
    empty = results.model_copy(update={"cells": [], "comparisons": [], "detectors": [], "generators": []})
    write_report(tmp_path, empty, scores, NO_PICTURES)
    Page(html_of(tmp_path))
    assert "measured nothing" in html_of(tmp_path)


def test_n_too_small_is_said(tmp_path):
    scores = make_scores(ONE, n=40)
    results = make_results(scores)
    assert results.cells[0].tpr_at_fpr_1pct is None
    write_report(tmp_path, results, scores, NO_PICTURES)
    assert '<span class="none">n too small</span>' in html_of(tmp_path)
    assert "| n too small |" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_scores_of_another_run_are_refused(one, tmp_path):
    results, scores = one
    with pytest.raises(InputError, match="scores hold other test images"):
        write_report(tmp_path, results, scores.iloc[:-5], NO_PICTURES)


def test_rows_of_a_cell_are_its_clean_test_rows(many):
    results, scores = many
    noisy = scores.assign(perturbation="jpeg-30", score=0.0)
    rows = TestRows(pd.concat([scores, noisy]))(results.cells[0])
    assert len(rows) == 400
    assert set(rows["split"]) == {"test"} and set(rows["perturbation"]) == {"none"}


def test_the_heat_map_has_a_field_a_pairing_and_a_hole_where_nothing_ran(many):
    results, _ = many
    cells = [c for c in results.cells if (c.detector, c.trained_on, c.tested_on) != ("dct", "dcgan", "stylegan-lite")]
    tables = {table.detector: table for table in heat(cells)}
    assert [train for train, _ in tables["dct"].lines] == ["dcgan", "stylegan-lite"]
    first = dict(tables["dct"].lines)["dcgan"]
    assert first[0].same and first[0].step == 10 and first[1] is None
    assert not dict(tables["xception"].lines)["dcgan"][1].same
