"""A store on another machine: read where the local one lacks a result, written after it, checked on the way."""

import multiprocessing
import pickle
import re
import shutil
import uuid
from pathlib import Path

import fake_stages
import fsspec
import pytest
from moto.server import ThreadedMotoServer
from test_claims import ELSEWHERE, Clock, nothing

from benchmarks import places
from benchmarks.terminal import Silent
from benchmarks.workflow import claims, drive, remote_claims
from benchmarks.workflow.remote import DOWN_SECONDS, Remote
from benchmarks.workflow.remote_claims import RemoteClaims
from benchmarks.workflow.stage import Context
from benchmarks.workflow.store import Store, write_manifest
from forge.core.errors import BenchWarning, InputError
from forge.core.progress import silent


@pytest.fixture(scope="module")
def server():
    """An S3 server of this process."""
    running = ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        fsspec.filesystem("s3", use_listings_cache=False).mkdir("bucket")
        yield
    running.stop()


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    """An empty place of each protocol; s3 where a test asks for it, as its client takes long to start."""
    claims.HEART.reset()
    if request.param == "s3":
        request.getfixturevalue("server")
    where = {"memory": f"memory://{uuid.uuid4().hex}", "file": f"file://{tmp_path}/shared",
             "s3": f"s3://bucket/{uuid.uuid4().hex}"}  # fmt: skip
    return where[request.param]


class Watch(Silent):
    """Keeps the ends of stages."""

    def __init__(self):
        self.events = []

    def finished(self, stage, *, cached, seconds):
        self.events.append(f"{'cached' if cached else 'ran'} {stage.name}")


def publish(store, key="k" * 20, weights=b"1234"):
    with store.publish("train", key) as out:
        (out / "weights").write_bytes(weights)
        (out / "deep").mkdir()
        (out / "deep" / "é.log").write_text("x")
        write_manifest(out, stage="train x", version=1, key=key, settings={}, inputs={}, seed=0, environment={},
                       seconds=0.1, peak_memory_mb=None)  # fmt: skip
    return store.folder("train", key)


KEY = "k" * 20


@pytest.mark.parametrize("address", ["memory", "file", "s3"], indirect=True)
def test_a_result_of_one_machine_is_there_on_another(tmp_path, address):
    here, there = Store(tmp_path / "here", address), pickle.loads(pickle.dumps(Store(tmp_path / "there", address)))
    here.copy.reach()
    assert not there.has("train", KEY) and there.find("train", KEY) is None
    with here.claim(KEY, waiting=nothing):
        folder = publish(here)
    there.copy.refresh()
    assert there.has("train", KEY) and not there.folder("train", KEY).exists()
    fetched = there.find("train", KEY)
    assert fetched == there.folder("train", KEY) and [path.name for path in fetched.parent.iterdir()] == [fetched.name]
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(files) == 3
    assert files == {path.relative_to(fetched): path.read_bytes() for path in fetched.rglob("*") if path.is_file()}
    assert not there.copy.push(folder.name, folder, {})  # it is there already
    assert list(there.elsewhere({"train"})) == []  # it is here now
    shutil.rmtree(fetched)
    assert [manifest.stage for manifest in there.elsewhere({"train", "fit"})] == ["train x"]
    assert list(there.elsewhere({"fit"})) == []
    there.copy.reach()


def test_a_damaged_copy_is_set_aside_and_made_again(tmp_path, address):
    here, there = Store(tmp_path / "here", address), Store(tmp_path / "there", address)
    folder = publish(here)
    files, base = here.copy.files, f"{here.copy.base}/results"
    (archive,) = [path for path in files.ls(base, detail=False) if path.endswith(".tar")]
    content = files.cat_file(archive)
    # a byte of a file, cut off, not there at all; then a description that is not readable
    changed = content.replace(b"1234", b"1235")
    for damage in (changed, content[:700], b"", None):
        files.pipe_file(archive, damage) if damage is not None else files.rm_file(archive)
        with pytest.warns(BenchWarning, match="damaged|cannot be used"):
            assert there.find("train", KEY) is None
        assert not there.folder("train", KEY).exists()
        if damage is not None:
            assert not there.copy.has(folder.name)
            files.mv(f"{base}/{folder.name}.json.damaged", f"{base}/{folder.name}.json")
            there.copy.refresh()
    files.pipe_file(f"{base}/{folder.name}.json", b"{}")
    with pytest.warns(BenchWarning, match="its description is not readable; it is set aside and computed again"):
        assert there.find("train", KEY) is None
    publish(there)
    shutil.rmtree(folder)
    here.copy.refresh()
    assert here.find("train", KEY) == folder


