"""`bench list detectors`: every fact, readable in a narrow terminal, and parameters that are counted once."""

import json

from benchmarks.cli import detectors
from detect.detectors.registry import DETECTORS, EXAMPLES


def test_a_narrow_terminal_shows_every_fact(bench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = bench("list", "detectors")
    assert (code, err) == (0, "") and max(map(len, out.splitlines())) <= 80
    rows = json.loads(bench("list", "detectors", "--json")[1])
    assert len(rows) == len(DETECTORS.names())
    flat = " ".join(out.split())
    for row in rows:
        assert row["name"] in flat
        for fact in ("what", "citation", "variant", "input", "note", "example"):
            assert " ".join(str(row[fact]).split()) in flat, (row["name"], fact)
    assert {row["parameters"] for row in rows} == {None} and "--long` counts parameters" in flat


def test_a_family_is_shown_with_an_example_that_is_known(bench):
    families = [name for name in DETECTORS.entries if name.endswith(":")]
    assert families and set(families) <= set(EXAMPLES)
    rows = {row["name"]: row for row in json.loads(bench("list", "detectors", "--json")[1])}
    row = rows["mean:NAME"]
    assert row["example"] == "mean:xception+dct" and DETECTORS.load(row["example"]).needs == "members"
    assert row["citation"] and row["note"] == "those of its members" and "mean:" not in rows


def test_the_list_says_which_preset_gives_random_weights(bench):
    rows = {row["name"]: row for row in json.loads(bench("list", "detectors", "--json")[1])}
    random = {name for name, row in rows.items() if "random weights at preset" in row["variant"]}
    assert random == {"clip-probe", "probe:NAME", "capsule", "univfd", "rine"}
    assert rows["clip-probe"]["variant"].endswith("random weights at preset smoke: that says nothing of the method")


def test_parameters_are_counted_once_and_remembered(bench, monkeypatch, tmp_path):
    counted = []
    monkeypatch.setattr(detectors, "count_parameters", lambda name: counted.append(name) or 1234)
    assert "1,234 parameters" in bench("list", "detectors", "--long")[1]
    assert "xception" in counted and "dct" not in counted and "mean:NAME" not in counted
    assert not [name for name in counted if name.startswith("disc-")]  # theirs are the generator's discriminator's
    before = list(counted)
    rows = {row["name"]: row for row in json.loads(bench("list", "detectors", "--json")[1])}
    assert rows["xception"]["parameters"] == 1234 and rows["dct"]["note"] == "counted when fitted"
    assert "1234" in bench("show", "xception")[1]
    assert bench("list", "detectors", "--long")[0] == 0 and counted == before
    memory = tmp_path / "runs" / detectors.MEMORY
    for damage in ("[]", "{", '{"xception": null}'):
        memory.write_text(damage)
        assert "counts parameters" in bench("list", "detectors")[1]


def test_what_cannot_be_counted_says_why(bench, monkeypatch):
    from forge.core.errors import InputError

    def refuse(name):
        raise InputError(f"{name} needs a file of weights")

    monkeypatch.setattr(detectors, "count_parameters", refuse)
    rows = {row["name"]: row for row in json.loads(bench("list", "detectors", "--long", "--json")[1])}
    assert rows["xception"]["note"] == "not counted, xception needs a file of weights"


def test_the_count_is_that_of_the_network():
    assert (
        detectors.count_parameters("xception") == 20_809_001
    )  # Chollet's 20.8 M without its classifier, and one logit


def test_a_member_of_a_family_can_be_shown(bench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = bench("show", "mean:xception+dct")
    assert (code, err) == (0, "") and "Kittler" in out
