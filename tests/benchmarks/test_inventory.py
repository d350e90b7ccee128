"""`bench store`: what lies there, what no report needs, a run as one file, damage."""

import io
import json
import os
import re
import shutil
import tarfile
import uuid
from contextlib import suppress
from dataclasses import replace

import fsspec
import pytest
from finished import finished_run
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import call_bench
from test_serve_running import record

from benchmarks.report.run_report import RunReport
from benchmarks.terminal import Silent
from benchmarks.workflow import archive, claims
from benchmarks.workflow.archive import packing, unpack
from benchmarks.workflow.claims import Holder
from benchmarks.workflow.inventory import Inventory
from benchmarks.workflow.run_record import recorded
from benchmarks.workflow.store import Store, write_manifest
from forge.core.errors import CorruptError

OLD = 1e9  # seconds: 2001


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run `mine` with what it was made from, and a result that no report needs."""
    folder = finished_run(tmp_path_factory.mktemp("made"))
    store = Store(folder / "runs")
    fits = [manifest for _, manifest in store.manifests()]
    add(store, "prepare", "a" * 20, {"images": b"12" * 5000})
    add(store, "train", "b" * 20, {"weights": b"1234"}, inputs={"data": "a" * 20})
    add(store, "train", "c" * 20, {"weights": b"5678" * 1000}, inputs={"data": "a" * 20})
    for path, manifest in list(store.manifests()):
        if manifest.action == "fit":  # the fits read the training
            (path / "manifest.json").unlink()
            write_manifest(path, **manifest.model_dump(exclude={"files", "inputs"}), inputs={"generator": "b" * 20})
    add(store, "report", "d" * 20, {"report": b"x"}, inputs={"evaluation": fits[0].key})
    for path, _ in store.manifests():
        os.utime(path / "manifest.json", (OLD, OLD))
    return folder


@pytest.fixture
def bench(made, tmp_path, monkeypatch, capsys):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    claims.HEART.reset()
    return call_bench(tmp_path, monkeypatch, capsys)


def add(store, action, key, files, inputs=None):
    with store.publish(action, key) as out:
        for name, content in files.items():
            (out / name).write_bytes(content)
        write_manifest(
            out, stage=f"{action} x", version=1, key=key, settings={}, inputs=inputs or {}, seed=0, environment={},
            seconds=1.0, peak_memory_mb=None,
        )  # fmt: skip


def facts(bench, *arguments):
    code, out, err = bench("store", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def names(folder):
    return sorted(path.name for path in (folder / "runs" / "results").iterdir())


def test_what_lies_there_is_shown_by_action_and_by_run(bench, tmp_path):
    shown = facts(bench)
    sizes = {path.name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
             for path in (tmp_path / "runs" / "results").iterdir()}  # fmt: skip
    assert shown["results"] == 6 and shown["bytes"] == sum(sizes.values())
    assert {row["action"]: row["results"] for row in shown["actions"]} == {
        "fit": 2, "prepare": 1, "train": 2, "report": 1,
    }  # fmt: skip
    unneeded = sizes[f"train-{'c' * 16}"]
    everything = shown["bytes"] - unneeded
    assert shown["runs"] == [{"run": "mine", "results": 5, "bytes": everything, "alone": everything, "missing": 0}]
    assert shown["unneeded"] == {"results": 1, "bytes": unneeded}
    code, out, _ = bench("store")
    assert code == 0 and "6 results" in out and "mine" in out and "no report needs 1 result" in out


def test_two_runs_share_what_both_need(bench, tmp_path):
    shutil.copytree(tmp_path / "reports" / "mine", tmp_path / "reports" / "other")
    results = json.loads((tmp_path / "reports/other/results.json").read_text())
    results["stages"] = [{"name": "train x", "key": "c" * 20}, {"name": "fit gone", "key": "e" * 20}]
    (tmp_path / "reports/other/results.json").write_text(json.dumps(results))
    rows = {row["run"]: row for row in facts(bench)["runs"]}
    assert (rows["other"]["results"], rows["other"]["missing"]) == (2, 1)
    assert rows["other"]["bytes"] - rows["other"]["alone"] > 10000  # prepare
    assert facts(bench, "gc")["removals"] == []


def test_what_no_report_needs_is_shown_first_and_then_removed(bench, tmp_path):
    before = names(tmp_path)
    shown = facts(bench, "gc")
    assert [row["path"] for row in shown["removals"]] == [f"results/train-{'c' * 16}"]
    assert shown["removed"] == 0 and names(tmp_path) == before
    code, out, _ = bench("store", "gc")
    assert code == 0 and "would be freed by 1 removal; `bench store gc --yes` removes them" in out
    done = facts(bench, "gc", "--yes")
    assert (done["removed"], done["freed"]) == (1, shown["bytes"])
    assert names(tmp_path) == [name for name in before if name != f"train-{'c' * 16}"]
    assert "nothing in runs/ can go" in bench("store", "gc")[1] and bench("store", "verify")[0] == 0


def test_young_and_claimed_results_stay(bench, tmp_path):
    store = Store(tmp_path / "runs")
    with store.claim("c" * 20, waiting=lambda: None):
        assert facts(bench, "gc", "--yes")["removals"] == []
        assert facts(bench)["under_way"] == [
            {"key": "c" * 16, "host": Holder.current().host, "pid": Holder.current().pid, "alive": True}
        ]
    with recorded(record("under-way"), store.root, Silent()) as recorder:
        (unneeded,) = [manifest for _, manifest in store.manifests() if manifest.key == "c" * 20]
        recorder.planned([unneeded], set())
        assert facts(bench, "gc", "--yes")["removals"] == []
    manifest = store.folder("train", "c" * 20) / "manifest.json"
    os.utime(manifest)
    assert facts(bench, "gc")["removals"] == [] and len(facts(bench, "gc", "--hours", "0")["removals"]) == 1


def test_a_claim_that_begins_after_the_inventory_keeps_its_result(bench, tmp_path, monkeypatch):
    store, removals = Store(tmp_path / "runs"), Inventory.removals
    late = []

    def then_claim(self, **options):
        yield from list(removals(self, **options))
        late.append(store.claims.take("c" * 16))

    monkeypatch.setattr(Inventory, "removals", then_claim)
    done = facts(bench, "gc", "--yes")
    assert len(done["removals"]) == 1 and done["removed"] == 0 and store.folder("train", "c" * 20).is_dir()
    late[0].release()


def test_checkpoints_go_when_asked_and_never_of_a_running_process(bench, tmp_path):
    store = Store(tmp_path / "runs")
    for key in ("a" * 20, "e" * 20, "f" * 20):  # of a finished stage, of a stopped one, of one that runs
        store.work(key).mkdir(parents=True)
        (store.work(key) / "checkpoint").write_bytes(b"1" * 100)
    store.folder("train", "c" * 20).rename(store.root / "results" / f"train-{'c' * 16}.damaged-1")
    with store.claim("f" * 20, waiting=lambda: None):
        reasons = {row["path"]: row["reason"] for row in facts(bench, "gc")["removals"]}
        assert reasons == {
            f"results/train-{'c' * 16}.damaged-1": "damaged", f"work/{'a' * 16}": "checkpoint of a finished stage",
        }  # fmt: skip
        facts(bench, "gc", "--yes", "--checkpoints")
        assert [path.name for path in (store.root / "work").iterdir()] == ["f" * 16]


def test_nothing_goes_while_a_report_cannot_be_read(bench, tmp_path):
    (tmp_path / "reports/mine/results.json").write_text("{")
    code, _, err = bench("store", "gc", "--yes")
    assert code == 2 and "the report mine cannot be read, so that nobody knows what it needs" in err
    assert len(names(tmp_path)) == 6 and facts(bench)["unreadable"] == ["mine"]


def test_verify_names_what_is_damaged(bench, tmp_path):
    code, out, _ = bench("store", "verify")
    assert (code, out) == (0, "runs/: 6 results, as published\n")
    results = tmp_path / "runs" / "results"
    weights = results / f"train-{'b' * 16}" / "weights"
    weights.write_bytes(b"1235")
    (results / f"prepare-{'a' * 16}").rename(results / f"prepare-{'9' * 16}")
    (results / f"report-{'d' * 16}" / "manifest.json").unlink()
    code, out, err = bench("store", "verify", "--json")
    assert code == 1 and json.loads(out) == {"checked": 6, "damaged": [
        {"result": f"prepare-{'9' * 16}", "problem": "it is the result of another stage, prepare x"},
        {"result": f"report-{'d' * 16}", "problem": "manifest.json is missing or unreadable"},
        {"result": f"train-{'b' * 16}", "problem": "weights was changed"},
    ]}  # fmt: skip
    assert "3 of 6 results in runs/ damaged" in err and "weights was changed" in err


def test_a_run_travels_as_one_file(bench, tmp_path):
    shown = facts(bench, "export", "mine", "a.tar")
    assert shown["run"] == "mine" and (shown["results"], shown["missing"]) == (5, 0)
    for path in (tmp_path / "runs").rglob("*"):
        os.utime(path)
    assert bench("store", "export", "mine", "b.tar")[0] == 0
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()  # dates play no part
    new = ("--store", "there/runs", "--reports", "there/reports")
    assert facts(bench, "import", "a.tar", *new) == {
        "run": "mine", "report": "there/reports/mine", "results": 5, "new": 5,
    }  # fmt: skip
    assert names(tmp_path / "there") == [name for name in names(tmp_path) if name != f"train-{'c' * 16}"]
    assert RunReport.open("mine", tmp_path / "there/reports").results.name == "mine"
    assert facts(bench, "import", "a.tar", *new)["new"] == 0  # twice does no harm
    assert bench("store", "verify", "--store", "there/runs")[0] == 0
    assert sorted(path.name for path in (tmp_path / "there/runs").iterdir()) == ["results"]
    code, _, err = bench("store", "export", "mine", "a.tar")
    assert code == 2 and "a.tar exists already" in err


def test_another_report_of_the_same_name_is_kept(bench, tmp_path):
    bench("store", "export", "mine", "a.tar")
    (tmp_path / "reports/mine/results.json").write_text("{}")
    code, _, err = bench("store", "import", "a.tar")
    assert (
        code == 2 and "reports/mine holds another report; give another --reports, or replace it with --overwrite" in err
    )
    assert bench("store", "import", "a.tar", "--overwrite")[0] == 0
    assert RunReport.open("mine", tmp_path / "reports").results.name == "mine"


def test_a_damaged_result_is_neither_exported_nor_kept_at_an_import(bench, tmp_path):
    bench("store", "export", "mine", "a.tar")
    weights = tmp_path / "runs/results" / f"train-{'b' * 16}" / "weights"
    weights.write_bytes(b"1235")
    code, _, err = bench("store", "export", "mine", "b.tar")
    assert code == 1 and "weights was changed; run it again" in err and not (tmp_path / "b.tar").exists()
    assert facts(bench, "import", "a.tar")["new"] == 1 and weights.read_bytes() == b"1234"


def rewritten(content, change):
    """An archive whose entries went through `change(name, bytes)`, which returns a list of (TarInfo, bytes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for entry in old:
            for info, data in change(entry, old.extractfile(entry).read()):
                info.size = len(data)
                new.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


def evil(name, type_=tarfile.REGTYPE, linkname=""):
    def change(entry, data):
        if entry.name != "run.json":
            return [(entry, data)]
        info = tarfile.TarInfo(name)
        info.type, info.linkname = type_, linkname
        return [(entry, data), (info, b"boo" if type_ == tarfile.REGTYPE else b"")]

    return change


def edited(name, old, new):
    return lambda entry, data: [(entry, data.replace(old, new) if entry.name.endswith(name) else data)]


DAMAGES = {
    "cut": (lambda content: content[: len(content) // 2], "damaged"),
    "cut within the header": (lambda content: content[:700], "damaged"),
    "empty": (lambda content: b"", "damaged|no exported run"),
    "no archive": (lambda content: b"hello" * 1000, "damaged"),
    "a byte of the report": (lambda c: rewritten(c, edited("results.json", b"mine", b"Mine")), "results.json"),
    "a byte of a result": (lambda c: rewritten(c, edited("weights", b"1234", b"1235")), "weights was changed"),
    "a manifest": (lambda c: rewritten(c, edited("manifest.json", b'"seed": 0', b'"seed": 1')), "manifest.json"),
    "another key": (lambda c: rewritten(c, edited("run.json", b"b" * 20, b"e" * 20)), "missing or unreadable"),
    "an action that leads out": (lambda c: rewritten(c, edited("run.json", b'"prepare"', b'"../x"')), "no name of"),
    "a name that leads out": (lambda c: rewritten(c, edited("run.json", b': "mine"', b': "../m"')), "no name"),
    "a later format": (lambda c: rewritten(c, edited("run.json", b'"format": 1', b'"format": 2')), "upgrade"),
    "no description": (lambda c: rewritten(c, lambda e, d: [(e, d)] * (e.name != "run.json")), "no exported run"),
    "a file of another": (lambda c: rewritten(c, evil("results/other/x")), "no part of the run"),
    "a further file": (lambda c: rewritten(c, evil("report/x")), "no part of the run"),
    "twice": (lambda c: rewritten(c, evil("run.json")), "twice"),
    "up": (lambda c: rewritten(c, evil("../evil")), "holds an entry that no result has"),
    "up within": (lambda c: rewritten(c, evil("report/../../../evil")), "holds an entry that no result has"),
    "absolute": (lambda c: rewritten(c, evil("/tmp/evil")), "holds an entry that no result has"),
    "a link": (lambda c: rewritten(c, evil("report/x", tarfile.SYMTYPE, "/etc")), "holds an entry that no result has"),
    "a hard link": (lambda c: rewritten(c, evil("report/x", tarfile.LNKTYPE, "run.json")), "holds an entry"),
    "a FIFO": (lambda c: rewritten(c, evil("report/x", tarfile.FIFOTYPE)), "holds an entry that no result has"),
    "a file as folder": (lambda c: rewritten(c, evil("run.json/x")), "twice|damaged"),
}  # fmt: skip


def test_a_damaged_file_is_refused_and_nothing_of_it_is_kept(bench, tmp_path, subtests):
    bench("store", "export", "mine", "a.tar")
    content = (tmp_path / "a.tar").read_bytes()
    for name, (damage, sentence) in DAMAGES.items():
        with subtests.test(name):
            (tmp_path / "b.tar").write_bytes(damage(content))
            code, _, err = bench("store", "import", "b.tar", "--store", "there/runs", "--reports", "there/reports")
            assert code in (1, 2) and err.startswith("error: b.tar "), err
            assert re.search(sentence, err) and "should not happen" not in err, err
            assert [path for path in (tmp_path / "there").rglob("*") if path.name != "runs"] == []
            assert not (tmp_path.parent / "evil").exists()


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_damage_or_changes_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / uuid.uuid4().hex
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a").write_bytes(b"content of a")
    (folder / "in" / "b").write_bytes(b"")
    stream = io.BytesIO()
    with packing(stream) as tar:
        archive.pack_folder(tar, folder / "in")
    content = bytearray(stream.getvalue())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (folder / "out").mkdir()
    with suppress(CorruptError):
        unpack(io.BytesIO(bytes(content)), folder / "out", origin="x", most_bytes=100)
    assert {path.parent for path in folder.rglob("*") if path.is_file()} <= {folder / "in", folder / "out"}


def test_results_are_copied_elsewhere_afterwards(bench, tmp_path, monkeypatch):
    code, _, err = bench("store", "push")
    assert code == 2 and "runs/ has no copy elsewhere; name one with --store s3://bucket/prefix or BENCH_REMOTE" in err
    address = f"memory://{uuid.uuid4().hex}"
    assert facts(bench, "push", "--store", address) == {"remote": address, "results": 6, "pushed": 6}
    assert facts(bench, "push", "--store", address)["pushed"] == 0
    shutil.copytree(tmp_path / "reports/mine", tmp_path / "alone/mine")
    report = ("--store", address, "--reports", "alone")
    monkeypatch.setenv("BENCH_HOME", "empty")
    assert facts(bench, "export", "mine", "mine.tar", *report)["results"] == 2  # the fits, which the report names
    there = Store(tmp_path / "there", address)
    assert there.find("train", "b" * 20) and fsspec.filesystem("memory").exists(f"{address}/store.json")
    assert replace(there, root=tmp_path / "other").has("prepare", "a" * 20)
