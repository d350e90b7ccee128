"""The report as a whole: what lands on the disk, and whether a stranger's browser may open it."""

import base64
import csv
import hashlib
import itertools
import json
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from synthetic import MANY, NO_PICTURES, ONE, Page, faces, html_of, make_results, make_scores

from benchmarks.evaluation.metrics import METRICS
from benchmarks.evaluation.results import CSV_COLUMNS, Results
from benchmarks.report.inputs import Pictures, ReportInputs
from benchmarks.report.pairing_table import pairing_table
from benchmarks.report.ranking import ranks_of
from benchmarks.report.results_table import ScoreIndex
from benchmarks.report.write import write_report
from detect.scoring import read_scores
from forge.core.errors import InputError
from forge.core.files import read_json

pytestmark = pytest.mark.e2e

EVIL = "<script>alert(1)</script>\"' 🙂 a|b `c` */--> ../x"


@pytest.fixture(scope="module")
def many():
    scores = make_scores(MANY, n=200)
    return make_results(scores), scores


@pytest.fixture(scope="module")
def single_run():
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
    write_report(folder, ReportInputs(*many, pictures))
    return folder


def test_all_files_are_there_and_data_reads_back(written, many):
    results, scores = many
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert {"index.html", "report.md", "results.json", "results.csv", "scores.parquet"} <= names
    assert {"samples-dcgan.png", "samples-stylegan-lite.png"} <= names
    stored = Results.model_validate(read_json(written / "results.json"))
    assert stored.summary and stored.model_copy(update={"summary": [], "notes": []}) == results
    pd.testing.assert_frame_equal(read_scores(written / "scores.parquet"), scores)
    with (written / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*CSV_COLUMNS, *METRICS.entries)
    assert [row["detector"] for row in rows] == [cell.detector for cell in results.cells]


def test_same_inputs_same_bytes(many, written, tmp_path):
    results, scores = many
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_report(folder, ReportInputs(results, scores, NO_PICTURES))
    again = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*.*")}
    assert len(again) > 10
    for name, data in again.items():
        assert (tmp_path / "b" / name).read_bytes() == data, name


def test_rows_in_another_order_draw_the_same_figures(single_run, tmp_path):
    results, scores = single_run
    write_report(tmp_path / "a", ReportInputs(results, scores, NO_PICTURES))
    write_report(tmp_path / "b", ReportInputs(results, scores.sample(frac=1, random_state=3), NO_PICTURES))
    assert html_of(tmp_path / "a") == html_of(tmp_path / "b")


def test_a_second_report_leaves_no_stale_figures(many, single_run, tmp_path):
    write_report(tmp_path, ReportInputs(*many, NO_PICTURES))
    before = set(tmp_path.glob("figures/*.svg"))
    write_report(tmp_path, ReportInputs(*single_run, NO_PICTURES))
    after = set(tmp_path.glob("figures/*.svg"))
    linked = set(re.findall(r"\]\((figures/[^)]+)\)", (tmp_path / "report.md").read_text(encoding="utf-8")))
    assert len(after) < len(before)
    assert {path.relative_to(tmp_path).as_posix() for path in after} == linked


def test_the_page_fetches_nothing_and_runs_its_own_script_alone(written):
    text = html_of(written)
    page = Page(text)
    # the first holds numbers, which nothing runs
    assert page.all("script") == [{"type": "application/json", "id": "dials"}, {}]
    assert json.loads(page.scripts[0]) and page.scripts[1].startswith('"use strict"')
    assert not re.search(r"fetch|XMLHttp|import\(|eval\(|innerHTML|https?:|document\.write", page.scripts[1])
    assert not page.all("iframe") and not page.all("link")
    for _, attrs in page.seen:
        assert not any(name.startswith("on") or name == "style" for name in attrs)
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/webp;base64,"))
    assert "url(" not in page.style and "@import" not in page.style
    for file in written.glob("figures/*.svg"):
        assert not re.search(r"(href|src)=|url\(|@import", file.read_text(encoding="utf-8"))


def test_the_policy_forbids_everything_but_this_style_and_this_script(written):
    page = Page(html_of(written))
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["style-src"] == f"'sha256-{digest}'"
    own = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{own}'" and "unsafe" not in policy


