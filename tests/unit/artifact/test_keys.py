from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pipeline.artifact.keys import PASSPHRASE_VARIABLE, PublicKey, SigningKey, public_part
from pipeline.errors import ConfigError

RFC_8032_PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
RFC_8032_SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
    "d25bf5f0595bbe24655141438e7a100b"
)


def test_it_is_the_algorithm_of_rfc_8032() -> None:
    """Its first test vector: the empty message."""
    key = PublicKey(bytes.fromhex(RFC_8032_PUBLIC))
    assert key.has_signed(b"", bytes.fromhex(RFC_8032_SIGNATURE))
    assert not key.has_signed(b"!", bytes.fromhex(RFC_8032_SIGNATURE))


def test_a_key_is_read_back_by_its_files_and_its_text(tmp_path: Path) -> None:
    key = SigningKey.new()
    public = key.write(tmp_path / "publisher")
    assert public == tmp_path / "publisher.pub"
    assert stat.S_IMODE((tmp_path / "publisher").stat().st_mode) == 0o600
    again = SigningKey.read(tmp_path / "publisher")
    assert again.public == key.public
    assert key.public.has_signed(b"this", again.sign(b"this"))
    for said in (str(public), str(key.public)):
        assert PublicKey.of(said) == key.public
    assert public_part(public) == public_part(tmp_path / "publisher") == key.public


def test_no_key_is_overwritten(tmp_path: Path) -> None:
    SigningKey.new().write(tmp_path / "one")
    before = (tmp_path / "one").read_bytes(), (tmp_path / "one.pub").read_bytes()
    with pytest.raises(ConfigError, match="there already"):
        SigningKey.new().write(tmp_path / "one")
    (tmp_path / "one.pub").unlink()
    with pytest.raises(ConfigError, match="there already"):
        SigningKey.new().write(tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == before[0]
    assert not (tmp_path / "one.pub").exists()


def test_a_passphrase_encrypts_the_private_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    key = SigningKey.new()
    key.write(tmp_path / "key")
    assert b"ENCRYPTED" in (tmp_path / "key").read_bytes()
    assert SigningKey.read(tmp_path / "key").public == key.public
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong horse")
    with pytest.raises(ConfigError, match=f"passphrase in {PASSPHRASE_VARIABLE} is wrong"):
        SigningKey.read(tmp_path / "key")
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    with pytest.raises(ConfigError, match=f"needs its passphrase in {PASSPHRASE_VARIABLE}"):
        SigningKey.read(tmp_path / "key")


def test_a_passphrase_for_a_key_that_has_none_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SigningKey.new().write(tmp_path / "key")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "one too many")
    with pytest.raises(ConfigError, match=f"unset {PASSPHRASE_VARIABLE}"):
        SigningKey.read(tmp_path / "key")


def test_what_is_no_key_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    other = Ed448PrivateKey.generate()
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, content in (("p448", private), ("p448.pub", public), ("text", b"no key at all")):
        (tmp_path / name).write_bytes(content)
    SigningKey.new().write(tmp_path / "mine")
    for said, says in (
        (str(tmp_path / "absent"), "can't be read: No such file"),
        (str(tmp_path / "text"), "is no public key"),
        (str(tmp_path / "p448.pub"), "expected one for Ed25519"),
        (str(tmp_path / "mine"), "it is a private key: give its .pub file"),
        ("ed25519:AAAA", "expected ed25519: and 32 bytes in base64"),
        ("ed25519:ü", "expected ed25519: and 32 bytes in base64"),
    ):
        with pytest.raises(ConfigError, match=says):
            PublicKey.of(said)
    for name, says in (("text", "can't be read as a private key"), ("p448", "Ed25519")):
        with pytest.raises(ConfigError, match=says):
            SigningKey.read(tmp_path / name)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to ask")
def test_openssl_reads_both_files(tmp_path: Path) -> None:
    SigningKey.new().write(tmp_path / "key")
    for arguments in (("key",), ("key.pub", "-pubin")):
        said = subprocess.run(
            ["openssl", "pkey", "-noout", "-text", *arguments[1:], "-in", arguments[0]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "ED25519" in said.upper()
