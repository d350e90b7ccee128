"""Localisation from rows: values by hand, intervals over people, controls, files; and a run that measures it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from synthetic import NO_PICTURES, ONE, TINY, Page, make_results, make_scores

from benchmarks.evaluation.localisation import (
    CONSTANT,
    MEAN_MASK,
    counts_of,
    localised,
    map_name,
    packed,
    packed_edges,
    read_rows,
    scale_of,
    write_rows,
)
from benchmarks.evaluation.map_examples import MapExample, examples_of
from benchmarks.evaluation.pixels import LevelScale, PixelCounts, f1_by_level
from benchmarks.report import render
from benchmarks.report.colour import contoured
from benchmarks.report.inputs import MapPicture, ReportInputs
from benchmarks.report.page import build
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.localisation import LocalisationSection, _beaten_notes, examples_by_detector
from benchmarks.workflow.pixel_rows import pixel_rows
from benchmarks.workflow.stages.fit import FitStage
from detect.detectors.base import DetectorSettings
from detect.detectors.localiser import Localiser
from forge.core.compute import Compute
from forge.core.errors import CorruptError, InputError
from forge.faces.faceset import FaceSet
from forge.faces.writer import FaceSetWriter

SIDE, COUNT = 12, 10
SCORES = make_scores(ONE, n=30)


def images(seed: int):
    """Masks and noisy maps of them."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((COUNT, SIDE, SIDE), bool)
    for n in range(COUNT):
        y, x = rng.integers(0, 8, 2)
        masks[n, y : y + 4, x : x + 4] = True
    return masks, (rng.normal(0, 1, masks.shape) + 2 * masks).astype(np.float32)


def rows(detector="unet", seeds=(0,), people=None, source="map") -> pd.DataFrame:
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
                        "detector": detector, "trained_on": "splice", "seed": seed, "source": source,
                        "sample_id": names, "identity": people or names, "generator": generator, "split": split,
                        "pair": "", "altered": altered, "untouched": untouched, "edges": packed_edges(scale),
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


def test_examples_are_the_extremes_and_of_equal_images_the_first_by_id():
    hits = np.array([4, 1, 4, 1, 0])  # of 4 altered pixels; the last image has none
    altered, untouched = np.zeros((5, 256), int), np.zeros((5, 256), int)
    altered[:, 9], altered[:, 3] = hits, np.where(np.arange(5) < 4, 4 - hits, 0)
    untouched[:, 9], untouched[:, 3] = [0, 2, 0, 2, 7], 8
    counts = PixelCounts(altered, untouched)
    chosen = examples_of(counts, 5, ["d", "c", "b", "a", "e"], "splice")
    assert [(position, example.role, example.sample_id) for position, example in chosen] == [
        (2, "best", "b"), (3, "worst", "a")
    ]  # fmt: skip
    assert (chosen[0][1].f1, chosen[0][1].iou, chosen[1][1].false_alarm_area) == (1.0, 1.0, 0.2)
    ((position, example),) = examples_of(counts, 5, ["d", "c", "b", "a", "e"], "")
    assert (position, example.role, example.f1) == (4, "untouched", None)
    assert [example.role for _, example in examples_of(counts[:1], 5, ["d"], "splice")] == ["best"]
    assert examples_of(counts[4:], 5, ["e"], "splice") == []


def picture(role="best", generator="splice", f1=0.5, detector="unet") -> MapPicture:
    example = MapExample(role=role, generator=generator, sample_id="x-1", f1=f1, iou=f1, false_alarm_area=0.04)
    levels = np.zeros((16, 16), np.uint8)
    levels[4:8, 4:8] = 200
    face = np.full((16, 16, 3), 90, np.uint8)
    return MapPicture(detector, "splice", example, "mouth", None, face, levels > 0, levels, 100)