def test_the_page_is_accessible(written):
    page = Page(html_of(written))
    levels = [int(tag[1]) for tag, _ in page.seen if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert all(attrs.get("alt") for attrs in page.all("img")) and page.all("img")
    assert all(attrs.get("aria-label") for attrs in page.all("svg")) and page.all("svg")
    assert all(attrs.get("scope") in ("row", "col", "rowgroup", "colgroup") for attrs in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    targets = {attrs["id"] for _, attrs in page.seen if "id" in attrs}
    assert all(attrs["href"][1:] in targets for attrs in page.all("a"))
    assert page.all("html")[0]["lang"] == "en"


def test_names_stay_text(tmp_path):
    scores = make_scores({(EVIL, "a+b"): {"a": 1.0, EVIL: -2.0}}, n=60)
    results = make_results(scores, name=EVIL, face=EVIL)
    results = results.model_copy(update={"command": EVIL, "environment": {EVIL: EVIL}})
    write_report(
        tmp_path,
        ReportInputs(results, scores, Pictures({EVIL: faces(3)}, {EVIL: [(1.0, faces(8))]}, lambda a, b: None)),
    )
    page = Page(html_of(tmp_path))
    assert len(page.all("script")) == 2 and json.loads(page.scripts[0])[0]["detector"] == EVIL
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
    write_report(tmp_path, ReportInputs(make_results(scores), scores, NO_PICTURES))
    lines = [x for x in (tmp_path / "report.md").read_text(encoding="utf-8").splitlines() if x.startswith("|")]
    assert len(lines) == 3
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_sizes(many, written, tmp_path):
    write_report(tmp_path, ReportInputs(*many, NO_PICTURES))
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
    write_report(tmp_path, ReportInputs(results, scores, NO_PICTURES))
    text = html_of(tmp_path)
    assert len(text.encode()) < 300_000
    page = Page(text)
    assert sum(attrs.get("class") == "cells" for attrs in page.all("table")) == 1
    assert len([1 for tag, attrs in page.seen if tag == "th" and attrs.get("scope") == "row"]) >= 48
    for said in ("results with the lowest AUC, 6 of 48 results", "The 4 of 12 fits", "lowest AUC, 16 of 48 results"):
        assert said in text


def test_photos_are_shown_only_where_by_id_gives_them(single_run, tmp_path):
    positions = []

    def by_id(source, sample):
        positions.append((source, sample))
        return None if source == "rendered" else faces(1)[0]

    write_report(tmp_path, ReportInputs(*single_run, Pictures({}, {}, by_id)))
    page = Page(html_of(tmp_path))
    shown = [attrs["alt"] for attrs in page.all("img")]
    assert shown and all(alt.startswith("Forged face dcgan-test-") for alt in shown)
    hidden = [text for text in page.text if text == "--show-real"]
    assert len(hidden) == sum(source == "rendered" for source, _ in positions) == 6
    assert {source for source, _ in positions} == {"rendered", "dcgan"}


def test_the_worst_mistakes_are_the_most_confident_ones(single_run, tmp_path):
    results, scores = single_run
    write_report(tmp_path, ReportInputs(results, scores, NO_PICTURES))
    test = scores[scores["split"] == "test"]
    false_alarms = test[(test["label"] == 0)].nlargest(6, "score")["sample_id"].tolist()
    missed = test[(test["label"] == 1)].nsmallest(6, "score")["sample_id"].tolist()
    ids = re.findall(r'<span class="id">([^<]+)</span>', html_of(tmp_path))
    assert ids == false_alarms + missed


def test_a_run_without_cells_still_makes_a_page(single_run, tmp_path):
    results, scores = single_run
    empty = results.model_copy(update={"cells": [], "comparisons": [], "detectors": [], "generators": []})
    write_report(tmp_path, ReportInputs(empty, scores, NO_PICTURES))
    Page(html_of(tmp_path))
    assert "has no results" in html_of(tmp_path)


def test_n_too_small_is_said(tmp_path):
    scores = make_scores(ONE, n=40)
    results = make_results(scores)
    assert results.cells[0].tpr_at_fpr_1pct is None
    write_report(tmp_path, ReportInputs(results, scores, NO_PICTURES))
    assert '<span class="none">n too small</span>' in html_of(tmp_path)
    assert "| n too small |" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_scores_of_another_run_are_refused(single_run, tmp_path):
    results, scores = single_run
    with pytest.raises(InputError, match="scores hold other test images"):
        write_report(tmp_path, ReportInputs(results, scores.iloc[:-5], NO_PICTURES))


def test_rows_of_a_cell_are_its_clean_test_rows(many):
    results, scores = many
    noisy = scores.assign(perturbation="jpeg-30", score=0.0)
    rows = ScoreIndex(pd.concat([scores, noisy]))(results.cells[0])
    assert len(rows) == 400
    assert set(rows["split"]) == {"test"} and set(rows["perturbation"]) == {"none"}


def test_the_leaderboard_has_a_field_a_pairing_and_a_hole_where_nothing_ran(many):
    results, _ = many
    cells = [c for c in results.cells if (c.detector, c.trained_on, c.tested_on) != ("dct", "dcgan", "stylegan-lite")]
    board = pairing_table(cells, ranks_of(cells, results.comparisons))
    pairings = [(c.pairing.trained_on, c.pairing.tested_on, c.seen) for c in board.columns]
    assert pairings == [
        ("dcgan", "dcgan", True), ("dcgan", "stylegan-lite", False),
        ("stylegan-lite", "stylegan-lite", True), ("stylegan-lite", "dcgan", False),
    ]  # fmt: skip
    assert [name for name, _ in board.lines] == ["xception", "dct"]  # what was not run everywhere is not first
    fields = dict(board.lines)
    assert fields["dct"][1] is None and fields["dct"][0].step == 10
    assert fields["xception"][2].leads and fields["xception"][2].rank == "1" and not fields["dct"][2].leads


def test_a_report_on_digits_speaks_of_digits(many, tmp_path):
    results, scores = many
    data = results.data.model_copy(update={"name": "digits", "rejected": {}})
    write_report(tmp_path, ReportInputs(results.model_copy(update={"data": data, "stages": []}), scores, NO_PICTURES))
    text = " ".join(Page(html_of(tmp_path)).text)
    assert "real digits" in text
    for words in (text, (tmp_path / "report.md").read_text()):
        assert not re.findall(r".{30}\bfaces?\b(?! swaps)(?! detector).{10}", words.replace("\n", " "), re.IGNORECASE)
