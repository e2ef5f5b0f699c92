from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifact.artifact import Draft
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.registry import Registry
from pipeline.artifact.signature import MOST_SIGNATURE_BYTES, SIGNATURE_FILE, TrustedKeys, sign
from pipeline.errors import ArtifactRefused
from tests.artifacts import publish_tiny, tiny_draft

KEY, OTHER = SigningKey.new(), SigningKey.new()
TRUSTED = TrustedKeys([KEY.public])
MANIFEST = b'{"schema": "headrace.artifact/1", "name": "tiny"}\n'
SIGNED = sign(MANIFEST, KEY)


def refusal(manifest: bytes, signature: bytes | None, trusted: TrustedKeys = TRUSTED) -> str:
    with pytest.raises(ArtifactRefused) as refused:
        trusted.check("tiny@1", manifest, signature)
    assert refused.value.reason == "untrusted"
    return str(refused.value)


def test_a_trusted_keys_signature_is_taken() -> None:
    TRUSTED.check("tiny@1", MANIFEST, SIGNED)
    TrustedKeys([OTHER.public, KEY.public]).check("tiny@1", MANIFEST, SIGNED)


def test_what_is_refused_says_why_and_what_to_do() -> None:
    assert "headrace models sign tiny@1" in refusal(MANIFEST, None)
    assert str(OTHER.public) in refusal(MANIFEST, sign(MANIFEST, OTHER))
    assert "was changed afterwards" in refusal(MANIFEST + b" ", SIGNED)


@given(st.integers(0, len(MANIFEST) - 1), st.integers(1, 255))
def test_any_other_byte_of_a_manifest_is_seen(place: int, change: int) -> None:
    changed = bytearray(MANIFEST)
    changed[place] ^= change
    refusal(bytes(changed), SIGNED)


@given(st.integers(0, len(SIGNED) - 2), st.integers(1, 255))
def test_no_change_of_a_signature_makes_it_another_manifests(place: int, change: int) -> None:
    changed = bytearray(SIGNED)
    changed[place] ^= change
    refusal(MANIFEST + b" ", bytes(changed))


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_anything_may_stand_in_the_file(content: bytes) -> None:
    refusal(MANIFEST, content)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "headrace.signature/2"},
        {"key": "rsa:AAAA"},
        {"signature": ""},
        {"signature": "AAAA"},
        {"more": 1},
    ],
)
def test_a_file_with_other_fields_is_none(change: dict[str, object]) -> None:
    refusal(MANIFEST, json.dumps(json.loads(SIGNED) | change).encode())


def test_a_key_that_signed_the_same_bytes_elsewhere_has_not_signed_a_manifest() -> None:
    said = json.loads(SIGNED) | {"signature": _base64(KEY.sign(MANIFEST))}
    assert "was changed afterwards" in refusal(MANIFEST, json.dumps(said).encode())


def _base64(raw: bytes) -> str:
    import base64

    return base64.b64encode(raw).decode()


def test_a_registry_gives_only_what_is_signed(tmp_path: Path) -> None:
    everybody, careful = Registry(str(tmp_path)), Registry(str(tmp_path), TRUSTED)
    signed = everybody.publish(tiny_draft(), key=KEY)
    publish_tiny(everybody, bias=0.5)
    assert careful.read("tiny", 1).manifest == signed
    for read in (careful.read, careful.manifest):
        with pytest.raises(ArtifactRefused, match="isn't signed") as refused:
            read("tiny", 2)
        assert refused.value.reason == "untrusted"
    assert everybody.is_signed("tiny", 1)
    assert not everybody.is_signed("tiny", 2)
    everybody.sign(everybody.read("tiny", 2), OTHER)
    with pytest.raises(ArtifactRefused, match=r"isn't one of the 1 in model\.trusted_keys"):
        careful.read("tiny", 2)
    everybody.sign(everybody.read("tiny", 2), KEY)
    assert careful.read("tiny", 2).manifest.version == 2


def test_a_signature_of_another_version_is_none(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path), TRUSTED)
    registry.publish(tiny_draft(), key=KEY)
    registry.publish(tiny_draft(bias=0.5), key=KEY)
    (tmp_path / "tiny" / "2" / SIGNATURE_FILE).write_bytes(
        (tmp_path / "tiny" / "1" / SIGNATURE_FILE).read_bytes()
    )
    with pytest.raises(ArtifactRefused, match="was changed afterwards"):
        registry.read("tiny", 2)


def test_an_older_version_copied_over_a_newer_one_is_refused(tmp_path: Path) -> None:
    """Signature and all: the manifest says which version it is."""
    registry = Registry(str(tmp_path), TRUSTED)
    registry.publish(tiny_draft(), key=KEY)
    registry.publish(tiny_draft(bias=0.5), key=KEY)
    for each in (tmp_path / "tiny" / "1").iterdir():
        (tmp_path / "tiny" / "2" / each.name).write_bytes(each.read_bytes())
    with pytest.raises(ArtifactRefused, match="says that it is tiny@1"):
        registry.read("tiny", 2)


def test_the_network_is_bound_to_what_is_signed(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path), TRUSTED)
    registry.publish(tiny_draft(), key=KEY)
    other = Registry(str(tmp_path / "elsewhere"))
    publish_tiny(other, bias=1.0)
    (tmp_path / "tiny" / "1" / "model.pt").write_bytes(
        (tmp_path / "elsewhere" / "tiny" / "1" / "model.pt").read_bytes()
    )
    with pytest.raises(ArtifactRefused) as refused:
        registry.read("tiny", 1)
    assert refused.value.reason == "corrupt"


def test_a_signature_without_an_end_is_read_no_further_than_one_may_be(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path), TRUSTED)
    registry.publish(tiny_draft(), key=KEY)
    with (tmp_path / "tiny" / "1" / SIGNATURE_FILE).open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactRefused, match="isn't one"):
        registry.read("tiny", 1)
    assert len(SIGNED) < MOST_SIGNATURE_BYTES


def test_a_version_published_again_has_the_bytes_and_another_number(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path), TRUSTED)
    first = registry.publish(tiny_draft(), key=KEY)
    registry.publish(tiny_draft(bias=0.5), key=KEY)
    again = registry.publish(Draft.again(registry.read("tiny", 1)), key=KEY)
    assert again.version == 3 == registry.resolve("tiny")
    assert again.content == first.content
    assert again.notes == {"copy_of_version": "1"}
    assert registry.read("tiny", 3).model == registry.read("tiny", 1).model
