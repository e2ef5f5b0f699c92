"""Whatever becomes of canaries, and when: no stream's epoch falls, and one epoch is one model."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.artifact.manifest import Contract
from pipeline.clock import ManualClock
from pipeline.engine.active import ActiveModel, ActiveSlot
from pipeline.engine.canary import Canary
from pipeline.engine.trial import TrialLimits
from pipeline.types import ModelIdentity
from tests.artifacts import LABELS, SPEC
from tests.unit.engine.test_torchscript import SmallEngine

STREAMS = ("a", "b", "c", "d")


class SlotMachine(RuleBasedStateMachine):
    """The engine thread's batches, with what the swap thread does before, in and after them."""

    def __init__(self) -> None:
        super().__init__()
        self.slot = ActiveSlot(self.model(1, 1))
        self.version = 1
        self.canary: Canary | None = None
        self.chosen: frozenset[str] = frozenset()
        self.rows: list[tuple[str, ModelIdentity]] = []

    def model(self, version: int, epoch: int) -> ActiveModel:
        identity = ModelIdentity("m", version, f"{version:064x}", epoch)
        return ActiveModel(identity, SmallEngine(1), Contract.of(LABELS, SPEC), {1: 0.1})

    @precondition(lambda self: self.canary is None)
    @rule(chosen=st.frozensets(st.sampled_from(STREAMS)))
    def begin(self, chosen: frozenset[str]) -> None:
        self.version += 1
        candidate = self.model(self.version, self.slot.model.identity.epoch + 1)
        limits = TrialLimits(frames=100, max_disagreement=0.2, share=1.0)
        self.canary = Canary(candidate, limits, 0.5, (1,), ManualClock())
        self.chosen = chosen
        self.slot.begin(self.canary)

    @rule(data=st.data())
    def batch(self, data: st.DataObject) -> None:
        """One in which the candidate may fail, and the swap thread may act at the same time."""
        with self.slot.for_batch() as (active, canary):
            meanwhile = data.draw(st.sampled_from(["nothing", "withdraw", "promote"]))
            if meanwhile == "withdraw":
                self.withdraw()
            elif meanwhile == "promote":
                self.promote()
            by = active.identity
            if canary is not None and self.chosen:
                by = canary.candidate.identity
                if data.draw(st.booleans(), label="fails"):
                    now = self.slot.withdraw(canary)
                    is_promoted = now.engine is not active.engine
                    by = None if is_promoted else now.identity
            for stream in data.draw(st.lists(st.sampled_from(STREAMS))):
                scorer = by if canary is not None and stream in self.chosen else active.identity
                if scorer is not None:
                    self.rows.append((stream, scorer))
        if self.canary is not None and canary is self.canary and self.slot.canary is None:
            self.canary = None

    @rule()
    def withdraw(self) -> None:
        if self.canary is not None:
            self.slot.withdraw(self.canary)
            self.canary = None

    @rule()
    def promote(self) -> None:
        canary, self.canary = self.canary, None
        if canary is None:
            return
        before = self.slot.model
        if self.slot.canary is canary:
            assert self.slot.exchange(canary.candidate) is before
            assert self.slot.model is canary.candidate

    @invariant()
    def no_epoch_falls_and_each_is_one_model(self) -> None:
        newest: dict[str, int] = defaultdict(int)
        digests: dict[int, str] = {}
        for stream, model in self.rows:
            assert model.epoch >= newest[stream]
            newest[stream] = model.epoch
            assert digests.setdefault(model.epoch, model.sha256) == model.sha256
        assert not self.slot.is_one_leaving

    @invariant()
    def a_model_keeps_the_epoch_that_it_began_with(self) -> None:
        model = self.slot.model
        assert model.first_epoch <= model.identity.epoch


TestSlot = SlotMachine.TestCase
TestSlot.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
