"""The bench from Python: what is asked for becomes the settings of a run; a finished report is read back.

Whole runs from Python stand in docs/guides/tutorial.md, which test_guides.py runs.
"""

import base64
import io
import re
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from synthetic import MANY, NO_PICTURES, ONE, Page, make_results, make_scores

import benchmarks
from benchmarks import Report, Suite, load, run
from benchmarks.evaluation.results import Finding
from benchmarks.report.inputs import ReportInputs
from benchmarks.report.write import write_report
from benchmarks.workflow.runner import RunOutcome
from forge.core.errors import BenchError, BenchWarning, InputError, UnknownNameError


def write(folder, skill=ONE, **changes):
    scores = make_scores(skill, n=60)
    results = make_results(scores).model_copy(update=changes)
    write_report(folder, ReportInputs(results, scores, NO_PICTURES))
    return results


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small report."""
    folder = tmp_path_factory.mktemp("reports") / "done"
    write(folder)
    return folder


@pytest.fixture
def asked_run(done, tmp_path, monkeypatch):
    """Runs that compute nothing: a function's calls are collected, and each ends with the same small report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_HOME", raising=False)
    monkeypatch.delenv("BENCH_REPORTS", raising=False)
    rows = []

    def executed(planned, **options):
        rows.append((planned, options))
        return RunOutcome(done, {}, [BenchError("fit x: it failed")] if len(rows) > 1 else [])

    monkeypatch.setattr("benchmarks.api.execute_run", executed)
    return rows


def test_the_interface_is_imported_only_when_asked_for():
    program = "import sys, benchmarks; assert 'benchmarks.api' not in sys.modules; from benchmarks import run, Suite"
    program += "; sys.exit(', '.join({'torch', 'pandas', 'sklearn', 'timm'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"run", "Suite", "load", "Report"} <= set(dir(benchmarks))
    with pytest.raises(AttributeError, match="has no attribute 'rum'"):
        benchmarks.rum  # noqa: B018


def test_arguments_become_the_settings_of_a_run_and_its_command(asked_run, done, tmp_path):
    for side in ("real", "forged"):
        (tmp_path / side).mkdir()
        for i in range(20):
            (tmp_path / side / f"{i}.png").write_bytes(b"")
    conditions = {"robust": ("jpeg75",), "matrix": True}
    settings = {"generator.training.kimg": 2, "images": {"train": 40}}
    more = {"external": {"theirs": ("real", "forged")}, "name": "mine", "resolution": 16, "quiet": True}
    report = run(["dcgan"], "dct, random", preset="smoke", seed=3, conditions=conditions, settings=settings, **more)
    assert isinstance(report, Report) and report.folder == done
    planned, options = asked_run[0]
    made = planned.settings
    assert list(made.generators) == ["dcgan"] and list(made.detectors) == ["dct", "random"] and made.seed == 3
    assert made.generators["dcgan"].training["kimg"] == 2 and made.images.train == 40 and made.data.resolution == 16
    assert made.conditions.robust == ("jpeg75",) and set(planned.external) == {"theirs"}
    assert "--set conditions.robust=[jpeg75]" in made.command.replace("'", "")
    assert "--external theirs=real,forged" in made.command
    assert options["workers"] == 1 and str(options["store"].root) == "runs"
    with pytest.warns(UserWarning, match="fit x: it failed; the report is written without"):
        run("dcgan", "dct", preset="smoke", quiet=True)


def test_several_seeds_are_part_of_the_request(asked_run):
    run("dcgan", "dct", preset="smoke", seeds=range(2), name="twice", quiet=True)
    made = asked_run[0][0].settings
    assert made.seeds == (0, 1) and made.name == "twice"
    assert "--seeds 0,1 --name twice" in made.command and made.request.seeds == (0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run("dcgan", "dct", preset="smoke", seeds=[7], quiet=True)
        Suite.open("smoke").run(detector="dct,random", seeds=[4, 5], settings={"conditions.shuffled": []}, quiet=True)
    assert asked_run[1][0].settings.seed == 7 and asked_run[1][0].settings.seeds == ()
    again = asked_run[2][0].settings
    assert again.seeds == (4, 5) and list(again.detectors) == ["dct", "random"] and again.conditions.unseen


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (("dcgna", "dct"), {}, "generator 'dcgna' is not known; did you mean 'dcgan'"),
        (("dcgan",), {}, "no detector was named"),
        (("dcgan", "dct"), {"preset": "quik"}, "preset 'quik' is not known"),
        (("dcgan", "dct"), {"precision": "fp8"}, "precision 'fp8' is not known"),
        (("dcgan", "dct"), {"seed": 1, "seeds": [1, 2]}, "exclude each other"),
        (("dcgan", "dct"), {"seeds": []}, "names no seed"),
        (("dcgan", "dct"), {"seeds": [1, 1]}, "names the seed 1 twice"),
        (("dcgan", "dct"), {"settings": {"data.crop": "oval"}}, "setting 'data.crop' cannot be 'oval'"),
        (("dcgan", "dct"), {"conditions": {"robots": True}}, "setting 'conditions.robots' is not known"),
        (("dcgan", "dct"), {"external": {"x": ("nowhere", "nowhere")}}, "there is no folder nowhere"),
        (("dcgan", "dct"), {"data": "nowhere"}, "'nowhere'"),
        (("dcgan", "dct"), {"name": "a/b"}, "cannot name a folder everywhere"),
        ((), {"suite": "smoky"}, "suite 'smoky' is not known; did you mean 'smoke'"),
    ],
)
def test_mistakes_are_the_sentences_of_the_command_line(asked_run, arguments, options, sentence):
    with pytest.raises(InputError, match=sentence):
        run(*arguments, quiet=True, **options)
    assert not asked_run


