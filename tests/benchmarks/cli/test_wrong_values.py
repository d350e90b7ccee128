"""Every verb of `bench` with a wrong value: exit code 2, and one sentence with the field, the value and the fix."""

import json
import shutil
from pathlib import Path

import pytest
from synthetic import call_bench

from benchmarks.cli.main import COMMANDS
from benchmarks.protocol import PROTOCOL_VERSION

REPORTS = Path(__file__).resolve().parents[3] / "reports"
SUITE = "dcgan-xception-rendered-quick"  # a committed report
EARLIER = "earlier"  # of an earlier version, without a request; its command has an option that this version lacks

# arguments, then what the sentence must contain: the value, and what to do
WRONG = [
    (("nonsense",), "'nonsense'", "bench --help"),
    (("--nonsense",), "--nonsense", "bench --help"),
    (("run", "--nonsense", "3"), "--nonsense", "bench run --help"),
    (("run", "--seed", "x"), "'x'", "bench run --help"),
    (("run", "-g", "dcgna", "-d", "dct"), "'dcgna'", "did you mean 'dcgan'?"),
    (("run", "-g", "dcgan", "-d", "dct", "--preset", "tiny"), "'tiny'", "quick"),
    (("run", "-g", "dcgan", "-d", "dct", "--set", "generator.training.kmg=1"), "kmg", "kimg"),
    (("run", "-g", "dcgan", "-d", "plugin.py:NotADetector", "--dry-run"), "plugin.py:NotADetector", "subclass of"),
    (("run", "-g", "plugin.py:NotADetector", "-d", "dct", "--dry-run"), "plugin.py:NotADetector", "subclass of"),
    (("run", "-g", "dcgan", "-d", "dct", "--engine", "loca"), "'loca'", "did you mean 'local'?"),
    (("run", "-g", "dcgan", "-d", "dct", "--slurm", "gpu"), "'gpu'", "is not NAME=VALUE,…"),
    (("run", "-g", "dcgan", "-d", "dct", "--ray-address", "auto"), "--ray-address", "is of --engine ray"),
    (("run", "-g", "dcgan", "-d", "dct", "--jobs", "0"), "--jobs", "greater than or equal to 1"),
    (("run", "none.yaml"), "none.yaml", "cannot be read"),
    (("init", "a b"), "'a b'", "try bench init a-b"),
    (("new", "generator", "3d"), "'3d'", "e.g. my_generator"),
    (("new", "gan", "mine"), "'gan'", "known: attack, detector, generator"),
    (("list", "generator"), "'generator'", "did you mean 'generators'?"),
    (("show", "dcgna"), "'dcgna'", "bench list generators"),
    (("data", "prepare", "nowhere"), "'nowhere'", "bench list sources"),
    (("data", "prepare", "digits", "--resolution", "4"), "--resolution", "greater than or equal to 8"),
    (("data", "show", "nowhere"), "nowhere", "bench data prepare"),
    (("data", "verify", "nowhere"), "nowhere", "bench data prepare"),
    (("data", "export", "nowhere", "out"), "nowhere", "bench data prepare"),
    (("detect", "nowhere", "me.jpg"), "'nowhere'", f"there are: {SUITE}"),
    (("detect", SUITE, "me.jpg", "--format", "xls"), "'xls'", "known: "),
    (("detect", "import", "meso4", "note.txt"), "note.txt", ".h5"),
    (("detect", "import", "dct", "note.txt"), "dct", "bench detect published"),
    (("translate", "nowhere", "me.jpg"), "'nowhere'", f"there are: {SUITE}"),
    (("translate", SUITE, "me.jpg"), "has none", "--generator"),
    (("translate", SUITE, "me.jpg", "--crop", "Face"), "'Face'", "did you mean 'face'?"),
    (("tamper", "splise", "me.jpg"), "'splise'", "did you mean 'splice'?"),
    (("tamper", "dcgan", "me.jpg"), "'dcgan'", "name an edit: copy-move, inpaint"),
    (("tamper", "splice", "me.jpg", "--crop", "Face"), "'Face'", "did you mean 'face'?"),
    (("tamper", "edit:dcgan", "me.jpg"), "'edit:dcgan'", "name a run that has it with --run RUN"),
    (("tamper", "edit:cgan", "me.jpg"), "'edit:cgan'", "name dcgan or stylegan-lite"),
    (("tamper", "edit", "me.jpg", "--run", SUITE), "'edit:stylegan-lite'", "it has no edits"),
    (("tamper", "splice", "me.jpg", "--run", SUITE), "'splice'", "leave --run out"),
    (("tamper", "splice", "nowhere.jpg"), "nowhere.jpg", "exist"),
    (("tamper", "splice", "me.jpg", "--set", "regions=[chin]"), "'chin'", "input should be 'face'"),
    (("tamper", "splice", "me.jpg", "--set", "donors=others"), "others", "never done here"),
    (("tamper", "splice", "me.jpg", "--out", "me.jpg"), "--out", "not a folder"),
    (("attack", "nowhere", "me.jpg"), "'nowhere'", f"there are: {SUITE}"),
    (("attack", SUITE, "me.jpg", "--kind", "pdg"), "'pdg'", "did you mean 'pgd'"),
    (("attack", SUITE, "me.jpg", "--aim", "evde"), "'evde'", "did you mean 'evade'?"),
    (("quality", "nowhere"), "nowhere", "FaceSet"),
    (("report", "nowhere"), "'nowhere'", f"there are: {SUITE}"),
    (("leaderboard", SUITE, "--format", "xls"), "'xls'", "known: csv"),
    (("leaderboard", SUITE, "--columns", "crss"), "'crss'", "known"),
    (("cite", SUITE, "--format", "word"), "'word'", "known: bibtex"),
    (("review", SUITE, "--format", "word"), "'word'", "known: json"),
    (("compare", "dct", "dct", "--suite", SUITE), "dct", "name two detectors"),
    (("export", "images", SUITE, "--out", "here"), "here", "--out"),
    (("submit", "note.txt", "--suite", SUITE, "--name", "theirs"), "note.txt", "columns image and score"),
    (("submit", "note.txt", "--suite", SUITE, "--name", "a/b"), "'a/b'", "try --name"),
    (("reproduce", SUITE, "--from", "sky"), "'sky'", "known: checkpoints, scores, scratch"),
    (("reproduce", EARLIER, "--from", "scratch"), "--nonsense 3", "run it first"),
    (("reproduce", SUITE, "--from", "scratch"), "protocol 1", "--from scores"),
    (("zoo", "publish", "nowhere", "dcgan"), "'nowhere'", f"there are: {SUITE}"),
    (("zoo", "add", "nowhere.zip"), "nowhere.zip", "bench zoo publish --archive"),
    (("run", "-g", "zoo:dcgan-64", "-d", "dct"), "zoo:dcgan-64", "bench zoo add FILE"),
    (("store", "nonsense"), "nonsense", "bench store --help"),
    (("store", "gc", "--hours", "-1"), "--hours", "greater than or equal to 0"),
    (("store", "export", "nowhere", "x.tar"), "'nowhere'", f"there are: {SUITE}"),
    (("store", "export", SUITE, "note.txt"), "note.txt", "choose another name"),
    (("store", "import", "none.tar"), "none.tar", "not there"),
    (("store", "push"), "runs/", "--store s3://bucket/prefix"),
    (("store", "--store", "nope://x"), "nope://x", "fsspec"),
    (("run", "-g", "dcgan", "-d", "dct", "--store", "nope://x"), "nope", "'deepfake-bench[remote]'"),
    (("serve", "--port", "70000"), "'70000'", "bench serve --help"),
    (("serve", "--host", "nowhere.invalid"), "'nowhere.invalid'", "--host"),
    (("doctor", "--store"), "--store", "requires an argument"),
    (("speed", "--only", "nothing"), "'nothing'", "did you mean"),
]


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    (tmp_path / "plugin.py").write_text("class NotADetector:\n    pass\n")
    (tmp_path / "note.txt").write_text("hello\n")
    (tmp_path / "me.jpg").write_text("no photo")
    (tmp_path / "here").mkdir()
    shutil.copytree(REPORTS / SUITE, tmp_path / "reports" / SUITE)
    shutil.copytree(REPORTS / SUITE, tmp_path / "reports" / EARLIER)
    (tmp_path / "reports" / EARLIER / "SHA256SUMS").unlink()  # its digests no longer hold
    file = tmp_path / "reports" / EARLIER / "results.json"
    earlier = {"command": "bench run --generator dcgan --nonsense 3", "protocol_version": PROTOCOL_VERSION}
    results = json.loads(file.read_text()) | earlier
    file.write_text(json.dumps(results))
    return call_bench(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(("arguments", "value", "fix"), WRONG, ids=[" ".join(case[0]) for case in WRONG])
def test_a_wrong_value_is_refused_in_one_sentence(bench, arguments, value, fix):
    code, out, err = bench(*arguments)
    sentence = err.splitlines()[-1]  # a note may stand before it
    assert code == 2 and sentence.startswith("error: ") and "Traceback" not in err
    assert "should not happen" not in err and all(line.startswith(("note: ", "error: ")) for line in err.splitlines())
    assert value in sentence and fix in sentence and "error" not in out


def test_every_verb_is_among_them():
    assert {arguments[0] for arguments, *_ in WRONG} >= set(COMMANDS)


def test_results_of_an_earlier_schema_are_shown(bench, tmp_path):
    folder = tmp_path / "reports" / SUITE
    (folder / "SHA256SUMS").unlink()
    file = folder / "results.json"
    results = json.loads(file.read_text())
    for version, expected in ((99, 2), (1, 0)):
        file.write_text(json.dumps(results | {"schema_version": version}))
        code, _, err = bench("show", SUITE)
        assert code == expected and "should not happen" not in err, version


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": "x"}', '{"schema_version": 6, "cells": 3}'])
@pytest.mark.parametrize("verb", [("show",), ("report",), ("leaderboard",), ("reproduce",), ("list",)])
def test_damaged_results_are_refused_in_one_sentence(bench, tmp_path, verb, content):
    (tmp_path / "reports" / SUITE / "SHA256SUMS").unlink()
    (tmp_path / "reports" / SUITE / "results.json").write_text(content)
    code, _, err = bench(*verb, "runs" if verb == ("list",) else SUITE)
    if verb == ("list",):
        assert code == 0  # the table says it
    else:
        assert code in (1, 2) and err.count("\n") <= 2 and "error: " in err
    assert "should not happen" not in err and "Traceback" not in err
