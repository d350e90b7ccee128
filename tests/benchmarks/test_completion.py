"""Completion of names in a shell."""

import os
import subprocess
import sys

from benchmarks.cli import completion


def test_names_are_completed_also_after_a_comma(tmp_path, monkeypatch):
    assert completion.generators("dcgan,st") == ["dcgan,stylegan-lite"]
    assert "disc-probe" in completion.detectors("disc-") and completion.detectors("nothing") == []
    assert completion.presets("s") == ["smoke", "standard"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    for folder in ("reports/published", "runs/reports/done", "runs/reports/published"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "results.json").touch()
    assert completion.suites("") == [*completion.suites("")[:-1], "mine.yaml"] and "smoke" in completion.suites("sm")
    assert completion.runs("") == ["done", "published"] and completion.runs("x") == []


def test_a_shell_gets_them_without_importing_torch():
    words = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": "bench run -g dc", "COMP_CWORD": "3"}
    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); "
    code += "sys.argv = ['bench']; from benchmarks.cli.main import app; app(prog_name='bench')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | words, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["dcgan"] and done.stderr.strip() == "False"