def test_the_page_shows_examples_only_where_photos_may_be_shown():
    results = make_results(SCORES).model_copy(update={"localisation": localised(rows())})
    located = [picture(), picture("worst", f1=0.0), picture("untouched", "", None)]
    inputs = ReportInputs(results, SCORES, replace(NO_PICTURES, located=located))
    content = LocalisationSection().build(RunView(inputs))
    ((detector, examples),) = content.examples
    assert detector == "unet" and [example.title for example in examples] == [
        "Best of splice", "Worst of splice", "Largest false alarm"
    ]  # fmt: skip
    assert "F1 0.50, IoU 0.50, region mouth; x-1; 4.0 % of its untouched" in examples[0].caption
    assert [panel.label for panel in examples[0].panels] == ["before", "after", "truth", "map"]
    assert not examples[0].panels[0].picture and "6.2 % taken for altered" in examples[0].panels[3].alt
    page = render.html(build(inputs))
    Page(page)
    assert "Best and worst images" in page and "not known" in page
    hidden = ReportInputs(results.model_copy(update={"data": results.data.model_copy(update={"shown": False})}),
                          SCORES, NO_PICTURES)  # fmt: skip
    page = render.html(build(hidden))
    assert "Best and worst images" not in page and "--show-real" in page


def test_a_generator_on_which_the_mean_training_mask_is_above_every_detector_is_named():
    control, unet = (
        localised(rows(name, source=source))[0] for name, source in ((MEAN_MASK, "control"), ("unet", "map"))
    )
    best = unet.model_copy(update={"f1": unet.f1.model_copy(update={"value": control.f1.value - 0.1})})
    (note,) = _beaten_notes({MEAN_MASK: {"splice": control}, "unet": {"splice": best}})
    assert note.startswith(
        f"On splice the mean training mask (F1 {control.f1.value:.2f}) is above every detector (best"
    )
    assert not _beaten_notes({MEAN_MASK: {"splice": control}, "unet": {"splice": control}})
    assert not _beaten_notes({"unet": {"splice": best}})


def test_of_many_generators_the_best_and_the_worst_of_all_are_shown():
    pictures = [
        picture(role, f"g{n}", f1) for n in range(5) for role, f1 in (("best", 0.9 - n / 10), ("worst", n / 10))
    ]
    ((_, examples),) = examples_by_detector(["unet"], pictures)
    assert [example.title for example in examples] == ["Best of g0", "Worst of g0"]


def test_a_contour_lies_within_what_is_taken_for_altered():
    levels = np.zeros((8, 8), np.uint8)
    levels[2:6, 2:6] = 200
    drawn = contoured(levels, 100, side=64)
    orange = (drawn != drawn[..., :1]).any(-1)
    assert drawn.shape == (64, 64, 3) and orange.sum() == 32 * 32 - 28 * 28 and not orange[20:40, 20:40].any()
    assert not (contoured(levels, 201) != contoured(levels, 201)[..., :1]).any()


def test_saliency_is_marked_and_coloured_from_grey_to_blue():
    marked = map_name("npr", "saliency")
    results = localised(pd.concat([rows(), rows(marked, source="saliency")], ignore_index=True))
    assert [result.detector for result in results] == ["npr (saliency)", "unet", CONSTANT]
    view = SimpleNamespace(
        whole=SimpleNamespace(localisation=results), map_board=None, pictures=SimpleNamespace(located=[])
    )
    content = LocalisationSection().build(view)
    assert content.saliency and {line.detector for line in content.lines} == {"npr (saliency)", "unet", CONSTANT}
    assert {row[0] for row in content.rows} == {"npr (saliency)", "unet", CONSTANT}
    fields = {line.detector: line.fields for line in content.lines}
    for result in results:
        (field,) = fields[result.detector]
        assert field.step == 5 + round(5 * result.f1.value) and 5 <= field.step <= 10
    view.whole.localisation = localised(rows())
    assert not LocalisationSection().build(view).saliency


class Rounded(Localiser[DetectorSettings]):
    """The red channel as map; its gradient is a multiple of it, or it has none."""

    family, citation, needs = "rounded", "-", "nothing"
    factor: float | None = 2

    def fit(self, data, context):
        raise NotImplementedError

    def maps(self, images, compute):
        return images[..., 0].astype(np.float32)

    def gradient_maps(self, images, compute):
        return None if self.factor is None else self.factor * self.maps(images, compute)

    def save(self, directory):
        raise NotImplementedError

    @classmethod
    def load(cls, directory, settings, resolution):
        raise NotImplementedError


