"""Every error that Headrace raises on purpose, sorted by who reacts to it.

    HeadraceError
      ConfigError          the operator: wrong use or settings; exit 2
      SourceUnavailable    the intake: try again after a while
      SourceExhausted      the intake: no frame will ever come again; drain
      FrameRejected        the decode stage: this frame goes to the dead letters
      SinkUnavailable      the sink stage: try again, offsets stay where they are
      ArtifactRefused      the swap: the active model goes on
      PublishRefused       the publisher: the alias stays where it is
      StopRequested        the worker: asked to stop in the middle of a long step
      StageFailed          the lifecycle: drain what can be drained, exit 1
      RestartNeeded        the process's owner: state can't be healed in place; exit 75
        DeviceFull         the same, and no frame is to blame

A message says what happened, what was got, what was expected and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it brings numpy, and `headrace --help` only needs the errors' names
    from pipeline.types import RejectReason

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 and SIGINT, as shells have it
EXIT_RESTART = 75  # EX_TEMPFAIL of sysexits.h: a supervisor should start the process again


class HeadraceError(Exception):
    """Base of all errors that are shown to the user without a traceback."""

    exit_code = EXIT_FAILED


class ConfigError(HeadraceError):
    """A setting, URL or argument is wrong, and only the operator can mend it."""

    exit_code = EXIT_USAGE


class SourceUnavailable(HeadraceError):
    """A source can't be reached or stopped answering; trying again may help. Its message names the
    source."""


class SourceExhausted(HeadraceError):
    """A finite source gave its last frame."""


class FrameRejected(HeadraceError):
    """A frame can never be scored."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: RejectReason = reason
        self.detail = detail


class SinkUnavailable(HeadraceError):
    """Results can't be written now; those that weren't acknowledged must be written again."""


class ArtifactRefused(HeadraceError):
    """An artifact is incomplete, corrupt, incompatible or wrong on its golden inputs.

    ``reason`` is one of a closed set (it is a metric's label); the message says the rest.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class PublishRefused(HeadraceError):
    """A network is worse than the version that it would replace, or can't be compared with it."""


class StopRequested(HeadraceError):
    """A long step was given up because the worker was asked to stop: no failure."""

    exit_code = EXIT_DONE


class StageFailed(HeadraceError):
    """A stage's thread ended with an error; ``__cause__`` is that error."""


class RestartNeeded(HeadraceError):
    """The process can't go on but a new one could (a wedged thread, a broken device)."""

    exit_code = EXIT_RESTART


class DeviceFull(RestartNeeded):
    """The device has no memory for a single frame, whichever it is: none of those in flight is to
    blame for it."""