def test_an_address_that_does_not_answer_is_left_alone_for_a_while(tmp_path, monkeypatch):
    store, calls = Store(tmp_path, f"memory://{uuid.uuid4().hex}"), []

    def fail(*arguments, **options):
        calls.append(arguments)
        raise TimeoutError("no answer")

    with monkeypatch.context() as patch, pytest.warns(BenchWarning) as notes:
        patch.setattr(store.copy.files, "ls", fail)
        for number in range(5):
            assert store.find("train", f"{number}") is None and not store.has("train", f"{number}")
        with store.claim(KEY, waiting=nothing):
            publish(store)
    assert len(calls) == 1
    assert re.search("no answer; going on with what .* has", "".join(str(note.message) for note in notes))
    store.copy._down -= DOWN_SECONDS
    assert not store.has("train", "1") and store.copy.push(*pushed(store))


def pushed(store):
    folder = store.folder("train", KEY)
    return folder.name, folder, {}


def test_another_result_under_a_name_is_not_taken(tmp_path, address):
    here, there = Store(tmp_path / "here", address), Store(tmp_path / "there", address)
    folder, other = publish(here), publish(here, "other")
    files, base = here.copy.files, f"{here.copy.base}/results"
    description = files.cat_file(f"{base}/{other.name}.json")
    files.pipe_file(f"{base}/{folder.name}.json", description)
    with pytest.warns(BenchWarning, match="its description names another result"):
        assert there.find("train", KEY) is None


@pytest.mark.parametrize("address", ["memory", "file", "s3"], indirect=True)
def test_claims_hold_between_machines(tmp_path, address):
    first, second = (Store(tmp_path / name, address).copy for name in ("here", "there"))

    def refuse():
        raise ZeroDivisionError  # of a caller who does not want to wait

    with first.claimed("k", waiting=nothing):
        assert second.claims().take("k") is None
        with pytest.raises(ZeroDivisionError), second.claimed("k", waiting=refuse):
            pass
    second.claims().take("k").release()


def test_an_upload_that_was_cut_off_is_not_looked_at(tmp_path, address, monkeypatch):
    here, there = Store(tmp_path / "here", address), Store(tmp_path / "there", address)

    def fail(remote, path, text):
        raise PermissionError("not allowed")

    with monkeypatch.context() as patch:
        patch.setattr(Remote, "_write", fail)
        with pytest.warns(BenchWarning, match="not allowed; train-k+ is in .*here/ alone, `bench store push`"):
            folder = publish(here)
    assert there.find("train", KEY) is None and here.find("train", KEY) == folder
    assert here.copy.push(folder.name, folder, {}) and there.copy.push(folder.name, folder, {}) is False


def test_a_run_fetches_only_what_it_reads(tmp_path):
    address = f"memory://{uuid.uuid4().hex}"
    here, there = Store(tmp_path / "here", address), Store(tmp_path / "there", address)
    stages = fake_stages.grid()
    context = Context(None, fake_stages.NoDevice("cpu"), 1, silent)
    report = drive.execute(stages, here, context, Watch()).report
    there.copy.refresh()
    assert set(drive.status(stages, there).values()) == {"cached"} and not (tmp_path / "there").exists()
    fetched = drive.execute(stages, there, context, Watch()).report
    assert (fetched / "text").read_text() == (report / "text").read_text()
    assert [path.name for path in (tmp_path / "there/results").iterdir()] == [fetched.name]
    there.copy.set_aside(fetched.name)  # it is to be made again, from the scores alone
    shutil.rmtree(fetched)
    watch = Watch()
    drive.execute(stages, there, context, watch)
    assert [event for event in watch.events if event.startswith("ran")] == [f"ran {stages[-1].name}"]
    read = {there.folder(stage.action, stage.key) for stage in (stages[-1], *stages[-1].inputs.values())}
    assert {*(tmp_path / "there/results").iterdir()} == read


def memory(path="/leases"):
    files = fsspec.filesystem("memory", skip_instance_cache=True)
    return files, f"{path}-{uuid.uuid4().hex}"


def test_numbered_leases_go_to_one_process_each():
    files, path = memory()
    first, second = RemoteClaims(files, path), RemoteClaims(files, path, holder=lambda: ELSEWHERE)
    claim = first.take("k")
    assert second.take("k") is None and not claim.lost
    claim.beat()
    assert second.take("k") is None
    claim.release()
    claim = second.take("k")
    assert first.take("k") is None and remote_claims._names(files, f"{path}/k") == ["000002"]
    remote_claims._HEART.forget(claim)
    clock = Clock()
    observer = RemoteClaims(files, path, clock=clock, sleep=clock.sleep)
    with observer.hold("k", waiting=nothing):  # it was silent
        assert claim.lost and RemoteClaims.silence <= clock.now < RemoteClaims.silence + 10
        claim.beat()  # a late heartbeat brings nothing back
        assert claim.lost and first.take("k") is None


