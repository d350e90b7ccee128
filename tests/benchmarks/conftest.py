import shutil
from pathlib import Path

import pytest
from synthetic import TINY, call_bench


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Call `bench` in an empty folder; returns (code, stdout, stderr)."""
    return call_bench(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="session")
def results_of_a_gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the stages before the first detector of `bench run -g gan` with TINY: a process computes them once."""
    folder = tmp_path_factory.mktemp("gan")
    with pytest.MonkeyPatch.context() as patch:
        assert call_bench(folder, patch)("run", "-g", "gan", "-d", "random", *TINY, "--quiet")[0] == 0
    kept = ("prepare", "train", "synthesize", "floor", "quality")
    for result in (folder / "runs" / "results").iterdir():
        if result.name.partition("-")[0] not in kept:
            shutil.rmtree(result)
    return folder / "runs" / "results"


@pytest.fixture
def trained_gan(tmp_path: Path, results_of_a_gan: Path) -> None:
    """The store of the test has a generator `gan` of TINY with its forgeries and their quality."""
    shutil.copytree(results_of_a_gan, tmp_path / "runs" / "results")
