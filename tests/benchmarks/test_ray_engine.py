"""The Ray engine on a cluster of two nodes: results, losses, results that travel, what is refused."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fake_stages
import pytest
from fake_stages import NoDevice

from benchmarks.experiment.settings import DataSettings
from benchmarks.terminal import Silent
from benchmarks.workflow import drive
from benchmarks.workflow.engines import ENGINES
from benchmarks.workflow.engines.base import EngineOptions
from benchmarks.workflow.engines.site import HERE
from benchmarks.workflow.schedule import Estimate
from benchmarks.workflow.stage import Context
from benchmarks.workflow.stages.prepare import Prepare
from benchmarks.workflow.store import Store, read_manifest
from forge.core.errors import InputError
from forge.core.files import digest_file
from forge.core.progress import silent
from forge.core.registry import allow_files, code_files, load_from_file
from forge.faces.sources import resolve

CONTEXT = Context(resolve("rendered"), NoDevice("cpu", threads=1), 1, silent)
FACES = Prepare(data=DataSettings(count=30, resolution=16), fingerprint="")


@pytest.fixture(scope="module")
def address():
    """Start a cluster of two nodes with a processor each, and return the address of its head."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:  # nodes inherit the environment
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent)]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "5")  # not what the run asks for
        Path("/tmp/ray").mkdir(exist_ok=True)
        cluster = None
        try:
            for attempt in range(3):
                cluster = Cluster()
                try:
                    for head in ({"no_monitor": True, "include_dashboard": False}, {}):
                        cluster.add_node(num_cpus=1, include_log_monitor=False, wait=False, **head)
                    break
                except (Exception, SystemExit):  # Ray gives a node 30 s to start, and exits on a busy machine
                    cluster.shutdown()
                    if attempt == 2:
                        raise
            cluster.wait_for_nodes(timeout=120)
            yield cluster.address
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def joined(address):
    """Use the cluster as a script that has joined it before, so that workers serve all tests."""
    import ray

    ray.init(address=address, configure_logging=False, log_to_driver=False)
    yield address
    assert ray.is_initialized()  # no engine has left a connection that is not its own
    ray.shutdown()


class Notes(Silent):
    def __init__(self):
        self.lines = []

    def noted(self, text):
        self.lines.append(text)


def run(stages, folder, engine="ray", context=CONTEXT, observer=None, estimates=None, **options):
    store, options = Store(folder), EngineOptions(**{"jobs": 2, "threads": 1} | options)
    made = (ENGINES.load(engine) if isinstance(engine, str) else engine)(store, context, options)
    return drive.execute(stages, store, context, observer or Silent(), made, estimates=estimates)


def few(training="", scoring=""):
    """Return two trainings, a score of both, their sum."""
    trainings = [fake_stages.Training(title=name, act=training) for name in "ab"]
    score = fake_stages.Scoring(title="c", act=scoring, before=fake_stages.inputs(*trainings))
    return [*trainings, score, fake_stages.Sum(title="sum", before=fake_stages.inputs(*trainings, score))]


def texts(executed, stages):
    return [(executed.folders[stage.key] / "text").read_text() for stage in stages]


def test_two_nodes_give_what_one_process_gives(tmp_path, address):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stages, notes = few("met", "killed once"), Notes()
    executed = run(stages, tmp_path / "ray", observer=notes, address=address)
    undisturbed = few()
    assert texts(executed, stages) == texts(run(undisturbed, tmp_path / "serial", "serial"), undisturbed)
    facts = [read_manifest(executed.folders[stage.key]).facts for stage in stages]
    assert facts[2]["resumed"] and {each["threads"] for each in facts} == {"1"}
    assert notes.lines == ["the worker of fake-score c died; it is tried again (2 of 3)"]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not (tmp_path / "ray" / "engines").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": "ray://127.0.0.1:10001"}, "address of Ray Client"),
        ({"address": "head:port"}, "is not HOST:PORT"),
        ({"address": "localhost:{port}"}, "nobody listens"),
    ],
)
def test_addresses_that_cannot_be_joined(tmp_path, options, words):
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("localhost", 0))
        address = options["address"].format(port=taken.getsockname()[1])
        with pytest.raises(InputError, match=words):
            run(fake_stages.grid(scores=0), tmp_path, address=address)


def test_more_threads_than_a_node_has_are_refused(tmp_path, address):
    with pytest.raises(InputError, match="takes 2 threads, and no node of the cluster has more than 1"):
        run(fake_stages.grid(scores=0), tmp_path, address=address, threads=2)


def test_another_version_is_refused(tmp_path, address, monkeypatch):
    def init(**options):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.1\n    Python: 3.9")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(InputError, match=r"another Ray or Python than this process.*Ray: 2\.1"):
        run(fake_stages.grid(scores=0), tmp_path, address=address)


def test_a_termination_while_the_cluster_starts_is_an_interrupt(tmp_path, monkeypatch):
    monkeypatch.setattr("ray.init", lambda **options: sys.exit(signal.SIGTERM))  # as Ray's handler does
    with pytest.raises(KeyboardInterrupt):
        run(fake_stages.grid(scores=0), tmp_path)