def test_a_slow_process_does_not_get_a_number_that_was_used_before(monkeypatch):
    files, path = memory()
    slow, quick = RemoteClaims(files, path), RemoteClaims(files, path)
    make = RemoteClaims._make

    def late(self, folder, name):  # the others take turns between its look and its attempt
        if self is slow:
            quick.take("k").release()
            quick.take("k")
        return make(self, folder, name)

    monkeypatch.setattr(RemoteClaims, "_make", late)
    assert slow.take("k") is None
    assert remote_claims._names(files, f"{path}/k") == ["000002"]


def test_an_address_that_cannot_be_reached_is_said_at_once_and_later_does_not_end_a_run(tmp_path, server):
    store = Store(tmp_path, "s3://no-such-bucket/x")
    with pytest.raises(InputError, match=r"--store s3://no-such-bucket/x cannot be used: .*; check the address"):
        store.copy.reach()
    with pytest.warns(BenchWarning) as notes, store.claim(KEY, waiting=nothing):
        folder = publish(store)
    assert "without a claim there" in str(notes[0].message) and "`bench store push`" in str(notes[-1].message)
    assert store.find("train", KEY) == folder


@pytest.mark.parametrize(
    ("address", "sentence"),
    [("nope://x", "Protocol not known: nope"), ("gs://x", r"'deepfake-bench\[remote\]', other protocols the package")],
)
def test_an_unknown_protocol_is_refused(tmp_path, address, sentence):
    with pytest.raises(InputError, match=sentence):
        _ = Store(tmp_path, address).copy


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    from forge.core import extras

    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(InputError, match=r"s3://b/p needs fsspec.*pip install 'deepfake-bench\[remote\]'"):
        _ = Store(tmp_path, "s3://b/p").copy


def test_an_address_in_place_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("BENCH_HOME", raising=False)
    for given, expected in {
        "s3://bucket/a/b": (Path("runs"), "s3://bucket/a/b"), "memory://x": (Path("runs"), "memory://x"),
        f"file://{tmp_path}": (Path("runs"), f"file://{tmp_path}"), "runs/x": (Path("runs/x"), ""),
        "a:b": (Path("a:b"), ""),
    }.items():  # fmt: skip
        store = Store(Path(given))
        assert (store.root, store.remote) == expected == places.store_parts(given)
    monkeypatch.setenv("BENCH_HOME", "kept")
    assert Store(Path("s3://bucket")) == Store(Path("kept"), "s3://bucket")
    monkeypatch.setenv("BENCH_HOME", "s3://bucket")
    assert Store(places.store_folder()) == Store(Path("runs"), "s3://bucket")
    monkeypatch.setenv("BENCH_REMOTE", "memory://m")
    assert Store(Path("there")) == Store(Path("there"), "memory://m")
    monkeypatch.setenv("BENCH_REMOTE", "bucket/m")
    with pytest.raises(InputError, match="BENCH_REMOTE='bucket/m' is no address; write one as s3://bucket/prefix"):
        Store(Path("there"))


def run_grid(root, address):
    """Run a grid as one of several machines without a common disk, and write down what ran here."""
    watch = Watch()
    context = Context(None, fake_stages.NoDevice("cpu"), 1, silent)
    drive.execute(fake_stages.grid(scores=20), Store(root, address), context, watch)
    (root / "events").write_text("\n".join(watch.events))


@pytest.mark.slow
def test_machines_without_a_common_disk_compute_each_stage_once(tmp_path, server):
    address, spawn = f"s3://bucket/{uuid.uuid4().hex}", multiprocessing.get_context("spawn")
    roots = [tmp_path / f"machine-{number}" for number in range(3)]
    machines = [spawn.Process(target=run_grid, args=(root, address)) for root in roots]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    events = [line for root in roots for line in (root / "events").read_text().splitlines()]
    ran = [line.removeprefix("ran ") for line in events if line.startswith("ran ")]
    assert sorted(ran) == sorted(stage.name for stage in fake_stages.grid(scores=20))
    texts = {file.read_bytes() for root in roots for file in root.glob("results/fake-sum-*/text")}
    assert len(texts) == 1
