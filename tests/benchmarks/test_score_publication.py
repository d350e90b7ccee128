"""Scores that are published: in few bytes in the report, or in an archive that `bench reproduce --fetch` takes."""

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from published_suite import publish_data

from benchmarks.report.digests import SUMS, read_sums, write_sums
from benchmarks.report.results_file import PACKED, read_results
from benchmarks.report.run_report import RunReport
from benchmarks.report.score_archive import RECORD
from benchmarks.workflow.publication import keep_layout, publish_scores
from forge.core.errors import CorruptError
from forge.core.files import digest_file

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return publish_data(tmp_path_factory.mktemp("template") / "mine")


@pytest.fixture(scope="module")
def archived(template, tmp_path_factory):
    """A report whose scores are in an archive beside it."""
    folder = shutil.copytree(template, tmp_path_factory.mktemp("archived") / "mine")
    publish_scores(RunReport(folder), 0)
    return folder


@pytest.fixture
def published(template, tmp_path):
    """A report folder as a run leaves it, with a file of its owner."""
    folder = shutil.copytree(template, tmp_path / "reports" / "mine")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def archive(published, archived):
    """The archive of its scores, which are no longer in its folder."""
    shutil.rmtree(published)
    shutil.copytree(archived, published)
    return Path(shutil.copy(archived.with_name("mine-scores.tar"), published.parent))


def test_scores_by_detector_replace_the_table_and_give_the_same_numbers(published, bench, template):
    before = RunReport(published).scores
    code, out, err = bench("report", "mine", "--publish")
    assert (code, err) == (0, "") and f"3 files, {len(before):,} rows" in out
    names = {"scores/_images.parquet", "scores/bad.parquet", "scores/good.parquet"}
    assert read_sums(published).keys() == read_sums(template).keys() - {"scores.parquet"} | names
    assert not (published / "scores.parquet").exists() and (published / "notes.txt").read_text() == "mine"
    pd.testing.assert_frame_equal(RunReport(published).scores, before, check_exact=True)
    assert bench("reproduce", "mine") == (0, "mine: 12 IDENTICAL\n", "")
    assert bench("leaderboard", "mine")[0] == 0
    assert bench("report", "mine", "--publish")[1] == out  # again: nothing changes


@pytest.mark.parametrize("kind", ["changed", "removed", "added"])
def test_a_file_of_scores_that_is_not_that_of_the_report_is_named(published, bench, kind):
    bench("report", "mine", "--publish")
    file = published / "scores" / ("more.parquet" if kind == "added" else "good.parquet")
    if kind == "removed":
        file.unlink()
    else:
        file.write_bytes(b"other")
    code, _, err = bench("reproduce", "mine")
    sentence = {"changed": "was changed after", "removed": "is missing", "added": "is not part of the report"}[kind]
    assert code == 1 and f"scores/{file.name} {sentence}" in err


def test_a_report_written_again_keeps_the_layout_of_its_scores(published, archive, template, tmp_path):
    before = archive.read_bytes()
    fresh = [shutil.copytree(template, tmp_path / f"fresh{n}") for n in range(3)]
    keep_layout(fresh[0], published)
    assert archive.read_bytes() == before and read_sums(fresh[0]) == read_sums(published)
    publish_scores(RunReport(published), 1e6)
    assert not (published / RECORD).exists()
    keep_layout(fresh[1], published)
    assert read_sums(fresh[1]) == read_sums(published) and (fresh[1] / "scores" / "good.parquet").exists()
    keep_layout(fresh[2], template)
    assert read_sums(fresh[2]) == read_sums(template)


