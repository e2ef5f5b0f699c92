"""``manifest.sig``: a trusted key's word for a manifest, and so for all that its digests name.

What is signed are the manifest's bytes as they lie. They are judged before anything reads them: a
parser is the first thing that an attacker would turn to (docs/decisions/0017-signed-bytes.md).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.artifact.keys import PublicKey, SigningKey
from pipeline.errors import ArtifactRefused, ConfigError

SIGNATURE_FILE = "manifest.sig"
MOST_SIGNATURE_BYTES = 4096
_CONTEXT = b"headrace.artifact/1 manifest\n"
"""Before the bytes that are signed: what this key signs elsewhere is no signature here."""


class _Signature(BaseModel):
    """The file. ``key`` says whose signature it is, so that a refusal can name it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: str = Field(alias="schema", pattern=r"^headrace\.signature/1$")
    key: str = Field(max_length=200)
    signature: str = Field(max_length=200, description="base64 of 64 bytes")


def sign(manifest: bytes, key: SigningKey) -> bytes:
    """The content of ``manifest.sig``."""
    signature = base64.b64encode(key.sign(_CONTEXT + manifest)).decode()
    made = _Signature(schema="headrace.signature/1", key=str(key.public), signature=signature)
    return made.model_dump_json(by_alias=True, indent=2).encode() + b"\n"


class TrustedKeys:
    """Those whose word is taken; without any, nothing needs to be signed. Immutable."""

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._keys = frozenset(keys)

    @classmethod
    def of(cls, said: Iterable[str]) -> TrustedKeys:
        """From settings: each the path of a PEM file, or a key's text.

        Raises:
            ConfigError: one of them is neither.
        """
        return cls(PublicKey.of(each) for each in said)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def check(self, what: str, manifest: bytes, signature: bytes | None) -> None:
        """Checks ``manifest``, the bytes as they were read, of ``what`` (``NAME@VERSION``).

        Raises:
            ArtifactRefused: ``untrusted``: there is no signature, none of a trusted key, or it is
                of other bytes.
        """
        if signature is None:
            raise _untrusted(
                what,
                f"isn't signed, and only what model.trusted_keys signed may score: `headrace "
                f"models sign {what} --key FILE`",
            )
        try:
            said = _Signature.model_validate_json(signature)
            key = PublicKey.from_text(said.key)
            raw = base64.b64decode(said.signature, validate=True)
        except (ValidationError, ConfigError, ValueError) as cause:
            raise _untrusted(what, f"has a {SIGNATURE_FILE} that isn't one: {_short(cause)}") from (
                cause
            )
        if key not in self._keys:
            raise _untrusted(
                what,
                f"is signed by {key}, which isn't one of the {len(self._keys)} in "
                "model.trusted_keys: sign it with a trusted key, or trust this one",
            )
        if not key.has_signed(_CONTEXT + manifest, raw):
            raise _untrusted(
                what,
                f"isn't what {key} signed: its manifest was changed afterwards; publish it again",
            )


NO_KEYS = TrustedKeys()


def _untrusted(what: str, problem: str) -> ArtifactRefused:
    return ArtifactRefused("untrusted", f"{what} {problem}")


def _short(cause: Exception) -> str:
    return str(cause).replace("\n", " ")[:200]
