"""Frames of videos: evenly spaced in time, upright, from any clip that has some; and clips as sources of faces."""

import pickle

import numpy as np
import pytest
from clips import write_clip, write_sound

from forge.core.errors import InputError
from forge.faces.imaging.decode import Unusable, decode
from forge.faces.imaging.video import read_frames
from forge.faces.prepare import prepare
from forge.faces.sources import clips
from forge.faces.sources.folder import FolderSource

SIDES = {"red": (2, 2), "grey": (-3, -3)}


def seconds(frames):
    return [round(frame.seconds, 3) for frame in frames]


def test_frames_are_those_in_the_middles_of_equal_parts(tmp_path):
    frames = read_frames(write_clip(tmp_path / "a.mp4", 30), 5)
    # parts of .6 s whose middles are .3, .9, ...
    assert seconds(frames) == [0.3, 0.9, 1.5, 2.1, 2.7]
    assert all(frame.pixels.shape == (48, 64, 3) and frame.pixels.dtype == np.uint8 for frame in frames)
    # frame 3 and 9 differ by 6 steps of 8 grey levels
    assert np.mean(frames[1].pixels[30:, 30:].astype(int) - frames[0].pixels[30:, 30:]) == pytest.approx(48, abs=3)


def test_the_same_file_gives_the_same_pixels_as_decoding_all_of_it(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 60, options={"preset": "ultrafast", "g": "12"})
    every = read_frames(path, 60)
    some = read_frames(path, 4)
    # the gaps of 1.5 s are decoded, and those of a long clip sought
    for frame in some:
        same = next(other for other in every if other.seconds == frame.seconds)
        assert np.array_equal(frame.pixels, same.pixels)


def test_seeking_gives_the_frames_of_decoding(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mkv", 60, options={"preset": "ultrafast", "g": "8"})
    decoded = read_frames(path, 5)
    monkeypatch.setattr("forge.faces.imaging.video._SEEK_AHEAD", 0.2)
    sought = read_frames(path, 5)
    assert seconds(decoded) == seconds(sought) == [0.6, 1.8, 3.0, 4.2, 5.4]
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(decoded, sought, strict=True))


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-3, 2)), (-90, (2, -3)), (180, (-3, -3))])
def test_rotated_clips_come_upright(tmp_path, rotation, corner):
    pixels = read_frames(write_clip(tmp_path / "a.mp4", 2, rotation=rotation), 1)[0].pixels
    assert pixels.shape == ((64, 48, 3) if rotation != 180 else (48, 64, 3))
    red, green, _ = pixels[corner].astype(int)
    assert red > 200 and green < 60


def test_a_clip_of_variable_rate_is_sampled_by_time(tmp_path):
    path = write_clip(tmp_path / "a.mkv", 10, times=[0, 1, 2, 3, 4, 5, 6, 30, 60, 100])
    # 11.1 s; middles 1.4, 4.2, 6.9, 9.7 s, where the frames of .6, 3, 6 and again 6 s are shown
    assert seconds(read_frames(path, 4)) == [0.6, 3.0, 6.0]


def test_a_clip_of_one_frame_and_one_with_fewer_than_asked_for(tmp_path):
    assert seconds(read_frames(write_clip(tmp_path / "a.mp4", 1), 16)) == [0.0]
    assert len(read_frames(write_clip(tmp_path / "b.mp4", 3), 16)) == 3
    with pytest.raises(ValueError, match="at least 1"):
        read_frames(tmp_path / "b.mp4", 0)


def test_what_is_no_video_says_so(tmp_path):
    whole = write_clip(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    write_sound(tmp_path / "sound.mp4")
    for name, reason in (
        ("text", "broken video"), ("empty", "broken video"), ("cut", "broken video"), ("sound", "no video"),
        ("absent", "broken video"),
    ):  # fmt: skip
        with pytest.raises(Unusable) as caught:
            read_frames(tmp_path / f"{name}.mp4", 4)
        assert caught.value.reason == reason and caught.value.detail


def test_a_damaged_end_leaves_the_frames_before_it(tmp_path):
    path = write_clip(tmp_path / "a.mkv", 30, options={"preset": "ultrafast", "g": "5"})
    data = path.read_bytes()
    path.write_bytes(data[: int(0.7 * len(data))])
    assert 1 <= len(read_frames(path, 8)) <= 8


def test_a_video_in_a_folder_is_its_frames_in_one_group(tmp_path):
    for number in range(3):
        write_clip(tmp_path / "set" / f"clip{number}.mp4", seed=number)
    (tmp_path / "set" / "broken.mp4").write_text("no video")
    source = FolderSource(tmp_path / "set", frames=8)
    assert len(source) == 32 and not source.unread and source.settings()["frames"] == 8
    assert source.files[8] == "clip0.mp4#1of8" and clips.file_of(source.files[8]) == "clip0.mp4"
    item = pickle.loads(pickle.dumps(next(iter(source.chunk([10])))))
    assert item.identity == "clip clip0.mp4"
    expected = read_frames(tmp_path / "set" / "clip0.mp4", 8)[2].pixels
    assert np.array_equal(np.asarray(decode(item.read()).image), expected)
    faces = prepare(source, tmp_path / "out", resolution=32, splits={"test": 1.0}, workers=1)
    assert set(faces.table["identity"]) == {f"clip clip{number}.mp4" for number in range(3)} and len(faces) == 24
    assert faces.card.rejected == {"broken video": 8}


def test_the_fingerprint_is_of_the_videos_and_of_how_many_frames_are_read(tmp_path):
    write_clip(tmp_path / "a.mp4", 3)
    first = FolderSource(tmp_path, frames=8).fingerprint()
    assert FolderSource(tmp_path, frames=8).fingerprint() == first != FolderSource(tmp_path, frames=4).fingerprint()
    write_clip(tmp_path / "a.mp4", 4)
    assert FolderSource(tmp_path, frames=8).fingerprint() != first


def test_a_short_clip_has_no_later_frames(tmp_path):
    write_clip(tmp_path / "a.mp4", 3)
    items = list(FolderSource(tmp_path, frames=4).chunk(range(4)))
    assert [len(item.read()) > 0 for item in items[:3]] == [True] * 3
    with pytest.raises(Unusable) as caught:
        items[3].read()
    assert caught.value.reason == "short clip" and "3 different frames" in caught.value.detail


@pytest.mark.parametrize("frames", [0, 1001, -1, "many", True, 2.5])
def test_frames_that_are_no_number_are_refused(tmp_path, frames):
    with pytest.raises(InputError, match="from 1 to 1000"):
        FolderSource(tmp_path, frames=frames)


def test_without_the_extra_a_video_is_named_as_unread(tmp_path, monkeypatch):
    write_clip(tmp_path / "a.mp4", 2)
    monkeypatch.setattr("forge.faces.sources.folder.can_read_videos", lambda: False)
    source = FolderSource(tmp_path)
    assert len(source) == 0 and "pip install 'deepfake-bench[video]'" in source.unread["a.mp4"]
