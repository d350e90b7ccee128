"""Files that are data never make the bench run code, and stored settings are used only for what they were asked."""

import json
from pathlib import Path

import pytest
from finished import finished_run
from requested import compose
from synthetic import call_bench

from benchmarks.workflow.runner import prepare_run
from detect.detectors.registry import DETECTORS
from forge.core.errors import InputError
from forge.core.registry import allow_files
from forge.generators import GENERATORS

EVIL = "from pathlib import Path\nPath({marker!r}).write_text('ran')\n"


@pytest.fixture
def evil(tmp_path, monkeypatch) -> tuple[str, Path]:
    """A file that leaves a mark when it is imported, and the mark."""
    allow_files([], anew=True)
    marker = tmp_path / "it-ran"
    (tmp_path / "evil.py").write_text(EVIL.format(marker=str(marker)))
    return f"{tmp_path}/evil.py:Evil", marker


@pytest.mark.parametrize("registry", [DETECTORS, GENERATORS], ids=["detectors", "generators"])
def test_a_file_is_imported_only_if_a_person_named_it(evil, registry):
    reference, marker = evil
    with pytest.raises(InputError, match=r"only this command may name code: give it with --.* --plugin"):
        registry.load(reference)
    assert not marker.exists()
    allow_files([reference])
    with pytest.raises(InputError, match="defines no 'Evil'"):
        registry.load(reference)
    assert marker.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--generator", "dcgan,evil.py:Evil@24k"], ["--generator=evil.py:Evil"], ["-gevil.py:Evil"],
        ["--set", "detectors.self-blended.network=evil.py:Evil"], ["--plugin", "./evil.py:Evil"],
    ],
)  # fmt: skip
def test_every_way_to_name_a_file_on_a_command_line_counts(evil, monkeypatch, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    allow_files(words)
    with pytest.raises(InputError, match="defines no 'Evil'"):
        DETECTORS.load("evil.py:Evil")


@pytest.mark.parametrize("start", ["scratch", "checkpoints"])
def test_a_command_in_results_json_runs_no_code(evil, tmp_path, monkeypatch, capsys, start):
    reference, marker = evil
    folder = finished_run(tmp_path / "finished")
    bench = call_bench(folder, monkeypatch, capsys)
    file = folder / "reports/mine/results.json"
    (file.parent / "SHA256SUMS").unlink()  # whoever changes a report may do that too
    results = json.loads(file.read_text())
    results["command"] = f"bench run --generator {reference} --detector {reference} --preset smoke"
    results["request"] = {"generator": [reference], "detector": [reference], "preset": "smoke"}
    file.write_text(json.dumps(results))
    (file.parent / "expected.json").write_text(
        json.dumps(
            {
                "name": "mine",
                "protocol": 2,
                "data": "",
                "environment": {},
                "primary": "cross",
                "values": [],
                "ranks": {},
            }
        )
    )
    code, _, err = bench("reproduce", "mine", "--from", start)
    assert code == 2 and "evil.py" in err and "--plugin" in err and not marker.exists()


def settings(**changes):
    return compose(generators=["dcgan"], detectors=["dct"], preset="smoke", **changes)


def planned(memory: Path, change=None):
    """Settings as they come out of the memory of plans, after somebody changed the file."""
    prepare_run(settings(), memory=memory)
    (file,) = memory.glob("*.json")
    stored = json.loads(file.read_text())
    if change:
        change(stored)
        file.write_text(json.dumps(stored))
    return prepare_run(settings(), memory=memory).settings


def with_digest(change):
    """The same change by somebody who knows how the digest is made."""
    from forge.core.files import digest_json

    def changed(stored):
        change(stored)
        stored["digest"] = digest_json([stored["asked"], stored["checked"]])

    return changed


CHANGES = {
    "seed": lambda stored: stored["checked"].update(seed=3),
    "kimg": lambda stored: stored["checked"]["generators"]["dcgan"]["training"].update(kimg=1),
    "images": lambda stored: stored["checked"]["images"].update(test=1),
    "code": lambda stored: stored["checked"]["generators"]["dcgan"].update(architecture="evil.py:Evil"),
    "name": lambda stored: stored["checked"].update(name="../../X"),
    "type": lambda stored: stored.update(checked=[1]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_plans_are_made_again(tmp_path, evil, name):
    expected = planned(tmp_path / "untouched")
    assert planned(tmp_path / "plans", CHANGES[name]) == expected
    assert not evil[1].exists()


@pytest.mark.parametrize("name", ["seed", "images", "code", "name"])
def test_a_plan_of_another_request_is_made_again_even_with_a_right_digest(tmp_path, evil, name):
    assert planned(tmp_path / "plans", with_digest(CHANGES[name])) == planned(tmp_path / "untouched")
    assert not evil[1].exists()


def test_an_untouched_plan_is_used(tmp_path, monkeypatch):
    expected = planned(tmp_path / "plans")
    monkeypatch.setattr("benchmarks.workflow.runner.typed", lambda settings: pytest.fail("checked again"))
    assert prepare_run(settings(), memory=tmp_path / "plans").settings == expected


def test_a_name_that_leaves_its_folder_is_refused_wherever_it_comes_from():
    from pydantic import ValidationError

    from benchmarks.experiment.settings import RunSettings

    values = settings().model_dump() | {"name": "../../X"}
    with pytest.raises(ValidationError, match="cannot name a folder everywhere"):
        RunSettings.model_validate(values)
