import pytest
from synthetic import call_bench


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Call `bench` in an empty folder; returns (code, stdout, stderr)."""
    return call_bench(tmp_path, monkeypatch, capsys)
