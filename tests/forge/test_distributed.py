"""Two processes that train together do what one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from forge.distributed import World
from forge.errors import InputError

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from forge.compute import Compute
from forge.distributed import World
from forge.faces.faceset import FaceSet
from forge.networks import GENERATORS
from forge.training.game import Game
from forge.training.task import Training
from forge.training.settings import TrainingSettings

name, faces, out = sys.argv[1:]
kind = GENERATORS.load(name)
small = {
    "gan": {"latent": 8, "generator_widths": [16], "discriminator_widths": [16], "grey": False},
    "stylegan-lite": {
        "latent": 8, "style": 8, "channels_base": 64, "channels_min": 4, "channels_max": 8, "noise": False, "mixing": 0
    },
}[name]
settings = TrainingSettings(kimg=1, batch=16, r1_gamma=1.0, penalty_every=2, beta1=0.0, beta2=0.99)
training = Training(
    name, name, kind(kind.Settings(**small), 16), settings, FaceSet.open(Path(faces)).view("forge"), 3,
    Compute("cpu", "fp32"), Path(out),
)
world = World.join(torch.device("cpu"))
game = Game(training, "fp32", world)
losses = []
for _ in range(12):
    game.advance()
    values = [game.readings[k].clone() for k in ("d_loss", "g_loss", "r1")]
    world.average(values)
    losses.append([float(v) for v in values])
if world.first:
    weights = [float(p.double().sum()) for p in game.averaged.parameters()]
    Path(out, f"{world.size}.json").write_text(json.dumps([losses, weights]))
"""


def launch(processes: int, *arguments: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    shared |= {"WORLD_SIZE": str(processes), "GLOO_SOCKET_IFNAME": "lo"}
    running = [
        subprocess.Popen([sys.executable, *arguments], env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]
    assert [process.wait(timeout=240) for process in running] == [0] * processes


@pytest.mark.skipif(sys.platform != "linux", reason="names the loopback interface as Linux does")
@pytest.mark.parametrize("name", ["gan", "stylegan-lite"])
def test_two_processes_give_the_losses_of_one(make_set, tmp_path, name):
    faces = make_set("faces", {"forge": 80}).path
    for processes in (1, 2):
        launch(processes, "-c", SCRIPT, name, str(faces), str(tmp_path))
    (one, one_weights), (two, two_weights) = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 2))
    assert torch.allclose(torch.tensor(one), torch.tensor(two), rtol=2e-3, atol=2e-4)
    assert torch.allclose(torch.tensor(one_weights), torch.tensor(two_weights), rtol=1e-3, atol=5e-3)
    assert abs(one[0][0] - one[-1][0]) > 0.01  # something was learned, so the comparison says something


@pytest.mark.skipif(sys.platform != "linux", reason="names the loopback interface as Linux does")
def test_a_whole_run_in_two_processes_writes_one_report(tmp_path):
    settings = ["--set", "generator.training.kimg=0.5", "--set", "images.train=16", "--set", "data.count=160"]
    settings += ["--set", "data.resolution=16"]
    command = ["run", "--generator", "dcgan,gan", "--detector", "dct", "--preset", "smoke", "--quiet", *settings]
    places = ["--store", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports"), "--name", "two"]
    launch(2, "-m", "benchmarks.cli.main", *command, *places)
    assert (tmp_path / "reports" / "two" / "index.html").is_file()
    manifests = [json.loads(file.read_text()) for file in Path(tmp_path, "runs").rglob("manifest.json")]
    trained = [one for one in manifests if one["stage"].startswith("train ")]
    assert len(trained) == 2 and all(one["facts"]["processes"] == 2 for one in trained)


def test_a_batch_that_cannot_be_divided_is_refused():
    assert World(1, 2).share(10) == slice(5, 10)
    with pytest.raises(InputError, match="batch 10 cannot be divided among 4 processes; choose a multiple"):
        World(0, 4).share(10)
