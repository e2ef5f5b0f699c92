"""What a finished run says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import EXIT_DONE, HeadraceError
from pipeline.metrics import FrameCounts


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a run. ``duration_s`` is from the first frame received to the last outcome
    durable, so start-up is outside. ``error`` is what ended the run early, if anything did."""

    received: int
    scored: int
    shed: int
    rejected: int
    in_flight: int
    swaps: int
    duration_s: float
    error: HeadraceError | None = None

    @classmethod
    def of(
        cls, counts: FrameCounts, *, swaps: int, duration_s: float, error: HeadraceError | None
    ) -> Summary:
        """Adds up the streams."""
        return cls(
            received=sum(counts.received.values()),
            scored=sum(counts.scored.values()),
            shed=sum(counts.shed.values()),
            rejected=sum(counts.rejected.values()),
            in_flight=counts.in_flight,
            swaps=swaps,
            duration_s=duration_s,
            error=error,
        )

    @property
    def frames_per_s(self) -> float:
        """Frames with an outcome a second, over the run's duration."""
        done = self.scored + self.shed + self.rejected
        return done / self.duration_s if self.duration_s else 0.0

    @property
    def exit_code(self) -> int:
        """0, or that of the error."""
        return EXIT_DONE if self.error is None else self.error.exit_code

    def to_json(self) -> dict[str, object]:
        """The one-line summary of ``--json``."""
        row: dict[str, object] = {
            "received": self.received,
            "scored": self.scored,
            "shed": self.shed,
            "rejected": self.rejected,
            "in_flight": self.in_flight,
            "swaps": self.swaps,
            "duration_s": round(self.duration_s, 3),
            "frames_per_s": round(self.frames_per_s, 1),
        }
        if self.error is not None:
            row["error"] = str(self.error)
        return row
