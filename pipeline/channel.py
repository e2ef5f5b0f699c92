"""The bounded, closable channel: the only way values pass from one stage's thread to another's."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosed(Exception):
    """The channel takes nothing more (on put), or is closed and empty (on get)."""


class Channel(Generic[T]):
    """A queue with a limit and an end. Thread-safe.

    Closing lets readers take what is left and then tells them that nothing more will come, so a
    drain needs no sentinel. ``queue.Queue`` got ``shutdown`` only in Python 3.13.
    """

    def __init__(self, name: str, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"channel {name}: capacity {capacity}, expected at least 1")
        self.name = name
        self.capacity = capacity
        self._items: deque[T] = deque()
        self._closed = False
        lock = threading.Lock()
        self._has_items = threading.Condition(lock)
        self._has_room = threading.Condition(lock)

    def put(self, item: T, timeout_s: float | None = None) -> None:
        """Adds ``item``, waiting for room.

        Raises:
            ChannelClosed: the channel was closed before there was room.
            TimeoutError: no room came within ``timeout_s``.
        """
        with self._has_room:
            if not self._has_room.wait_for(
                lambda: self._closed or len(self._items) < self.capacity, timeout_s
            ):
                raise TimeoutError(f"channel {self.name} stayed full for {timeout_s} s")
            if self._closed:
                raise ChannelClosed(self.name)
            self._items.append(item)
            self._has_items.notify()

    def get(self, timeout_s: float | None = None) -> T:
        """Takes the oldest item, waiting for one.

        Raises:
            ChannelClosed: the channel is closed and empty.
            TimeoutError: nothing came within ``timeout_s``.
        """
        return self.get_many(1, timeout_s)[0]

    def get_many(self, at_most: int, timeout_s: float | None = None) -> list[T]:
        """Takes one to ``at_most`` items: waits for the first, never for the others.

        Raises:
            ChannelClosed: the channel is closed and empty.
            TimeoutError: nothing came within ``timeout_s``.
        """
        with self._has_items:
            if not self._has_items.wait_for(lambda: self._closed or self._items, timeout_s):
                raise TimeoutError(f"channel {self.name} stayed empty for {timeout_s} s")
            if not self._items:
                raise ChannelClosed(self.name)
            taken = [self._items.popleft() for _ in range(min(at_most, len(self._items)))]
            self._has_room.notify(len(taken))
            return taken

    def close(self) -> None:
        """Takes nothing more; what is in it can still be got. Closing twice is harmless."""
        with self._has_items:
            self._closed = True
            self._has_items.notify_all()
            self._has_room.notify_all()

    def abandon(self) -> None:
        """Closes and throws away what is in it: for a failure, when a drain makes no sense."""
        with self._has_items:
            self._items.clear()
        self.close()

    @property
    def depth(self) -> int:
        """How many items wait."""
        return len(self._items)


def remaining_s(deadline_mono_s: float) -> float:
    """Seconds until a deadline on ``time.monotonic``, never negative."""
    return max(0.0, deadline_mono_s - time.monotonic())
