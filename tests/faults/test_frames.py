"""Rows 9, 10 and 11 of the matrix: frames that are damaged, bombs and messages that are no frames.

Each has exactly one outcome, the worker never dies, and its offset is passed.
"""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
from kafka import KafkaProducer
from PIL import Image

from pipeline.opencv import cv2
from tests.faults.arena import Arena
from tests.faults.feeder import Message
from tests.faults.oracle.identity import Identity, picture, picture_pixels
from tests.kafka.topics import RawName, digest_header
from tests.pictures import encode, with_exif_orientation, with_size
from tests.support import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEEDS = 1000
KEY = b"damaged"
SLACK_BYTES = 160 << 20
"""What a process may grow by: a batch of records as it came, and decompressed to the most."""


def damaged(seed: int) -> Message:
    """Bits flipped, an end missing, or a wrong beginning: with a promised digest never scored."""
    rng = random.Random(seed)
    good = picture(Identity(63, seed, 4095))
    bad = bytearray(good)
    if seed % 4 == 3:
        bad = bad[: len(bad) * (seed // 4 % 99 + 1) // 100]
    elif seed % 40 == 2:
        bad[:4] = rng.randbytes(4)
    else:
        for _ in range(1 + seed % 7):
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
    is_promised = seed % 2 == 0 and bytes(bad) != good
    return Message(
        bytes(bad),
        KEY,
        (digest_header(good),) if is_promised else (),
        must_be="rejected" if is_promised else "any",
    )


def odd_pictures() -> Iterator[Message]:
    """Pictures as they aren't usual, each with what has to become of it."""
    printed = Identity(62, 4, 4095)
    rgb = Image.fromarray(cv2.cvtColor(picture_pixels(printed), cv2.COLOR_BGR2RGB))
    cmyk = io.BytesIO()
    rgb.convert("CMYK").save(cmyk, "JPEG", quality=95)
    yield Message(cmyk.getvalue(), KEY, identity=printed)
    identity = Identity(62, 1, 4095)
    pixels = picture_pixels(identity)
    yield Message(encode(pixels.astype(np.uint16) * 257, ".png"), KEY, identity=identity)
    grey = Identity(62, 2, 4095)
    grey_pixels = cv2.cvtColor(picture_pixels(grey), cv2.COLOR_BGR2GRAY)
    yield Message(encode(grey_pixels, ".png"), KEY, identity=grey)
    turned = Identity(62, 3, 4095)
    upside_down = encode(cv2.rotate(picture_pixels(turned), cv2.ROTATE_180), ".jpg")
    yield Message(with_exif_orientation(upside_down, 3), KEY, identity=turned)
    yield Message(with_size(picture(identity), 0, 0), KEY, must_be="rejected")
    yield Message(b"GIF89a" + bytes(100), KEY, must_be="rejected")


def test_9_damaged_pictures(arena: Arena) -> None:
    arena.start().until_ready()
    arena.feeder.send(damaged(seed) for seed in range(SEEDS))
    arena.feeder.send(odd_pictures())
    arena.feeder.feed(200)
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("9-damaged", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []
    assert verdict.sent == SEEDS + 6 + 200
    assert arena.topics.committed() == verdict.sent


def test_10_bombs(arena: Arena) -> None:
    """Pictures that claim to be huge are refused by their headers, batches by their size."""
    worker = arena.start()
    worker.until_ready()
    arena.feeder.feed(500)
    arena.until_scored(500)
    process = psutil.Process(worker.pid)
    used = process.memory_info().rss
    small = picture(Identity(61, 0, 4095))
    arena.feeder.send(
        Message(with_size(small, side, side), KEY, must_be="rejected")
        for side in (8192, 30_000, 65_500)
        for _ in range(20)
    )
    bombs = 3
    producer = KafkaProducer(
        bootstrap_servers=arena.topics.servers,
        compression_type="gzip",
        max_request_size=1 << 30,
    )
    for _ in range(bombs):
        arena.feeder.note(
            Message(None, KEY, must_be="rejected"),
            producer.send(arena.topics.name, bytes(100 << 20), key=KEY),
        )
    producer.close(timeout=30)
    arena.feeder.feed(500)
    arena.until_all_done()
    assert process.memory_info().rss < used + SLACK_BYTES
    assert peak_bytes(worker.pid) < used + SLACK_BYTES
    arena.stop_all()
    verdict = arena.verdict("10-bombs", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []
    assert arena.topics.committed() == verdict.sent


def odd_messages(turn: int) -> Iterator[Message]:
    """What isn't a frame of ours, or a frame with odd company."""
    good = picture(Identity(60, 1, turn))
    yield Message(b"", KEY, must_be="rejected")
    yield Message(None, KEY, must_be="rejected")
    yield Message(b'{"this": "is JSON"}', KEY, must_be="rejected")
    yield Message(gzip.compress(good), KEY, must_be="rejected")
    yield Message(picture(Identity(60, 10, turn)), None, identity=Identity(60, 10, turn))
    yield Message(picture(Identity(60, 11, turn)), b"\xff\xfe", identity=Identity(60, 11, turn))
    yield Message(picture(Identity(60, 12, turn)), b"k" * 10_000, identity=Identity(60, 12, turn))
    odd_headers: list[tuple[tuple[str, bytes], ...]] = [
        (("ce_time", b"yesterday"), ("traceparent", b"none")),
        (("ce_specversion", b"9.0"), ("ce_type", b"io.headrace.frame.v9")),
        (("ce_time", b"9999-12-31T23:59:59.999999+00:00"),),
        (("content-type", b"application/json"),),
        (("", b""), ("x" * 10_000, b"y" * 10_000)),
        tuple((f"h{number}", b"v") for number in range(1000)),
    ]
    for number, headers in enumerate(odd_headers):
        each = Identity(60, 20 + number, turn)
        yield Message(picture(each), KEY, headers, each)
    yield Message(good, KEY, (("hr-sha256", b"not hex"),), must_be="rejected")
    yield Message(good, KEY, ((RawName("\xff\xfe"), b"v"),), must_be="rejected")
    yield Message(b"\xff\xd8" + bytes(3 << 20), KEY, must_be="rejected")


def test_11_odd_messages(arena: Arena) -> None:
    arena.start(env={"HEADRACE_DECODE__MAX_IMAGE_BYTES": "2000000"}).until_ready()
    for turn in range(3):
        arena.feeder.feed(100)
        arena.feeder.send(odd_messages(turn))
    arena.feeder.feed(100)
    arena.until_all_done()
    wait_until(lambda: arena.topics.committed() == len(arena.feeder.log), 10)
    arena.stop_all()
    verdict = arena.verdict("11-odd", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had."""
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
