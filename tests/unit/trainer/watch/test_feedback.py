"""Labelled pictures that come in while a trainer looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.digits import Scene
from pipeline.errors import ConfigError
from pipeline.preprocess import PreprocessSpec
from trainer.watch.feedback import look, read

LABELS = ("0", "1", "2")
SPEC = PreprocessSpec(width=16, height=16)


LAST = [0.0]


def arrive(root: Path, label: str, name: str, data: bytes = b"") -> Path:
    """After all that came before, as the file system counts; what is in it is of long ago."""
    path = root / label / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or Scene(0, width=32, height=32).jpeg(0))
    while path.stat().st_ctime <= LAST[0]:
        os.utime(path, (1000, 1000))
    LAST[0] = path.stat().st_ctime
    return path


def test_a_folder_that_nobody_has_made_yet_is_empty(tmp_path: Path) -> None:
    found = look(tmp_path / "later", LABELS, most=9)
    assert (found.arrived, found.since(0), found.newest_at) == ((), 0, 0)


def test_the_newest_are_taken_and_counted_from_a_moment_on(tmp_path: Path) -> None:
    came = [
        arrive(tmp_path, LABELS[number % 3], f"cam-0-{number}.jpg").stat().st_ctime
        for number in range(6)
    ]
    found = look(tmp_path, LABELS, most=4)
    assert [each.file.key for each in found.arrived] == [
        *("2/cam-0-2.jpg", "0/cam-0-3.jpg", "1/cam-0-4.jpg", "2/cam-0-5.jpg"),
    ]
    assert [each.file.target for each in found.arrived] == [2, 0, 1, 2]
    assert (found.since(came[3]), found.newest_at) == (2, came[5])


def test_what_is_half_written_or_no_label_is_left_out(tmp_path: Path) -> None:
    arrive(tmp_path, "1", "a.jpg")
    arrive(tmp_path, "1", ".b.jpg")
    arrive(tmp_path, "cat", "c.jpg")
    arrive(tmp_path, ".hidden", "d.jpg")
    arrive(tmp_path, "1", "Thumbs.db")
    (tmp_path / "1" / "more").mkdir()
    (tmp_path / "readme.txt").write_text("labels of today")
    found = look(tmp_path, LABELS, most=9)
    assert [each.file.key for each in found.arrived] == ["1/a.jpg"]
    assert found.unknown == ("cat",)


def test_a_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "feedback").write_text("")
    with pytest.raises(ConfigError, match=r"--feedback .* can't be read: Not a directory"):
        look(tmp_path / "feedback", LABELS, most=9)


def test_a_picture_stays_in_its_part_when_others_come(tmp_path: Path) -> None:
    for number in range(40):
        arrive(tmp_path, LABELS[number % 3], f"{number}.jpg")
    before = read(look(tmp_path, LABELS, most=99), LABELS, SPEC)
    held_out = {file.key for file in before.heldout.files}
    assert 0 < len(held_out) < 20
    assert len(before.train) + len(before.heldout) == 40
    for number in range(40, 60):
        arrive(tmp_path, LABELS[number % 3], f"{number}.jpg")
    after = read(look(tmp_path, LABELS, most=99), LABELS, SPEC)
    assert held_out < {file.key for file in after.heldout.files}
    assert held_out.isdisjoint(file.key for file in after.train.files)


def test_pictures_that_are_broken_or_gone_by_now_are_left_out(tmp_path: Path) -> None:
    good = [arrive(tmp_path, LABELS[n % 3], f"{n}.jpg") for n in range(12)]
    arrive(tmp_path, "0", "broken.jpg", data=b"no picture")
    found = look(tmp_path, LABELS, most=99)
    good[0].unlink()
    data = read(found, LABELS, SPEC)
    assert len(data.train) + len(data.heldout) == 11
