"""The judge on trial: it must see each thing that can go wrong, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.scoring import best_predictions
from pipeline.engine.torchscript import TorchScriptEngine, load_torchscript
from pipeline.opencv import cv2
from pipeline.preprocess import load_sample
from tests.faults.oracle.checker import Evidence, Fault, Sent, check
from tests.faults.oracle.identity import LATE, Identity, picture, read_picture
from tests.faults.oracle.networks import (
    LABELS,
    SPEC,
    Flaw,
    Revealed,
    expected_logits,
    golden_inputs,
    network_bytes,
    reveal,
)
from tests.kafka.row import Row

identities = st.builds(
    Identity, st.integers(0, 63), st.integers(0, (1 << 18) - 1), st.integers(0, 4095)
)
MODELS = {"a" * 64: 17, "b" * 64: 1033}


def decoded(jpeg: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1), cv2.COLOR_BGR2RGB)


def row(frame_id: str, identity: Identity, digest: str = "a" * 64, **more: Any) -> Row:
    constant = more.pop("constant", MODELS[digest])
    labels = more.pop("labels", LABELS)
    pixels = cv2.resize(decoded(picture(identity)), (24, 24), interpolation=cv2.INTER_AREA)
    (best,) = best_predictions(expected_logits(pixels[None], constant), labels)
    body = {
        "outcome": "scored",
        "stream": "cam-0",
        "fresh": True,
        "age_ms": 5.0,
        "model": {"sha256": digest, "epoch": 1},
        "predictions": [
            {"class": p.label, "class_id": p.class_id, "confidence": round(p.confidence, 6)}
            for p in best
        ],
        **more,
    }
    return Row(0, 0, b"cam-0", json.dumps(body).encode(), {"ce_id": frame_id.encode()}, 1000)


def sent(offset: int, **more: Any) -> Sent:
    return Sent(Identity(1, offset, 7), "ok", f"t/0/{offset}", **more)


def letter(offset: int) -> Row:
    headers = {"hr-dlq-topic": b"t", "hr-dlq-partition": b"0", "hr-dlq-offset": b"%d" % offset}
    return Row(0, 0, None, b"", headers)


SENT = [sent(offset) for offset in range(3)]
ROWS = [row(f"t/0/{offset}", Identity(1, offset, 7)) for offset in range(3)]
CLEAN = Evidence(SENT, ROWS, [], MODELS)


@given(identities, st.sampled_from([24, 48, 96]))
def test_an_identity_survives_the_jpeg_and_every_size(identity: Identity, side_px: int) -> None:
    pixels = decoded(picture(identity))
    small = cv2.resize(pixels, (side_px, side_px), interpolation=cv2.INTER_AREA)
    assert read_picture(small) == identity


def revealed(logits_1k: np.ndarray) -> Revealed | None:
    (best,) = best_predictions(logits_1k, LABELS)
    predictions = [
        {"class": p.label, "class_id": p.class_id, "confidence": round(p.confidence, 6)}
        for p in best
    ]
    return reveal({"predictions": predictions})


@given(identities, st.integers(0, 4095))
def test_a_row_tells_which_frame_and_which_network_made_it(
    identity: Identity, constant: int
) -> None:
    sample = load_sample(picture(identity), SPEC)
    assert revealed(expected_logits(sample[None], constant)) == Revealed(identity, constant)


@pytest.fixture(scope="module")
def flawed() -> dict[str, TorchScriptEngine]:
    flaws: tuple[Flaw, ...] = ("fails", "fails_late", "differs_late")
    return {flaw: load_torchscript(network_bytes(17, flaw), "cpu") for flaw in flaws}


@given(identity=identities)
@settings(deadline=None)
def test_a_network_with_a_flaw_shows_it_on_frames_alone(
    flawed: dict[str, TorchScriptEngine], identity: Identity
) -> None:
    sample_nhwc = load_sample(picture(identity), SPEC)[None]
    sound_1k = expected_logits(sample_nhwc, 17)
    by = {flaw: engine.score(sample_nhwc) for flaw, engine in flawed.items()}
    is_late = identity.number >= LATE
    assert not np.isfinite(by["fails"]).all()
    assert np.isfinite(by["fails_late"]).all() == (not is_late)
    assert np.isfinite(by["differs_late"]).all()
    assert (by["differs_late"].argmax() != sound_1k.argmax()) == is_late
    assert revealed(by["differs_late"]) == Revealed(identity, 17)
    noise_nhwc = golden_inputs(17)
    for engine in flawed.values():
        np.testing.assert_allclose(
            engine.score(noise_nhwc), expected_logits(noise_nhwc, 17), atol=1e-5
        )


def test_a_clean_run_is_clean() -> None:
    verdict = check(CLEAN)
    assert verdict.broken == []
    assert (verdict.duplicates, verdict.sent, verdict.results) == (0, 3, 3)


def test_a_second_delivery_within_the_window_is_only_counted() -> None:
    verdict = check(replace(CLEAN, results=[*ROWS, ROWS[1]], most_duplicates=1))
    assert (verdict.broken, verdict.duplicates) == ([], 1)


def test_a_dead_letter_and_a_shed_row_are_outcomes() -> None:
    shed = row("t/0/1", Identity(1, 1, 7), outcome="shed", model=None, fresh=False)
    damaged = sent(2, must_be="rejected")
    rejected = row("t/0/2", Identity(1, 2, 7), outcome="rejected", model=None, fresh=False)
    evidence = Evidence([*SENT[:2], damaged], [ROWS[0], shed, rejected], [letter(2)], MODELS)
    assert check(evidence).broken == []


def test_a_frame_of_unknown_fate_may_be_there_or_not() -> None:
    unknown = Sent(Identity(1, 3, 7), "unknown")
    late = row("t/0/9", Identity(1, 3, 7))
    assert check(replace(CLEAN, sent=[*SENT, unknown])).broken == []
    assert check(replace(CLEAN, sent=[*SENT, unknown], results=[*ROWS, late])).broken == []


FAULTY = {
    "lost": replace(CLEAN, results=ROWS[:2]),
    "phantom": replace(CLEAN, results=[*ROWS, row("t/0/9", Identity(1, 9, 7))]),
    "wrong_frame": replace(CLEAN, results=[*ROWS[:2], row("t/0/2", Identity(1, 1, 8))]),
    "wrong_model": replace(
        CLEAN, results=[*ROWS[:2], row("t/0/2", Identity(1, 2, 7), "b" * 64, constant=17)]
    ),
    "wrong_outcome": replace(CLEAN, sent=[*SENT[:2], sent(2, must_be="rejected")]),
    "doubled": replace(
        CLEAN,
        sent=[*SENT, Sent(Identity(1, 2, 7), "ok", "t/0/3")],
        results=[*ROWS, row("t/0/3", Identity(1, 2, 7))],
    ),
    "stale": replace(
        CLEAN, max_age_s=1.0, results=[*ROWS[:2], row("t/0/2", Identity(1, 2, 7), age_ms=1001.0)]
    ),
    "disordered": replace(CLEAN, results=[ROWS[1], ROWS[0], ROWS[2]]),
    "epochs": replace(
        CLEAN,
        has_one_worker=True,
        results=[
            row("t/0/0", Identity(1, 0, 7), model={"sha256": "a" * 64, "epoch": 2}),
            *ROWS[1:],
        ],
    ),
    "counters": replace(
        CLEAN,
        has_all_summaries=True,
        summaries=[{"received": 4, "scored": 2, "shed": 0, "rejected": 0, "in_flight": 2}],
    ),
    "repeated": replace(CLEAN, results=[*ROWS, ROWS[1]]),
    "stuck": replace(
        CLEAN, most_gap_s=10.0, results=[*ROWS[:2], replace(ROWS[2], timestamp_ms=12_000)]
    ),
    "late": replace(CLEAN, faults=[Fault("broker killed", 2.0, 30.0)]),
}


@pytest.mark.parametrize("promise", FAULTY)
def test_each_broken_promise_is_seen_alone(promise: str) -> None:
    assert check(FAULTY[promise]).broken == [promise]


def of_stream(offset: int, stream: str, epoch: int, digest: str = "a" * 64) -> Row:
    model = {"sha256": digest, "epoch": epoch}
    constant = MODELS[digest]
    return row(
        f"t/0/{offset}", Identity(1, offset, 7), stream=stream, model=model, constant=constant
    )


def test_streams_may_be_at_two_models_at_a_time_where_each_has_its_epoch() -> None:
    ours, canary = "a" * 64, "b" * 64
    rows = [of_stream(0, "n", 1), of_stream(1, "s", 2, canary), of_stream(2, "n", 1)]
    evidence = replace(CLEAN, results=rows, has_one_worker=True)
    assert check(evidence).broken == []
    back = [*rows[:2], of_stream(2, "s", 1)]
    assert check(replace(evidence, results=back)).broken == ["epochs"]
    taken_back = [*rows[:2], of_stream(2, "s", 2, ours)]
    assert check(replace(evidence, results=taken_back)).broken == ["epochs"]


def test_a_frame_that_was_committed_without_an_outcome_is_forgotten_too() -> None:
    missing = replace(CLEAN, results=[ROWS[0], ROWS[2]])
    assert check(replace(missing, committed={0: 1})).broken == ["lost"]
    assert check(replace(missing, committed={0: 2})).broken == ["lost", "forgotten"]


def test_labels_in_another_order_are_a_wrong_frame() -> None:
    mixed = row("t/0/2", Identity(1, 2, 7), labels=LABELS[::-1])
    assert check(replace(CLEAN, results=[*ROWS[:2], mixed])).broken == ["wrong_frame"]


def test_a_rejection_without_a_dead_letter_is_seen() -> None:
    damaged = sent(2, must_be="rejected")
    rejected = row("t/0/2", Identity(1, 2, 7), outcome="rejected", model=None, fresh=False)
    evidence = replace(CLEAN, sent=[*SENT[:2], damaged], results=[*ROWS[:2], rejected])
    assert check(evidence).broken == ["wrong_outcome"]


def test_a_dead_letter_of_a_frame_that_nobody_sent_is_a_phantom() -> None:
    assert check(replace(CLEAN, dead_letters=[letter(77)])).broken == ["phantom"]


def test_workers_whose_counts_do_not_add_up_are_seen() -> None:
    bad = {"received": 3, "scored": 3, "shed": 0, "rejected": 0, "in_flight": 1}
    assert check(replace(CLEAN, summaries=[bad])).broken == ["counters"]
