"""The layers of the packages, what is committed, and the settings that ship."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.experiment.configs import configs_root, shipped
from benchmarks.experiment.request_fields import RunRequest
from benchmarks.experiment.resolve import resolve
from benchmarks.experiment.settings import PRESETS
from benchmarks.workflow.runner import prepare_run
from detect.detectors.registry import DETECTORS, EXAMPLES
from forge.core.execution import Execution, execution_of, execution_table
from forge.generators import GENERATORS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.xdist_group("grouped")
def test_a_group_of_tests_is_known_to_the_scheduler(request):
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("for `-n 2 --dist loadgroup`, as `make test` runs")
    assert request.node.nodeid.endswith("@grouped")


@pytest.mark.parametrize("preset", PRESETS)
def test_shipped_settings_are_valid_at_every_preset(preset):
    detectors = [EXAMPLES.get(name, name) for name in DETECTORS.names()]
    trained = [name for name in GENERATORS.names() if name != "self-blended"]
    all_at_once = {"matrix": False, "unseen": False}  # each detector is trained once, on all generators
    prepare_run(resolve(RunRequest(generator=trained, detector=detectors, preset=preset, conditions=all_at_once)))
    prepare_run(resolve(RunRequest(generator="self-blended", detector="dct", preset=preset)))


@pytest.mark.parametrize("kind", ["generators", "detectors"])
def test_every_shipped_file_has_a_registered_name_and_known_presets(kind):
    registry = {"generators": GENERATORS, "detectors": DETECTORS}[kind]
    names = [file.stem for file in (configs_root() / kind).glob("*.yaml")]
    assert names and set(names) <= {part for name in registry.names() for part in (name, name.partition(":")[0])}
    for name in names:
        assert shipped(kind, name, "full") is not None


def test_the_shipped_table_names_registered_networks():
    table = execution_table()
    assert set(table["generators"]) <= set(GENERATORS.names()) and set(table["detectors"]) <= set(DETECTORS.names())
    assert execution_of("generators", "my.py:Mine") == Execution(precision="bf16", graph=False)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_registry_address_and_no_foreign_lock_is_committed():
    names = {file.name for file in tracked()}
    assert not names & {"uv.lock", "pylock.toml"}
    lock = (ROOT / "requirements.lock").read_text()
    assert "--index-url" not in lock and "--find-links" not in lock and "https://" not in lock
    assert lock.count("--hash=sha256:") > 500


def test_committed_weights_are_small_safetensors():
    for file in tracked():
        assert file.suffix not in {".pth", ".pt", ".pkl", ".bin", ".ckpt"}
        if file.suffix == ".safetensors":
            assert file.stat().st_size < 20_000_000
