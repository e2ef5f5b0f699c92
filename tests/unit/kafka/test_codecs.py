from __future__ import annotations

import gzip
import os
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard
from kafka.errors import CorruptRecordError

from pipeline.kafka.codecs import gunzip, unlz4, unzstd

PACKERS: dict[str, tuple[Callable[[bytes], bytes], Callable[..., bytes]]] = {
    "gzip": (gzip.compress, gunzip),
    "lz4": (lz4.frame.compress, unlz4),
    "zstd": (zstandard.ZstdCompressor().compress, unzstd),
}


@pytest.mark.parametrize("codec", PACKERS)
def test_what_fits_comes_back_as_it_was(codec: str) -> None:
    pack, unpack = PACKERS[codec]
    for data in (b"", b"x", os.urandom(100_000), bytes(100_000)):
        assert unpack(pack(data), 100_000) == data


@pytest.mark.parametrize("codec", PACKERS)
def test_what_is_larger_than_the_limit_is_refused(codec: str) -> None:
    pack, unpack = PACKERS[codec]
    with pytest.raises(CorruptRecordError, match="more than 1000 bytes"):
        unpack(pack(bytes(1001)), 1000)
    assert len(unpack(pack(bytes(1000)), 1000)) == 1000


@pytest.mark.parametrize("codec", PACKERS)
def test_what_is_not_compressed_at_all_is_refused(codec: str) -> None:
    with pytest.raises(CorruptRecordError, match="isn't"):
        PACKERS[codec][1](b"no such thing" * 10)


def test_several_zstd_frames_are_one_batch() -> None:
    pack, unpack = PACKERS["zstd"]
    assert unpack(pack(b"one") + pack(b"two")) == b"onetwo"
