"""Tests by clip: means and highest scores of the frames of a clip, and the section that shows them."""

import numpy as np
import pandas as pd
import pytest
from clips import write_clip
from synthetic import make_results, make_scores

from benchmarks.evaluation.clips import clip_tests
from benchmarks.evaluation.delong import auc_interval
from benchmarks.evaluation.evaluate import evaluate
from benchmarks.evaluation.results import Results
from benchmarks.report.sections.clips import clips_content
from forge.faces.layouts.base import Entry
from forge.faces.prepare import prepare
from forge.faces.sources.folder import FolderSource
from forge.faces.sources.listed import ListedSource

CLIPS, FRAMES = 6, 4  # of each class; frames of a clip


def scores_with_clips():
    """Rows of a run with a test `external:ff`, in which a clip's frames scatter about it."""
    scores = make_scores({("dct", "dcgan"): {"dcgan": 2.0}}, n=20)
    rng = np.random.default_rng(1)
    template = scores.iloc[0].to_dict()
    rows = [
        template | {
            "split": "test", "source": "external:ff", "generator": "external:ff" if label else "", "label": label,
            "sample_id": f"{clip}-{frame}", "identity": f"person {clip}", "clip": f"{clip}.mp4", "perturbation": "none",
            "score": label + rng.normal(0, 0.6) + centre,
        }
        for label in (0, 1) for clip in range(CLIPS) for centre in [rng.normal(0, 0.5)] for frame in range(FRAMES)
    ]  # fmt: skip
    return pd.concat([scores, pd.DataFrame(rows)], ignore_index=True).astype({"label": "int8"})


@pytest.fixture(scope="module")
def scores():
    return scores_with_clips()


def test_a_clip_is_one_decision_by_its_mean_and_by_its_highest_frame(scores):
    cells = evaluate(scores)
    (test,) = clip_tests(scores, cells)
    frames = scores[scores["source"] == "external:ff"]
    mean, highest = (
        [[getattr(part["score"], how)() for _, part in frames[frames["label"] == label].groupby("clip")]
         for label in (0, 1)] for how in ("mean", "max")
    )  # fmt: skip
    by_hand = [np.mean([[f > r for r in real] for f in forged]) for real, forged in (mean, highest)]
    assert (test.auc, test.auc_of_highest) == pytest.approx(by_hand)
    assert (test.n_real, test.n_forged, test.frames) == (CLIPS, CLIPS, 2 * CLIPS * FRAMES)
    (cell,) = [cell for cell in cells if cell.tested_on == "external:ff"]
    assert test.auc_of_frames == pytest.approx(cell.auc)
    people = [f"person {n}" for n in range(CLIPS)]  # of real and forged clips: a person is a unit
    interval = auc_interval([0] * CLIPS + [1] * CLIPS, [*mean[0], *mean[1]], groups=people * 2, resamples=2000, seed=0)
    assert (test.low, test.high, test.method) == (interval.low, interval.high, interval.method)


def test_there_is_no_test_by_clip_of_images_of_one_clip_or_of_other_columns(scores):
    cells = evaluate(scores)
    assert clip_tests(scores.drop(columns="clip"), cells) == []
    single = scores[(scores["label"] == 0) | scores["clip"].isin(["0.mp4"])]  # one forged clip
    assert clip_tests(single, cells) == []
    images = scores.assign(clip=scores["clip"].where(scores["label"] == 0))
    assert clip_tests(images, cells) == []


def test_results_keep_the_tests_and_a_page_shows_them(scores):
    results = make_results(scores)
    assert "clips" not in results.model_dump(mode="json") and clips_content(results) is None
    tests = clip_tests(scores, evaluate(scores))
    kept = Results.model_validate_json(results.model_copy(update={"clips": tests}).model_dump_json())
    (line,) = clips_content(kept).lines
    assert kept.clips == tests and line.clips == "6 real, 6 forged; 48 frames" and line.tested_on == "ff"
    assert (line.mean, line.highest) == (f"{tests[0].auc:.2f}", f"{tests[0].auc_of_highest:.2f}")


def test_sets_of_clips_name_the_clip_of_each_frame(tmp_path):
    for number in range(2):
        write_clip(tmp_path / f"a{number}.mp4", 10, seed=number)
    folder = FolderSource(tmp_path, frames=10)
    faces = prepare(folder, tmp_path / "out", resolution=16, splits={"test": 1.0}, workers=1)
    assert list(faces.table["clip"]) == ["a0.mp4"] * 10 + ["a1.mp4"] * 10
    entries = [Entry("a0.mp4", "real", identity="anna"), Entry("f/1.png", "real", video="7"), Entry("b.png", "real")]
    listed = ListedSource(tmp_path, entries, frames=1)
    assert [dict(item.attributes) for item in listed.chunk(range(3))] == [{"clip": "a0.mp4"}, {"clip": "7"}, {}]
    assert listed.attributes == ("clip",) and ListedSource(tmp_path, entries[2:]).attributes == ()