def test_a_suite_shows_its_grid(tmp_path):
    suite = Suite.open("smoke")
    assert suite.name == "smoke" and suite.generators == ["gan", "dcgan", "cgan"] and suite.seeds == [0, 1]
    shown = suite._repr_html_()
    Page(shown)
    assert "gan, dcgan, cgan" in shown and "unseen=true" in shown and "gan, dcgan, cgan against" in repr(suite)
    (tmp_path / "x.yaml").write_text("title: <script>\ngenerator: gan, dcgan\n")
    own = Suite(tmp_path / "x.yaml")
    assert own.generators == ["gan", "dcgan"] and own.detectors == [] and own.seeds == [0]
    assert "&lt;script&gt;" in own._repr_html_()
    (tmp_path / "x.yaml").write_text("conditions: {robots: true}\n")
    with pytest.raises(InputError, match=r"conditions\.robots"):
        Suite(tmp_path / "x.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        Suite(tmp_path / "y.yaml")
    with pytest.raises(UnknownNameError, match="did you mean 'smoke'"):
        Suite.open("smok")


def test_a_finished_report_is_read_back(tmp_path, monkeypatch):
    shortcut = Finding(audit="file & format", passed=False, sentence="JPEG against <PNG>.")
    results = write(tmp_path / "reports" / "many", MANY, name="many", audits=[shortcut], missing={"fit a_b": "no *"})
    monkeypatch.chdir(tmp_path)
    report = load("many")
    assert report.name == "many" and report.page.is_file() and report.command == results.command
    assert len(report.cells) == len(results.cells) and {"auc", "auc_low", "trained_on"} <= set(report.cells)
    board = report.leaderboard
    assert board.index[0] == "xception" and {"rank", "unseen", "unseen low", "unseen family_low"} <= set(board)
    assert board["unseen"].is_monotonic_decreasing and len(report.scores) > 0
    assert report.missing == {"fit a_b": "no *"} and report.samples == {}
    assert report.notes[0].startswith("SHORTCUT") and "file & format. JPEG against <PNG>." in report.notes[0]
    assert "Missing here: fit a_b. no *." in report.notes
    shown = report._repr_html_()
    Page(shown)
    assert "JPEG against &lt;PNG&gt;." in shown and 'href="reports/many/index.html"' in shown
    assert all(sentence in repr(report) for sentence in report.summary) and len(report.summary) == 2
    assert load(report.folder).results == report.results


def test_what_is_no_report_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="run 'gone' is not known in runs/reports/; no run finished yet"):
        load("gone")
    with pytest.raises(InputError, match=r"is no report: it has no results\.json"):
        Report(tmp_path)


def test_a_report_of_another_protocol_is_shown_without_a_ranking(tmp_path):
    write(tmp_path / "old", protocol_version=0)
    report = load(tmp_path / "old")
    with pytest.raises(InputError, match="protocol 0 is not known"):
        _ = report.leaderboard
    assert "protocol 0 is not known" in report._repr_html_() and report.summary


def test_notes_are_printed_and_the_report_of_another_call_is_kept(asked_run, done, tmp_path, monkeypatch, capsys):
    def executed(planned, **options):
        warnings.warn("batch 32 is lowered to 16", BenchWarning, stacklevel=1)
        return RunOutcome(done, {}, [])

    monkeypatch.setattr("benchmarks.api.execute_run", executed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("always", BenchWarning)
        run("dcgan", "dct", preset="smoke", name="mine")
    out, err = capsys.readouterr()
    assert "note: batch 32 is lowered to 16" in out and err == ""
    shutil.copytree(done, tmp_path / "runs/reports/mine")
    with pytest.raises(InputError, match="holds the report of another run"):
        run("dcgan", "dct", preset="smoke", name="mine", quiet=True)
    assert run("dcgan", "dct", preset="smoke", name="mine", quiet=True, overwrite=True).folder == done


def test_a_notebook_shows_forgeries_inside_the_page(tmp_path):
    write(tmp_path / "mine")
    Image.fromarray(np.zeros((700, 900, 3), np.uint8)).save(tmp_path / "mine/samples-dcgan.png")
    shown = load(tmp_path / "mine")._repr_html_()
    encoded = re.search(r'src="data:image/webp;base64,([^"]+)"', shown)[1]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        assert max(picture.size) <= 512
    assert "dcgan: random forgeries, not selected" in shown
