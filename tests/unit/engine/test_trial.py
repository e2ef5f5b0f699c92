from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.artifact.manifest import Contract
from pipeline.clock import SystemClock
from pipeline.engine.active import ActiveModel
from pipeline.engine.torchscript import load_torchscript
from pipeline.engine.trial import Judge, Trial, TrialLimits
from pipeline.errors import ArtifactRefused
from pipeline.types import ModelIdentity, Task
from tests.artifacts import LABELS, SPEC, Hungry, expected_logits, scripted, tiny_model_bytes

LIMITS = TrialLimits(frames=400, max_disagreement=0.2, share=1.0)
ROWS = np.random.default_rng(0).integers(0, 256, (16, 24, 24, 3), np.uint8)
PLACES = list(range(16))


def candidate(model: bytes, most: int = 16, task: Task = "single-label") -> ActiveModel:
    return ActiveModel(
        ModelIdentity("tiny", 2, "0" * 64, 2),
        load_torchscript(model, "cpu"),
        Contract.of(LABELS, SPEC, task),
        {most: 0.001},
    )


def trial_of(bias: float = 0.0, limits: TrialLimits = LIMITS) -> Trial:
    return Trial(candidate(tiny_model_bytes(bias=bias)), limits, SystemClock())


def play(trial: Trial, logits_nk: NDArray[np.float32], batches: int) -> None:
    for _ in range(batches):
        trial.offer(ROWS, logits_nk, PLACES)
        trial.step(1.0)


def test_a_candidate_that_agrees_is_good_after_enough_frames() -> None:
    trial = trial_of(bias=0.5)
    play(trial, expected_logits(ROWS), 6)
    assert (trial.verdict, trial.frames) == ("goes on", 96)
    play(trial, expected_logits(ROWS), 1)
    assert trial.verdict == "good"
    assert "0 of 112 frames (0.0%), 20.0% are allowed" in str(trial)


@pytest.mark.parametrize("bias", [0.5, -2.0])
def test_where_it_may_name_whatever_it_likes_a_candidate_is_good(bias: float) -> None:
    trial = trial_of(bias, TrialLimits(frames=112, max_disagreement=1.0, share=1.0))
    play(trial, expected_logits(ROWS), 7)
    assert trial.verdict == "good"


def test_a_candidate_that_disagrees_is_found_after_as_many() -> None:
    trial = trial_of(bias=-2.0)  # names the first class, not the last
    play(trial, expected_logits(ROWS), 6)
    assert trial.verdict == "goes on"
    play(trial, expected_logits(ROWS), 1)
    assert trial.verdict == "bad"
    assert "112 of 112 frames (100.0%)" in str(trial)


@pytest.mark.parametrize(
    ("task", "bias", "verdict", "says"),
    [
        ("multi-label", 0.5, "good", "named other labels than the active model for 0 of 112"),
        ("multi-label", -2.0, "bad", "named other labels than the active model for 112 of 112"),
        ("regression", 0.04, "good", "was more than 10% off the active model for 0 of 112"),
        ("regression", 0.2, "bad", "was more than 10% off the active model for 112 of 112"),
    ],
)
def test_a_candidate_of_another_task_is_held_to_what_that_says(
    task: Task, bias: float, verdict: str, says: str
) -> None:
    trial = Trial(candidate(tiny_model_bytes(bias=bias), task=task), LIMITS, SystemClock())
    play(trial, expected_logits(ROWS), 7)
    assert trial.verdict == verdict
    assert says in str(trial)


def test_a_good_beginning_is_no_ticket() -> None:
    """Won on the first frames, which are alike; then most differ, but not yet surely."""
    trial = trial_of(limits=TrialLimits(frames=400, max_disagreement=0.5, share=1.0))
    play(trial, expected_logits(ROWS), 3)
    others_nk = expected_logits(ROWS)
    others_nk[:] = others_nk[:, ::-1]
    play(trial, others_nk, 4)
    assert (trial.verdict, trial.frames) == ("goes on", 112)
    play(trial, others_nk, 10)
    assert trial.verdict == "bad"


@pytest.mark.parametrize(("every", "verdict"), [(5, "good"), (4, "bad")])
def test_what_is_not_sure_after_the_limit_is_decided_by_what_was_seen(
    every: int, verdict: str
) -> None:
    ours_nk = expected_logits(ROWS)
    ours_nk[::every] = ours_nk[::every, ::-1]  # 4 of 16, both ways
    most = 0.26 if verdict == "good" else 0.24
    trial = trial_of(limits=TrialLimits(frames=160, max_disagreement=most, share=1.0))
    play(trial, ours_nk, 9)
    assert trial.verdict == "goes on"
    play(trial, ours_nk, 1)
    assert (trial.verdict, trial.frames) == (verdict, 160)


def test_a_candidate_is_good_where_the_active_model_has_no_numbers() -> None:
    trial = trial_of()
    play(trial, np.full((16, 3), np.nan, np.float32), 6)
    assert trial.verdict == "goes on"
    play(trial, np.full((16, 3), np.nan, np.float32), 1)
    assert trial.verdict == "good"


