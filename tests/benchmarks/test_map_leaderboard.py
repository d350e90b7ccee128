"""The leaderboard of localisers: means, influences, ranks, controls, and its texts."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic import make_results, make_scores

from benchmarks.evaluation import formats, map_formats
from benchmarks.evaluation.cells import Scored
from benchmarks.evaluation.localisation import CONSTANT, MEAN_MASK, localised, packed
from benchmarks.evaluation.map_formats import MapSheet
from benchmarks.evaluation.map_leaderboard import EXTERNAL, LOCALISATION, MapBoard, cells_of_maps, map_board
from benchmarks.evaluation.pixels import PixelCounts
from benchmarks.report.run_leaderboard import map_sheet_of
from forge.core.errors import InputError

COUNT, ALTERED = 30, 20
BOTH = "inpaint+splice"


def hits_of(detector: str, generator: str, skill: float, seed: int):
    """Altered pixels above the threshold of each image; half of their variation is the image's, for all detectors."""
    shared = np.random.default_rng([seed, *map(ord, generator)]).normal(0, 2, COUNT)
    noise = np.random.default_rng([seed, *map(ord, detector + generator)]).normal(0, 2, COUNT)
    return np.clip(np.rint(ALTERED * skill + shared + noise), 0, ALTERED).astype(int)


def rows_of(skills, *, seeds=(0,), trained_on=BOTH, generators=("inpaint", "splice")) -> pd.DataFrame:
    """Rows of detectors that see a share of the altered pixels, each in images with two of every person."""
    frames = []
    for detector, skill in skills.items():
        for seed in seeds:
            for split in ("val", "test"):
                for generator in ("", *generators):
                    altered, untouched = np.zeros((COUNT, 256), int), np.zeros((COUNT, 256), int)
                    untouched[:, 3], untouched[:, 9] = 97, 3
                    if generator:
                        altered[:, 9] = hits_of(detector, generator, skill, seed)
                        altered[:, 3] = ALTERED - altered[:, 9]
                    sides = packed(PixelCounts(altered, untouched))
                    frames.append(
                        pd.DataFrame(
                            {
                                "detector": detector, "trained_on": trained_on, "seed": seed,
                                "source": "control" if detector == MEAN_MASK else "map",
                                "sample_id": [f"{generator}-{split}-{n}" for n in range(COUNT)],
                                "identity": [f"p{n // 2}" for n in range(COUNT)], "generator": generator,
                                "split": split, "pair": generator if ":" in generator else "",
                                "altered": sides[0], "untouched": sides[1],
                            }
                        )
                    )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def ranked(rows: pd.DataFrame) -> MapBoard:
    return map_board({"": (rows, [])})


SKILLS = {"good": 0.8, "fair": 0.6, "twin": 0.6, "blind": 0.3, MEAN_MASK: 0.45}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return rows_of(SKILLS)


@pytest.fixture(scope="module")
def board(table) -> MapBoard:
    return map_board({"": (table, localised(table))})


def test_values_are_means_over_generators_of_f1(table, board):
    for line in board.lines:
        if line.detector == CONSTANT:
            continue
        by_generator = []
        for generator in ("inpaint", "splice"):
            hits = hits_of(line.detector, generator, SKILLS[line.detector], 0)
            by_generator.append(np.mean(2 * hits / (hits + 3 + ALTERED)))
        mean = line.columns[LOCALISATION]
        assert mean.value == pytest.approx(np.mean(by_generator)) and mean.low < mean.value < mean.high
    assert board.generators == ["inpaint", "splice"]
    assert board.lines[0].false_alarm_area == pytest.approx(0.03) and board.lines[0].auc is not None


def test_an_influence_is_the_distance_of_an_image_from_the_mean_and_people_are_the_units(table):
    cells = cells_of_maps(table)
    cell: Scored = cells["good"][LOCALISATION][1]
    hits = hits_of("good", "splice", 0.8, 0)
    by_image = 2 * hits / (hits + 3 + ALTERED)
    assert cell.where.tested_on == "splice"
    assert (cell.influence**2).sum() == pytest.approx(by_image.var(ddof=1) / COUNT)
    assert len(set(cell.units)) == COUNT // 2  # two images of each person
    other = cells[MEAN_MASK][LOCALISATION][0]
    assert set(cell.units) == set(other.units)  # the same people, whatever made the map


