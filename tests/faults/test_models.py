"""Rows 15 to 18 and 20 of the matrix: devices that fail, outputs that are none, models that nobody
should take, swaps."""

from __future__ import annotations

import signal
import threading

import pytest

from pipeline.artifact.keys import SigningKey
from pipeline.artifact.names import LATEST
from pipeline.artifact.registry import Registry
from tests.faults.arena import WINDOW, Arena, metric, swap_count
from tests.faults.devices import ILLEGAL_ACCESS, NO_ROOM, NOT_A_NUMBER, WRONG_SHAPE
from tests.faults.oracle.networks import NAME
from tests.faults.scenarios import altered_model, intruded_model, swaps
from tests.faults.trials import canaries, wandering_canaries
from tests.support import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]


def test_15_a_device_without_room_gets_smaller_batches(arena: Arena) -> None:
    arena.plants = (NO_ROOM,)
    arena.feeder.feed(500)
    arena.start()
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("15-no-room", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []


def test_15_a_device_that_is_lost_ends_the_worker_for_its_supervisor(arena: Arena) -> None:
    """Once, at a batch: exit 75, nothing of that batch is committed, and the next one scores it."""
    arena.plants = (ILLEGAL_ACCESS,)
    arena.feeder.feed(1200)  # More than so many full batches.
    worker = arena.start()
    summary = arena.ended(worker, code=75)
    assert summary["in_flight"] > 0
    assert arena.topics.committed() <= arena.scored() < 1200
    arena.plants = ()
    arena.start()
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("15-device-lost", most_duplicates=WINDOW)
    assert verdict.broken == []


def test_16_an_output_that_is_no_number_is_a_rejection(arena: Arena) -> None:
    """Every tenth frame; its neighbours in the batch are scored all the same."""
    arena.plants = (NOT_A_NUMBER,)
    arena.start().until_ready()
    arena.feeder.feed(500, must_be=lambda each: "rejected" if each.number % 10 == 0 else "scored")
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("16-nan", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []


def test_16_an_output_of_another_shape_is_a_rejection_of_all_its_batch(arena: Arena) -> None:
    arena.plants = (WRONG_SHAPE,)
    arena.start().until_ready()
    arena.feeder.feed(200, must_be=lambda _: "rejected")
    arena.until_all_done()
    details = {letter.headers["hr-dlq-detail"].decode() for letter in arena.letters()}
    assert {detail.partition(" (")[0] for detail in details} == {"the model gave"}
    arena.stop_all()
    verdict = arena.verdict("16-shape", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []


def test_16_a_model_that_fails_on_live_frames_alone_is_rolled_back(arena: Arena) -> None:
    """Its golden test passes. What it got is rejected, and kept; after that nothing is."""
    worker = arena.start()
    worker.until_ready()
    arena.feeder.feed(1000)
    arena.until_all_done()
    arena.publish(18, "fails")

    def is_rolled_back() -> bool:
        arena.feeder.feed(50, must_be=lambda _: "any")
        return swap_count(worker, "rolled_back") == 1

    wait_until(is_rolled_back, 300)
    arena.feeder.feed(1000)
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("16-rolled-back", has_all_summaries=True, has_one_worker=True)
    assert (verdict.broken, verdict.models) == ([], 1)
    assert len(arena.letters()) > 0


def test_20_model_after_model_under_load(arena: Arena) -> None:
    url = swaps(arena).url()
    swapped = metric(url, "headrace_model_swaps_total")
    arena.stop_all()
    verdict = arena.verdict("20-swaps", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []
    assert verdict.models > 4
    assert swapped > 4


def test_16_and_20_canary_after_canary_under_load(arena: Arena) -> None:
    """Streams are at two models at a time, and no frame is rejected for one that fails."""
    worker = canaries(arena)
    swaps = {result: swap_count(worker, result) for result in ("swapped", "canary")}
    arena.stop_all()
    verdict = arena.verdict("20-canaries", has_all_summaries=True, has_one_worker=True)
    assert verdict.broken == []
    assert swaps == {"swapped": 2, "canary": 2}
    assert arena.scoring_models() == {17, 18, 19, 20, 21, 22}
    assert arena.letters() == []


def test_20_swaps_while_partitions_wander_and_workers_stop(arena: Arena) -> None:
    """The same digest twice, back to the first, during a rebalance and during a drain."""
    enough = threading.Event()
    first = arena.start()
    first.until_ready()
    feeding = arena.feeder.keep_feeding(300, enough)
    try:
        arena.publish(100)
        second = arena.start()  # a rebalance
        arena.publish(100)
        arena.publish(17)
        second.until_ready()
        arena.publish(101)
        arena.until_scored(arena.scored() + 300)
        arena.publish(102)
        first.signal(signal.SIGTERM)  # a drain
        arena.publish(103)
        arena.ended(first)
        wait_until(lambda: 103 in arena.scoring_models(), 300)
    finally:
        enough.set()
        feeding.join()
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("20-swaps-and-rebalances", has_all_summaries=True)
    assert verdict.broken == []


@pytest.mark.faults
def test_20_canaries_while_partitions_wander_and_workers_stop(arena: Arena) -> None:
    """A rebalance in the middle of a trial, and a drain."""
    second = wandering_canaries(arena)
    assert swap_count(second, "swapped") == 1
    arena.stop_all()
    verdict = arena.verdict("20-canaries-and-rebalances", has_all_summaries=True)
    assert verdict.broken == []
    assert arena.scoring_models() == {17, 18, 19}
    assert arena.letters() == []


def test_17_a_file_that_is_not_what_its_manifest_says_is_refused(arena: Arena) -> None:
    altered_model(arena)
    arena.stop_all()
    verdict = arena.verdict("17-altered", has_all_summaries=True, has_one_worker=True)
    assert (verdict.broken, verdict.models) == ([], 1)


def test_18_models_that_no_trusted_key_signed_and_older_ones_are_refused(arena: Arena) -> None:
    """By somebody who may write to the registry: unsigned, signed by another key, a signed one's
    file exchanged, and an older one that was good once."""
    intruded_model(arena)
    worker = arena.workers[0]
    arena.intrude(101, SigningKey.new())
    wait_until(lambda: swap_count(worker, "untrusted") == 2)
    arena.publish_altered(102, holds=201)
    wait_until(lambda: swap_count(worker, "corrupt") == 1)
    arena.publish(19)

    def is_taken() -> bool:
        arena.feeder.feed(50)
        return 19 in arena.scoring_models()

    wait_until(is_taken, 60)
    Registry(arena.registry).set_alias(NAME, LATEST, 1)
    wait_until(lambda: swap_count(worker, "replayed") == 1)
    arena.feeder.feed(300)
    arena.until_all_done()
    arena.stop_all()
    verdict = arena.verdict("18-untrusted", has_all_summaries=True, has_one_worker=True)
    assert (verdict.broken, verdict.models) == ([], 2)
