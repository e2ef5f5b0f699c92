"""Logs: to standard error, readable on a terminal, one plain line each elsewhere, no secrets."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

from pipeline.urls import mask_text

if TYPE_CHECKING:
    from rich.console import Console

_OURS = ("pipeline", "trainer")


class MaskingFormatter(logging.Formatter):
    """Formats a record and masks the secrets of every URL in it, in tracebacks too."""

    converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter.format``."""
        return mask_text(super().format(record))


def configure_logs(level: str = "info", console: Console | None = None) -> None:
    """Sends the log of the whole process to standard error; may be called again.

    With ``console`` (see ``terminal_console``) lines are written above what that console shows
    live. Libraries say warnings only: at DEBUG some of them log payloads.
    """
    handler: logging.Handler
    if console is None:
        handler = logging.StreamHandler(sys.stderr)
        form = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(MaskingFormatter(form, "%Y-%m-%dT%H:%M:%S"))
    else:
        from rich.logging import RichHandler

        handler = RichHandler(console=console, show_path=False, rich_tracebacks=False)
        handler.setFormatter(MaskingFormatter("%(message)s", "[%X]"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    # What went wrong it says in exceptions as well, and in its log ten times a second.
    logging.getLogger("kafka").setLevel(logging.WARNING if level == "debug" else logging.CRITICAL)


def terminal_console() -> Console | None:
    """A console on standard error, or None where that isn't a terminal."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    return Console(stderr=True)
