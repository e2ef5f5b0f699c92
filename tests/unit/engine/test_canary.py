from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.artifact.manifest import Contract
from pipeline.clock import ManualClock
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.canary import Canary, StreamShare, Turn, serve
from pipeline.engine.rollout import CanaryLimits, Rollout, Trials
from pipeline.engine.trial import TrialLimits
from pipeline.errors import ArtifactRefused, DeviceFull
from pipeline.metrics import Metrics
from pipeline.sample import Sample
from pipeline.types import BatchNhwc, LogitsNk, ModelIdentity
from tests.artifacts import LABELS, SPEC, expected_logits
from tests.unit.engine.test_stage import Elsewhere, begin
from tests.unit.engine.test_torchscript import SmallEngine
from tests.watched import frame

SIZES = (1, 2, 4, 8)
LIMITS = TrialLimits(frames=200, max_disagreement=0.2, share=1.0, sure_frames=200)
ROWS = np.random.default_rng(0).integers(0, 256, (8, 24, 24, 3), np.uint8)


def model(version: int) -> ActiveModel:
    identity = ModelIdentity("tiny", version, f"{version:064x}", version)
    contract = Contract.of(LABELS, SPEC)
    return ActiveModel(identity, SmallEngine(8), contract, dict.fromkeys(SIZES, 0.001))


def samples(*streams: str) -> list[Sample]:
    """One of each stream, the last one in the first row."""
    return [
        Sample(frame(stream=stream), row, 64, 48, 0.0, 0.0, 0.0)
        for row, stream in zip(reversed(range(len(streams))), streams, strict=True)
    ]


class Shares:
    """A slot with a canary that has the stream ``x`` for sure, and what is scored in it."""

    def __init__(self, limits: TrialLimits = LIMITS) -> None:
        self.clock = ManualClock()
        self.slot = ActiveSlot(model(1))
        self.canary = Canary(model(2), limits, 1e-9, SIZES, self.clock)
        self.slot.begin(self.canary)
        for _ in range(100):  # until the lone stream is made the canary's
            self.canary.rows(self.turn(["x"]))
        self.takes_s = 0.001
        self.asked: list[BatchNhwc] = []

    def turn(self, streams: list[str]) -> Turn:
        these = samples(*streams)
        logits_nk = expected_logits(ROWS)[[each.row for each in these]]
        return Turn(ROWS, these, self.slot.model, logits_nk, 0.001)

    def play(
        self, streams: list[str], answer: Callable[[BatchNhwc], NDArray[np.float32]]
    ) -> tuple[list[int], LogitsNk]:
        """The versions and logits that a batch of these streams gets."""

        def score(by: ActiveModel, rows_nhwc: BatchNhwc) -> LogitsNk:
            assert by is self.canary.candidate
            self.asked.append(rows_nhwc.copy())
            self.clock.advance(self.takes_s)
            return answer(rows_nhwc)

        turn = self.turn(streams)
        by = serve(self.slot, self.canary, turn, score)
        assert all(each.sha256 == f"{each.version:064x}" for each in by)
        return [each.version for each in by], turn.logits_nk


def as_active(rows_nhwc: BatchNhwc) -> NDArray[np.float32]:
    return expected_logits(rows_nhwc, bias=0.5)


def never(rows_nhwc: BatchNhwc) -> NDArray[np.float32]:
    raise AssertionError("no row is the candidate's")


def test_a_stream_has_the_candidates_answers_and_the_others_the_active_models() -> None:
    shares = Shares()
    versions, logits_nk = shares.play(["a", "x", "b", "x"], as_active)
    assert versions == [1, 2, 1, 2]
    theirs_nk, ours_nk = expected_logits(ROWS, bias=0.5), expected_logits(ROWS)
    assert np.allclose(logits_nk, [ours_nk[3], theirs_nk[2], ours_nk[1], theirs_nk[0]])
    (rows_nhwc,) = shares.asked  # in a bucket, in the order of the samples
    assert np.array_equal(rows_nhwc, ROWS[[2, 0]])


