"""Score rows as categories: what they hold is what pandas reads as text, and they are written as the same bytes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detect import score_rows, scoring
from detect.score_rows import compact, read_compact, stacked
from detect.scoring import read_scores, write_scores


def table(generator: str, count: int = 4, **more: object) -> pd.DataFrame:
    """Rows of one generator; "" for real faces."""
    names = {"detector": "dct", "trained_on": "gan", "seed": 0, "identity": None, "source": generator or "faces"}
    forged = {"generator": generator, "split": "test", "perturbation": "none", "label": np.int8(generator != "")}
    ids = pd.Series([f"{generator}{i}" for i in range(count)], dtype="str")
    values = {"sample_id": ids, "score": np.linspace(-1, 1, count), "probability": 0.5}
    rows = pd.DataFrame(names | forged | values | more)
    return rows.astype(dict.fromkeys(("detector", "trained_on", "identity", "source", "generator"), "str"))


TABLES = [
    table("", gender=pd.Series(["f", "m", None, "f"], dtype="str"), age=[1, 2, 3, 4], hat=[True, False, True, True]),
    table("gan", 3, latent_index=[0.0, 1.0, np.nan]),
    table("dcgan", 5, gender=pd.Series(list("mmmmf"), dtype="str"), hat=pd.Series(list("abcde"), dtype="str")),
]


def as_text(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.astype({name: "str" for name, kind in rows.dtypes.items() if kind.name == "category"})


@pytest.mark.parametrize("at_once", [1, 1 << 17])
def test_compact_rows_are_those_that_pandas_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Columns that some files lack, labels that are text in one file and something else in another."""
    monkeypatch.setattr(score_rows, "_AT_ONCE", at_once)
    files = [tmp_path / f"{number}.parquet" for number in range(len(TABLES))]
    for rows, file in zip(TABLES, files, strict=True):
        write_scores(rows, file)
    expected = pd.concat(map(read_scores, files), ignore_index=True)
    read = read_compact(files)
    assert read["sample_id"].dtype.name == "category" and read["hat"].dtype == object
    assert read["sample_id"].cat.codes.dtype == np.int8, "more than a byte for twelve names"
    pd.testing.assert_frame_equal(as_text(read), expected)


def test_categories_are_sorted_after_joining() -> None:
    """Groups come in the order of categories, and must come in that of names."""
    joined = stacked([compact(rows) for rows in TABLES])
    assert list(joined["generator"].cat.categories) == ["", "dcgan", "gan"]
    assert [str(name) for name, _ in joined.groupby("generator")] == ["", "dcgan", "gan"]


def test_compact_rows_are_written_as_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several row groups, the last of which is shorter; and a table without rows."""
    monkeypatch.setattr(scoring, "_ROW_GROUP", 5)
    rows = pd.concat(TABLES, ignore_index=True).drop(columns="hat")
    for part in (rows, rows[:0]):
        write_scores(part, tmp_path / "text.parquet")
        write_scores(compact(part), tmp_path / "compact.parquet")
        assert (tmp_path / "text.parquet").read_bytes() == (tmp_path / "compact.parquet").read_bytes()
        assert len(read_scores(tmp_path / "compact.parquet")) == len(part)
