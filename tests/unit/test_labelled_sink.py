"""Pictures whose truth is known are kept to learn from."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.digits import Scene
from pipeline.errors import ConfigError
from pipeline.sink.labelled import LabelledSink
from pipeline.types import Scored
from tests.frames import frame, rejected, scored

JPEG = Scene(0, width=32, height=32).jpeg(0)


def labelled(number: int, truth: str | None = "7", payload: bytes = JPEG) -> Scored:
    return scored(replace(frame(number, payload=payload), truth=truth))


def names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_a_frame_is_kept_under_its_label_and_its_id(tmp_path: Path) -> None:
    sink = LabelledSink(tmp_path, every=1, most=99)
    sink.open()
    sink.write([labelled(number, truth=str(number % 2)) for number in range(3)])
    assert names(tmp_path) == ["0/cam-0-0.jpg", "0/cam-0-2.jpg", "1/cam-0-1.jpg"]
    assert (tmp_path / "0" / "cam-0-2.jpg").read_bytes() == JPEG


def test_one_in_so_many_is_kept_of_every_camera_though_they_come_in_turn(tmp_path: Path) -> None:
    sink = LabelledSink(tmp_path, every=12, most=999)
    sink.open()
    for number in range(600):
        one = scored(replace(frame(number, f"cam-{number % 4}", JPEG), truth="7"))
        sink.write([one])
    kept = [name[:7] for name in names(tmp_path)]
    assert 30 < len(kept) < 70  # 50, and 7 is a standard deviation
    assert set(kept) == {"7/cam-0", "7/cam-1", "7/cam-2", "7/cam-3"}


def test_only_the_newest_stay_over_a_restart_too(tmp_path: Path) -> None:
    sink = LabelledSink(tmp_path, every=1, most=3)
    sink.open()
    sink.write([labelled(number) for number in range(5)])
    assert names(tmp_path) == ["7/cam-0-2.jpg", "7/cam-0-3.jpg", "7/cam-0-4.jpg"]
    again = LabelledSink(tmp_path, every=1, most=3)
    again.open()
    again.write([labelled(5)])
    assert names(tmp_path) == ["7/cam-0-3.jpg", "7/cam-0-4.jpg", "7/cam-0-5.jpg"]


def test_what_has_no_truth_was_rejected_or_is_pixels_is_not_kept(tmp_path: Path) -> None:
    sink = LabelledSink(tmp_path, every=1, most=9)
    sink.open()
    sink.write([labelled(0, truth=None), rejected(frame(1))])
    assert names(tmp_path) == []


def test_a_full_disk_holds_no_frame_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = LabelledSink(tmp_path, every=1, most=9)
    sink.open()
    (tmp_path / "7").write_text("in the way")
    outcomes = [labelled(0), labelled(1)]
    sink.write(outcomes)
    assert sink.collect(0) == outcomes
    assert caplog.text.count("frames go on without it") == 1


def test_a_folder_that_cannot_be_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be used"):
        LabelledSink(tmp_path / "file", every=1, most=9).open()