def test_a_batch_without_its_streams_costs_the_candidate_nothing() -> None:
    assert Shares().play(["a", "b"], never)[0] == [1, 1]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda rows: np.full((len(rows), 3), np.nan, np.float32), "it gave no numbers for 1 of 1"),
        (lambda rows: np.zeros((len(rows), 7), np.float32), r"it gave \(1, 7\)"),
        (lambda rows: np.zeros(len(rows), np.float32), r"it gave \(1,\)"),
    ],
)
def test_where_it_fails_the_active_models_answers_go_out_under_a_higher_epoch(
    answer: Callable[[BatchNhwc], NDArray[np.float32]], says: str
) -> None:
    shares = Shares()
    assert shares.play(["x"], as_active)[0] == [2]
    versions, logits_nk = shares.play(["a", "x"], answer)
    assert versions == [1, 1]
    assert np.array_equal(logits_nk, expected_logits(ROWS)[[1, 0]])
    assert shares.canary.verdict == "bad"
    assert shares.canary.decided.is_set()
    assert re.match(says, str(shares.canary.judge))
    with shares.slot.for_batch() as (active, canary):
        assert canary is None
        assert (active.identity.version, active.identity.epoch) == (1, 3)
        assert active.first_epoch == 1


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (8, 3), ()])
def test_answers_for_another_number_of_rows_are_nobodys(shape: tuple[int, ...]) -> None:
    shares = Shares()
    versions, logits_nk = shares.play(["x"] * 3, lambda _: np.zeros(shape, np.float32))
    assert versions == [1, 1, 1]
    assert np.array_equal(logits_nk, expected_logits(ROWS)[[2, 1, 0]])
    assert str(shares.canary.judge) == f"it gave {shape}, expected (4, 3)"
    assert shares.canary.verdict == "bad"


def test_a_lack_of_memory_ends_it_and_says_nothing_of_what_it_is() -> None:
    def full(rows_nhwc: BatchNhwc) -> NDArray[np.float32]:
        raise DeviceFull("no memory for a single frame")

    shares = Shares()
    assert shares.play(["x"], full)[0] == [1]
    assert shares.canary.reason == "no_room"
    assert (shares.canary.verdict, str(shares.canary.judge)) == (
        "bad",
        "no memory for a single frame",
    )


def test_a_batch_beyond_the_live_deadline_ends_it() -> None:
    shares = Shares(TrialLimits(200, 0.2, 1.0, sure_frames=200, deadline_s=0.5))
    shares.takes_s = 0.4
    assert shares.play(["x"], as_active)[0] == [2]
    shares.takes_s = 0.6
    assert shares.play(["x"], as_active)[0] == [1]
    assert "it took 0.60 s for a batch" in str(shares.canary.judge)
    assert (shares.canary.verdict, shares.canary.reason) == ("bad", "too_slow")


def test_a_batch_beyond_the_live_deadline_without_numbers_is_more_than_slow() -> None:
    shares = Shares(TrialLimits(200, 0.2, 1.0, sure_frames=200, deadline_s=0.5))
    shares.takes_s = 0.6
    shares.play(["x"], lambda rows: np.full((len(rows), 3), np.nan, np.float32))
    assert shares.canary.reason == "canary"
    assert "it gave no numbers" in str(shares.canary.judge)


def test_one_that_is_slow_is_found_by_its_batches() -> None:
    shares = Shares()
    shares.takes_s = 0.03  # 3 times 1 ms and a grace of 20 are allowed
    while shares.canary.verdict == "goes on":
        shares.play(["x"] * 8, as_active)
    assert shares.canary.verdict == "bad"
    assert str(shares.canary.judge).startswith("it took more than 3 times as long")
    assert shares.canary.judge.found.frames < 200
    assert shares.canary.reason == "too_slow"


def test_time_is_held_to_what_the_active_model_takes_for_as_many_rows() -> None:
    shares = Shares()
    slower = {1: 0.001, 2: 0.002, 4: 0.004, 8: 0.008}
    active = ActiveModel(
        shares.slot.model.identity, SmallEngine(8), shares.slot.model.contract, slower
    )
    turn = Turn(ROWS, samples("x"), active, expected_logits(ROWS)[:1], 0.8)

    def score(by: ActiveModel, rows_nhwc: BatchNhwc) -> LogitsNk:
        shares.clock.advance(shares.takes_s)
        return as_active(rows_nhwc)

    shares.takes_s = 0.31  # 0.8 s for eight rows are 0.1 for one
    serve(shares.slot, shares.canary, turn, score)
    assert shares.canary.judge.found.slow_batches == 0
    shares.takes_s = 0.33
    serve(shares.slot, shares.canary, turn, score)
    assert shares.canary.judge.found.slow_batches == 0.5


def test_it_takes_over_after_so_many_frames_and_not_before() -> None:
    shares = Shares()
    for _ in range(24):
        shares.play(["x"] * 8, as_active)
    assert (shares.canary.verdict, shares.canary.judge.found.frames) == ("goes on", 192)
    assert not shares.canary.decided.is_set()
    shares.play(["x"] * 8, as_active)
    assert shares.canary.verdict == "good"
    assert shares.canary.seen == (200, 0, 0.0)
    assert shares.canary.decided.is_set()