def test_an_archive_is_found_beside_the_report_or_by_its_name(published, bench, archive, tmp_path):
    record = json.loads((published / RECORD).read_text())
    assert record["sha256"] == digest_file(archive) and record["bytes"] == archive.stat().st_size
    assert RECORD in read_sums(published) and not (published / "scores").exists()
    assert bench("reproduce", "mine") == (0, "mine: 12 IDENTICAL\n", "")
    archive = archive.rename(tmp_path / "downloaded.tar")
    assert RunReport(published).has_scores is False
    code, out, err = bench("reproduce", "mine")
    assert (code, out) == (3, "")
    assert all(text in err for text in ("mine-scores.tar", f"{record['bytes']:,} bytes", record["sha256"], "--fetch"))
    assert bench("leaderboard", "mine")[0] == 3
    assert bench("reproduce", "mine", "--fetch", str(archive)) == (0, "mine: 12 IDENTICAL\n", "")


def test_an_archive_that_is_not_that_of_the_report_is_refused(published, bench, archive, tmp_path):
    data = archive.read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    (tmp_path / "flipped.tar").write_bytes(data[:1500] + bytes([data[1500] ^ 1]) + data[1501:])
    (tmp_path / "none.tar").write_bytes(b"")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("other/_images.parquet"))
    sentences = {
        "cut.tar": (1, "is cut off"),
        "flipped.tar": (1, "was changed"),
        "none.tar": (1, "is cut off: it has 0 of"),
        "other.tar": (1, "holds the scores of 'other', not those of mine"),
        "nowhere.tar": (2, "does not exist; name mine-scores.tar"),
        "reports": (2, "is not a regular file"),
    }
    for name, (expected, sentence) in sentences.items():
        code, out, err = bench("reproduce", "mine", "--fetch", str(tmp_path / name))
        assert (code, out) == (expected, "") and sentence in err
    code, _, err = bench("reproduce", "mine", "--fetch", "https://example.org/mine-scores.tar")
    assert code == 2 and "is an address; download mine-scores.tar" in err


@pytest.mark.parametrize("name", ["../evil.parquet", "mine/../evil.parquet", "/evil.parquet", "mine/evil.py", "link"])
def test_an_entry_that_leads_elsewhere_is_not_read(published, bench, archive, name, tmp_path):
    entry = tarfile.TarInfo("mine/x.parquet" if name == "link" else name)
    if name == "link":
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    entry.size = 0 if name == "link" else 4
    with tarfile.open(archive, "w") as tar:
        tar.addfile(entry, io.BytesIO(b"evil"))
    # a report whose maker meant it so: record and digests agree
    record = json.loads((published / RECORD).read_text())
    record |= {"sha256": digest_file(archive), "bytes": archive.stat().st_size}
    (published / RECORD).write_text(json.dumps(record))
    write_sums(published)
    code, _, err = bench("reproduce", "mine")
    assert code == 1 and "which is no file of scores; it is not read" in err
    assert not list(tmp_path.rglob("evil*"))


def test_several_reports_are_compared_and_an_absent_archive_fails_where_it_must(
    published, bench, archive, template, tmp_path
):
    shutil.copytree(published, published.with_name("away"))  # its archive is called mine-scores.tar too
    shutil.copytree(template, published.with_name("here"))
    (published.parent / "README.md").write_text("no report")
    moved = archive.rename(tmp_path / archive.name)
    all_of = sorted(str(path) for path in published.parent.iterdir())
    code, out, err = bench("reproduce", *all_of)
    assert code == 0 and "mine: ABSENT, not compared" in out and "mine: 12 IDENTICAL" in out
    assert err == "no report, passed over: README.md\n"
    assert bench("reproduce", *all_of, "--require-scores")[0] == 3
    assert bench("reproduce", *all_of, "--require-scores", "--fetch", str(moved))[0] == 0
    code, out, err = bench("reproduce", *all_of, "--json")
    assert code == 0 and "absent" in json.loads(out)["mine"] and json.loads(out)["here"]["counts"]["IDENTICAL"] == 12
    (published.with_name("here") / "expected.json").write_text("changed")
    code, _, err = bench("reproduce", *all_of)
    assert code == 1 and "1 of 4 did not come out again: here" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("reproduce", "mine", "--fetch", "x.tar"), "mine has its scores in its folder; leave --fetch x.tar out"),
        (("reproduce", "mine", "--from", "scratch", "--fetch", "x.tar"), "--fetch is for --from scores"),
        (("reproduce", "mine", "mine", "--fetch", "x.tar"), "is the archive of none of these reports"),
        (("reproduce", "mine", "mine", "--from", "scratch"), "take one report; name one"),
        (("report", "mine", "--limit", "3"), "--limit 3 is of --publish"),
    ],
)
def test_options_that_do_not_go_together(published, bench, arguments, sentence):
    code, _, err = bench(*arguments)
    assert code == 2 and sentence in err


