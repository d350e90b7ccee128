"""What this repository publishes: every committed report comes out again, and the README says the same."""

import json
import re
from pathlib import Path

import pytest
from synthetic import call_bench

ROOT = Path(__file__).parents[2]
PUBLISHED = ("faces64-quick",)
PHOTOS = ("data:image/jpeg",)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_table_comes_out_again_to_the_last_digit(name, tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    code, out, err = bench("reproduce", name, "--reports", str(ROOT / "reports"), "--json")
    assert (code, err) == (0, "")
    counts = json.loads(out)["counts"]
    assert counts["IDENTICAL"] > 500 and counts["IDENTICAL"] == sum(counts.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_readme_shows_the_leaderboard_that_the_scores_give(name, tmp_path, monkeypatch, capsys):
    bench = call_bench(tmp_path, monkeypatch, capsys)
    code, out, _ = bench("leaderboard", name, "--reports", str(ROOT / "reports"), "--format", "md")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(rf"<!-- bench leaderboard {name} --format md -->\n(.*?)<!-- end -->", readme, re.DOTALL)
    assert code == 0 and shown.strip() == out.strip()


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_photo_is_published(name):
    folder = ROOT / "reports" / name
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert not results["data"]["shown"] and "--show-real" not in results["command"]
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert "photo not shown" in text or "photos that are not shown" in text
    assert len(text.encode()) < 3_000_000
    pictures = re.sub(r'src="data:image/[^"]+"', "", text)
    assert len(pictures.encode()) < 450_000
