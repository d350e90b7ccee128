"""A published table comes out again, and what changed is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from published_suite import publish_suite
from synthetic import TINY

from benchmarks.evaluation.reproduce import causes
from benchmarks.report.digests import write_sums
from detect.scoring import read_scores, write_scores

pytestmark = pytest.mark.e2e


@pytest.fixture
def published(tmp_path):
    """A report folder as a run publishes it."""
    return publish_suite(tmp_path / "reports" / "mine")


def accept(folder):
    """Let a changed report pass as one that was written so."""
    write_sums(folder)


def test_it_comes_out_again_to_the_last_digit_without_torch(published, bench):
    code, out, err = bench("reproduce", "mine")
    assert (code, err) == (0, "")
    assert out == "mine: 12 IDENTICAL\n"  # 6 cells, 2 means with two intervals each, 2 ranks
    assert "good@dcgan+gan on style #0" in bench("reproduce", "mine", "--all")[1]
    assert json.loads(bench("reproduce", "mine", "--json")[1])["counts"]["IDENTICAL"] == 12
    code = "import sys; from benchmarks.cli.main import app; sys.argv = ['bench', 'reproduce', 'mine']"
    code += "; app(standalone_mode=False); assert not {'torch', 'timm', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=published.parents[1], check=True, stdout=subprocess.DEVNULL)


def test_scores_that_were_changed_show(published, bench):
    scores = read_scores(published / "scores.parquet")
    chosen = scores["detector"].eq("good") & scores["trained_on"].eq("dcgan+gan") & scores["split"].eq("test")
    first = scores[chosen & scores["label"].eq(1)].index[0]
    scores.loc[first, "score"] = -9.0  # one image
    write_scores(scores, published / "scores.parquet")
    accept(published)
    code, out, err = bench("reproduce", "mine")
    assert code == 0 and "WITHIN     good@dcgan+gan on style #0" in out and "3 WITHIN" in out
    scores.loc[chosen, "score"] *= -1
    write_scores(scores, published / "scores.parquet")
    accept(published)
    code, out, err = bench("reproduce", "mine")
    assert code == 1 and "DIFFERS    good@dcgan+gan on style #0" in out and "values differ" in err


def test_a_cell_that_is_gone_is_missing(published, bench):
    scores = read_scores(published / "scores.parquet")
    write_scores(scores[scores["detector"].ne("bad")], published / "scores.parquet")
    accept(published)
    code, out, _ = bench("reproduce", "mine")
    assert code == 1 and "MISSING    bad@dcgan+gan on style #0" in out and "MISSING    rank of bad" in out


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [("protocol", 1, "different protocols are never compared"), ("data", "other", "prepare the same photos")],
)
def test_other_data_and_another_protocol_are_refused(published, bench, field, value, sentence):
    file = published / "expected.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    accept(published)
    code, _, err = bench("reproduce", "mine")
    assert code == 2 and sentence in err


@pytest.mark.usefixtures("trained_gan")
@pytest.mark.xdist_group("suites")
def test_a_test_is_computed_again_from_checkpoints_and_from_nothing(bench, tmp_path):
    code, _, err = bench("run", "-g", "gan", "-d", "dct,spectrum", *TINY, "--name", "r", "--quiet")
    assert (code, err) == (0, "")
    code, out, err = bench("reproduce", "r", "--from", "checkpoints")
    assert (code, err) == (0, "") and "IDENTICAL  dct@gan on gan #0" in out and out.endswith("r: 2 IDENTICAL\n")
    again = ("reproduce", "r", "--from", "scratch", "--only", "dct@gan on gan")
    code, out, err = bench(*again)
    assert (code, err) == (0, "") and "train gan" in out and out.endswith("r: 1 IDENTICAL\n")
    assert "train gan" not in bench(*again)[1].replace("train gan: cached", "")  # called again, it goes on
    # another value was published: this one lies beside it
    file = tmp_path / "reports" / "r" / "expected.json"
    expected = json.loads(file.read_text())
    for row in expected["values"]:
        row |= {"value": 0.25, "low": 0.2, "high": 0.3}
    expected["environment"]["numpy"] = "0.1"
    file.write_text(json.dumps(expected))
    accept(file.parent)
    code, out, err = bench("reproduce", "r", "--from", "checkpoints", "--only", "dct@gan on gan")
    assert code == 1 and "DIFFERS" in out and "possible cause: numpy: 0.1 then" in out and "1 values differ" in err
    # what is wrong is said
    for words, sentence in (
        (("--from", "checkpoints", "--only", "nobody"), "no test of r is called like 'nobody'"),
        (("--from", "memory"), "--from 'memory' is not known"),
        (("--only", "dct"), "are for --from checkpoints and --from scratch"),
        (
            ("--from", "checkpoints", "--store", "elsewhere"),
            "none of the 2 fitted detectors of r is in elsewhere/, and a report",
        ),
        (("--from", "checkpoints", "--data", "digits"), "is not in runs/; run the suite first, or use --from scratch"),
    ):
        code, _, err = bench("reproduce", "r", *words)
        assert code == 2 and sentence in err
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(expected | {"values": []}))
    code, _, err = bench("reproduce", "r", "--from", "checkpoints", "--against", str(empty))
    assert code == 2 and "the published table of r has no tests" in err
    file.write_text(json.dumps(expected | {"data": "0" * 64}))
    accept(file.parent)
    code, _, err = bench("reproduce", "r", "--from", "checkpoints")
    assert code == 2 and "prepare the same photos" in err


@pytest.mark.usefixtures("trained_gan")
@pytest.mark.xdist_group("suites")
def test_other_data_is_refused_before_anything_is_trained(bench, tmp_path):
    arguments = ("run", "-g", "gan", "-d", "random", *TINY, "--name", "r", "--quiet")
    assert bench(*arguments)[0] == 0
    code, out, err = bench("reproduce", "r", "--from", "scratch", "--data", "digits")
    assert code == 2 and "prepare the same photos with the same settings first" in err
    results = sorted(folder.name.partition("-")[0] for folder in (tmp_path / "runs-again" / "results").iterdir())
    assert results == ["prepare"] and "train" not in out


def test_a_report_without_its_store_says_what_is_missing(published, bench):
    file = published / "results.json"
    results = json.loads(file.read_text())
    stages = [{"name": f"fit {name}@dcgan", "key": "ab" * 32, "seconds": 1.0, "peak_memory_mb": None} for name in "ab"]
    command = "bench run -g dcgan -d dct --data photos/mine"
    request = {"generator": ["dcgan"], "detector": ["dct"], "data": "photos/mine"}
    file.write_text(json.dumps(results | {"stages": stages, "command": command, "request": request}))
    accept(published)
    code, _, err = bench("reproduce", "mine", "--from", "checkpoints")
    assert code == 2 and err.count("\n") == 1
    for part in (
        "none of the 2 fitted detectors of mine is in runs/",
        "--store",
        command,
        "--from scratch --only TEST",
    ):
        assert part in err
    code, _, err = bench("reproduce", "mine", "--from", "scratch")
    assert code == 2 and "data 'photos/mine' is neither" in err
    assert "--data PATH says where the photos of rendered lie here" in err
    file.write_text(json.dumps(results | {"stages": stages, "command": command, "request": None}))
    accept(published)
    code, _, err = bench("reproduce", "mine", "--from", "scratch")
    assert code == 2 and "written by an earlier version" in err and command in err


def test_the_store_of_reproductions_is_ignored_by_git():
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"runs/", "runs-again/"} <= set(ignored)


def measured_by(folder, version):
    file = folder / "results.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"protocol_version": version}))
    accept(folder)


def test_results_of_two_protocols_are_never_ranked_together(published, bench):
    older = publish_suite(published.with_name("older"))
    assert bench("leaderboard", "mine", "older")[0] == 0
    measured_by(older, 1)
    code, out, err = bench("leaderboard", "mine", "older")
    assert (code, out) == (2, "") and "mine was measured by protocol 2 and older by protocol 1" in err
    assert err.count("\n") == 1 and "never ranked together" in err


def test_results_of_protocol_1_are_shown_by_its_own_rules(published, bench):
    measured_by(published, 1)
    code, out, _ = bench("leaderboard", "mine", "--format", "json")
    board = json.loads(out)
    assert (code, board["protocol"], board["primary"]) == (0, 1, "leave-one-out") and "unseen" not in board["columns"]
    assert board["lines"][0]["columns"]["leave-one-out"]["family_low"] is None
    code, out, _ = bench("compare", "good", "bad", "--suite", "mine", "--json")
    assert code == 0 and [row["what"] for row in json.loads(out)] == ["leave-one-out"]


@pytest.mark.parametrize("command", [("leaderboard", "mine"), ("compare", "good", "bad", "--suite", "mine")])
def test_a_protocol_that_is_not_known_is_refused(published, bench, command):
    measured_by(published, 3)
    code, _, err = bench(*command)
    assert code == 2 and "protocol 3 is not known" in err


def test_what_is_not_there_is_said(published, bench):
    (published / "expected.json").unlink()
    accept(published)
    code, _, err = bench("reproduce", "mine")
    assert code == 2 and "expected.json does not exist" in err
    assert bench("reproduce", "mime")[0] == 2


def test_causes_are_what_differs():
    then, now = {"numpy": "2.1", "device": "cpu"}, {"numpy": "2.2", "device": "cpu", "torch": "3"}
    assert causes(then, now) == ["numpy: 2.1 then, 2.2 now", "torch: unknown then, 3 now"]
