"""A report's data files are those that were written with it, or they are named and refused; whatever lies in them."""

import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from finished import finished_run
from published_suite import publish_suite
from synthetic import call_bench

import benchmarks
from benchmarks.finished import load
from benchmarks.report.digests import DATA_FILES, SUMS, check_files, read_sums, write_sums, written_files
from benchmarks.report.run_report import RunReport
from benchmarks.serve.app import create_app
from benchmarks.serve.index import RunIndex
from forge.core.errors import BenchError, BenchWarning, CorruptError, InputError

pytestmark = pytest.mark.e2e

VERBS = {
    "leaderboard": ("leaderboard", "mine"),
    "compare": ("compare", "good", "bad", "--suite", "mine"),
    "export": ("export", "images", "mine", "--out", "given"),
    "submit": ("submit", "theirs.csv", "--suite", "mine", "--name", "theirs"),
    "show": ("show", "mine"),
    "reproduce": ("reproduce", "mine"),
    "from-scores": ("report", "mine", "--from-scores"),
    "detect": ("detect", "mine", "me.png"),
}
READS = {
    "results.json": tuple(VERBS),
    "scores.parquet": ("leaderboard", "compare", "export", "submit", "reproduce"),
    "expected.json": ("reproduce", "from-scores", "detect"),
    "results.csv": ("reproduce",),
    "report.md": ("reproduce",),
}


