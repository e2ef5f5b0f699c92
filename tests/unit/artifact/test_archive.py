from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.artifact.archive import check_archive
from pipeline.errors import ArtifactRefused
from tests.artifacts import scripted, tiny_model_bytes


def refusal(model: bytes) -> ArtifactRefused:
    with pytest.raises(ArtifactRefused) as refused:
        check_archive("model.pt of tiny@1", model)
    return refused.value


def rewritten(change: Callable[[str, bytes], tuple[str, bytes]], packed: int = 0) -> bytes:
    """The tiny network's file with other members."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(tiny_model_bytes())) as before,
        zipfile.ZipFile(buffer, "w", packed) as after,
    ):
        for name in before.namelist():
            after.writestr(*change(name, before.read(name)))
    return buffer.getvalue()


def test_networks_as_torch_writes_them_pass() -> None:
    check_archive("it", tiny_model_bytes())
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Flatten())
    for is_frozen in (True, False):
        check_archive("it", scripted(network, is_frozen=is_frozen))
    traced = io.BytesIO()
    torch.jit.save(torch.jit.trace(network.eval(), torch.zeros(1, 3, 8, 8)), traced)
    check_archive("it", traced.getvalue())
    check_archive("it", rewritten(lambda name, content: (name, content)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda name, content: ("../" + name, content), "leads elsewhere"),
        (lambda name, content: ("/" + name, content), "leads elsewhere"),
        (lambda name, content: (name.replace("archive", str(len(content))), content), "one folder"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(
    change: Callable[[str, bytes], tuple[str, bytes]], says: str
) -> None:
    refused = refusal(rewritten(change))
    assert refused.reason == "corrupt"
    assert says in str(refused)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused() -> None:
    buffer = io.BytesIO(tiny_model_bytes())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/version", b"4\n")
    refused = refusal(buffer.getvalue())
    assert "two members 'archive/version'" in str(refused)


def test_a_bomb_is_refused_by_its_table_of_contents() -> None:
    buffer = io.BytesIO(tiny_model_bytes())
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/9", bytes(64 << 20))
    refused = refusal(buffer.getvalue())
    assert refused.reason == "corrupt"
    assert "unpacks to" in str(refused)


def test_other_packing_is_refused() -> None:
    assert "never packs" in str(
        refusal(rewritten(lambda name, content: (name, content), zipfile.ZIP_LZMA))
    )


def test_a_second_table_of_contents_is_seen() -> None:
    """Python takes the one at the end, torch the one that the end's record points to."""
    model = tiny_model_bytes()
    assert "first member" in str(refusal(b"what torch would read" + model))


@given(st.binary(max_size=200))
def test_anything_may_stand_in_the_file(content: bytes) -> None:
    assert refusal(content).reason == "corrupt"


@given(st.data())
def test_a_changed_byte_is_never_an_error_of_ours(data: st.DataObject) -> None:
    model = bytearray(tiny_model_bytes())
    place = data.draw(st.integers(0, len(model) - 1))
    model[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ArtifactRefused):
        check_archive("it", bytes(model))
