"""The house stays in order: imports go down, shipped settings are valid, nothing private is committed."""

import ast
import subprocess
from pathlib import Path

import pytest

from benchmarks.pipeline.compose import compose
from benchmarks.pipeline.configs import configs_root, shipped
from benchmarks.pipeline.run import prepare_run
from benchmarks.pipeline.settings import PRESETS
from detect.detectors.registry import DETECTORS, EXAMPLES
from forge.execution import Execution, execution_of, execution_table
from forge.networks import GENERATORS

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {"forge": {"detect", "benchmarks"}, "detect": {"benchmarks"}, "benchmarks": {"tests"}}


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("floor", sorted(FORBIDDEN))
def test_imports_go_down_never_up(floor):
    files = list((ROOT / floor).rglob("*.py"))
    assert files
    wrong = {str(file.relative_to(ROOT)): imported(file) & FORBIDDEN[floor] for file in files}
    assert not {name: up for name, up in wrong.items() if up}


def test_json_files_have_one_reader():
    allowed = {"forge/files.py", "benchmarks/speed/serving.py"}  # the second reads answers of a server
    calls = {
        str(file.relative_to(ROOT))
        for floor in FORBIDDEN
        for file in (ROOT / floor).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.load", "json.loads")
    }
    assert calls <= allowed, "use forge.files.read_json, which bounds size, depth and digits"


@pytest.mark.parametrize("preset", PRESETS)
def test_shipped_settings_are_valid_at_every_preset(preset):
    detectors = [EXAMPLES.get(name, name) for name in DETECTORS.names()]
    trained = [name for name in GENERATORS.names() if name != "self-blended"]
    prepare_run(compose(generators=trained, detectors=detectors, preset=preset))  # each section by its own type
    prepare_run(compose(generators=["self-blended"], detectors=["dct"], preset=preset))


@pytest.mark.parametrize("kind", ["generators", "detectors"])
def test_every_shipped_file_has_a_registered_name_and_known_presets(kind):
    registry = {"generators": GENERATORS, "detectors": DETECTORS}[kind]
    names = [file.stem for file in (configs_root() / kind).glob("*.yaml")]
    assert names and set(names) <= {name.removesuffix(":") for name in registry.names()}
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
