"""Compressed batches of records, decompressed within a limit.

A batch of 16 MiB may hold gigabytes of zeros, and kafka-python 3.0.12 decompresses whatever comes.
"""

from __future__ import annotations

import zlib

import kafka.record.default_records as batches
import lz4.frame
import zstandard
from kafka.errors import CorruptRecordError

MOST_BATCH_BYTES = 64 << 20
"""Of a batch when decompressed: four times the largest record that is taken."""


def limit_decompression() -> None:
    """Makes all consumers of this process refuse batches that are larger than ``MOST_BATCH_BYTES``
    when decompressed, with a ``CorruptRecordError``."""
    batches.gzip_decode = gunzip
    batches.lz4_decode = unlz4
    batches.zstd_decode = unzstd


def gunzip(data: bytes | memoryview, most_bytes: int = MOST_BATCH_BYTES) -> bytes:
    """Decompresses gzip.

    Raises:
        CorruptRecordError: it isn't gzip, or larger than ``most_bytes``.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        return _checked(unpacker.decompress(data, most_bytes + 1), most_bytes)
    except zlib.error as cause:
        raise CorruptRecordError(f"a batch isn't gzip: {cause}") from cause


def unlz4(data: bytes, most_bytes: int = MOST_BATCH_BYTES) -> bytes:
    """Decompresses an LZ4 frame.

    Raises:
        CorruptRecordError: it isn't one, or larger than ``most_bytes``.
    """
    try:
        unpacked = lz4.frame.LZ4FrameDecompressor().decompress(data, most_bytes + 1)
    except (RuntimeError, EOFError) as cause:
        raise CorruptRecordError(f"a batch isn't lz4: {cause}") from cause
    return _checked(unpacked, most_bytes)


def unzstd(data: bytes, most_bytes: int = MOST_BATCH_BYTES) -> bytes:
    """Decompresses Zstandard.

    Raises:
        CorruptRecordError: it isn't that, or larger than ``most_bytes``.
    """
    try:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return _checked(reader.read(most_bytes + 1), most_bytes)
    except (zstandard.ZstdError, MemoryError) as cause:
        raise CorruptRecordError(f"a batch isn't zstd: {cause}") from cause


def _checked(unpacked: bytes, most_bytes: int) -> bytes:
    if len(unpacked) > most_bytes:
        raise CorruptRecordError(f"a batch has more than {most_bytes} bytes when decompressed")
    return unpacked
