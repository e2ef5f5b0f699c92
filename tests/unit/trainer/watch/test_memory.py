from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from trainer.watch.memory import Memory, recall, remember


def test_what_is_remembered_comes_back(tmp_path: Path) -> None:
    assert recall(tmp_path) == Memory()
    memory = Memory("adapted/3", 4, 1_700_000_000.25, {"kafka://a/labels": {0: 17, 12: 3}})
    remember(tmp_path, Memory("adapted/1"))
    remember(tmp_path, memory)
    assert recall(tmp_path) == memory
    assert [path.name for path in tmp_path.iterdir()] == ["watch.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": "headrace.run/2", "places": {}}',
        '{"format": "headrace.watch/1", "places": {"t": {"a": 1}}}',
        '{"format": "headrace.watch/1", "places": {}, "weather": 3}',
    ],
)
def test_a_damaged_memory_says_how_to_go_on(tmp_path: Path, content: str) -> None:
    (tmp_path / "watch.json").write_text(content)
    with pytest.raises(ConfigError, match="remove it, and all labels count as new"):
        recall(tmp_path)