def test_a_few_frames_without_numbers_do_not_speak_for_a_candidate_that_differs() -> None:
    judge = judge_of(frames=1600, max_disagreement=0.05)
    ours_nk = sure_nk(0.9)
    ours_nk[:8] = np.nan
    for _ in range(14):
        judge.compare(ours_nk, sure_nk(0.9)[:, ::-1])
    assert judge.verdict == "bad"  # of 224 frames 112 differ, and for 112 there was no answer
    judge.compare(np.full((16, 3), np.nan, np.float32), sure_nk(0.9))
    assert judge.verdict == "good"


def test_a_frame_on_which_both_raise_speaks_for_neither() -> None:
    ours_nk = expected_logits(ROWS)
    ours_nk[3] = np.nan
    rows_nhwc = ROWS.copy()
    rows_nhwc[3] = 0
    trial = Trial(candidate(scripted(RaisingForBlack())), LIMITS, SystemClock())
    trial.offer(rows_nhwc, ours_nk, PLACES)
    assert trial.step(1.0)[:2] == (15, 0)
    assert trial.verdict == "goes on"


def test_rows_that_hold_no_frame_and_outputs_that_are_none_do_not_count() -> None:
    ours_nk = expected_logits(ROWS)
    ours_nk[0] = np.nan
    trial = trial_of(bias=-2.0)
    trial.offer(ROWS, ours_nk, [0, 3, 4])
    assert trial.step(1.0)[:2] == (0, 2)


def test_a_trial_without_frames_goes_on() -> None:
    trial = trial_of()
    assert trial.step(0.01) == (0, 0, 0.0)
    assert trial.verdict == "goes on"


def test_only_one_batch_waits_and_the_others_are_left_out() -> None:
    trial = trial_of()
    for _ in range(1000):
        trial.offer(ROWS, expected_logits(ROWS), PLACES)
    trial.step(1.0)
    assert trial.step(0.01) == (0, 0, 0.0)
    assert trial.frames == 16


def test_it_keeps_a_copy_of_rows_that_are_used_again() -> None:
    rows_nhwc, trial = ROWS.copy(), trial_of()
    ours_nk = expected_logits(rows_nhwc)
    trial.offer(rows_nhwc, ours_nk, PLACES)
    rows_nhwc[:], ours_nk[:] = 0, 0
    assert trial.step(1.0)[:2] == (16, 0)


class Shaped(torch.nn.Module):
    """Another number of classes."""

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        return torch.zeros(batch_nhwc.shape[0], 7)


class NoNumber(torch.nn.Module):
    """NaN for bright pictures."""

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        return torch.log(0.5 - mean_n1) * torch.arange(3)


class Raising(torch.nn.Module):
    """Fails for what isn't noise."""

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        assert bool(batch_nhwc.float().std() > 200), "too smooth"
        return torch.zeros(batch_nhwc.shape[0], 3)


class RaisingForBlack(torch.nn.Module):
    """The tiny network's logits, and an error for a black picture among others."""

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        mean_n1 = batch_nhwc.to(torch.float32).mean(dim=(1, 2, 3)).unsqueeze(1) / 255.0
        assert bool((mean_n1 > 0).all()), "black"
        return mean_n1 * torch.arange(3)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Shaped(), r"it gave \(16, 7\), expected \(16, 3\)"),
        (NoNumber(), r"it gave no numbers for \d+ of 16 frames"),
        (Raising(), "it gave no numbers for 16 of 16 frames: .*too smooth"),
    ],
)
def test_outputs_that_are_none_end_it_at_once(network: torch.nn.Module, says: str) -> None:
    trial = Trial(candidate(scripted(network)), LIMITS, SystemClock())
    play(trial, expected_logits(ROWS), 1)
    assert trial.verdict == "bad"
    assert re.search(says, str(trial))


