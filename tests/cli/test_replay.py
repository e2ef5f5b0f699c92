from __future__ import annotations

import pytest

from pipeline.cli.replay import describe
from pipeline.replay import Replayed
from tests.cli.headrace import headrace

URL = "kafka://h:9092/frames.dlq"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("clip.mp4",), "expected kafka://HOST:PORT"),
        ((f"{URL}?group=a",), "a topic takes no options"),
        ((URL, "jsonl:x"), "expected kafka://HOST:PORT"),
        ((URL, "--from", "yesterday"), "expected an offset, a moment such as"),
        ((URL, "--to", "2026-01-31"), "has no zone"),
        ((URL, "--reason", "ugly"), "expected empty, unsupported_type"),
        ((URL, "--partition", "-1"), "--partition"),
    ],
)
def test_wrong_use_ends_with_2_before_anybody_is_asked(
    arguments: tuple[str, ...], said: str
) -> None:
    ran = headrace("replay", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in " ".join(ran.err.split())


def test_a_replay_is_described_in_a_sentence() -> None:
    assert describe(Replayed()) == "nothing to replay"
    assert describe(Replayed(total=9)) == "0 frames replayed, 0.0 MiB"
    done = Replayed(
        total=12,
        replayed=3,
        size_bytes=3 << 20,
        by_topic={"frames": 3},
        by_reason={"empty": 1, "corrupt": 2},
        skipped={"replayed_before": 4, "other_reason": 5},
    )
    assert describe(done) == (
        "3 frames replayed, 3.0 MiB: 3 to frames (2 corrupt, 1 empty);"
        " left alone: 5 other reason, 4 replayed before"
    )
    assert describe(Replayed(total=2, replayed=2, is_dry_run=True)) == "2 frames would be replayed"
