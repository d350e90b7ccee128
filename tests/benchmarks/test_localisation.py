"""Localisation from rows: values by hand, intervals over people, controls, files; and a run that measures it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from synthetic import TINY

from benchmarks.evaluation.localisation import (
    CONSTANT,
    MEAN_MASK,
    counts_of,
    localised,
    packed,
    packed_edges,
    read_rows,
    scale_of,
    write_rows,
)
from benchmarks.evaluation.pixels import LevelScale, PixelCounts, f1_by_level
from forge.core.errors import CorruptError, InputError

SIDE, COUNT = 12, 10


def images(seed: int):
    """Masks and noisy maps of them."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((COUNT, SIDE, SIDE), bool)
    for n in range(COUNT):
        y, x = rng.integers(0, 8, 2)
        masks[n, y : y + 4, x : x + 4] = True
    return masks, (rng.normal(0, 1, masks.shape) + 2 * masks).astype(np.float32)


def rows(detector="unet", seeds=(0,), people=None) -> pd.DataFrame:
    frames = []
    for seed in seeds:
        val, test = images(10 + seed), images(20 + seed)
        reals = images(30 + seed)[1] * 0.5
        scale = LevelScale.of(val[1])
        for split, generator, (masks, maps) in (
            ("val", "splice", val),
            ("val", "", (np.zeros_like(val[0]), reals)),
            ("test", "splice", test),
            ("test", "", (np.zeros_like(val[0]), reals + 0.1)),
        ):
            altered, untouched = packed(PixelCounts.of(scale.levels(maps), masks))
            names = [f"{generator}-{split}-{n}" for n in range(COUNT)]
            frames.append(
                pd.DataFrame(
                    {
                        "detector": detector, "trained_on": "splice", "seed": seed, "source": "map",
                        "sample_id": names, "identity": people or names, "generator": generator, "split": split,
                        "altered": altered, "untouched": untouched, "edges": packed_edges(scale),
                    }
                )
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_values_are_those_of_the_maps_at_the_validation_threshold():
    (result, constant) = localised(rows())
    val, test, reals = images(10), images(20), images(30)[1] * 0.5 + np.float32(0.1)
    scale = LevelScale.of(val[1])
    level = int(np.flatnonzero((m := f1_by_level(PixelCounts.of(scale.levels(val[1]), val[0])).mean(0)) >= m.max())[-1])
    levels = scale.levels(test[1])
    by_image = [f1_score(mask.ravel(), (at >= level).ravel()) for mask, at in zip(test[0], levels, strict=True)]
    assert result.f1.value == pytest.approx(np.mean(by_image))
    aucs = [roc_auc_score(mask.ravel(), at.ravel()) for mask, at in zip(test[0], levels, strict=True)]
    assert result.auc.value == pytest.approx(np.mean(aucs))
    assert result.pooled_auc.value == pytest.approx(roc_auc_score(test[0].ravel(), levels.ravel()))
    pooled = average_precision_score(test[0].ravel(), levels.ravel())
    assert result.pooled_average_precision.value == pytest.approx(pooled)
    assert result.false_alarm_area.value == pytest.approx((scale.levels(reals) >= level).mean())
    maxima = np.concatenate([scale.levels(reals).max((1, 2)), levels.max((1, 2))])
    assert result.image_auc == pytest.approx(roc_auc_score(np.repeat([0, 1], COUNT), maxima))
    assert (result.images, result.undefined, result.seeds) == (COUNT, 0, 1)
    assert constant.detector == CONSTANT and constant.auc.value == 0.5
    share = test[0].mean((1, 2))
    assert constant.f1.value == pytest.approx(np.mean(2 * share / (1 + share)))


def test_intervals_are_over_people_and_wider_where_there_are_fewer():
    many, few = (localised(rows(people=people))[0] for people in (None, [f"p{n // 5}" for n in range(COUNT)]))
    for result in (many, few):
        for value in (result.f1, result.iou, result.auc, result.average_precision, result.pooled_auc):
            assert value.low <= value.value <= value.high
    # of two people: both, or one of them twice
    assert few.f1.value == many.f1.value and few.f1.low < few.f1.high
    by_person = counts_of(rows(people=None).query("split == 'test' and generator == 'splice'"))
    assert len(by_person) == COUNT


def test_seeds_are_averaged_each_with_its_own_threshold():
    both = localised(rows(seeds=(0, 1)))[0]
    alone = []
    for seed in (0, 1):
        one_seed = rows(seeds=(0, 1)).query(f"seed == {seed}")
        alone.append(localised(one_seed)[0])
    assert both.f1.value == pytest.approx(np.mean([result.f1.value for result in alone]))
    assert both.image_auc == pytest.approx(np.mean([result.image_auc for result in alone])) and both.seeds == 2


def test_images_without_an_altered_pixel_are_left_out_and_counted():
    table = rows()
    chosen = table.index[(table["split"] == "test") & (table["generator"] == "splice")][:3]
    for row in chosen:
        table.at[row, "altered"] = np.zeros(256, "<u4").tobytes()
    result = localised(table)[0]
    assert result.undefined == 3 and result.f1.value is not None
    for row in table.index[(table["split"] == "test") & (table["generator"] == "splice")]:
        table.at[row, "altered"] = np.zeros(256, "<u4").tobytes()
    nothing = localised(table)[0]
    assert nothing.f1.value is None and nothing.auc.low is None and nothing.false_alarm_area.value is not None


def test_rows_are_written_and_read_as_they_were(tmp_path):
    table, path = rows(), tmp_path / "masks.parquet"
    write_rows(table, path)
    first = path.read_bytes()
    write_rows(read_rows(path), path)
    assert path.read_bytes() == first
    assert [r.model_dump() for r in localised(read_rows(path))] == [r.model_dump() for r in localised(table)]
    with pytest.raises(InputError, match="does not exist"):
        read_rows(tmp_path / "nowhere.parquet")
    path.write_bytes(first[:100])
    with pytest.raises(CorruptError, match="damaged"):
        read_rows(path)
    table.at[0, "edges"] = b"odd"
    with pytest.raises(CorruptError, match="column edges"):
        scale_of(table)
    table.at[0, "altered"] = b"short"
    with pytest.raises(CorruptError, match="256 levels"):
        counts_of(table)


def test_rows_of_a_fit_are_read_alone_with_the_scale_of_their_levels(tmp_path):
    path, scale = tmp_path / "masks.parquet", LevelScale.of(images(10)[1])
    write_rows(pd.concat([rows(), rows("npr", seeds=(0, 1))], ignore_index=True), path)
    part = read_rows(path, detector="unet", seed=0, split="val")
    assert len(part) == 2 * COUNT and set(part["detector"]) == {"unet"} and set(part["split"]) == {"val"}
    assert np.array_equal(scale_of(part).edges, scale.edges)  # float16 holds them exactly
    # an earlier version wrote no edges: its rows are measured all the same
    earlier = pd.read_parquet(path).drop(columns="edges")
    earlier.to_parquet(path)
    assert scale_of(read_rows(path)) is None and localised(read_rows(path))[0].f1.value is not None
    write_rows(read_rows(path), path)
    assert scale_of(read_rows(path)) is None


@pytest.mark.e2e
def test_a_run_measures_where_forgeries_were_altered(bench, tmp_path):
    code, _, err = bench(
        "run", "-g", "splice", "-d", "unet", *TINY, "--set", "detectors.unet.max_images=32", "--set",
        "detectors.unet.widths=[4]", "--set", "conditions.matrix=false", "--name", "where", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    folder = tmp_path / "reports" / "where"
    results = json.loads((folder / "results.json").read_text())["localisation"]
    assert {(row["detector"], row["tested_on"]) for row in results} == {
        (detector, "splice") for detector in ("unet", MEAN_MASK, CONSTANT)
    }
    recomputed = [record.model_dump(mode="json") for record in localised(read_rows(folder / "masks.parquet"))]
    assert recomputed == results
    page, text = (folder / "index.html").read_text(), (folder / "report.md").read_text()
    assert 'id="localisation"' in page and "## Where images were altered" in text
    assert "masks.parquet" in (folder / "SHA256SUMS").read_text()
    edges = scale_of(read_rows(folder / "masks.parquet", detector="unet")).edges
    assert 0 < len(edges) < 256 and (np.diff(edges) > 0).all()
    # a changed row changes the numbers, and is refused before
    code, out, _ = bench("reproduce", "where")
    assert code == 0 and "DIFFERS" not in out and "MISSING" not in out
    assert "unet@splice where on splice, f1" in (folder / "expected.json").read_text()
    (folder / "masks.parquet").write_bytes((folder / "masks.parquet").read_bytes() + b"x")
    code, _, err = bench("reproduce", "where")
    assert code != 0 and "masks.parquet was changed" in err
