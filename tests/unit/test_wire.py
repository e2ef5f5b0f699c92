"""Rows on the wire, held to the schema that stands in the package."""

from __future__ import annotations

import json
from datetime import datetime
from importlib.resources import files
from typing import Any, get_args

import jsonschema
import pytest
from msgspec.structs import replace

from pipeline.types import Prediction, RejectReason, Shed, ShedReason
from pipeline.wire import encode_row, result_row
from tests.frames import MODEL, frame, rejected, scored, scored_values

SCHEMA = json.loads(files("pipeline.schema").joinpath("result.schema.json").read_text())


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(SCHEMA)


def _row(line: bytes) -> dict[str, Any]:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


def test_a_score_names_the_model_that_computed_it(schema: jsonschema.Draft202012Validator) -> None:
    row = _row(encode_row(scored(frame(7, max_age_s=1.0))))
    schema.validate(row)
    assert row["model"] == {"name": "tiny", "version": 1, "sha256": MODEL.sha256, "epoch": 1}
    assert row["predictions"][0] == {"class": "seven", "class_id": 7, "confidence": 0.9}
    assert (row["top"], row["confidence"]) == ("seven", 0.9)
    assert row["frame_id"] == "cam/0/7"
    assert row["captured_at"] == "2023-11-14T22:13:20.000000Z"
    assert row["scored_at"] == "2023-11-14T22:13:20.020000Z"
    assert row["age_ms"] == pytest.approx(20, abs=0.01)
    assert row["fresh"] is True
    assert row["timings_ms"] == {"queue": 1, "decode": 2, "batch": 3, "infer": 4}
    assert row["source"] == {"topic": "cam", "partition": 0, "offset": 7}
    assert list(row) == SCHEMA["required"]
    assert [name for name in SCHEMA["properties"] if name != "values"] == SCHEMA["required"]
    assert list(row["predictions"][0]) == ["class", "class_id", "confidence"]


def test_a_regressions_score_has_its_values_and_no_class(
    schema: jsonschema.Draft202012Validator,
) -> None:
    row = _row(encode_row(scored_values(frame(7))))
    schema.validate(row)
    assert row["values"] == {"speed": 12.5, "angle": -0.25}
    assert (row["predictions"], row["top"], row["confidence"]) == ([], None, None)
    assert list(row) == list(SCHEMA["properties"])


def test_labels_have_confidences_of_their_own(schema: jsonschema.Draft202012Validator) -> None:
    labels = tuple(Prediction(f"l{index}", index, 0.9 - index / 100) for index in range(7))
    row = _row(encode_row(replace(scored(frame()), task="multi-label", predictions=labels)))
    schema.validate(row)
    assert [each["confidence"] for each in row["predictions"]] == [0.9, 0.89, 0.88, 0.87, 0.86]
    assert (row["top"], row["confidence"]) == ("l0", 0.9)


def test_a_score_after_its_deadline_is_not_fresh() -> None:
    assert result_row(scored(frame(max_age_s=0.01))).fresh is False


def test_a_score_that_waited_for_its_sink_beyond_the_deadline_is_not_fresh() -> None:
    of_live = scored(frame(max_age_s=0.5))
    for late_s, fresh in ((0.1, True), (0.6, False)):
        written_at = of_live.frame.captured_at + late_s
        assert json.loads(encode_row(of_live, written_at))["fresh"] is fresh
    assert json.loads(encode_row(scored(frame()), 2e9))["fresh"] is True


def test_a_clock_ahead_of_ours_makes_no_negative_age() -> None:
    late = replace(scored(frame()), scored_at=frame().captured_at - 5)
    assert result_row(late).age_ms == 0


@pytest.mark.parametrize("reason", get_args(ShedReason))
def test_a_shed_frame_says_why(reason: ShedReason, schema: jsonschema.Draft202012Validator) -> None:
    row = _row(encode_row(Shed(frame(), reason, frame().captured_at + 2)))
    schema.validate(row)
    assert (row["outcome"], row["reason"], row["detail"]) == ("shed", reason, None)
    assert (row["model"], row["predictions"], row["fresh"]) == (None, [], False)
    assert row["age_ms"] == 2000


@pytest.mark.parametrize("reason", get_args(RejectReason))
def test_a_rejected_frame_says_why(
    reason: RejectReason, schema: jsonschema.Draft202012Validator
) -> None:
    row = _row(encode_row(replace(rejected(frame()), reason=reason)))
    schema.validate(row)
    assert (row["outcome"], row["reason"]) == ("rejected", reason)
    assert row["detail"] == "the jpeg can't be decoded"


@pytest.mark.parametrize("captured_at", [-1.0, 1e18, float("nan"), float("inf"), float("-inf")])
def test_an_impossible_capture_time_is_written_as_a_possible_one(
    captured_at: float, schema: jsonschema.Draft202012Validator
) -> None:
    row = _row(encode_row(replace(rejected(frame(captured_at=captured_at)), decided_at=1.7e9)))
    schema.validate(row)
    datetime.fromisoformat(row["captured_at"])


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"top": None},
        {"predictions": []},
        {"timings_ms": None},
        {"image": None},
        {"outcome": "lost"},
        {"outcome": "shed"},
        {"scored_at": "2023-11-14 22:13:20"},
        {"age_ms": -1},
        {"surprise": 1},
        {"reason": "corrupt"},
        {"values": {"speed": 1.0}},
    ],
)
def test_the_schema_refuses_what_is_no_result(
    change: dict[str, object], schema: jsonschema.Draft202012Validator
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(_row(encode_row(scored(frame()))) | change)


@pytest.mark.parametrize(
    "change",
    [
        {"values": None},
        {"values": {}},
        {"values": {"speed": "fast"}},
        {"top": "seven", "confidence": 0.9},
        {"predictions": [{"class": "seven", "class_id": 7, "confidence": 0.9}]},
        {"model": None},
        {"outcome": "shed", "reason": "deadline"},
    ],
)
def test_the_schema_refuses_what_is_no_regressions_result(
    change: dict[str, object], schema: jsonschema.Draft202012Validator
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(_row(encode_row(scored_values(frame()))) | change)
