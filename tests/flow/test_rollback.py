"""A version that passes its golden test and fails on live frames is taken back."""

from __future__ import annotations

import pytest

from pipeline.artifact.manifest import Manifest
from pipeline.artifact.names import LATEST
from pipeline.worker import Worker
from tests.artifacts import publish_tiny
from tests.flow.rig import Rig, events, metric
from tests.networks import NO_NUMBERS, RAISES, TOO_FEW, wrong_on_white
from tests.pictures import WHITE
from tests.support import wait_until


def publish_failing(
    rig: Rig, way: int = NO_NUMBERS, bias: float = 0.0, aliases: tuple[str, ...] = (LATEST,)
) -> Manifest:
    return rig.registry.publish(wrong_on_white(way, bias), aliases)


def told(worker: Worker) -> list[tuple[int, str]]:
    """Versions and what became of them, the first one first."""
    return [(version, result) for result, version in events(worker)]


def scoring(rig: Rig) -> tuple[Worker, list]:
    worker = rig.worker(sources=[rig.memory([WHITE], 10**9)])
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().scored > 200)
    return worker, summaries


@pytest.mark.parametrize("way", [NO_NUMBERS, TOO_FEW, RAISES])
def test_outputs_that_are_bad_on_live_frames_take_a_version_back(rig: Rig, way: int) -> None:
    worker, summaries = scoring(rig)
    publish_failing(rig, way)
    wait_until(lambda: told(worker) == [(2, "swapped"), (1, "swapped"), (2, "rolled_back")])
    so_far = worker.summary().scored
    wait_until(lambda: worker.summary().scored > so_far + 200)
    worker.stop()
    summary = rig.finish(summaries)
    rows = rig.rows()
    scored = [row["model"] for row in rows if row["outcome"] == "scored"]
    assert {(model["version"], model["epoch"]) for model in scored} == {(1, 1), (1, 3)}
    reasons = {row["reason"] for row in rows if row["outcome"] == "rejected"}
    assert reasons == {"bad_output"}
    assert summary.received == summary.scored + summary.rejected == len(rows)
    assert metric(worker, "model_swaps_total", result="rolled_back") == 1


def test_what_was_taken_back_is_not_tried_again_and_another_version_is(rig: Rig) -> None:
    worker, summaries = scoring(rig)
    publish_failing(rig)
    wait_until(lambda: (2, "rolled_back") in told(worker))
    publish_failing(rig)
    wait_until(lambda: told(worker)[-1] == (3, "quarantined"))
    publish_tiny(rig.registry, "tiny", bias=0.5)
    wait_until(lambda: told(worker)[-1] == (4, "swapped"))
    worker.stop()
    rig.finish(summaries)


def test_a_model_that_is_no_worse_than_the_one_before_stays(rig: Rig) -> None:
    publish_failing(rig)
    worker = rig.worker(sources=[rig.memory([WHITE], 10**9)])
    summaries = rig.start(worker)
    wait_until(lambda: worker.summary().rejected > 200)
    publish_failing(rig, bias=0.1)
    wait_until(lambda: told(worker) == [(3, "swapped")])
    so_far = worker.summary().rejected
    wait_until(lambda: worker.summary().rejected > so_far + 200)
    assert told(worker) == [(3, "swapped")]
    worker.stop()
    rig.finish(summaries)


def test_where_the_version_before_is_gone_the_next_one_is_taken(rig: Rig) -> None:
    worker, summaries = scoring(rig)
    publish_failing(rig, aliases=())
    folder = rig.folder / "registry" / "tiny" / "1"
    folder.rename(rig.folder / "1")
    rig.registry.set_alias("tiny", LATEST, 2)
    wait_until(lambda: (1, "missing") in told(worker))
    publish_tiny(rig.registry, "tiny", bias=0.5)
    wait_until(lambda: told(worker)[-1] == (3, "swapped"))
    so_far = worker.summary().scored
    wait_until(lambda: worker.summary().scored > so_far + 200)
    worker.stop()
    assert rig.finish(summaries).exit_code == 0


def test_a_version_that_was_withdrawn_by_hand_is_not_gone_back_to(rig: Rig) -> None:
    publish_failing(rig)
    publish_tiny(rig.registry, "tiny", bias=0.5)
    worker, summaries = scoring(rig)
    rig.registry.set_alias("tiny", LATEST, 2)
    wait_until(lambda: worker.summary().rejected > 200)
    assert told(worker) == [(2, "swapped")]
    worker.stop()
    rig.finish(summaries)
