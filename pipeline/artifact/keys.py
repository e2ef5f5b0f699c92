"""Ed25519 keys: who may say what scores. Private ones sign, public ones are trusted."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pipeline.errors import ConfigError

PASSPHRASE_VARIABLE = "HEADRACE_SIGNING_PASSPHRASE"
_PREFIX = "ed25519:"
_KEY_BYTES = 32
_MOST_FILE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key to trust. Its text is ``ed25519:`` and its 32 bytes in base64."""

    raw: bytes

    @classmethod
    def of(cls, said: str) -> PublicKey:
        """From a setting: the key's text, or the path of a PEM file.

        Raises:
            ConfigError: it is neither.
        """
        if said.startswith(_PREFIX):
            return cls.from_text(said)
        content = _read(Path(said))
        try:
            key = load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm) as cause:
            is_private = b"PRIVATE KEY" in content
            hint = "it is a private key: give its .pub file" if is_private else str(cause)
            raise ConfigError(f"{said} is no public key ({hint}), expected PEM") from cause
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"{said} is a {type(key).__name__}, expected one for Ed25519")
        return cls._of_library(key)

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """From ``ed25519:BASE64``.

        Raises:
            ConfigError: it is written otherwise.
        """
        try:
            raw = base64.b64decode(text.removeprefix(_PREFIX).encode(), validate=True)
        except (ValueError, binascii.Error):
            raw = b""
        if not text.startswith(_PREFIX) or len(raw) != _KEY_BYTES:
            raise ConfigError(
                f"{text[:80]!r} is no public key, expected {_PREFIX} and 32 bytes in base64, as "
                "`headrace keys show FILE` prints it"
            )
        return cls(raw)

    @classmethod
    def _of_library(cls, key: Ed25519PublicKey) -> PublicKey:
        return cls(key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.raw).decode()

    def to_pem(self) -> bytes:
        """As openssl and others read it."""
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes, RFC 8032) is this key's under ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key. It never shows itself. Thread-safe."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey._of_library(key.public_key())

    @classmethod
    def new(cls) -> SigningKey:
        """One that nobody has."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """From a PEM file; an encrypted one's passphrase comes from the environment.

        Raises:
            ConfigError: the file can't be read, is none, or the passphrase is missing or wrong.
        """
        content = _read(path)
        try:
            key = load_pem_private_key(content, _passphrase())
        except TypeError as cause:  # what the library says of one too few and one too many
            is_encrypted = b"ENCRYPTED" in content
            wanted = "its passphrase in" if is_encrypted else "no passphrase: unset"
            raise ConfigError(f"{path} needs {wanted} {PASSPHRASE_VARIABLE}") from cause
        except (ValueError, UnsupportedAlgorithm) as cause:
            raise ConfigError(
                f"{path} can't be read as a private key: it is no PEM of one, or the passphrase in "
                f"{PASSPHRASE_VARIABLE} is wrong. `headrace keys new FILE` makes one."
            ) from cause
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path} is a {type(key).__name__}, expected one for Ed25519")
        return cls(key)

    def write(self, path: Path) -> Path:
        """Writes the private key, which only its owner may read, and ``path``.pub beside it, whose
        path this gives. Nothing is overwritten; encrypted where the environment has a passphrase.

        Raises:
            ConfigError: one of them is there already, or can't be written.
        """
        passphrase = _passphrase()
        try:
            how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
            private = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
            public = path.with_name(f"{path.name}.pub")
        except ValueError as cause:  # a passphrase that is too long, a path without a name
            raise ConfigError(f"a key can't be written to {str(path)!r}: {cause}") from cause
        _write_new(public, self.public.to_pem(), 0o644)
        try:
            _write_new(path, private, 0o600)
        except ConfigError:
            public.unlink()
            raise
        return public

    def sign(self, message: bytes) -> bytes:
        """64 bytes, after RFC 8032."""
        return self._key.sign(message)


def public_part(path: Path) -> PublicKey:
    """Of a private key's file, or of a public one's.

    Raises:
        ConfigError: it is neither.
    """
    if b"PRIVATE KEY" in _read(path):
        return SigningKey.read(path).public
    return PublicKey.of(str(path))


def _passphrase() -> bytes | None:
    return os.environ.get(PASSPHRASE_VARIABLE, "").encode() or None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_FILE_BYTES)
    except OSError as cause:
        raise ConfigError(f"the key {path} can't be read: {cause.strerror}") from cause
    except ValueError as cause:
        raise ConfigError(f"{str(path)!r} is no path of a key: {cause}") from cause


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as cause:
        raise ConfigError(f"{path} is there already: give another name, keys are kept") from cause
    except (OSError, ValueError) as cause:
        raise ConfigError(f"{str(path)!r} can't be written: {cause}") from cause
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as cause:
        path.unlink()
        raise ConfigError(f"{path} can't be written: {cause.strerror}") from cause
