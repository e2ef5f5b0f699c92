"""Golden vectors come back as they were, and nothing but golden vectors is taken for them."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.artifact.artifact import MAX_GOLDEN_BYTES, Golden
from pipeline.errors import ArtifactRefused
from tests.artifacts import expected_logits, golden_inputs


def _golden() -> Golden:
    inputs_nhwc = golden_inputs()
    return Golden(inputs_nhwc, expected_logits(inputs_nhwc))


def _reading(data: bytes) -> str:
    """``read``, or the reason of the refusal."""
    try:
        Golden.from_bytes(data)
    except ArtifactRefused as refused:
        return refused.reason
    return "read"


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(np.uint8, (2, 3, 4, 3)),
    hnp.arrays(np.float32, (2, 5), elements=st.floats(width=32, allow_nan=False)),
)
def test_vectors_come_back_bit_for_bit(inputs_nhwc: np.ndarray, logits_nk: np.ndarray) -> None:
    back = Golden.from_bytes(Golden(inputs_nhwc, logits_nk).to_bytes())
    assert back.inputs_nhwc.tobytes() == inputs_nhwc.tobytes()
    assert back.logits_nk.tobytes() == logits_nk.tobytes()
    assert (back.inputs_nhwc.dtype, back.logits_nk.dtype) == (np.uint8, np.float32)


def test_the_same_vectors_give_the_same_bytes() -> None:
    assert _golden().to_bytes() == _golden().to_bytes()


@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_file_is_corrupt(tenth: int) -> None:
    data = _golden().to_bytes()
    with pytest.raises(ArtifactRefused, match="publish the model again") as refused:
        Golden.from_bytes(data[: len(data) * tenth // 10])
    assert refused.value.reason == "corrupt"


@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # numpy takes some flips for an old header
@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_flipped_bit_is_refused_or_does_no_harm(data: st.DataObject) -> None:
    packed = bytearray(_golden().to_bytes())
    bit = data.draw(st.integers(0, len(packed) * 8 - 1))
    packed[bit // 8] ^= 1 << bit % 8
    assert _reading(bytes(packed)) in {"read", "corrupt"}


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(ArtifactRefused):
        Golden.from_bytes(data)


def test_an_array_that_would_run_code_is_refused() -> None:
    buffer = io.BytesIO()
    evil = np.array([pickle.loads], dtype=object)
    np.savez(buffer, inputs=evil, logits=evil)
    with pytest.raises(ArtifactRefused, match="ValueError"):
        Golden.from_bytes(buffer.getvalue())


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, inputs=np.zeros(MAX_GOLDEN_BYTES // 8 + 1, np.float64))
    with pytest.raises(ArtifactRefused, match="unpacked, expected at most"):
        Golden.from_bytes(buffer.getvalue())


def test_an_npz_without_logits_is_corrupt() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, inputs=golden_inputs())
    with pytest.raises(ArtifactRefused, match="logits"):
        Golden.from_bytes(buffer.getvalue())
