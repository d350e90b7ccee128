"""A perturbation in one file is applied to test images, seen in the results, and part of the keys of scores."""

import json

import pytest
from synthetic import TINY, call_bench

pytestmark = pytest.mark.e2e

FOG = """
from detect.data.perturb import Perturbation


class Fog(Perturbation):
    id, title, summary = "fog", "thick fog", "halfway to white"

    def change(self, images):
        return images // 2 + WHITE


WHITE = 127
"""
RUN = ("run", "-g", "gan", "-d", "dct", *TINY, "--set", "conditions.robust=[fog.py:Fog,half]")


@pytest.mark.usefixtures("trained_gan")
def test_a_perturbation_from_a_file_is_scored_under_its_id(tmp_path, monkeypatch, capsys):
    call = call_bench(tmp_path, monkeypatch, capsys)
    (tmp_path / "fog.py").write_text(FOG)
    code, _, err = call(*RUN, "--name", "foggy", "--quiet")
    assert code == 0, err
    results = json.loads((tmp_path / "reports/foggy/results.json").read_text())
    assert {cell["perturbation"] for cell in results["cells"] if cell["condition"] == "robust"} == {"fog", "half"}
    assert results["perturbations"] == {"fog": "thick fog", "half": "half size"}
    page = (tmp_path / "reports/foggy/index.html").read_text()
    assert "thick fog</th>" in page and "half size</th>" in page


def test_its_code_is_part_of_the_keys_of_scores_alone(tmp_path, monkeypatch, capsys):
    call = call_bench(tmp_path, monkeypatch, capsys)
    keys = []
    for white in (127, 126):
        (tmp_path / "fog.py").write_text(FOG.replace("127", str(white)))
        code, out, err = call(*RUN, "--dry-run", "--json")
        assert code == 0, err
        keys.append({row["stage"]: row["key"] for row in json.loads(out)})
    changed = {stage.partition(" ")[0] for stage in keys[0] if keys[0][stage] != keys[1][stage]}
    assert "score" in changed and not changed & {"train", "synthesize", "fit"}


def test_two_of_one_id_are_refused(tmp_path, monkeypatch, capsys):
    call = call_bench(tmp_path, monkeypatch, capsys)
    (tmp_path / "fog.py").write_text(FOG + "\n\nclass Mist(Fog):\n    pass\n")
    code, _, err = call(*RUN[:-1], "conditions.robust=[fog.py:Fog,fog.py:Mist]", "--dry-run")
    assert code == 2 and "'fog.py:Fog' and 'fog.py:Mist' are both 'fog'" in err
