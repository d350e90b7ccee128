"""What this repository publishes: suites come out again, README and lists say the same, and no photo is in them."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from synthetic import call_bench

from benchmarks.cli import reproduce
from benchmarks.evaluation.cells import cells_of
from benchmarks.evaluation.leaderboard import ranked
from benchmarks.report import run_leaderboard
from benchmarks.report.digests import DATA_FILES, SUMS, check_files, read_sums, written_files
from benchmarks.report.score_archive import RECORD, archive_beside

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports"
# name -> values that come out again, at least; bytes of the page without its pictures, at most: a race has more tables
PUBLISHED = {"faces64": (4681, 600_000), "arms-race": (50, 400_000), "digits": (203, 300_000)}
# page -> the tables in it
SHOWN = {
    "README.md": ("leaderboard faces64",),
    "docs/results/suites.md": ("leaderboard digits",),
    "docs/results/faces64.md": ("leaderboard faces64", "review faces64"),
}
REPRODUCED = sorted(file.parent.name for file in REPORTS.glob("*/expected.json"))


@pytest.fixture(scope="module", autouse=True)
def ranked_once():
    """A committed suite is computed and ranked once, whatever is compared with it or printed of it."""
    known = {}

    def once(work):
        def remembered(rows_or_cells, *more, **named):
            which = len(rows_or_cells) if isinstance(rows_or_cells, pd.DataFrame) else id(rows_or_cells)
            key = (work, which, repr(more), repr({name: value for name, value in named.items() if value is not None}))
            if key not in known:
                known[key] = work(rows_or_cells, *more, **named)
            return known[key]

        return remembered

    with pytest.MonkeyPatch.context() as patch:
        for module in (reproduce, run_leaderboard):
            patch.setattr(module, "cells_of", once(cells_of))
            patch.setattr(module, "ranked", once(ranked))
        yield


@pytest.mark.parametrize("name", REPRODUCED)
def test_a_committed_suite_comes_out_again_to_the_last_digit(name, tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    if (REPORTS / name / RECORD).exists() and not archive_beside(REPORTS / name).exists():
        pytest.skip("its scores are a file of the release")
    code, out, err = bench("reproduce", name, "--reports", str(REPORTS), "--json")
    assert (code, err) == (0, "")
    counts = json.loads(out)["counts"]
    assert counts["IDENTICAL"] == sum(counts.values()) >= PUBLISHED.get(name, (1, 0))[0]


@pytest.mark.parametrize("name", REPRODUCED)
def test_the_digests_of_a_committed_report_are_those_of_its_files(name):
    folder = REPORTS / name
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert read_sums(folder).keys() == files - {SUMS} >= set(DATA_FILES) - {"scores.parquet"}
    assert files & {"scores.parquet", "scores/_images.parquet", RECORD}
    assert check_files(folder, files - {SUMS}) and written_files(folder) == files


@pytest.mark.parametrize("page", SHOWN)
def test_pages_show_the_tables_that_the_scores_give(page, tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = re.findall(r"<!-- bench ((?:leaderboard|review) \S+ [^>]*) -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert [" ".join(command.split()[:2]) for command, _ in shown] == list(SHOWN[page])
    for command, table in shown:
        code, out, err = bench(*command.split(), "--reports", str(REPORTS))
        assert (code, err) == (0, "") and table.strip() == out.strip()


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_photo_is_published_and_pages_stay_small(name):
    folder = REPORTS / name
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert not results["data"]["shown"] or results["data"]["name"] == "digits"  # which show nobody
    assert "--show-real" not in results["command"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert 'alt="Real face' not in page
    assert len(page.encode()) < 3_000_000
    assert len(re.sub(r'src="data:image/[^"]+"', "", page).encode()) < PUBLISHED[name][1]


@pytest.mark.parametrize("name", ["faces64", "dcgan-xception-rendered-quick"])
def test_the_list_of_runs_names_the_leader_of_the_leaderboard_and_each_generator_once(
    name, tmp_path, monkeypatch, capsys
):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    runs = json.loads(bench("list", "runs", "--json", "--reports", str(REPORTS))[1])
    row = next(run for run in runs if run["name"] == name)
    board = json.loads(bench("leaderboard", name, "--format", "json", "--reports", str(REPORTS))[1])
    assert row["leader"].startswith(f"{board['lines'][0]['detector']} 0.") and row["leader"].endswith(board["primary"])
    generators = row["generators"].split(", ")
    assert len(generators) == len(set(generators))
