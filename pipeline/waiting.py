"""The waiting room: where frames wait for a decode thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pipeline.channel import ChannelClosed
from pipeline.fair import FairQueue
from pipeline.types import Frame


class WaitingRoom:
    """The channel from the intake to the decode pool: fair over streams, and closable.

    Bounded by the credits of the frames that are in it. Thread-safe.
    """

    def __init__(self, live_queue_frames: int) -> None:
        self._live_queue_frames = live_queue_frames
        self._queue = FairQueue()
        self._closed = False
        self._arrived = threading.Condition()

    def put(self, frames: Sequence[Frame]) -> list[Frame]:
        """Lets frames in, and gives those of live streams that newer ones superseded.

        Raises:
            ChannelClosed: nobody will take them any more.
        """
        superseded: list[Frame] = []
        with self._arrived:
            if self._closed:
                raise ChannelClosed("waiting room")
            for frame in frames:
                self._queue.push(frame)
                if frame.max_age_s is not None:
                    superseded += self._queue.drop_oldest(frame.stream, self._live_queue_frames)
            self._arrived.notify(len(frames))
        return superseded

    def put_back(self, frame: Frame) -> None:
        """Lets a frame in again that was taken, before those of its stream; also once closed."""
        with self._arrived:
            self._queue.push_first(frame)
            self._arrived.notify()

    def take(self) -> Frame:
        """Takes the next frame, waiting for one.

        Raises:
            ChannelClosed: it is closed and empty.
        """
        with self._arrived:
            while not len(self._queue):
                if self._closed:
                    raise ChannelClosed("waiting room")
                self._arrived.wait()
            return self._queue.pop()

    def close(self) -> None:
        """Lets nobody in any more; those inside can still be taken."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def abandon(self) -> None:
        """Closes and forgets those inside: for a failure."""
        with self._arrived:
            self._queue = FairQueue()
            self._closed = True
            self._arrived.notify_all()

    @property
    def depth(self) -> int:
        """How many frames wait."""
        return len(self._queue)
