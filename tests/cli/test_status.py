from __future__ import annotations

import pytest

from pipeline.cli.status import age, ranges
from tests.cli.headrace import headrace


@pytest.mark.parametrize(
    ("seconds", "lag", "shown"),
    [
        (None, 0, "-"),
        (None, 5, "unknown"),
        (0.04, 5, "0.0 s"),
        (119.0, 5, "119.0 s"),
        (300.0, 5, "5 min"),
        (9000.0, 5, "2.5 h"),
        (400_000.0, 5, "4.6 d"),
    ],
)
def test_an_age_is_shown_in_its_unit(seconds: float | None, lag: int, shown: str) -> None:
    assert age(seconds, lag) == shown


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [((), "-"), ((3,), "3"), ((0, 1, 2, 7, 9, 10), "0-2, 7, 9-10")],
)
def test_partitions_are_shown_as_ranges(numbers: tuple[int, ...], shown: str) -> None:
    assert ranges(numbers) == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "kafka://h:9092/frames?grup=a",
            "unknown option 'grup', expected mode, slot, max_age, group",
        ),
        ("clip.mp4", "expected kafka://HOST:PORT"),
        ("kafka://me:secret@h:9092/frames", "come from the settings"),
    ],
)
def test_a_wrong_url_ends_with_2(url: str, said: str) -> None:
    ran = headrace("status", url)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "secret" not in ran.err