def flip(file, bit=777):
    data = bytearray(file.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    file.write_bytes(data)


def truncate(file):
    os.truncate(file, file.stat().st_size // 2)


def remove(file):
    file.unlink()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return publish_suite(tmp_path_factory.mktemp("template") / "mine")


@pytest.fixture
def published(template, tmp_path):
    return shutil.copytree(template, tmp_path / "reports" / "mine")


def test_a_report_carries_the_digests_of_all_its_files(published):
    names = {file.relative_to(published).as_posix() for file in published.rglob("*") if file.is_file()}
    assert read_sums(published).keys() == names - {SUMS} >= set(DATA_FILES)
    assert check_files(published, names - {SUMS}) and written_files(published) == names


@pytest.mark.parametrize("damage", [flip, truncate, remove])
@pytest.mark.parametrize("name", DATA_FILES)
def test_a_changed_truncated_or_missing_file_is_named_and_refused(name, damage, published, bench):
    damage(published / name)
    for verb in READS[name]:
        code, out, err = bench(*VERBS[verb])
        assert code in (1, 2) and out == "" and f"mine/{name} " in err and err.count("\n") == 1, (verb, err)
        assert ("is missing" if damage is remove else "was changed after the report was written") in err


def test_no_flipped_bit_of_a_data_file_passes(published):
    chance = random.Random(0)
    for _ in range(200):
        file = published / chance.choice(DATA_FILES)
        good, bit = file.read_bytes(), chance.randrange(8 * file.stat().st_size)
        flip(file, bit)
        with pytest.raises(CorruptError, match=file.name):
            check_files(published, DATA_FILES)
        file.write_bytes(good)
    assert check_files(published, DATA_FILES)


def test_what_python_reads_is_checked_too(published, tmp_path):
    report = load("mine", reports=tmp_path / "reports")
    flip(published / "scores.parquet")
    with pytest.raises(CorruptError, match=r"scores\.parquet"):
        _ = report.scores
    flip(published / "results.json")
    with pytest.raises(CorruptError, match=r"results\.json"):
        load("mine", reports=tmp_path / "reports")


def test_a_report_of_an_earlier_version_is_read_with_a_note(published, bench):
    (published / SUMS).unlink()
    for verb in ("leaderboard", "reproduce", "compare"):
        code, out, err = bench(*VERBS[verb])
        assert code == 0 and out and err.startswith("note: reports/mine has no SHA256SUMS") and err.count("\n") == 1
    assert bench("list", "runs")[2] == ""
    code, out, _ = bench("report", "mine", "--digests")
    assert code == 0 and out == "reports/mine/SHA256SUMS\n"
    assert bench(*VERBS["leaderboard"])[2] == "" and check_files(published, DATA_FILES)
    with pytest.warns(BenchWarning, match="its files are not checked"):
        (published / SUMS).unlink()
        _ = RunReport(published).results


@pytest.mark.parametrize("text", [b"", b"\xff", b"no digests\n", b"0" * 64 + b" results.json\n"])
def test_damaged_digests_are_named(text, published, bench):
    (published / SUMS).write_bytes(text)
    code, _, err = bench(*VERBS["leaderboard"])
    assert code == 1 and "SHA256SUMS is damaged: it is no list of digests" in err


def test_a_file_that_was_added_is_not_taken_for_a_part_of_the_report(published, bench):
    lines = (published / SUMS).read_text().splitlines(keepends=True)
    (published / SUMS).write_text("".join(line for line in lines if "expected.json" not in line))
    code, _, err = bench(*VERBS["reproduce"])
    assert code == 1 and "expected.json is not part of the report" in err


def test_numbers_are_computed_again_from_other_scores_on_request(published, bench):
    flip(published / "report.md")
    assert bench(*VERBS["from-scores"])[0] == 0 and check_files(published, DATA_FILES)


HOSTILE = {
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep object": '{"name":' * 100_000,
    "digits": '{"name": "mine", "cells": [], "detectors": [], "stages": [], "seed": ' + "9" * 5_000 + "}",
    "infinite": '{"name": "mine", "cells": [], "detectors": [], "stages": [], "seed": Infinity}',
    "half": '{"name": "\\ud800", "cells": [], "detectors": [], "stages": []}',
    "list": "[]",
    "types": '{"name": 3, "cells": 3, "detectors": {}, "stages": "x"}',
    "rows": '{"schema_version": 3, "name": "mine", "cells": [3], "detectors": [[]], "stages": [null]}',
    "old": '{"schema_version": 1, "name": "mine", "cells": [], "detectors": [], "stages": []}',
    "other": '{"schema_version": 4, "name": "mine", "cells": [], "detectors": [], "stages": []}',
    "newer": '{"schema_version": 999, "name": "mine", "cells": [], "detectors": [], "stages": []}',
    "latin-1": b'{"name": "caf\xe9"}',
}


def put(file, what):
    """Replace a file by hostile bytes, a directory or a FIFO."""
    file.unlink()
    if what == "directory":
        file.mkdir()
    elif what == "fifo":
        os.mkfifo(file)
    else:
        data = HOSTILE[what]
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
    write_sums(file.parent)


@pytest.mark.parametrize("what", [*HOSTILE, "directory", "fifo"])
@pytest.mark.parametrize("name", ["results.json", "expected.json"])
def test_hostile_json_ends_every_verb_in_one_sentence(name, what, published, bench):
    put(published / name, what)
    for verb in READS[name]:
        code, out, err = bench(*VERBS[verb])
        assert code == (1 if what in ("directory", "fifo") else 2) and out == "", (verb, err)
        assert name in err and err.count("\n") == 1 and "should not happen" not in err and len(err) < 400
    code, out, _ = bench("list", "runs")
    assert code == 0 and ("damaged" in out) == (name == "results.json")


@pytest.mark.parametrize("name", ["results.json", "expected.json"])
def test_bad_reports_do_not_fail_the_index(name, template, tmp_path):
    folder, hostile = finished_run(tmp_path), [*HOSTILE, "directory", "fifo"]
    for number, what in enumerate(hostile):
        put(shutil.copytree(template, folder / "reports" / f"bad-{number}") / name, what)
    index = RunIndex(folder / "reports", folder / "runs")
    with TestClient(create_app(index, device="cpu"), base_url="http://127.0.0.1") as client:
        page, told = client.get("/"), client.get("/api/runs")
    assert page.status_code == told.status_code == 200
    problems = {run["name"]: run["problem"] for run in told.json()["runs"]}
    assert problems.pop("mine") == "" and len(problems) == len(hostile) == page.text.count("Cannot be read")
    assert all(name in problem for problem in problems.values())


def test_the_index_names_a_changed_report_and_a_name_that_is_not_utf8(template, tmp_path):
    folder = finished_run(tmp_path)
    bad = shutil.copytree(template, folder / "reports" / "bad")
    shutil.copytree(template, folder / "reports" / os.fsdecode(b"caf\xe9"))
    index = RunIndex(folder / "reports", folder / "runs")
    assert sum(bool(run.problem) for run in index.runs()) == 1
    flip(bad / "expected.json")  # results.json stays as it was when it was first read
    with TestClient(create_app(index, device="cpu"), base_url="http://127.0.0.1") as client:
        page = client.get("/")
    assert page.status_code == 200 and page.text.count("Cannot be read") == 2
    assert "expected.json was changed" in page.text and "the name of its folder is not UTF-8" in page.text


@pytest.mark.parametrize("what", [*HOSTILE, "directory", "fifo"])
def test_hostile_cards_and_manifests_end_in_one_sentence(what, tmp_path, monkeypatch, capsys, make_set):
    bench, folder = call_bench(tmp_path, monkeypatch, capsys), finished_run(tmp_path)
    fit = next(folder.glob("runs/results/fit-dct*"))
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator" / "generator.json").touch()
    faces = make_set("faces", {"train": 4}).path
    for file, words in (
        (fit / "manifest.json", ("detect", "mine", "me.png", "-d", "dct")),
        (fit / "detector" / "detector.json", ("detect", str(fit / "detector"), "me.png")),
        (faces / "card.json", ("data", "verify", str(faces))),
        (tmp_path / "generator" / "generator.json", ("show", "./generator")),
    ):
        put(file, what)
        code, _, err = bench(*words)
        assert code in (1, 2) and err.count("\n") == 1 and "should not happen" not in err and len(err) < 500, (
            words,
            err,
        )
    assert bench("run", "-g", "gan", "-d", "dct", "--dry-run")[0] == 0  # the store is read, its damaged results are not


def test_types_of_an_old_schema_are_read_and_a_damaged_one_is_refused(published):
    results = json.loads((published / "results.json").read_text())
    (published / "results.json").write_text(json.dumps(results | {"schema_version": 1, "comparisons": [{"a": "x"}]}))
    write_sums(published)
    assert RunReport(published).results.name == "mine"
    for wrong in ({"schema_version": 1, "cells": ["x"]}, {"schema_version": 2, "comparisons": ["x"]}, {"name": [3]}):
        (published / "results.json").write_text(json.dumps(results | wrong))
        write_sums(published)
        with pytest.raises(InputError, match="damaged, or of another program"):
            _ = RunReport(published).results


def test_a_report_that_is_replaced_while_it_is_read_is_read_again(published, monkeypatch):
    from benchmarks.report import digests

    calls = []

    def read_old_then_new(folder):
        calls.append(folder)
        return read_sums(folder) | ({"results.json": "0" * 64} if len(calls) == 1 else {})

    monkeypatch.setattr(digests, "read_sums", read_old_then_new)
    assert check_files(published, ["results.json"]) and len(calls) == 2
    monkeypatch.setattr(digests, "read_sums", lambda folder: read_sums(folder) | {"results.json": "0" * 64})
    with pytest.raises(BenchError, match=r"results\.json was changed"):
        check_files(published, ["results.json"])


def test_results_json_is_read_in_one_module_only():
    """Three others take a few raw fields on purpose: of reports to be replaced, and of many reports at once."""
    package = Path(benchmarks.__file__).parent
    sources = {file.relative_to(package).as_posix(): file.read_text() for file in package.rglob("*.py")}
    reads = re.compile(r"(read_json(_object)?|json\.loads?)\([^)\n]*results\.json|results\.json\"?\)?\.read_")
    assert not [name for name, text in sources.items() if reads.search(text)]
    readers = {name for name, text in sources.items() if "read_results(" in text}
    raw = {"report/publish.py", "workflow/forecast.py", "workflow/inventory.py"}
    assert readers == raw | {"report/results_file.py", "report/run_report.py"}
    assert "read_json_object(folder / FILE)" in sources["report/results_file.py"]
    models = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if re.search(r"\bResults\.model_validate", file.read_text())
    }
    assert models == {"report/run_report.py", "speed/reports.py"}  # speed measures the writing of made-up results
