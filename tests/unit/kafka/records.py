"""Records as a consumer gives them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Arrived:
    topic: str = "frames"
    partition: int = 1
    offset: int = 7
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"cam"
    value: bytes | None = b"jpeg"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
