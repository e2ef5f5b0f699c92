"""A worker that takes only what a trusted key signed, and nothing older than what it took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifact.artifact import Draft
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.signature import SIGNATURE_FILE
from pipeline.config import ModelSettings
from pipeline.errors import ArtifactRefused
from pipeline.worker import Worker
from tests.artifacts import tiny_draft
from tests.flow.rig import Rig, results, version_of
from tests.networks import Endless, draft_of
from tests.support import noise_jpeg, wait_until

KEY = SigningKey.new()


@pytest.fixture
def careful(rig: Rig) -> Callable[..., Worker]:
    """Makes workers that trust ``KEY``; the registry's first version is signed by it."""
    rig.registry.sign(rig.registry.read("tiny", 1), KEY)

    def make(name: str = "tiny", **more: object) -> Worker:
        model = ModelSettings.model_validate(
            {
                "name": name,
                "registry": rig.registry.url,
                "watch_interval_s": 0.02,
                "trusted_keys": (str(KEY.public),),
                "probe": "never",
                **more,
            }
        )
        return rig.worker(sources=[rig.memory([noise_jpeg(320, 240)], 10**9)], model=model)

    return make


def scoring(rig: Rig, worker: Worker) -> Worker:
    rig.start(worker)
    wait_until(lambda: worker.summary().scored > 10)
    return worker


def test_an_older_signed_version_is_refused_and_the_same_bytes_signed_anew_are_taken(
    rig: Rig, careful: Callable[..., Worker]
) -> None:
    worker = scoring(rig, careful())
    rig.registry.publish(tiny_draft(bias=0.1), key=KEY)
    wait_until(lambda: version_of(worker) == 2)
    rig.registry.set_alias("tiny", "latest", 1)
    wait_until(lambda: "replayed" in results(worker))
    assert version_of(worker) == 2
    rig.registry.publish(Draft.again(rig.registry.read("tiny", 1)), key=KEY)
    wait_until(lambda: version_of(worker) == 3)
    model = worker.model()
    assert model is not None
    assert model.sha256 == rig.registry.manifest("tiny", 1).sha256


def test_a_worker_that_starts_again_remembers_the_newest_version(
    rig: Rig, careful: Callable[..., Worker], tmp_path: Path
) -> None:
    state = str(tmp_path / "state")
    rig.registry.publish(tiny_draft(bias=0.1), key=KEY)
    worker = scoring(rig, careful(state_folder=state))
    assert version_of(worker) == 2
    worker.stop()
    wait_until(lambda: not rig.threads[0].is_alive())
    rig.registry.set_alias("tiny", "latest", 1)
    with pytest.raises(ArtifactRefused) as refused:
        careful(state_folder=state).run()
    assert refused.value.reason == "replayed"
    # Its number in the settings is the operator's own word.
    pinned = scoring(rig, careful("tiny@1", state_folder=state))
    assert version_of(pinned) == 1


def test_a_worker_does_not_start_on_an_unsigned_model(
    rig: Rig, careful: Callable[..., Worker]
) -> None:
    (rig.folder / "registry" / "tiny" / "1" / SIGNATURE_FILE).unlink()
    with pytest.raises(ArtifactRefused) as refused:
        careful().run()
    assert refused.value.reason == "untrusted"
    assert not rig.out.exists() or not rig.rows()


def test_the_first_model_is_tried_in_the_probe_where_that_is_asked_for(
    rig: Rig, careful: Callable[..., Worker]
) -> None:
    rig.registry.publish(draft_of(Endless()), key=KEY)
    with pytest.raises(ArtifactRefused, match="took longer than 2 s") as refused:
        careful(probe="always", probe_timeout_s=2).run()
    assert refused.value.reason == "too_slow"
    assert not rig.out.exists() or not rig.rows()