def test_a_record_of_another_form_is_refused(published, bench, archive):
    record = json.loads((published / RECORD).read_text())
    for change, sentence in (
        ({"format": 2}, "has format 2, this version reads up to 1; upgrade"),
        ({"archive": "../mine-scores.tar"}, "archive"),
        ({"sha256": "x"}, "sha256"),
    ):
        (published / RECORD).write_text(json.dumps(record | change))
        write_sums(published)
        code, _, err = bench("reproduce", "mine")
        assert code == 2 and sentence in err and SUMS not in err


def packed(published, monkeypatch):
    """Publish a report whose results.json counts as large, and return what it held before."""
    monkeypatch.setattr("benchmarks.report.results_file.LARGE", 1000)
    before = RunReport(published).results
    publish_scores(RunReport(published), 1e6)
    return before


def test_long_tables_of_results_are_packed_and_read_again(published, bench, template, monkeypatch):
    before = packed(published, monkeypatch)
    left = json.loads((published / "results.json").read_text())
    assert left["packed"] == PACKED and not {"cells", "comparisons", "stages"} & left.keys()
    assert PACKED in read_sums(published)
    assert RunReport(published).results == before
    assert bench("reproduce", "mine") == (0, "mine: 12 IDENTICAL\n", "") and bench("leaderboard", "mine")[0] == 0
    assert bench("show", "mine")[0] == 0
    # published again, and written again: packed again, with the same bytes
    files = {file: (published / file).read_bytes() for file in (PACKED, "results.json")}
    publish_scores(RunReport(published), 1e6)
    assert {file: (published / file).read_bytes() for file in files} == files
    bytes_before = (published / PACKED).read_bytes()
    fresh = shutil.copytree(template, published.parent / ".fresh")
    keep_layout(fresh, published)
    assert (fresh / PACKED).read_bytes() == bytes_before


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), f"{PACKED} was changed"),
        (lambda file: file.unlink(), f"{PACKED} is missing"),
    ],
    ids=["cut off", "missing"],
)
def test_damaged_tables_are_named(published, bench, monkeypatch, damage, sentence):
    packed(published, monkeypatch)
    damage(published / PACKED)
    code, _, err = bench("leaderboard", "mine")
    assert code == 1 and sentence in err


@pytest.mark.parametrize("content", [b"", b"no gzip", *map(gzip.compress, (b"{}", b"[1]", b"\xff"))])
def test_tables_that_cannot_be_read_are_refused_without_digests_too(published, monkeypatch, content):
    packed(published, monkeypatch)
    (published / PACKED).write_bytes(content)
    with pytest.raises(CorruptError, match="is damaged or missing"):
        read_results(published)


def test_tables_that_unpack_to_any_size_are_not_read_to_their_end(published, monkeypatch):
    packed(published, monkeypatch)
    monkeypatch.setattr("benchmarks.report.results_file.MAX_JSON_BYTES", 1 << 16)
    (published / PACKED).write_bytes(gzip.compress(b" " * (1 << 20))[:-8])  # who reads to the end finds it cut off
    with pytest.raises(CorruptError, match="more than 0 MiB"):
        read_results(published)
