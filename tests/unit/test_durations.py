from __future__ import annotations

import pytest

from pipeline.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2.0), ("1.5s", 1.5), (".5s", 0.5), ("1m", 60.0), ("2 h", 7200.0)],
)
def test_a_number_with_a_unit_is_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 days", "-1s", "0s", "1s2", "nan s", "٣s", "1e9s"]
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="isn't a duration"):
        parse_duration(text)