class Rows(torch.nn.Module):
    """Answers for so many rows, whatever it gets; for a network without one, a single number."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        answer = torch.zeros(max(self.rows, 1), 3) + 0.0 * batch_nhwc.float().mean()
        return answer if self.rows else answer.sum()


@pytest.mark.parametrize("most", [16, 4])
@pytest.mark.parametrize("rows", [0, 1, 2, 8])
def test_answers_for_another_number_of_rows_end_it(rows: int, most: int) -> None:
    trial = Trial(candidate(scripted(Rows(rows)), most=most), LIMITS, SystemClock())
    play(trial, expected_logits(ROWS), 1)
    assert trial.verdict == "bad"
    assert str(trial) == f"it gave {(rows, 3) if rows else ()}, expected ({most}, 3)"


class OddHalves(torch.nn.Module):
    """Raises for large batches, and gives one row for each of its halves."""

    def forward(self, batch_nhwc: torch.Tensor) -> torch.Tensor:
        assert batch_nhwc.shape[0] <= 8, "too many"
        return torch.zeros(1, 3 if bool(batch_nhwc[0, 0, 0, 0] > 0) else 2)


def test_halves_of_another_shape_end_it_too() -> None:
    rows_nhwc = ROWS.copy()
    rows_nhwc[0], rows_nhwc[8] = 0, 255
    trial = Trial(candidate(scripted(OddHalves())), LIMITS, SystemClock())
    trial.offer(rows_nhwc, expected_logits(rows_nhwc), PLACES)
    trial.step(1.0)
    assert trial.verdict == "bad"
    assert str(trial) == "it gave (1, 2), expected (8, 3)"


def test_batches_larger_than_its_own_are_cut() -> None:
    trial = Trial(candidate(tiny_model_bytes(), most=4), LIMITS, SystemClock())
    play(trial, expected_logits(ROWS), 1)
    assert trial.frames == 16


def test_a_lack_of_memory_says_nothing_of_a_candidate_and_has_an_end() -> None:
    trial = Trial(candidate(scripted(Hungry(room=8))), LIMITS, SystemClock())
    play(trial, expected_logits(ROWS), 2)
    assert (trial.verdict, trial.frames) == ("goes on", 0)
    with pytest.raises(ArtifactRefused, match="no memory for it beside the model") as refused:
        play(trial, expected_logits(ROWS), 1)
    assert refused.value.reason == "no_room"


def judge_of(**more: float) -> Judge:
    limits = replace(LIMITS, **more)
    return Judge(candidate(tiny_model_bytes()), limits)


def sure_nk(of: float, rows: int = 16) -> NDArray[np.float32]:
    """Logits of the last class with that confidence."""
    logits_nk = np.zeros((rows, 3), np.float32)
    logits_nk[:, 2] = np.log(2 * of / (1 - of))
    return logits_nk


def test_less_confidence_than_allowed_is_found_though_the_class_is_the_same() -> None:
    judge = judge_of(max_confidence_drop=0.2, max_disagreement=0.001)
    while judge.verdict == "goes on":
        judge.compare(sure_nk(0.9), sure_nk(0.5))
    assert judge.verdict == "bad"
    assert judge.found.frames < 200
    assert judge.found.confidence_drop == pytest.approx(0.4)
    assert str(judge).startswith("its confidence was lower by 0.400 on average, a drop of 0.2")


@pytest.mark.parametrize("theirs", [0.75, 0.99])
def test_a_little_less_confidence_and_more_of_it_are_no_reason(theirs: float) -> None:
    judge = judge_of()
    while judge.verdict == "goes on":
        judge.compare(sure_nk(0.9), sure_nk(theirs))
    assert judge.verdict == "good"
    assert ("lower by 0.150" if theirs < 0.9 else "higher by 0.090") in str(judge)


def test_most_batches_must_be_quick_enough_and_some_may_be_slow() -> None:
    slow, jerky = judge_of(), judge_of()
    for number in range(40):
        slow.note_time(0.1, 0.33)
        jerky.note_time(0.1, 0.33 if number % 3 == 0 else 0.31)
    for judge in (slow, jerky):
        for _ in range(7):
            judge.compare(sure_nk(0.9), sure_nk(0.9))
    assert (slow.verdict, jerky.verdict) == ("bad", "good")
    assert str(slow).startswith("it took more than 3 times as long")
    assert "for 40 of 40 batches" in str(slow)


@pytest.mark.parametrize(
    ("theirs_nk", "only_slow"),
    [(sure_nk(0.9), True), (sure_nk(0.5), False), (sure_nk(0.9)[:, ::-1], False)],
)
@pytest.mark.parametrize("frames", [400, 112])
def test_only_slow_is_who_gives_the_same_answers(
    theirs_nk: NDArray[np.float32], only_slow: bool, frames: int
) -> None:
    judge = judge_of(frames=frames)
    for _ in range(7):
        judge.compare(sure_nk(0.9), theirs_nk)
    for _ in range(40):
        judge.note_time(0.1, 0.33)
    assert judge.verdict == "bad"
    assert judge.is_only_slow is only_slow
    judge.compare(sure_nk(0.9), np.full((16, 3), np.nan, np.float32))
    assert not judge.is_only_slow


def test_a_live_deadline_is_the_most_that_a_batch_may_take() -> None:
    judge = judge_of(deadline_s=0.25)
    judge.note_time(0.1, 0.24)
    judge.note_time(0.1, 0.26)
    assert judge.found.slow_batches == 0.5


def test_a_good_one_may_have_to_stand_more_frames() -> None:
    judge = judge_of(sure_frames=300)
    while judge.verdict == "goes on":
        judge.compare(sure_nk(0.9), sure_nk(0.9))
    assert (judge.verdict, judge.found.frames) == ("good", 304)


def test_a_trial_holds_the_time_of_both_for_the_same_batch() -> None:
    trial = trial_of()
    trial.offer(ROWS, expected_logits(ROWS), PLACES, -1.0)
    trial.step(1.0)
    assert trial.judge.found.slow_batches == 1
    trial.offer(ROWS, expected_logits(ROWS), PLACES, 1000.0)
    trial.step(1.0)
    assert trial.judge.found.slow_batches == 0.5
