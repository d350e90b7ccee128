"""`bench detect` of videos: a row per frame, an answer per clip from the mean of its frames, and a plot over time."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from clips import write_clip
from finished import finished_run

from benchmarks.inference.clip_plot import clip_plot, write_plots
from benchmarks.inference.clip_scores import clip_answers, in_place, moments_of, name_frames
from benchmarks.inference.inspection import Inspector
from benchmarks.inference.photos import intake_for, list_photos, read_faces
from benchmarks.inference.verdict import Verdict
from forge.faces import clip_faces
from forge.faces.crop import Face


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = finished_run(tmp_path_factory.mktemp("clips"))
    write_clip(folder / "clip.mp4")
    write_clip(folder / "set" / "short.mp4", 2, seed=1)
    (folder / "set" / "broken.mp4").write_text("no video")
    return folder


@pytest.fixture
def done(finished, bench, monkeypatch):
    monkeypatch.chdir(finished)
    return bench


def judge():
    """Answer "forged" from a score of 1."""
    return SimpleNamespace(
        answer=lambda frames, reencoded: Verdict(
            "forged" if np.mean([row["score"] for row in frames]) >= 1 else "real", "", "forged"
        ),
        calibration=SimpleNamespace(probability=lambda scores: scores / 10),
    )


def frame(number, score, file="a.mp4", **more):
    known = {"problem": "no face"} if score is None else {"score": score}
    return {"file": file, "frame": f"{number} of 4", "seconds": number / 2, **known, **more}


def test_a_clip_is_judged_by_the_mean_of_the_main_faces_of_its_frames():
    rows = [
        frame(1, 0.0), frame(2, 4.0), frame(3, None),
        frame(4, 2.0, unlike="blurred", reencoded={"noise": 3.0}),
    ]  # fmt: skip
    (clip,) = clip_answers(judge(), [{"file": "b.png", "score": 7.0}, *rows])
    assert (clip["score"], clip["highest"], clip["highest_seconds"]) == (2.0, 4.0, 1.0)
    assert (clip["frames"], clip["used"], clip["verdict"], clip["probability"]) == (4, 3, "forged", 0.2)
    assert clip["note"] == "mean of 3 frames, 1 not used; highest 4.00 at 1.0 s"
    assert clip["unlike"] == "blurred (1 of 3 frames)"
    (unused,) = clip_answers(judge(), [frame(1, None), frame(2, None)])
    assert unused["problem"] == "none of its 2 frames could be used: no face" and "verdict" not in unused


def test_each_face_of_a_clip_has_its_answer_in_place_of_its_frames():
    rows = [
        *(frame(n, 2.0, face="1 of 2", left_out="3 more faces in fewer than 2 frames") for n in (1, 2)),
        frame(1, None, face="2 of 2", left_out="3 more faces in fewer than 2 frames"), frame(2, 0.0, face="2 of 2"),
    ]  # fmt: skip
    first, second = clip_answers(judge(), rows)
    assert (first["face"], first["verdict"], first["used"]) == ("1 of 2", "forged", 2)
    assert (second["face"], second["verdict"], second["used"]) == ("2 of 2", "real", 1)
    # what is not followed is said once
    assert (
        first["note"].endswith("; left out: 3 more faces in fewer than 2 frames") and "left out" not in second["note"]
    )
    assert list(in_place(rows, [first, second])) == [first, second]


def test_the_plot_shows_every_face_and_they_share_the_file(tmp_path):
    rows = [frame(n, float(n + k), face=f"{k} of 2") for k in (1, 2) for n in (1, 2, 3)]
    clips = clip_answers(judge(), rows)
    write_plots(rows, clips, 0.5, "npr", tmp_path)
    assert {clip["plot"] for clip in clips} == {str(tmp_path / "a-scores.svg")}
    svg = (tmp_path / "a-scores.svg").read_text()
    assert svg.count('class="dot s0"') == 4 == svg.count('class="dot s1"')  # one each is the legend's
    assert "face 1: 3 frames" in svg and "face 2: 3 frames" in svg and "mean 4.00: forged" in svg
    many = [frame(n, 1.0, face=f"{k} of 6") for k in range(1, 7) for n in (1, 2)]
    answers = clip_answers(judge(), many)
    parts = [many[2 * k : 2 * k + 2] for k in range(6)]
    assert "2 more faces are in the table" in clip_plot(answers, parts, 0.5, "npr")


class Finder:
    """Finds a face at the left, and another one at the right in bright pictures."""

    def __init__(self, crop):
        pass

    def find_all(self, images):
        both = [face_at(4), face_at(36)]
        return [both if np.asarray(image)[30:].mean() > 60 else both[:1] for image in images]


def face_at(left):
    edges = np.array([left, 8.0, left + 24, 40.0])
    return Face((left, 8, left + 24, 40), np.zeros((5, 2)), edges)


def test_the_frames_of_a_clip_come_once_for_each_of_its_faces(finished, monkeypatch):
    clip_faces._tracks.cache_clear()
    monkeypatch.setattr(clip_faces, "finder_for", Finder)
    listing = list_photos([finished / "clip.mp4", finished / "me.png"], 10)
    intake = intake_for(16, "ff++")
    photos = iter(read_faces(listing.files[:10], intake, inspector=Inspector(intake, reencode=False)))
    first, second = photos
    clip_faces._tracks.cache_clear()
    assert (first.track, second.track) == ("1 of 2", "2 of 2") and first.files == second.files == listing.files[:10]
    assert not any(first.problems) and len(first.images) == 10 and first.left_out == ""
    absent = [problem.partition(":")[0] for problem in second.problems]
    assert absent.count("face absent") == 10 - len(second.images) > 0 and set(absent) == {"", "face absent"}
    assert [view.box[0] for view in first.inspections] == [4] * 10 and {v.box[0] for v in second.inspections} == {36}
    assert all(not view.others for view in first.inspections)


def test_reencodings_of_a_clip_are_means_and_its_row_stands_for_its_frames():
    rows = [frame(n, 2.0, reencoded={"noise": float(n)}) for n in (1, 2)]
    photo = {"file": "b.png", "score": 7.0}
    answers = clip_answers(judge(), rows)
    assert answers[0]["reencoded"] == {"noise": 1.5}
    assert list(in_place([photo, *rows, photo], answers)) == [photo, answers[0], photo]


def test_frames_are_listed_by_their_times_and_named_by_their_clip(finished):
    listing = list_photos([*(finished / name for name in ("clip.mp4", "me.png", "set", "clip.mp4"))], 2)
    assert [file.name for file in listing.files] == [
        "clip.mp4#1of2", "clip.mp4#2of2", "me.png", "short.mp4#1of2", "short.mp4#2of2"
    ]  # fmt: skip
    assert [why.partition(":")[0] for why in listing.unread.values()] == ["broken video"]
    rows = [{"file": str(file), "score": 0.0} for file in listing.files]
    name_frames(rows, listing.moments)
    assert rows[2] == {"file": str(finished / "me.png"), "score": 0.0}
    assert rows[1] == {"file": str(finished / "clip.mp4"), "frame": "2 of 2", "seconds": 1.5, "score": 0.0}
    assert not list_photos([finished / "me.png"]).moments  # commands that read no videos


def test_without_the_extra_a_clip_is_named_as_unread(finished, monkeypatch):
    monkeypatch.setattr("benchmarks.inference.clip_scores.can_read_videos", lambda: False)
    moments, refused = moments_of([finished / "clip.mp4"], 4)
    assert not moments and "pip install 'deepfake-bench[video]'" in refused[finished / "clip.mp4"]


def test_the_plot_has_dots_gaps_mean_and_threshold(tmp_path):
    frames = [frame(1, 0.0), frame(2, None), frame(3, 1.0), frame(4, 3.0)]
    clips = clip_answers(judge(), frames)
    svg = clip_plot(clips, [frames], 0.5, "npr")
    assert svg.count('class="dot s0"') == 4 and svg.count('class="line s0"') == 2  # one dot is the legend's
    assert "threshold 0.50" in svg and "mean 1.33: forged" in svg and "0.5 s 0.00, 1.5 s 1.00, 2.0 s 3.00" in svg
    assert "threshold" not in clip_plot(clips, [frames], np.inf, "npr")
    one = frame(1, 2.0) | {"seconds": 0.0}
    assert 'class="dot s0"' in clip_plot(clip_answers(judge(), [one]), [[one]], 2.0, "npr")
    others = [frame(1, 1.0, "x/a.mp4"), frame(1, None, "broken.mp4"), *frames]
    clips = clip_answers(judge(), others)
    write_plots(others, clips, 0.5, "npr", tmp_path)
    assert [clip.get("plot") for clip in clips] == [
        str(tmp_path / "a-scores.svg"),
        None,
        str(tmp_path / "a-2-scores.svg"),
    ]
    assert all(Path(clip["plot"]).is_file() for clip in clips if "plot" in clip)


def test_clips_on_the_terminal_have_a_row_each_and_a_plot(done, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # no cell is wrapped
    code, out, err = done("detect", "mine", "set", "clip.mp4", "me.png", "--frames", "3")
    flat = " ".join(out.split())
    assert (code, err) == (0, "") and "mean of 3 frames" in flat and "mean of 2 frames" in flat
    assert "1 photo and 3 clips" in flat and "not used: not read: broken video" in flat and "1 not used" in flat
    assert "Of a clip the mean score" in flat
    for name in ("clip-scores.svg", "short-scores.svg"):
        path = Path("pictures/mine/dct@dcgan") / name
        assert path.is_file() and str(path) in out


def test_clips_in_files_have_a_row_per_frame_and_their_answer(done):
    Path("out").mkdir()
    assert done("detect", "mine", "clip.mp4", "me.png", "--frames", "3", "--out", "out/r.csv")[0] == 0
    table = pd.read_csv("out/r.csv")
    clip = table[table["file"] == "clip.mp4"]
    assert list(clip["seconds"]) == [0.3, 1.0, 1.6] and list(clip["frame"]) == [f"{n} of 3" for n in (1, 2, 3)]
    assert clip["clip_score"].unique() == pytest.approx(clip["score"].mean())
    assert clip["clip_highest"].unique() == pytest.approx(clip["score"].max())
    assert table[table["file"] == "me.png"]["clip_verdict"].isna().all() and Path("out/clip-scores.svg").is_file()

    code, out, _ = done("detect", "mine", "clip.mp4", "--frames", "3", "--json", "--fail-on", "problem")
    answer = json.loads(out)
    assert code == 0 and [row["seconds"] for row in answer["images"]] == [0.3, 1.0, 1.6]
    assert answer["clips"][0]["score"] == pytest.approx(clip["score"].mean()) and "plot" not in answer["clips"][0]
    assert answer["summary"].startswith("1 clip: ")


def test_the_verdict_of_a_clip_counts_once_and_a_broken_one_fails(done):
    code, out, _ = done("detect", "mine", "set", "--fail-on", "problem", "--json")
    assert code == 3 and json.loads(out)["summary"].startswith("2 clips: ")
    code, _, err = done("detect", "mine", "set/broken.mp4")
    assert code == 2 and "none of the 1 files could be used" in err
    code, _, err = done("detect", "mine", "clip.mp4", "--plot-to", "runs/x")
    assert code == 2 and "lies among the stored results" in err
