"""Whatever a stream, label or detail holds: one line, the same after reading it back."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins
from msgspec.structs import replace

from pipeline.types import Frame, Outcome, Position, Prediction, Shed
from pipeline.wire import encode_row, result_row
from tests.frames import rejected, scored, scored_values

SCHEMA = jsonschema.Draft202012Validator(
    json.loads(files("pipeline.schema").joinpath("result.schema.json").read_text())
)

# The second alphabet is what Python makes of a file's name that isn't UTF-8.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
    max_size=40,
)
FRAMES = st.builds(
    Frame,
    position=st.builds(
        Position, topic=TEXTS, partition=st.integers(0, 1 << 31), offset=st.integers(0, 1 << 63)
    ),
    stream=TEXTS,
    payload=st.just(b""),
    captured_at=st.floats(),
    received_mono_s=st.just(0.0),
    max_age_s=st.none() | st.floats(0.001, 10),
    trace_id=st.none() | TEXTS,
)
PREDICTIONS = st.lists(
    st.builds(Prediction, label=TEXTS, class_id=st.integers(0, 10_000), confidence=st.floats(0, 1)),
    min_size=1,
    max_size=8,
).map(tuple)
VALUES = st.dictionaries(
    TEXTS, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8
)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    frame = draw(FRAMES)
    kind = draw(st.sampled_from(["scored", "values", "shed", "rejected"]))
    if kind == "scored":
        return replace(scored(frame), predictions=draw(PREDICTIONS), scored_at=draw(st.floats()))
    if kind == "values":
        return replace(scored_values(frame), values=draw(VALUES), scored_at=draw(st.floats()))
    if kind == "shed":
        return Shed(frame, "superseded", draw(st.floats()))
    return replace(rejected(frame), detail=draw(TEXTS), decided_at=draw(st.floats()))


@given(outcomes())
def test_every_outcome_is_one_line_that_reads_back_the_same(outcome: Outcome) -> None:
    line = encode_row(outcome)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert b"\r" not in line
    row = json.loads(line.decode("utf-8"))
    assert row == json.loads(json.dumps(to_builtins(result_row(outcome))))
    SCHEMA.validate(row)
    assert [name for name in row if name != "values"] == SCHEMA.schema["required"]
