"""Compact score files: the rows that were written, to the last bit, whatever their probabilities are."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from benchmarks.report.score_files import IMAGES, decoded, encoded, predicted
from detect.scoring import read_scores, rounded, write_scores
from forge.core.errors import CorruptError, InputError

FITS = {("dct", "gan", 0): (0.7, -0.2), ("dct", "gan", 1): (3.0, 1.0), ("Odd/Name", "a+b", 0): (0.0, 0.0)}


@pytest.fixture
def rows(tmp_path):
    """Score rows as a report holds them: three fits on the same images, two perturbations, gaps in the attributes."""
    rng = np.random.default_rng(3)
    frames = []
    for (detector, trained_on, seed), (a, b) in [*FITS.items(), *list(FITS.items())[:1]]:
        name = "none" if len(frames) < len(FITS) else "jpeg75"
        score = rng.normal(0, 4, 200)
        columns = {
            "detector": detector, "trained_on": trained_on, "seed": seed, "sample_id": [f"s{i}" for i in range(200)],
            "identity": None, "source": "faces", "generator": ["", "gan"] * 100, "split": "test",
            "perturbation": name, "label": np.array([0, 1] * 100, dtype="int8"), "score": score,
            "probability": expit(a * score + b), "age": ["young", None] * 100, "latent_index": [np.nan, 1.0] * 100,
        }  # fmt: skip
        frames.append(pd.DataFrame(columns))
    return through_parquet(pd.concat(frames, ignore_index=True), tmp_path)


def through_parquet(table, folder):
    """Return rows as `read_scores` gives them."""
    write_scores(rounded(table), folder / "scores.parquet")
    return read_scores(folder / "scores.parquet")


def column_names(data):
    return pq.read_schema(io.BytesIO(data)).names


def test_rows_come_back_to_the_last_bit_in_their_order_and_images_stand_once(rows):
    mixed = rows.sample(frac=1, random_state=0).reset_index(drop=True)  # detectors by turns
    files = encoded(mixed, FITS)
    assert sorted(files) == [IMAGES, "dct", "odd-name"] and files == encoded(mixed, FITS)
    pd.testing.assert_frame_equal(decoded(files, "x"), mixed, check_exact=True)
    assert pq.read_metadata(io.BytesIO(files[IMAGES])).num_rows == 200
    assert "probability" not in column_names(files["dct"])
    score = pq.read_table(io.BytesIO(files["dct"])).column("score")
    assert (
        pa.types.is_float32(score.type) and score.to_pylist() == mixed["score"][mixed["detector"].eq("dct")].to_list()
    )


@pytest.mark.parametrize("case", ["no calibration", "another calibration", "no probability", "float64", "double score"])
def test_what_has_no_short_form_is_kept_as_it_is(rows, case, tmp_path):
    fits = dict(FITS)
    if case == "no calibration":
        del fits["dct", "gan", 1]
    elif case == "another calibration":
        fits["dct", "gan", 1] = (-9.0, 4.0)
    elif case == "no probability":
        rows.loc[rows["detector"].eq("dct"), "probability"] = np.nan
    elif case == "float64":
        rows["probability"] += 1e-12
    else:
        rows["score"] = 1e9 + rows["score"] / 1000
    files = encoded(rows, fits)
    pd.testing.assert_frame_equal(decoded(files, "x"), rows, check_exact=True)
    assert "probability" in column_names(files["dct"])


def test_probabilities_take_next_to_nothing_beside_the_scores(rows):
    bare = {name: len(data) for name, data in encoded(rows.assign(probability=rows["score"] / 99), {}).items()}
    assert len(encoded(rows, FITS)["dct"]) < 0.8 * bare["dct"]


def test_the_prediction_is_the_sigmoid_in_float32():
    score = np.concatenate([np.linspace(-800, 800, 4001), [0.0, 1e30, -1e30]])
    close, exact = predicted(score, np.float64(1.0), np.float64(0.25)), expit(score + 0.25).astype(np.float32)
    assert close.dtype == np.float32
    assert np.abs(close.view(np.int32).astype(np.int64) - exact.view(np.int32)).max() <= 1


def test_no_rows_and_no_columns(rows):
    none = rows.iloc[:0].reset_index(drop=True)
    assert list(decoded(encoded(none, FITS), "x").columns) == list(rows.columns)
    with pytest.raises(InputError, match="no column 'label'"):
        encoded(rows.drop(columns="label"), FITS)


def test_files_that_do_not_belong_together_are_refused(rows):
    files = encoded(rows, FITS)
    fewer = encoded(rows[rows["sample_id"].isin(["s0", "s1"])].reset_index(drop=True), FITS)
    bad = [
        {name: data for name, data in files.items() if name != IMAGES},
        {name: data for name, data in files.items() if name != "dct"},  # rows are missing
        files | {"again": files["dct"]},  # and stand twice
        files | {IMAGES: fewer[IMAGES]},  # images are missing
        files | {"dct": files["dct"][:-40]},
        files | {"dct": files[IMAGES]},
    ]
    for wrong in bad:
        with pytest.raises(CorruptError, match=r"^reports/mine/scores is damaged: .*restore it$"):
            decoded(wrong, "reports/mine/scores")
