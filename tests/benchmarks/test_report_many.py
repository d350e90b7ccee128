"""Many detectors: the page and the terminal lead with what is short, fold the rest, and lose nothing silently."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from synthetic import Page, faces, html_of, make_results, make_scores

from benchmarks.cli.outcome import outcome_tables
from benchmarks.report.inputs import Evidence, Pictures, ReportInputs, Sight
from benchmarks.report.key_figure import _trained_on, pairings_figure
from benchmarks.report.paired_tests import matrices
from benchmarks.report.pairing_table import pairing_table, ranked_detectors
from benchmarks.report.plot.figure import MAX_CURVES, FileNames, spread_sample
from benchmarks.report.ranking import by_pairing, ranks_of
from benchmarks.report.run_report import RunReport
from benchmarks.report.sections.training import _hardest_first
from benchmarks.report.text.summary import _who
from benchmarks.report.write import write_report
from forge.core.files import write_json

DETECTORS = ["xception", "resnet50", "meso4", "npr", "dct", "spectrum", "hmm"]
DETECTORS += ["disc-raw", "disc-probe", "disc-finetune", "disc-scratch"]
GENERATORS = ["dcgan", "stylegan-lite"]


@pytest.fixture(scope="module")
def zoo():
    skill = {
        (name, trained): {g: 3.0 + 0.1 * i if g == trained else 0.2 * i - 0.4 for g in GENERATORS}
        for trained in GENERATORS
        for i, name in enumerate(DETECTORS)
    }
    scores = make_scores(skill, n=80)
    return make_results(scores), scores


@pytest.fixture(scope="module")
def folder(zoo, tmp_path_factory):
    rng = np.random.default_rng(0)
    sights = [
        Sight(name, trained, {g: rng.random((8, 64, 64), np.float32) for g in GENERATORS})
        for trained in GENERATORS
        for name in DETECTORS
    ]
    spectra = {g: rng.normal(0, 1, (64, 64)).astype(np.float32) for g in GENERATORS}
    folder = tmp_path_factory.mktemp("zoo")
    pictures = Pictures(
        forged={g: rng.integers(0, 256, (64, 64, 64, 3), np.uint8) for g in GENERATORS},  # noise compresses worst
        filmstrip={g: [(10.0 * i, faces(8, i)) for i in range(8)] for g in GENERATORS},
        by_id=lambda source, sample: None if source == "rendered" else faces(1, len(sample))[0],
        evidence=Evidence(spectra, sights, "input gradients"),
    )
    write_report(folder, ReportInputs(*zoo, pictures))
    return folder


def test_the_page_stays_small_and_its_tags_close(folder):
    assert (folder / "index.html").stat().st_size < 3_000_000
    page = Page(html_of(folder))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs.get("alt") for attrs in page.all("img"))
    targets = [attrs["id"] for _, attrs in page.seen if "id" in attrs]
    assert len(targets) == len(set(targets))
    assert all(attrs["href"][1:] in targets for attrs in page.all("a"))


def test_many_galleries_are_set_small(folder):
    assert [attrs["class"] for attrs in Page(html_of(folder)).all("div") if "galleries" in attrs.get("class", "")] == [
        "galleries crowded"
    ]


def test_the_short_table_comes_first_and_the_long_ones_are_folded(folder):
    text = html_of(folder)
    board = text.index('<table class="heat sortable filtered">')
    assert board < text.index("Every metric of all 44 results") < text.index("Paired tests between detectors")
    assert not re.search(r"<details[^>]*\bopen\b", text)
    (table,) = re.findall(r'<table class="heat sortable filtered">.*?</table>', text, re.DOTALL)
    assert table.count('scope="row"') == 11 and table.count("<td class=") == 44
    assert table.count('scope="colgroup"') == 2 and table.count("★ 1") >= 4
    for said in ("The 4 of 22 fits with the lowest AUC", "the best, the worst and an even choice", "All 6 stages"):
        assert said in text, said


def test_the_pull_request_text_leads_with_the_short_table(folder):
    lines = (folder / "report.md").read_text(encoding="utf-8").splitlines()
    start = next(
        i for i, line in enumerate(lines) if line.startswith("| AUC, 95 % interval, rank | dcgan → dcgan (seen)")
    )
    short = lines[start : start + 13]
    assert all(line.startswith("|") and line.count("|") == 6 for line in short) and lines[start + 13] == ""
    folded = lines.index("<details><summary>Every metric of all 44 results</summary>")
    assert start < folded and lines[folded + 1] == "" and lines[folded + 2].startswith("| Detector | Rank |")


def test_every_citation_is_given_once(folder):
    provenance = html_of(folder).partition('id="provenance"')[2]
    assert len(re.findall(r"<dt>(?:disc-|xcep|resn|meso|npr|dct|spec|hmm)", provenance)) == 11
    assert provenance.count("images seen: 4000") == 22


def test_the_order_is_that_of_generators_not_seen(zoo):
    cells = zoo[0].cells
    by_cross = {name: np.mean([c.auc for c in cells if c.detector == name and not c.seen]) for name in DETECTORS}
    assert ranked_detectors(cells) == sorted(DETECTORS, key=lambda name: -by_cross[name])
    board = pairing_table(cells, ranks_of(cells, zoo[0].comparisons))
    assert board.trained_on == [("dcgan", 2), ("stylegan-lite", 2)]
    for i, column in enumerate(board.columns):
        aucs = {name: fields[i].auc for name, fields in board.lines}
        leads = [name for name, fields in board.lines if fields[i].leads]
        assert max(aucs, key=lambda name: float(aucs[name])) in leads and column.seen == (i in (0, 2))


def test_all_tests_are_in_the_matrices_once(zoo):
    tables, left_out = matrices(zoo[0].cells, zoo[0].comparisons)
    entries = [entry for matrix in tables for _, line in matrix.lines for entry in line if entry]
    assert len(entries) == len(zoo[0].comparisons) == 220 and left_out == ""
    assert sum(entry.differ for entry in entries) == sum(test.p_holm < 0.05 for test in zoo[0].comparisons)
    assert not any(entry.difference.startswith("−") for entry in entries)  # rows and columns are best first


def test_curves_of_the_best_the_worst_and_some_between(zoo):
    for group in by_pairing(zoo[0].cells).values():
        shown = spread_sample(group)
        assert len(shown) == MAX_CURVES and shown[0] is group[0] and shown[-1] is group[-1]
    assert spread_sample(group[:3]) == group[:3]


def test_the_picture_has_a_mark_for_every_result(zoo):
    figure = pairings_figure(zoo[0].cells, FileNames())
    assert figure.svg.count('class="ring') == 1 + 22 and figure.svg.count('class="dot') == 1 + 22
    assert all(name in figure.alt for name in DETECTORS)
    cells = [cell.model_copy(update={"detector": f"d{i}"}) for i, cell in enumerate(zoo[0].cells[:30])]
    assert pairings_figure(cells, FileNames()).title.endswith("the first 20 of 30")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_terminal_table_fits(zoo, width):
    tables, note = outcome_tables(zoo[0], width)
    console = Console(width=width, file=io.StringIO())
    for table in tables:
        console.print(table)
    text = console.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines()) and "…" not in text
    assert all(text.count(f"\n{name} ") == len(tables) for name in DETECTORS)
    assert text.count("[") == 44 and text.count("★") >= 4 and "results.csv" in note


def test_results_of_an_earlier_version_are_shown_without_ranks(zoo, tmp_path):
    stored = zoo[0].model_dump(mode="json") | {"schema_version": 1, "comparisons": [{"a": "x@y", "b": "z@y"}]}
    write_json(tmp_path / "results.json", stored)
    tables, note = outcome_tables(RunReport(tmp_path, note=False).results, 100)
    console = Console(width=100, file=io.StringIO())
    for table in tables:
        console.print(table)
    assert "★" not in console.file.getvalue() and "rank" not in note


def test_few_results_keep_every_measure(zoo):
    (table,), note = outcome_tables(zoo[0].model_copy(update={"cells": zoo[0].cells[:4]}), 80)
    assert table.row_count == 4 and len(table.columns) == 6 and note == ""


def test_results_of_one_generator_and_of_all_have_names_of_their_own():
    skill = {("dct", trained_on): {"gan": 1.0, "dcgan": 1.0} for trained_on in ("gan", "dcgan", "dcgan+gan")}
    cells = make_results(make_scores(skill, n=40)).cells
    names = [f"{_trained_on(cell)}{cell.tested_on}" for cell in cells]
    assert len(set(names)) == len(cells) == 6
    assert {"gan", "dcgan", "gan → dcgan", "dcgan → gan", "all → gan", "all → dcgan"} == set(names)
    assert len({_who(cell) for cell in cells}) == 6


def test_fits_are_sorted_by_the_mean_over_the_generators_and_seed_of_their_training():
    def fit(name, seed):
        return SimpleNamespace(name=name, trained_on="a+b", seed=seed)

    def cell(name, seed, auc):
        return SimpleNamespace(detector=name, trained_on="a+b", seed=seed, auc=auc, seen=True)

    fits = [fit("even", 0), fit("odd", 0), fit("odd", 1), fit("late", 0), fit("untested", 0)]
    cells = [
        *(cell("even", 0, auc) for auc in (0.8, 0.8)),
        *(cell("odd", 0, auc) for auc in (0.5, 0.9)),
        *(cell("odd", 1, auc) for auc in (0.9, 0.9)),
        *(cell("late", 0, auc) for auc in (0.95, 0.6)),
    ]
    ordered = _hardest_first(SimpleNamespace(detectors=fits, cells=cells))
    assert [(each.name, each.seed) for each in ordered] == [
        ("odd", 0), ("late", 0), ("even", 0), ("odd", 1), ("untested", 0),
    ]  # fmt: skip
