"""A batch for which there may be no room, or on which the network may raise: in halves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from pipeline.engine.base import Engine, EngineFailed, EngineOutOfMemory
from pipeline.errors import DeviceFull
from pipeline.types import BatchNhwc, LogitsNk

log = logging.getLogger(__name__)

WhenFull: TypeAlias = Callable[[Engine, BatchNhwc, int], LogitsNk]

_ROOM_MAY_COME_S = (0.1, 0.4, 1.5)
"""Pauses before a single frame for which there is no memory is tried again."""


def _score_when_there_is_room(engine: Engine, row_nhwc: BatchNhwc, classes: int) -> LogitsNk:
    """Tries a single row again: what is missing may be taken by a model that is made ready, for as
    long as that takes. A row for which there is no room where there is for others gets NaN.

    Raises:
        DeviceFull: there was no room, whatever is in the row.
    """
    pause = threading.Event()
    for seconds in _ROOM_MAY_COME_S:
        pause.wait(seconds)
        try:
            return engine.score(row_nhwc)
        except EngineOutOfMemory as error:
            log.warning("%s: %s", engine.device, error)
        except EngineFailed as error:
            return _failed(error, classes)
    try:
        engine.score(np.zeros_like(row_nhwc))
    except (EngineOutOfMemory, EngineFailed):
        pass
    else:
        return _failed("it takes more memory than the device has", classes)
    raise DeviceFull(
        f"{engine.device} has had no memory for a single frame for {sum(_ROOM_MAY_COME_S):g} s:"
        " free some, or take another device (engine.device)"
    )


def refuse_at_once(engine: Engine, row_nhwc: BatchNhwc, classes: int) -> LogitsNk:
    """For a model without which scoring goes on: nothing waits until there is room for it.

    Raises:
        DeviceFull: always.
    """
    del row_nhwc, classes
    raise DeviceFull(f"{engine.device} has no memory for a single frame")


def score_halving(
    engine: Engine,
    rows_nhwc: BatchNhwc,
    classes: int,
    most: int,
    when_full: WhenFull = _score_when_there_is_room,
) -> LogitsNk:
    """Scores a batch, in halves where it is of more than ``most`` rows (filled for the model before
    this one), the device has no room for it whole or the network raises.

    A single row on which the network raises gets NaN: one bad frame can't spoil its neighbours.
    ``when_full`` has the say where there is no room for a single one.

    Raises:
        DeviceFull: there is no room for a single row, nor was for a while.
        RestartNeeded: the device is lost.
    """
    try:
        if len(rows_nhwc) <= most:
            return engine.score(rows_nhwc)
    except EngineOutOfMemory:
        if len(rows_nhwc) == 1:
            return when_full(engine, rows_nhwc, classes)
    except EngineFailed as error:
        if len(rows_nhwc) == 1:
            return _failed(error, classes)
    half = len(rows_nhwc) // 2
    parts = (rows_nhwc[:half], rows_nhwc[half:])
    scored = [score_halving(engine, part, classes, most, when_full) for part in parts]
    has_rows = all(each.shape[:1] == (len(part),) for each, part in zip(scored, parts, strict=True))
    if not has_rows or len({each.shape[1:] for each in scored}) > 1:
        # Which row would be whose? Or NaN in one, another shape in the other.
        scored = [np.full((len(part), classes), np.nan, np.float32) for part in parts]
    return np.concatenate(scored)


def _failed(why: EngineFailed | str, classes: int) -> LogitsNk:
    """What a frame gets on which the network raised."""
    log.warning("the network raised an error on a frame: %s", why)
    return np.full((1, classes), np.nan, np.float32)
