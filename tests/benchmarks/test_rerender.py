"""A report is written again from the store and from its scores alone, and printed."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from synthetic import TINY, call_bench

from benchmarks.report.digests import read_sums
from benchmarks.report.run_report import RunReport
from detect.scoring import read_scores, write_scores

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def finished(tmp_path_factory, results_of_a_gan):
    """A small run; `bench` of the test that asks first."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(results_of_a_gan, folder / "runs" / "results")
    return folder


@pytest.fixture
def bench(finished, monkeypatch, capsys):
    call = call_bench(finished, monkeypatch, capsys)
    if not (finished / "reports").exists():
        assert call("run", "-g", "gan", "-d", "dct", *TINY, "--name", "r", "--quiet")[0] == 0
    return call


@pytest.mark.xdist_group("rerender")
def test_nothing_changes_when_nothing_changed(bench, finished):
    folder = finished / "reports" / "r"
    before = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    code, out, err = bench("report", "r")
    assert (code, err) == (0, "") and out.strip() == "reports/r/index.html"
    assert bench("report") == (0, out, "")  # the run that ended last
    assert before == {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.xdist_group("rerender")
def test_scores_alone_give_every_number_again(bench, finished):
    shutil.copytree(finished / "reports" / "r", finished / "elsewhere" / "r", dirs_exist_ok=True)
    copy = finished / "elsewhere" / "r"
    old = {name: (copy / name).read_bytes() for name in ("results.json", "results.csv", "scores.parquet")}
    assert bench("report", "r", "--reports", "elsewhere", "--from-scores", "--store", "nowhere")[0] == 0
    assert old == {name: (copy / name).read_bytes() for name in old}
    assert (copy / "samples-gan.png").is_file() and "samples of gan" not in (copy / "index.html").read_text()[:100]
    scores = read_scores(copy / "scores.parquet")
    scores["score"] *= -1
    write_scores(scores, copy / "scores.parquet")
    assert bench("report", "r", "--reports", "elsewhere", "--from-scores")[0] == 0
    was, now = (
        json.loads(text)["cells"][0]["auc"] for text in (old["results.json"], (copy / "results.json").read_text())
    )
    assert now == pytest.approx(1 - was)


@pytest.mark.xdist_group("rerender")
def test_pictures_of_a_published_report_are_small_and_stay_as_they_are(bench, finished):
    folder = shutil.copytree(finished / "reports" / "r", finished / "published" / "r")
    exact, size = Image.open(folder / "samples-gan.png").convert("RGB"), (folder / "samples-gan.png").stat().st_size
    assert bench("report", "r", "--reports", "published", "--publish")[0] == 0
    file = folder / "samples-gan.webp"
    assert not [*folder.glob("s[a]*.png")] and file.stat().st_size < size / 3
    with Image.open(file) as seen:
        grey = [np.asarray(image.convert("L"), float).ravel() for image in (exact, seen)]  # these are pure noise
        assert seen.size == exact.size and np.corrcoef(*grey)[0, 1] > 0.9
        assert "From gan, weights" in seen.getexif()[0x010E]
    # its pages name it, the digests list it, and no page names what is gone
    text = (folder / "report.md").read_text()
    assert "](samples-gan.webp)" in text and "as in samples-gan.webp" in (folder / "index.html").read_text()
    named = {link for link in re.findall(r"\]\(([^)]+)\)", text) if "/" not in link}
    assert named <= read_sums(folder).keys() and RunReport(folder).samples == {"gan": file}
    # written again from its store or its scores alone it has the same bytes
    before = file.read_bytes()
    for how in ([], ["--from-scores"]):
        assert bench("report", "r", "--reports", "published", *how)[0] == 0
        assert file.read_bytes() == before and not (folder / "samples-gan.png").exists()
    assert bench("reproduce", "r", "--reports", "published")[0] == 0


@pytest.mark.xdist_group("rerender")
def test_results_that_the_page_does_not_read_may_be_gone(bench, finished):
    equalised = ("--set", "conditions.equalised=true", "--name", "e", "--quiet")
    assert bench("run", "-g", "gan", "-d", "dct", *TINY, *equalised)[0] == 0
    changed = list((finished / "runs" / "results").glob("perturb-*"))
    for folder in changed:
        shutil.rmtree(folder)
    page = (finished / "reports" / "e" / "index.html").read_bytes()
    assert changed and bench("report", "e")[::2] == (0, "")
    assert (finished / "reports" / "e" / "index.html").read_bytes() == page


SECTION = """
from benchmarks.report.sections.base import Section


class Count(Section):
    id, title, position = "count", "Number of results", 350

    def build(self, run):
        return f"{len(run.cells)} results <counted>"
"""


@pytest.mark.xdist_group("rerender")
@pytest.mark.parametrize("source", [[], ["--from-scores"]])
def test_a_section_from_a_file_is_added_to_the_page_and_to_report_md(source, bench, finished):
    (finished / "mine.py").write_text(SECTION)
    code, _, err = bench("report", "r", "--section", "mine.py:Count", *source)
    assert (code, err) == (0, "")
    folder = finished / "reports" / "r"
    assert "<p>1 results &lt;counted&gt;</p>" in (folder / "index.html").read_text()
    assert "## Number of results\n\n1 results &lt;counted&gt;" in (folder / "report.md").read_text()
    assert bench("report", "r")[0] == 0 and "Number of results" not in (folder / "index.html").read_text()


@pytest.mark.xdist_group("rerender")
def test_what_cannot_be_written_again_is_said(bench, finished, monkeypatch):
    (finished / "none").mkdir(exist_ok=True)
    for words, sentence in (
        (("report", "--reports", "none"), "no run finished yet in none/"),
        (("report", "r", "--store", "none"), "none/ knows no run 'r'; give its --store, or use --from-scores"),
        (("report", "r", "--format", "png"), "format 'png' is not known"),
        (("report", "unknown"), "run 'unknown' is not known"),
    ):
        code, _, err = bench(*words)
        assert code == 2 and sentence in err
    monkeypatch.setenv("PATH", "")
    code, _, err = bench("report", "r", "--format", "pdf")
    assert code == 2 and "apt install chromium" in err


@pytest.mark.xdist_group("rerender")
def test_the_page_is_printed(bench, finished):
    if shutil.which("chromium") is None:
        assert not os.environ.get("CI"), "CI has to have Chromium"
        pytest.skip("no Chromium here: apt install chromium")
    code, out, err = bench("report", "r", "--format", "pdf")
    assert (code, err) == (0, "") and out.strip() == "reports/r/report.pdf"
    assert (finished / out.strip()).read_bytes().startswith(b"%PDF-")