def test_what_fails_in_the_moment_of_its_promotion_goes_out_in_nobodys_name() -> None:
    shares = Shares()

    def promoted(rows_nhwc: BatchNhwc) -> NDArray[np.float32]:
        shares.slot.exchange(shares.canary.candidate)
        return np.full((len(rows_nhwc), 3), np.nan, np.float32)

    versions, logits_nk = shares.play(["a", "x"], promoted)
    assert versions == [1, 2]
    assert np.array_equal(logits_nk[0], expected_logits(ROWS)[1])
    assert np.isnan(logits_nk[1]).all()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (as_active, "too_slow"),
        (lambda rows: np.full((len(rows), 3), np.nan, np.float32), "canary"),
    ],
)
def test_a_failure_in_the_moment_of_its_promotion_is_refused_for_what_it_is(
    answer: Callable[[BatchNhwc], NDArray[np.float32]], reason: str
) -> None:
    clock, slot, candidate = ManualClock(), ActiveSlot(model(1)), model(2)
    stage = begin(Elsewhere(device="cpu"))
    stage.max_age_s = 0.5
    trials = Trials(canary=CanaryLimits(0.999999, LIMITS))
    rollout = Rollout(trials, stage, Metrics().trials, clock, lambda _: None)

    def play(takes_s: float, gives: Callable[[BatchNhwc], NDArray[np.float32]]) -> None:
        def score(_: ActiveModel, rows_nhwc: BatchNhwc) -> LogitsNk:
            clock.advance(takes_s)
            return gives(rows_nhwc)

        these, canary = samples(*"xxxx"), slot.canary
        assert canary is not None
        serve(slot, canary, Turn(ROWS[:4], these, slot.model, expected_logits(ROWS[:4]), 1), score)

    def until_it_is_good() -> None:
        for _ in range(50):
            play(0.001, as_active)

    rollout.run(slot, candidate, until_it_is_good)
    play(0.6, answer)
    with pytest.raises(ArtifactRefused, match="in the moment of its promotion") as refused:
        rollout.promote(slot, candidate)
    assert refused.value.reason == reason


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_share_of_many_streams_is_chosen_and_stays_so(share: float) -> None:
    names = [f"camera-{number}" for number in range(2000)]
    one, other = StreamShare(share, "digest"), StreamShare(share, "digest")
    chosen = one.rows(samples(*names))
    assert len(names) * share * 0.8 < len(chosen) < len(names) * share * 1.2
    assert one.rows(samples(*names)) == chosen
    assert [row for row, name in enumerate(names) if other.rows(samples(name))] == chosen
    assert StreamShare(share, "another").rows(samples(*names)) != chosen


def test_where_none_falls_below_the_share_one_is_chosen_after_a_while() -> None:
    share = StreamShare(1e-9, "digest")
    these = samples("a", "b", "c", "d")
    while not (chosen := share.rows(these)):
        pass
    assert len(chosen) == 1
    assert share.rows(these) == chosen
    more = samples("a", "b", "c", "d", *(f"new-{number}" for number in range(5000)))
    assert share.rows(more) == chosen


def test_where_the_chosen_ones_end_a_further_one_is_chosen_and_none_is_let_go() -> None:
    share, names = StreamShare(1e-9, "digest"), ["a", "b", "c", "d"]
    chosen: list[str] = []
    while names:
        these = samples(*names)
        for _ in range(200):
            rows = share.rows(these)
        (row,) = rows
        chosen.append(names.pop(row))  # its camera is switched off
    assert sorted(chosen) == ["a", "b", "c", "d"]
    assert share.rows(samples("d", "c", "b", "a")) == [0, 1, 2, 3]


def test_a_chosen_one_with_few_frames_is_still_there() -> None:
    share = StreamShare(1e-9, "digest")
    these = samples("a", "b", "c", "d")
    for _ in range(30):
        chosen = share.rows(these)
    name = these[chosen[0]].frame.stream
    others = samples(*(other for other in "abcd" if other != name))
    for _ in range(100):
        for _ in range(50):
            assert share.rows(others) == []
        assert share.rows(these) == chosen


def test_names_that_are_no_utf_8_are_streams_as_well() -> None:
    assert StreamShare(0.999999, "digest").rows(samples("\udcff", "", "\x00")) == [0, 1, 2]
