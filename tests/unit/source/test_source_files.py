"""Videos and folders as they shouldn't be."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.clock import ManualClock, SystemClock
from pipeline.errors import ConfigError, SourceExhausted
from pipeline.opencv import cv2
from pipeline.preprocess import PreprocessSpec, load_sample
from pipeline.source.base import Source
from pipeline.source.directory import MAX_FILE_BYTES, DirectorySource
from pipeline.source.url import Surroundings, make_source
from pipeline.source.video import VideoSource
from pipeline.types import Frame, ImageHwc
from tests.clips import BIG_BUCK_BUNNY, BIKES, CARPHONE
from tests.support import noise_jpeg


def _all(source: Source) -> list[Frame]:
    source.open()
    frames: list[Frame] = []
    try:
        while True:
            frames += source.poll(64, 1.0)
    except SourceExhausted:
        return frames
    finally:
        source.close()


def _video(path: Path) -> list[Frame]:
    return _all(VideoSource(path.name, path, SystemClock()))


def _folder(path: Path) -> list[Frame]:
    return _all(DirectorySource(path.name, path, SystemClock()))


@pytest.mark.parametrize(("clip", "count"), [(BIKES, 250), (BIG_BUCK_BUNNY, 132), (CARPHONE, 120)])
def test_a_healthy_clip_gives_each_frame_and_no_defect(clip: Path, count: int) -> None:
    frames = _video(clip)
    assert [frame.position.offset for frame in frames] == list(range(count))
    assert not [frame for frame in frames if frame.defect]


def _write_clip(path: Path, codec: str) -> int:
    """Writes the first hundred frames of a real clip in another container; gives their number."""
    reader = cv2.VideoCapture(str(BIKES))
    frames: list[ImageHwc] = [reader.read()[1] for _ in range(100)]  # pyright: ignore[reportAssignmentType]
    reader.release()
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return len(frames)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("a.mkv", "XVID"), ("a.avi", "XVID")]
)
@pytest.mark.parametrize("tail", ["cut off", "garbage"])
def test_a_video_with_a_bad_tail_gives_its_good_frames_and_one_defect(
    tmp_path: Path, name: str, codec: str, tail: str
) -> None:
    clip = tmp_path / name
    count = _write_clip(clip, codec)
    whole = clip.read_bytes()
    assert not [frame for frame in _video(clip) if frame.defect]
    kept = len(whole) * 6 // 10
    garbage = np.random.default_rng(0).bytes(len(whole) - kept)
    clip.write_bytes(whole[:kept] + (garbage if tail == "garbage" else b""))
    frames = _video(clip)
    assert count * 0.5 < len(frames) < count
    assert [frame.position.offset for frame in frames] == list(range(len(frames)))
    assert not [frame for frame in frames[:-1] if frame.defect]
    assert frames[-1].payload == b""
    assert f"container says {count}" in (frames[-1].defect or "")


def test_the_defect_keeps_to_the_room(tmp_path: Path) -> None:
    clip = tmp_path / "a.avi"
    _write_clip(clip, "MJPG")
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    source = VideoSource("a.avi", clip, SystemClock())
    source.open()
    last = source.poll(1, 1.0)
    while not last[0].defect:
        last = source.poll(1, 1.0)
        assert len(last) == 1
    source.close()


def test_an_mp4_whose_index_is_cut_off_is_not_a_video(tmp_path: Path) -> None:
    clip = tmp_path / "cut.mp4"
    clip.write_bytes(BIKES.read_bytes()[:300_000])
    with pytest.raises(ConfigError, match="isn't a video"):
        _video(clip)


@pytest.mark.parametrize("content", [b"", b"just a note\n" * 100, b"\x00\x01\x02\x03" * 1000])
def test_a_file_that_is_no_video_is_the_operators_to_mend(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="isn't a video"):
        _video(path)


def test_a_path_that_is_not_utf8_is_refused_as_opencv_would_end_the_process(
    tmp_path: Path,
) -> None:
    clip = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    clip.write_bytes(BIKES.read_bytes())
    with pytest.raises(ConfigError, match=r"udce9.* isn't UTF-8, and FFmpeg can't open it: rename"):
        _video(clip)


def test_a_playlist_that_names_another_machine_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/clip.ts\n")
    with pytest.raises(ConfigError, match="it is text"):
        _video(path)


def test_a_video_that_vanished_is_the_operators_to_mend(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(BIKES.read_bytes())
    source = make_source(str(path), Surroundings(SystemClock()))
    path.unlink()
    with pytest.raises(ConfigError, match="can't be read"):
        source.open()


def test_a_paced_video_that_is_behind_loses_nothing() -> None:
    clock = ManualClock(now=5000.0)
    source = VideoSource(BIKES.name, BIKES, clock, fps=10.0)
    source.open()
    assert len(source.poll(64, 0.0)) == 1
    clock.advance(2.05)
    frames = source.poll(64, 0.0)
    source.close()
    assert [frame.position.offset for frame in frames] == list(range(1, 21))
    assert [frame.captured_at - 5000.0 for frame in frames] == pytest.approx(
        [k / 10.0 for k in range(1, 21)]
    )


def test_files_come_as_people_count_and_hidden_ones_and_folders_stay_out(tmp_path: Path) -> None:
    for name in ("10.jpg", "9.jpg", "b2.jpg", "B10.jpg", ".hidden.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "inner").mkdir()
    frames = _folder(tmp_path)
    assert [frame.payload for frame in frames] == [b"9.jpg", b"10.jpg", b"b2.jpg", b"B10.jpg"]
    assert {frame.stream for frame in frames} == {tmp_path.name}


def test_what_is_no_picture_still_becomes_a_frame_with_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(noise_jpeg()[:200])
    (tmp_path / "b.txt").write_bytes(b"a note")
    (tmp_path / "c.png").write_bytes(b"")
    assert [frame.payload for frame in _folder(tmp_path)] == [noise_jpeg()[:200], b"a note", b""]


def test_a_file_that_vanished_or_is_too_large_has_a_defect(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(noise_jpeg())
    with (tmp_path / "b.jpg").open("r+b") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse: nothing of the size is written
    source = DirectorySource("pictures", tmp_path, SystemClock())
    source.open()
    (tmp_path / "a.jpg").unlink()
    frames = source.poll(8, 1.0)
    source.close()
    assert [bool(frame.defect) for frame in frames] == [True, True, False]
    assert "a.jpg can't be read" in (frames[0].defect or "")
    assert "at most" in (frames[1].defect or "")


def test_links_that_lead_nowhere_or_in_circles_are_frames_with_a_defect(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(noise_jpeg())
    (tmp_path / "b.jpg").symlink_to("nowhere")
    (tmp_path / "c.jpg").symlink_to("d.jpg")
    (tmp_path / "d.jpg").symlink_to("c.jpg")
    (tmp_path / "self").symlink_to(".")
    defects = [frame.defect for frame in _folder(tmp_path)]
    assert [bool(defect) for defect in defects] == [False, True, True, True]


def test_a_folder_without_files_or_that_is_gone_is_the_operators_to_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no files"):
        _folder(tmp_path)
    with pytest.raises(ConfigError, match="can't be listed"):
        _folder(tmp_path / "gone")


def test_digits_carry_their_truth() -> None:
    frames = _all(
        make_source("synthetic:digits?streams=2&count=50&cycle=5", Surroundings(SystemClock()))
    )
    assert len(frames) == 100
    assert {frame.stream for frame in frames} == {"digits-0", "digits-1"}
    assert all(frame.truth in set("0123456789") for frame in frames)


def test_digits_darken_from_a_frame_on_and_keep_their_truth() -> None:
    days, nights = (
        _all(make_source(f"synthetic:digits?count=300{more}", Surroundings(SystemClock())))
        for more in ("", "&night=100")
    )
    assert [frame.truth for frame in nights] == [frame.truth for frame in days]
    assert [frame.payload for frame in nights[:101]] == [frame.payload for frame in days[:101]]
    last_of_day, last_of_night = days[-1].payload, nights[-1].payload
    assert isinstance(last_of_day, bytes)
    assert isinstance(last_of_night, bytes)
    spec = PreprocessSpec(width=24, height=24)
    assert load_sample(last_of_night, spec).mean() < 0.6 * load_sample(last_of_day, spec).mean()