def test_rows_of_a_detector_without_a_gradient_are_none(tmp_path):
    masks, maps = images(0)
    pixels = np.repeat((20 * maps + 100).clip(0, 255).astype(np.uint8)[..., None], 3, axis=3)
    with FaceSetWriter(tmp_path / "edits", "splice", "forged", SIDE, "CC0", {}, masks=True) as writer:
        rows = [{"id": f"{n}", "split": ("val", "test")[n % 2], "identity": f"p{n}"} for n in range(COUNT)]
        writer.append(pixels, rows, masks.astype(np.uint8) * 255)
    forged = FaceSet.open(tmp_path / "edits")
    trained = SimpleNamespace(detector=Rounded(DetectorSettings(), SIDE), name="rounded", seed=0)
    options = {"training": "splice", "masks": [], "val": [("splice", forged.view("val"), "")]}
    options |= {"test": [("splice", forged.view("test"), "")]}
    by_source = {
        source: pixel_rows(trained, Compute("cpu"), source=source, **options)[0] for source in ("map", "saliency")
    }
    # a map and its double have the same order of pixels
    assert set(by_source["saliency"]["source"]) == {"saliency"}
    for name in ("altered", "untouched", "sample_id"):
        assert list(by_source["map"][name]) == list(by_source["saliency"][name])
    for factor in (None, 0):
        trained.detector.factor = factor
        none, shown = pixel_rows(trained, Compute("cpu"), source="saliency", **options)
        assert not shown.examples and len(none) == 0 and localised(none) == []
    write_rows(none, tmp_path / "masks.parquet")
    assert len(read_rows(tmp_path / "masks.parquet")) == 0


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
        "run", "-g", "splice", "-d", "unet,meso4,dct", *TINY, "--set", "detectors.unet.max_images=32", "--set",
        "detectors.unet.widths=[4]", "--set", "detectors.meso4.max_images=32", "--set",
        "conditions.masks_saliency=true", "--set", "conditions.matrix=false", "--name", "where", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    folder = tmp_path / "reports" / "where"
    results = json.loads((folder / "results.json").read_text())["localisation"]
    assert {(row["detector"], row["source"]) for row in results} == {
        ("unet", "map"), ("meso4 (saliency)", "saliency"), (MEAN_MASK, "control"), (CONSTANT, "control")
    }  # fmt: skip
    recomputed = [record.model_dump(mode="json") for record in localised(read_rows(folder / "masks.parquet"))]
    assert recomputed == results
    # written again from the store: the maps that it shows are stored, the detector is not loaded
    with patch.object(FitStage, "load", side_effect=AssertionError):
        assert bench("report", "where")[0] == 0
    page, text = (folder / "index.html").read_text(), (folder / "report.md").read_text()
    for label in ("Best of splice", "Worst of splice", "Largest false alarm", "before", "truth"):
        assert label in page
    assert 'id="localisation"' in page and "## Where images were altered" in text
    assert "meso4 (saliency)" in page and "| meso4 (saliency) |" in text
    assert "training masks.\n\n| Rank | Detector |" in text
    assert "masks.parquet" in (folder / "SHA256SUMS").read_text()
    code, out, _ = bench("leaderboard", "where", "--by", "localisation")
    assert code == 0 and "mean training mask" in " ".join(out.split()) and "1" in out
    code, _, err = bench("show", "where", "-g", "splice")
    assert code == 2 and "`bench tamper splice PHOTO…` writes photo, forgery and mask side by side" in " ".join(
        err.split()
    )
    code, _, err = bench("leaderboard", "where", "--by", "localisation", "--columns", "seen")
    assert code == 2 and "leave them out" in err
    edges = scale_of(read_rows(folder / "masks.parquet", detector="unet")).edges
    assert 0 < len(edges) < 256 and (np.diff(edges) > 0).all()
    # a changed row changes the numbers, and is refused before
    code, out, _ = bench("reproduce", "where")
    assert code == 0 and "DIFFERS" not in out and "MISSING" not in out
    expected = json.loads((folder / "expected.json").read_text())
    assert {"unet@splice where on splice, f1", f"{MEAN_MASK}, localisation, mean f1"} <= {
        value["what"] for value in expected["values"]
    }
    assert {"unet by localisation", "meso4 (saliency) by localisation"} <= set(expected["ranks"])
    (folder / "masks.parquet").write_bytes((folder / "masks.parquet").read_bytes() + b"x")
    code, _, err = bench("reproduce", "where")
    assert code != 0 and "masks.parquet was changed" in err
