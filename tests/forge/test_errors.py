"""Messages repeat little of what people and files hand in, whoever quotes it."""

import doctest
from pathlib import Path

import pandas as pd
import pytest

import forge.core.errors
from benchmarks.experiment.configs import parse_assignments
from benchmarks.report.run_report import RunReport
from detect.detectors.registry import DETECTORS
from forge.core.errors import BenchError, InputError, UnknownNameError, quoted, short
from forge.faces.sources import resolve
from forge.faces.sources.labels import read_labels
from forge.generators import GENERATORS

LONG = "x" * 10_000_000


def test_the_examples_hold():
    assert doctest.testmod(forge.core.errors).failed == 0


@pytest.mark.parametrize("text", ["a", "it's", "\x1b[31m", "\n" * 100, "ä" * 500, "\udcff" * 200, '"' * 90, LONG])
def test_at_most_eighty_characters_are_quoted_and_none_moves_the_cursor(text):
    assert len(short(text)) <= 80 and len(quoted(text)) <= 83
    assert short(text).isprintable() and quoted(text).isprintable()


@pytest.mark.parametrize(
    "call",
    [
        lambda: DETECTORS.load(LONG),
        lambda: GENERATORS.load(LONG),
        lambda: parse_assignments([LONG]),
        lambda: resolve("rendered", **{LONG: 1}),
        lambda: RunReport.open("no-such-run" + "y" * 200, Path("nowhere")),
    ],
)
def test_a_name_of_ten_megabytes_is_not_repeated(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "x" * 81 not in str(caught.value) and "y" * 81 not in str(caught.value)


def test_what_a_library_repeats_is_bounded_and_the_advice_at_the_end_stays():
    assert str(BenchError(f"failed: {LONG}; the same command continues")).endswith("x… the same command continues")
    many = str(BenchError("failed: " + "a b " * 100_000 + "; the same command continues"))
    assert len(many) < 4010 and many.endswith("; the same command continues")
    assert str(UnknownNameError("detector", "xcepton", ["xception", "dct"])).endswith("did you mean 'xception'?")


@pytest.mark.parametrize(
    "text",
    [
        "file,hat\n{0}.png,1\n{0}.png,2\n",
        "{0},{0}\na,b\n",
        "file,{0},{0}\na.png,1,2\n",
        "file\n../{0}\n",
        "file\na,b,{0}\n",
    ],
)
def test_a_large_cell_of_a_table_of_labels_is_not_repeated(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text.format("z y " * 20_000), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_labels(path)
    assert "z y " * 21 not in str(caught.value)


def test_a_damaged_name_of_a_column_of_labels_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"file": ["a.png"], "colour": ["red"]}).to_parquet(path)
    path.write_bytes(path.read_bytes().replace(b"colour", b"col\xffur"))
    with pytest.raises(InputError, match="is not readable as Parquet"):
        read_labels(path)
