from collections.abc import Iterator
from functools import lru_cache

import pytest
from synthetic import call_bench

import forge.rendering


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Call `bench` in an empty folder; returns (code, stdout, stderr)."""
    return call_bench(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="session", autouse=True)
def rendered_once() -> Iterator[None]:
    """Most runs of the tests begin with the same rendered people: a process draws them once."""
    with pytest.MonkeyPatch.context() as patch:
        drawn = lru_cache(maxsize=64)(forge.rendering.render_person_images)
        patch.setattr(forge.rendering, "render_person_images", drawn)
        yield
