from __future__ import annotations

from collections import Counter

import pytest

from pipeline.bench.loads import (
    BESIDE_HOT,
    CAMERAS,
    HALF,
    MANY,
    MAX_AGE_S,
    OVERLOAD,
    QUIET,
    levels_of,
)


def test_levels_are_parts_of_what_the_worker_can_do() -> None:
    levels = {each.name: each for each in levels_of(1000.0)}
    shares = [levels[f"load_{percent}"].fps for percent in (30, 50, 70, 90)]
    assert shares == pytest.approx([300, 500, 700, 900])
    assert all(levels[f"load_{percent}"].max_age_s is None for percent in (30, 50, 70, 90))
    assert levels[HALF].fps == levels[MANY].fps
    assert [len(set(levels[each].streams)) for each in (HALF, MANY)] == [1, 64]


def test_cameras_and_what_is_too_much_are_live_streams_of_25_frames_a_second() -> None:
    for full_fps in (3.0, 40.0, 1000.0):
        levels = {each.name: each for each in levels_of(full_fps)}
        assert levels[CAMERAS].fps == 8 * 25
        assert levels[OVERLOAD].fps == pytest.approx(3 * full_fps)
        assert len(set(levels[OVERLOAD].streams)) == max(1, round(3 * full_fps / 25))
        for live in (levels[CAMERAS], levels[OVERLOAD]):
            assert live.max_age_s == MAX_AGE_S


def test_quiet_streams_give_as_many_frames_beside_a_hot_one_as_without_it() -> None:
    levels = {each.name: each for each in levels_of(1160.0)}
    quiet, beside = levels[QUIET], levels[BESIDE_HOT]
    turns = Counter(beside.streams)
    assert {turns[stream] for stream in quiet.streams} == {1}
    (hot,) = set(turns) - set(quiet.streams)
    assert turns[hot] == 50
    assert beside.watched == set(quiet.streams)
    assert not quiet.watched
    for each in (quiet, beside):
        assert each.fps is not None
        assert each.fps / len(each.streams) == pytest.approx(24.0)
        assert each.max_age_s == MAX_AGE_S
