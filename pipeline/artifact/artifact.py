"""What is published and what is read back: a network's bytes, its golden vectors, its manifest."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipeline.artifact.manifest import Contract, Manifest
from pipeline.artifact.names import COPY_NOTE
from pipeline.artifact.reference import Reference
from pipeline.errors import ArtifactRefused
from pipeline.types import BatchNhwc, Format, LogitsNk

MAX_GOLDEN_BYTES = 512 * 1024 * 1024
"""Golden vectors are a few samples; what unpacks to more than this is an attack or a mistake."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs, and the logits that the exporter's own network gave for them.

    ``inputs_nhwc`` is ``[N, H, W, 3]`` uint8 RGB, prepared after the contract; ``logits_nk`` is
    ``[N, K]`` float32.
    """

    inputs_nhwc: BatchNhwc
    logits_nk: LogitsNk

    def to_bytes(self) -> bytes:
        """``golden.npz``. The same vectors give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, inputs=self.inputs_nhwc, logits=self.logits_nk)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Golden:
        """Reads ``golden.npz``; nothing in it is executed.

        Raises:
            ArtifactRefused: ``corrupt``: it isn't an npz of ``inputs`` and ``logits``.
        """
        try:
            _check_unpacked_size(data)
            with np.load(io.BytesIO(data), allow_pickle=False) as npz:
                return cls(inputs_nhwc=npz["inputs"], logits_nk=npz["logits"])
        except (ValueError, KeyError, OSError, EOFError, MemoryError) as cause:
            raise _not_golden(cause) from cause
        # What zipfile says of a broken member, a method it doesn't know, an encrypted one.
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as cause:
            raise _not_golden(cause) from cause
        # What numpy says of a broken header, which it reads as Python's literals.
        except (SyntaxError, TypeError, tokenize.TokenError) as cause:
            raise _not_golden(cause) from cause


def _check_unpacked_size(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        unpacked = sum(member.file_size for member in packed.infolist())
    if unpacked > MAX_GOLDEN_BYTES:
        raise ValueError(f"{unpacked} bytes unpacked, expected at most {MAX_GOLDEN_BYTES}")


def _not_golden(cause: Exception) -> ArtifactRefused:
    return ArtifactRefused(
        "corrupt",
        f"golden.npz can't be read ({type(cause).__name__}: {cause}), expected an npz with "
        f"'inputs' and 'logits': publish the model again",
    )


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact: every byte of ``model`` (a TorchScript file) was hashed, and of
    ``formats``, which hold the same network.

    ``written`` and ``packed`` are the files of manifest and golden vectors as they were read.
    """

    manifest: Manifest
    model: bytes
    golden: Golden
    formats: Mapping[Format, bytes] = field(default_factory=dict)
    written: bytes = b""
    packed: bytes = b""


@dataclass(frozen=True, slots=True)
class Draft:
    """What an exporter gives to be published; the registry adds version, digests and time.

    ``model`` is a frozen TorchScript file, ``formats`` the same network in others;
    ``golden_tolerance`` the greatest absolute difference of a logit that is still the same network.
    """

    name: str
    model: bytes
    golden: Golden
    contract: Contract
    exported_by: Literal["script", "trace"]
    torch_version: str
    golden_tolerance: float = 1e-3
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    reference: Reference | None = None
    formats: Mapping[Format, bytes] = field(default_factory=dict)

    @classmethod
    def again(cls, artifact: Artifact) -> Draft:
        """An older version's bytes, to be published anew: the way back for workers with trusted
        keys, to whom versions only rise. A note says whose they are."""
        manifest = artifact.manifest
        return cls(
            name=manifest.name,
            model=artifact.model,
            golden=artifact.golden,
            contract=manifest.contract,
            exported_by=manifest.exported_by,
            torch_version=manifest.torch_version,
            golden_tolerance=manifest.golden_tolerance,
            metrics=manifest.metrics,
            notes={**manifest.notes, COPY_NOTE: str(manifest.version)},
            reference=manifest.reference,
            formats=artifact.formats,
        )
