"""Row 14 of the matrix: disk, memory and file descriptors that run out."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import socket
from pathlib import Path

import httpx
import pytest

from tests.faults.arena import WINDOW, Arena
from tests.faults.devices import HUNGRY
from tests.faults.limits import memory_limited, needs_control_groups, needs_root, small_disk
from tests.faults.scenarios import is_alive
from tests.support import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.faults,
]

FREE_BYTES = 64 << 10
GREED_BYTES = 200 << 20


def publish_a_hundred(arena: Arena) -> None:
    for constant in range(100, 200):
        arena.publish(constant)


def scores_with(arena: Arena, constant: int) -> bool:
    """Feeds some frames; whether any so far was scored by this model."""
    arena.feeder.feed(10)
    return constant in arena.scoring_models()


@needs_root
def test_14_a_registry_without_room_keeps_the_model_that_is_there(
    kafka: str, tmp_path: Path
) -> None:
    """A version that could be written in part only is none, and the next one comes through."""
    with small_disk(tmp_path / "small", 8 << 20) as disk, Arena(kafka, disk) as arena:
        worker = arena.start()
        url = worker.until_ready()
        arena.feeder.feed(300)
        arena.until_all_done()
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - FREE_BYTES))
        with pytest.raises(Exception, match=os.strerror(errno.ENOSPC)):
            publish_a_hundred(arena)
        arena.feeder.feed(300)
        arena.until_all_done()
        assert is_alive(url)
        ballast.unlink()
        arena.publish(200)
        wait_until(lambda: scores_with(arena, 200), 60)
        arena.until_all_done()
        arena.stop_all()
        verdict = arena.verdict("14-disk-full", has_all_summaries=True, has_one_worker=True)
        assert verdict.broken == []


@needs_control_groups
def test_14_a_worker_that_runs_out_of_memory_loses_nothing(arena: Arena) -> None:
    """The kernel kills it, as in row 1."""
    arena.plants = (HUNGRY,)
    worker = arena.start()
    worker.until_ready()
    with memory_limited(worker.pid, GREED_BYTES):
        arena.feeder.feed(3000)
        assert worker.end(60) == -9, worker.said()
    assert 0 < arena.scored() < 3000
    arena.kill(worker)
    arena.plants = ()
    arena.start()
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("14-out-of-memory", most_duplicates=WINDOW)
    assert verdict.broken == []
    assert arena.topics.committed() == len(arena.feeder.log)


def test_14_a_worker_without_file_descriptors_goes_on_and_answers_again(arena: Arena) -> None:
    """Connections to its server take all that are left, while frames are scored."""
    worker = arena.start()
    url = worker.until_ready()
    arena.feeder.feed(300)
    arena.until_all_done()
    used = len(list(Path(f"/proc/{worker.pid}/fd").iterdir()))
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (used + 8, used + 8))
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with contextlib.ExitStack() as held:
        for _ in range(32):
            held.enter_context(socket.create_connection((host, int(port)), 5))
        # The watcher opens the alias each second.
        wait_until(lambda: os.strerror(errno.EMFILE) in worker.said(), 30)
        arena.feeder.feed(1000)
        arena.until_all_done()
    wait_until(lambda: answers(url), 30)
    assert is_alive(url)
    arena.stop_all()
    verdict = arena.verdict("14-descriptors", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []


def answers(url: str) -> bool:
    """Whether the worker's server answers at all."""
    try:
        return is_alive(url)
    except httpx.HTTPError:
        return False
