"""Face tracks of clips: linking, absence, smoothing, and the crops that follow from them."""

from dataclasses import replace

import numpy as np
import pytest
from clips import write_faces_clip

from forge.faces import clip_faces
from forge.faces.crop import CROPS, Face
from forge.faces.imaging.decode import Unusable
from forge.faces.ingest import Intake, take
from forge.faces.prepare import prepare
from forge.faces.sources.base import Item
from forge.faces.sources.clips import expanded, item_of
from forge.faces.sources.folder import FolderSource
from forge.faces.tracks import GAP, Track, linked_faces, overlap, smoothed, tracks_of


def face(left, top=0.0, side=100.0):
    edges = np.array([left, top, left + side, top + side], float)
    landmarks = edges[:2] + side * np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])
    return Face(tuple(int(edge) for edge in edges), landmarks, edges)


def lefts(track):
    return {number: float(each.edges[0]) for number, each in track.faces.items()}


def test_the_overlap_is_that_of_enlarged_boxes():
    a, b = face(0).edges, face(60).edges
    # 150 px wide each, 90 shared
    assert overlap(a, b, 0.25) == pytest.approx(90 / 210) == overlap(b, a, 0.25)
    assert overlap(a, b, 0.75) == pytest.approx(190 / 310) and overlap(a, b, 0) == pytest.approx(40 / 160)
    assert overlap(a, a, 0.25) == 1
    assert overlap(a, face(150).edges, 0.25) == 0 == overlap(a, face(0, 400).edges, 0.25)


def test_each_face_goes_with_the_track_that_it_overlaps_most_whatever_their_order():
    frames = [[face(0), face(140)], [face(150), face(20)], [face(40), face(160)]]
    first, second = linked_faces(frames)
    assert lefts(first) == {0: 0, 1: 20, 2: 40} and lefts(second) == {0: 140, 1: 150, 2: 160}


def test_a_face_that_moves_far_stays_in_its_track_where_no_other_is_near():
    assert len(linked_faces([[face(0)], [face(130)], [face(260)]])) == 1
    assert len(linked_faces([[face(0)], [face(140)]])) == 2  # further than 1.35 of its width
    # the face that stands still keeps its track; the one that moved takes what is left
    first, second = linked_faces([[face(0), face(220)], [face(120), face(5)]])
    assert lefts(first) == {0: 0, 1: 5} and lefts(second) == {0: 220, 1: 120}


def test_a_track_bridges_a_short_gap_and_never_takes_another_face():
    gap = [[face(0)], *[[face(300)]] * GAP, [face(10)]]
    assert [sorted(track.faces) for track in linked_faces(gap)] == [[0, GAP + 1], list(range(1, GAP + 1))]
    longer = [[face(0)], *[[]] * (GAP + 1), [face(0)]]
    assert [sorted(track.faces) for track in linked_faces(longer)] == [[0], [GAP + 2]]


def test_the_longest_track_is_first_then_the_largest_and_false_alarms_are_left_out():
    frames = [[face(0), face(300, side=160)] for _ in range(16)]
    frames[5].append(face(700, side=300))
    clip = tracks_of(frames)
    assert [track.side for track in clip.tracks] == [160, 100] and (clip.left_out, clip.shortest) == (1, 2)
    for faces in frames[:4]:
        del faces[1]
    assert [len(track.faces) for track in tracks_of(frames).tracks] == [16, 12]
    none = tracks_of([[], []])
    assert (none.tracks, none.left_out, none.shortest, none.frames) == ([], 0, 0, 2)
    assert len(tracks_of([[face(0)], [], [face(500)]]).tracks) == 2  # of a short clip one frame is enough


def test_trembling_boxes_are_smoothed_and_moving_ones_stay():
    still = smoothed(Track({number: face(left) for number, left in enumerate([0, 4, -3, 5, 0, 1, -2])}))
    assert list(lefts(still).values()) == [0, 0, 0, 1, 0, 0, -2]  # medians of 1, 3, 5, 5, 5, 3 and 1
    assert still.faces[3].landmarks[0] == pytest.approx([31, 40])
    steady = Track({number: face(9.0 * number) for number in range(7)})
    assert lefts(smoothed(steady)) == lefts(steady)  # no lag
    to_and_fro = Track({number: face(30.0 * (number % 2)) for number in range(7)})
    assert lefts(smoothed(to_and_fro)) == lefts(to_and_fro)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two clips: one with two people, the second of whom is alone in the last quarter; one without a face."""
    root = tmp_path_factory.mktemp("tracks")
    write_faces_clip(root / "two.mp4", 16, {0: range(12), 1: range(16)})
    write_faces_clip(root / "none.mp4", 16, {})  # blank frames are the finder's
    return root


def items(path, frames=8):
    return [item_of(name, Item(name, str(path))) for name in expanded([str(path)], frames)]


def test_the_face_of_a_clip_is_one_person_and_absence_is_said(folder):
    clip = clip_faces.clip_tracks(items(folder / "two.mp4")[0], CROPS["face"])
    assert [sorted(track.faces) for track in clip.tracks] == [list(range(8)), list(range(6))] and not clip.left_out
    main = take(items(folder / "two.mp4"), Intake(48, 1, CROPS["face"]))
    assert len(main.images) == 8 and not main.rejected
    other = take([replace(item, track=1) for item in items(folder / "two.mp4")], Intake(48, 1, CROPS["face"]))
    assert len(other.images) == 6
    assert [reason for _, reason, _ in other.rejected] == ["face absent"] * 2
    assert other.rejected[0][2] == "the clip's face is in 6 of 8 frames, not in this one"
    # two people: within a track pictures differ by coding alone
    assert apart(main.images[0], main.images[7]) < 3 < 10 < apart(main.images[0], other.images[0])
    with pytest.raises(Unusable) as caught:
        clip_faces.face_of(items(folder / "none.mp4", 2)[0], CROPS["face"])
    assert caught.value.reason == "no face" and "in 2 frames of the clip" in caught.value.detail


def apart(a, b):
    return np.abs(a.astype(int) - b).mean()


class Finder:
    """Finds a face at the left of every picture."""

    def __init__(self, crop):
        pass

    def find_all(self, images):
        return [[face(30, 30)] for _ in images]


def test_sets_take_the_clips_face_and_their_digest_follows_how(folder, tmp_path, monkeypatch):
    source = FolderSource(folder, frames=10)
    whole, cropped = clip_faces.digest_of(source, "none"), clip_faces.digest_of(source, "face")
    assert whole == source.identity() != cropped == clip_faces.digest_of(source, "ff++")
    clip_faces._tracks.cache_clear()
    monkeypatch.setattr(clip_faces, "finder_for", Finder)
    faces = prepare(source, tmp_path / "set", resolution=48, crop="ff++", splits={"test": 1.0}, workers=1)
    assert list(faces.table["clip"]) == ["none.mp4"] * 10 + ["two.mp4"] * 10
    assert faces.card.provenance["preparation"]["tracks"] == clip_faces.describe_tracks()
    monkeypatch.setattr(clip_faces, "VERSION", 99)
    assert clip_faces.digest_of(source, "none") == whole and clip_faces.digest_of(source, "face") != cropped
    clip_faces._tracks.cache_clear()
