"""What held-out data looked like to the network that is published: what a worker's frames are
compared with (``pipeline.drift``)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.statistics import Bins, InputTally, ScoreTally, Tally

_MOST_BINS = 1000

_MOST_SAMPLES = 2**53
"""What a float holds exactly: counts are divided, and a manifest may be a stranger's."""

_Count = Annotated[int, Field(ge=0, le=_MOST_SAMPLES)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Histogram(_Strict):
    """Samples by a value, in bins of equal width from ``low`` to ``high``; what lay outside is in
    the end ones."""

    low: float
    high: float
    counts: tuple[_Count, ...] = Field(min_length=1, max_length=_MOST_BINS)

    @model_validator(mode="after")
    def _has_bins(self) -> Histogram:
        _ = self.bins  # raises where there are none
        return self

    @property
    def bins(self) -> Bins:
        """Those that a tally must have to be compared with it."""
        return Bins(self.low, self.high, len(self.counts))

    @classmethod
    def of(cls, tally: Tally) -> Histogram:
        """What was counted."""
        return cls(low=tally.bins.low, high=tally.bins.high, counts=tally.counts)


class InputReference(_Strict):
    """Samples as the network got them, by what ``pipeline.statistics.InputStatistics`` says."""

    brightness: Histogram
    contrast: Histogram
    sharpness: Histogram


class ScoreReference(_Strict):
    """Answers of a network of one class in K: how sure they were (the best class's confidence, as
    it is published), how often each label was one, and how often it was right to be, if known."""

    confidence: Histogram
    predicted: tuple[_Count, ...]
    true: tuple[_Count, ...] | None = None


class Reference(_Strict):
    """Of held-out data. ``scores`` is None where the network doesn't name one class in K."""

    samples: int = Field(ge=1, le=_MOST_SAMPLES)
    inputs: InputReference
    scores: ScoreReference | None = None

    @classmethod
    def of(
        cls,
        inputs: InputTally,
        scores: ScoreTally | None = None,
        true: tuple[int, ...] | None = None,
    ) -> Reference:
        """What was counted; ``true`` is how many samples there are of each label.

        Raises:
            pydantic.ValidationError: nothing was counted.
        """
        answers = scores and ScoreReference(
            confidence=Histogram.of(scores.confidence), predicted=scores.predicted, true=true
        )
        return cls(
            samples=inputs.samples,
            inputs=InputReference(
                brightness=Histogram.of(inputs.brightness),
                contrast=Histogram.of(inputs.contrast),
                sharpness=Histogram.of(inputs.sharpness),
            ),
            scores=answers,
        )