def test_folders_of_clusters_that_were_killed_are_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process in (ended.pid, os.getpid()):
        (tmp_path / f"bench-ray-{process}-x").mkdir()
    ENGINES.load("ray")
    sys.modules["benchmarks.workflow.engines.ray_cluster"]._tidy(tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == [f"bench-ray-{os.getpid()}-x"]


def test_without_ray_a_sentence_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("forge.core.extras.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "benchmarks.workflow.engines.ray", raising=False)
    with pytest.raises(InputError, match=r"--engine ray needs ray, .* pip install 'deepfake-bench\[ray\]'"):
        ENGINES.load("ray")


def test_a_face_set_has_the_same_digests(tmp_path, joined):
    files = []
    for engine in ("ray", "serial"):
        executed = run([FACES], tmp_path / engine, engine)
        files.append(read_manifest(executed.report).files)
    assert files[0] == files[1]


def test_a_task_sets_aside_the_memory_that_its_like_took(tmp_path, joined):
    import ray

    stages = few("assigned", "assigned")
    wanted = {stages[0].key: 100.0, stages[1].key: 1e9}  # MiB; more than any node has: as much as the largest one has
    estimates = {key: Estimate(memory_mb=memory) for key, memory in wanted.items()}
    executed = run(stages, tmp_path, estimates=estimates)
    assigned = [read_manifest(executed.folders[stage.key]).facts["assigned"] for stage in stages[:3]]
    largest = max(node["Resources"]["memory"] for node in ray.nodes())
    assert [each.get("memory") for each in assigned] == [100 * 2**20, pytest.approx(largest), None]
    assert all(each["CPU"] == 1 for each in assigned)


def test_a_signal_saves_trainings_on_all_nodes(tmp_path, joined, monkeypatch):
    import ray

    stages = fake_stages.grid(("counted", "counted"), scores=1)
    works = [Store(tmp_path).work(stage.key) for stage in stages[:2]]
    begun, forced, cancel = [], [], ray.cancel

    def watched(ref, *, force, recursive):
        forced.append(force)
        cancel(ref, force=force, recursive=recursive)

    class Interrupted(ENGINES.load("ray")):
        def wait(self, seconds, tell):
            super().wait(seconds, tell)
            begun[:] = [work for work in works if (work / "begun").exists()]
            if begun:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ray, "cancel", watched)
    with pytest.raises(KeyboardInterrupt):
        run(stages, tmp_path, Interrupted)
    assert begun and all(0 < int((work / "count").read_text()) < fake_stages.STEPS for work in begun)
    assert forced and not any(forced)  # Ray may abort where a task that has just ended is cancelled again


def test_a_node_that_does_not_see_the_store_is_refused(tmp_path, joined):
    class Unseen(ENGINES.load("ray")):
        def connect(self):
            (self._site.folder / HERE).unlink()
            super().connect()

    with pytest.raises(InputError, match=r"a worker on .* does not see the store .*mount it there .*--ship-below 100"):
        run(fake_stages.grid(scores=0), tmp_path, Unseen)


def blind():
    """Return an engine for whose tasks no node sees the store."""
    engine = ENGINES.load("ray")

    class Blind(engine):
        def connect(self):
            super().connect()
            (self._site.folder / HERE).unlink()
            self._blind = {node["NodeID"] for node in self._nodes}

        def _may_travel(self, task):  # trainings of this test read no photos
            return bool(task.stages)

    return Blind


def test_small_results_travel_to_nodes_that_do_not_see_the_store(tmp_path, joined):
    stages = fake_stages.grid(("", ""), scores=1)
    executed = run(stages, tmp_path / "ray", blind(), ship_below_mb=1)
    assert texts(executed, stages) == texts(run(stages, tmp_path / "serial", "serial"), stages)
    assert not [path for path in Path("/tmp").glob("bench-ray-*") if path.name.startswith(f"bench-ray-{os.getpid()}-")]
    assert all(Path(executed.folders[stage.key]).parent == tmp_path / "ray" / "results" for stage in stages)


PLUGIN = """
import helper_that_travels

class Photos:
    words = helper_that_travels.WORDS
"""


def test_plugins_travel_to_nodes_that_do_not_have_their_files(tmp_path, joined, request, monkeypatch):
    request.addfinalizer(lambda: allow_files((), anew=True))
    folder, link, hidden = tmp_path / "folder", tmp_path / "link", tmp_path / "hidden"
    engine, reference = ENGINES.load("ray"), "link/photos.py:Photos"

    class Hiding(engine):
        def connect(self):
            link.unlink()
            folder.rename(hidden)
            super().connect()

    monkeypatch.chdir(tmp_path)
    for words in ("first", "second"):  # by processes that have the first one
        folder.mkdir(exist_ok=True)
        link.symlink_to(folder)
        (folder / "photos.py").write_text(f"import beside_photos\n\nclass Photos:\n    words = {words!r}\n")
        (folder / "beside_photos.py").touch()
        allow_files([reference], anew=True)
        source = load_from_file("source", reference)()
        source.reference = reference
        expected = {name: digest_file(file) for name, file in code_files(reference).items()}
        stages = fake_stages.grid(("plugin", "plugin"), scores=0)
        executed = run(stages, tmp_path / words, Hiding, replace(CONTEXT, source=source))
        facts = [read_manifest(executed.folders[stage.key]).facts for stage in stages[:2]]
        assert [each["words"] for each in facts] == [words, words]
        assert [each["code"] for each in facts] == [expected, expected]
        hidden.rename(folder)
        del sys.modules[type(source).__module__]  # as a new process


def test_what_may_not_travel_is_said(tmp_path, joined):
    with pytest.raises(
        InputError, match=r"result of fake-train . has .* MB and may not travel .*--ship-below is 0.0001"
    ):
        run(fake_stages.grid(scores=1), tmp_path, blind(), ship_below_mb=0.0001)
