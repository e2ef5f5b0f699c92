"""Whatever becomes of canaries, and when: no stream's epoch falls, and one epoch is one model."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifact.manifest import Contract
from pipeline.clock import ManualClock
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.canary import Canary
from pipeline.engine.trial import TrialLimits
from pipeline.types import ModelIdentity
from tests.artifacts import LABELS, SPEC
from tests.unit.engine.test_torchscript import SmallEngine

STREAMS = ("a", "b", "c")
LIMITS = TrialLimits(frames=100, max_disagreement=0.2, share=1.0)


@dataclass(frozen=True)
class Step:
    """What the swap thread does before a batch and in the middle of it, the streams in the batch,
    and whether the candidate fails on it."""

    before: str
    meanwhile: str
    streams: frozenset[str]
    fails: bool


ACTIONS = st.sampled_from(["nothing", "begin", "withdraw", "promote"])
STEPS = st.builds(
    Step,
    ACTIONS,
    ACTIONS.filter(lambda action: action != "begin"),  # none is loaded while a batch runs
    st.frozensets(st.sampled_from(STREAMS), min_size=1),
    st.booleans(),
)


class Both:
    """The swap thread and the engine thread, on one slot. The streams of ``chosen`` are each
    candidate's."""

    def __init__(self, chosen: frozenset[str]) -> None:
        self.chosen = chosen
        self.slot = ActiveSlot(_model(1, 1))
        self.versions = 1
        self.rows: list[tuple[str, ModelIdentity]] = []

    def act(self, action: str) -> None:
        canary = self.slot.canary
        if action == "begin" and canary is None:
            self.versions += 1
            candidate = _model(self.versions, self.slot.model.identity.epoch + 1)
            self.slot.begin(Canary(candidate, LIMITS, 0.5, (1,), ManualClock()))
        elif action == "withdraw" and canary is not None:
            self.slot.withdraw(canary)
        elif action == "promote" and canary is not None:
            self.slot.exchange(canary.candidate)

    def run(self, step: Step) -> None:
        self.act(step.before)
        with self.slot.for_batch() as (active, canary):
            self.act(step.meanwhile)
            theirs = None if canary is None else canary.candidate.identity
            if canary is not None and step.fails and step.streams & self.chosen:
                now = self.slot.withdraw(canary)
                # What took over in this moment rejects them: none goes out in another's name.
                theirs = now.identity if now.engine is active.engine else None
            for stream in step.streams:
                is_theirs = canary is not None and stream in self.chosen
                scorer = theirs if is_theirs else active.identity
                if scorer is not None:
                    self.rows.append((stream, scorer))


def _model(version: int, epoch: int) -> ActiveModel:
    identity = ModelIdentity("m", version, f"{version:064x}", epoch)
    return ActiveModel(identity, SmallEngine(1), Contract.of(LABELS, SPEC), {1: 0.1})


@given(st.frozensets(st.sampled_from(STREAMS), min_size=1), st.lists(STEPS, max_size=20))
@settings(max_examples=200, deadline=None)
def test_no_streams_epoch_falls_and_each_epoch_is_one_model(
    chosen: frozenset[str], steps: list[Step]
) -> None:
    both = Both(chosen)
    for step in steps:
        both.run(step)
        assert not both.slot.is_one_leaving
        assert both.slot.model.first_epoch <= both.slot.model.identity.epoch
    newest: dict[str, int] = defaultdict(int)
    digests: dict[int, str] = {}
    for stream, model in both.rows:
        assert model.epoch >= newest[stream]
        newest[stream] = model.epoch
        assert digests.setdefault(model.epoch, model.sha256) == model.sha256
