"""Two processes that train together do what one does."""

import json
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from joint_training import Plain, fit, train_all, train_jointly

from benchmarks.cli import main
from forge.core.distributed import ProcessGroup
from forge.core.errors import InputError

pytestmark = pytest.mark.e2e


def launch(processes: int, work: Callable[[], None]) -> None:
    """Do some work in several processes of a group; they are copies of this one, which has imported everything."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    shared |= {"GLOO_SOCKET_IFNAME": "lo"}

    def member(rank: int) -> None:
        os.environ |= shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        work()

    running = [get_context("fork").Process(target=member, args=(rank,)) for rank in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join(240)
    assert [process.exitcode for process in running] == [0] * processes


def run_bench(arguments: list[str]) -> None:
    sys.argv = ["bench", *arguments]
    main.main()


@pytest.mark.skipif(sys.platform != "linux", reason="names the loopback interface as Linux does")
def test_two_processes_give_the_losses_of_one(make_set, tmp_path):
    faces = make_set("faces", {"forge": 80, "train": 40, "val": 8}).path
    forged = make_set("forged", {"train": 24, "val": 8}, kind="forged", seed=1).path
    launch(2, partial(train_jointly, faces, forged, tmp_path))
    results = json.loads((tmp_path / "2.json").read_text())
    both = results["trainings"]
    for name, (losses, weights) in train_all(faces, tmp_path, ProcessGroup()).items():
        two, two_weights = both[name]
        assert torch.allclose(torch.tensor(losses), torch.tensor(two), rtol=2e-3, atol=2e-4)
        assert torch.allclose(torch.tensor(weights), torch.tensor(two_weights), rtol=1e-3, atol=5e-3)
        assert abs(losses[0][0] - losses[-1][0]) > 0.01  # something was learned, so the comparison says something

    # a detector: the same curve and weights, but for the order of sums
    history, weights, facts = fit(Plain, faces, forged, tmp_path / "plain 1", ProcessGroup())
    joint_history, joint_weights, joint_facts = results["fits"]["plain"]
    assert joint_facts == facts | {"processes": 2}
    for alone, joint in zip(history, joint_history, strict=True):
        assert joint == pytest.approx(alone, rel=1e-4)
    for alone, joint in zip(weights, joint_weights, strict=True):
        assert joint == pytest.approx(alone, rel=1e-3, abs=1e-5)
    assert history[0]["train_loss"] - history[-1]["train_loss"] > 0.001
    # Ctrl-C and a second call end where one call ends, to the bit: running statistics are shared too
    assert results["fits"]["noisy"] == results["fits"]["noisy, continued"]


@pytest.mark.slow  # the trainings of two processes are compared above
@pytest.mark.skipif(sys.platform != "linux", reason="names the loopback interface as Linux does")
def test_a_whole_run_in_two_processes_writes_one_report(tmp_path):
    settings = ["--set", "generator.training.kimg=0.5", "--set", "images.train=16", "--set", "data.count=160"]
    settings += ["--set", "data.resolution=16", "--set", "quality={n: 16, face_n: 1}"]
    command = ["run", "--generator", "gan", "--detector", "dct,meso4", "--preset", "smoke", "--quiet", *settings]
    places = ["--store", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports"), "--name", "two"]
    launch(2, partial(run_bench, [*command, *places]))
    assert (tmp_path / "reports" / "two" / "index.html").is_file()
    manifests = [json.loads(file.read_text()) for file in Path(tmp_path, "runs").rglob("manifest.json")]
    trained = [manifest for manifest in manifests if manifest["stage"].startswith("train ")]
    assert len(trained) == 1 and all(manifest["facts"]["processes"] == 2 for manifest in trained)
    cards = [json.loads(file.read_text()) for file in Path(tmp_path, "runs").rglob("detector.json")]
    shared = {card["name"]: card["facts"].get("processes") for card in cards}
    assert shared == {"dct": None, "meso4": 2}  # a network's fit; features are fitted by the first process alone


def test_a_batch_that_cannot_be_divided_is_refused():
    assert ProcessGroup(1, 2).share(10) == slice(5, 10)
    with pytest.raises(InputError, match="batch 10 cannot be divided among 4 processes; choose a multiple"):
        ProcessGroup(0, 4).share(10)