def test_ranks_are_shared_by_detectors_that_no_test_separates_and_controls_have_none(board):
    ranks = {line.detector: (line.rank, line.control) for line in board.lines}
    assert ranks == {
        "good": (1, False), "fair": (2, False), "twin": (2, False), "blind": (4, False), MEAN_MASK: (None, True),
        CONSTANT: (None, True),
    }  # fmt: skip
    assert [line.control for line in board.lines] == [False] * 4 + [True] * 2
    assert board.below_mean_mask == ["blind"] and board.not_above_mean_mask == []
    pair = next(each for each in board.board.differences if {each.a, each.b} == {"fair", "twin"})
    assert pair.low < 0 < pair.high and pair.p_holm > 0.05


def test_a_detector_that_is_not_separated_from_the_mean_training_mask_is_named():
    board = ranked(rows_of({"good": 0.8, "same": 0.46, MEAN_MASK: 0.45}))
    assert (board.below_mean_mask, board.not_above_mean_mask) == ([], ["same"])
    assert any("No paired test separates same" in note for note in MapSheet(board, "tampered", 2).notes)


def test_seeds_widen_intervals():
    skills = {"good": 0.8, "fair": 0.5, "blind": 0.2}
    board = ranked(rows_of(skills, seeds=(0, 1)))
    assert board.board.seeds == [0, 1] and board.lines[0].columns[LOCALISATION].sd > 0


def test_only_detectors_that_know_all_generators_are_ranked(table):
    narrow = table[table["detector"] == "good"].assign(detector="narrow", trained_on="splice")
    board = ranked(pd.concat([table, narrow]))
    assert "narrow" not in {line.detector for line in board.lines}
    with pytest.raises(InputError, match=r"conditions\.seen=true"):
        ranked(narrow)


def test_masks_from_elsewhere_have_a_column_and_are_in_no_mean(table, board):
    elsewhere = rows_of({"good": 0.3, "fair": 0.3}, generators=("external:theirs",))
    elsewhere = elsewhere[(elsewhere["split"] == "test") & (elsewhere["generator"] != "")]
    both = ranked(pd.concat([table, elsewhere]))
    before, after = ({line.detector: line.columns for line in each.lines} for each in (board, both))
    assert before["good"][LOCALISATION] == after["good"][LOCALISATION]
    assert after["good"][EXTERNAL].value < 0.6 and EXTERNAL not in before["good"]
    assert after["twin"][EXTERNAL].value is None
    assert MapSheet(both, "tampered", 2).headings[:4] == ["rank", "detector", "F1", "external F1"]


def test_texts_have_every_line_and_the_sentence_on_the_mean_training_mask(board):
    sheet = MapSheet(board, "tampered", 2, ("SHORTCUT, x: y",))
    text = formats.markdown(sheet)
    assert text.startswith("**SHORTCUT, x: y**") and "| rank | detector | F1 | pixel AUC |" in text
    assert "| control | mean training mask |" in text and "| 2 (2–3) | " in text
    assert "blind is not above the mean training mask" in text
    table = list(csv.DictReader(io.StringIO(map_formats.to_csv(sheet))))
    assert [row["detector"] for row in table] == [line.detector for line in board.lines]
    assert float(table[0]["localisation f1"]) == pytest.approx(board.lines[0].columns[LOCALISATION].value, abs=1e-6)
    assert table[-1]["rank"] == "" and table[-1]["control"] == "1"
    assert json.loads(map_formats.to_json(sheet))["lines"][0]["rank"] == 1
    assert "<td>control</td>" in formats.html(sheet)


def test_a_run_without_masks_says_how_to_get_them(tmp_path):
    results = make_results(make_scores({("dct", "gan"): {"gan": 1.0}}, n=20))
    report = SimpleNamespace(name="plain", folder=tmp_path, results=results)
    with pytest.raises(InputError, match="bench run -g splice,inpaint -d unet,noise-map"):
        map_sheet_of(report)
