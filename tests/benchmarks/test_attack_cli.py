"""`bench attack`: own images against a detector of a run, each marked, with what the change cost."""

from __future__ import annotations

import numpy as np
import pytest
from finished import finished_run
from PIL import Image

from forge.core.provenance import ALTERED

BRIGHTER = """
from typing import ClassVar

import numpy as np

from detect.attacks.base import Access, Attack, AttackSettings

class Brighter(Attack[AttackSettings]):
    citation = "a test, 2026"
    access: ClassVar[Access] = "nothing"

    def changed(self, images, target, epsilon, seed):
        return np.minimum(images, 255 - int(epsilon)) + np.uint8(epsilon)
"""


@pytest.fixture
def run(bench, tmp_path):
    finished_run(tmp_path)
    return lambda *arguments: bench("attack", "mine", *arguments, "--store", "runs", "--reports", "reports")


def test_each_image_is_written_marked_and_within_the_budget(run, tmp_path):
    code, out, err = run("me.png", "more", "--detector", "disc-scratch", "--epsilon", "3", "--out", "x")
    assert code == 0, err
    assert {file.name for file in (tmp_path / "x").iterdir()} == {"me.png", "me-2.png", "sheet.png"}
    assert "2 changed images" in out and "disc-scratch trained on dcgan, under pgd, 3/255" in " ".join(out.split())
    assert ALTERED in Image.open(tmp_path / "x" / "me.png").text["Source"]
    assert ALTERED in Image.open(tmp_path / "x" / "sheet.png").text["Source"]
    again = run("me.png", "--detector", "disc-scratch", "--epsilon", "3", "--out", "y")
    assert again[0] == 0
    first, second = (np.asarray(Image.open(tmp_path / folder / "me.png")) for folder in ("x", "y"))
    assert np.array_equal(first, second)


def test_the_table_says_what_it_cost(run):
    code, out, err = run("me.png", "--detector", "dct", "--kind", "fgsm", "--epsilon", "1")
    assert code == 0, err
    row = next(line for line in out.splitlines() if "me.png" in line and "│" in line)
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    before, after = map(float, cells[1:3])
    # one grey level everywhere is 48.1 dB
    assert after < before and cells[5] == "48.1 dB" and cells[6] == "1"


def test_an_attack_of_ones_own_and_the_other_aim(run, tmp_path):
    (tmp_path / "mine.py").write_text(BRIGHTER)
    code, out, err = run("me.png", "--detector", "dct", "--kind", "mine.py:Brighter", "--epsilon", "9", "--out", "x")
    assert code == 0, err
    assert "brighter, 9/255" in " ".join(out.split())
    framed = run("me.png", "--detector", "dct", "--aim", "frame", "--kind", "square", "--set", "queries=20")
    row = next(line for line in framed[1].splitlines() if "me.png" in line and "│" in line)
    before, after = (float(cell) for cell in row.strip("│ ").split("│")[1:3])
    assert framed[0] == 0 and after >= before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("me.png", "--kind", "pdg"), "did you mean 'pgd'"),
        (("me.png", "--kind", "spectrum-match"), "conditions.attacked"),
        (("me.png", "--epsilon", "0"), "from 1 to 255"),
        (("me.png", "--epsilon", "300"), "from 1 to 255"),
        (("me.png", "--aim", "evde"), "did you mean 'evade'"),
        (("me.png", "--set", "stepps=3"), "stepps"),
        (("me.png", "--crop", "Face"), "did you mean 'face'"),
        (("nowhere.png",), "nowhere.png"),
        (("me.png", "--out", "me.png"), "not a folder"),
        (("me.png", "--out", "runs/x"), "among the stored results"),
        (("me.png", "--detector", "xception"), "xception"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(run, arguments, sentence):
    code, _, err = run(*arguments)
    assert code == 2 and sentence in err and "Traceback" not in err
