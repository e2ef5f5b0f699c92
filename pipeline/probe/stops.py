"""A probe that is stopped again and again, so that frames beside it don't wait for its CPU."""

from __future__ import annotations

import contextlib
import os
import signal

from pipeline.clock import Clock
from pipeline.engine.gentle import Rests
from pipeline.probe.spent import is_cpu_told, spent_s

_STEP_S = 0.004
"""A frame that comes in such a step waits hardly longer than for a batch."""

_LEAST_WORK_S = 0.0005
"""Less of it isn't worth two signals: where others have the cores, steps are as short as that."""

_LOOK_S = 0.25


class Stops:
    """Stops a process group after each step of some milliseconds, for as long as the rests say of
    the CPU that it took; for ``most_s`` in all, after which it is let alone. Without rests it does
    nothing. Where ``by_cpu`` is false it may have computed all the time that it wasn't stopped.

    Should we be killed while it is stopped, it must have asked the kernel to end with us.

    Owned by: the thread that waits for the group's answer.
    """

    def __init__(
        self,
        group: int,
        rests: Rests | None,
        clock: Clock,
        most_s: float,
        *,
        by_cpu: bool | None = None,
    ) -> None:
        self._group = group
        self._rests = rests if rests is not None else Rests(lambda _: None, times=lambda: 0.0)
        self._clock = clock
        self._most_s = most_s
        self._by_cpu = is_cpu_told() if by_cpu is None else by_cpu
        self.stopped_s = 0.0
        self._spent_s = self._spent_now_s()

    @property
    def every_s(self) -> float:
        """How often ``look`` wants to be called."""
        return _STEP_S if self._due_s(_STEP_S) > 0 else _LOOK_S

    def look(self) -> None:
        """A step is over: lets the group rest as long as is due, and blocks for it. Raises what the
        rests raise where the work isn't wanted any more; the group goes on then, too."""
        spent = self._spent_now_s()
        worked_s = spent - self._spent_s  # below 0 where a child has ended
        if worked_s < 0 or worked_s >= _LEAST_WORK_S:
            rest_s = self._due_s(max(worked_s, 0.0))
            if rest_s > 0:
                self._stop(rest_s)
            self._spent_s = spent
        self._rests.check_wanted()

    def _spent_now_s(self) -> float:
        return spent_s(self._group) if self._by_cpu else self._clock.monotonic() - self.stopped_s

    def _due_s(self, worked_s: float) -> float:
        return self._rests.due_s(worked_s) if self.stopped_s < self._most_s else 0.0

    def _stop(self, rest_s: float) -> None:
        began_mono_s = self._clock.monotonic()
        self._signal(signal.SIGSTOP)
        try:
            self._rests.wait(rest_s)
        finally:
            self._signal(signal.SIGCONT)
            self.stopped_s += self._clock.monotonic() - began_mono_s

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, number)
