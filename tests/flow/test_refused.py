"""Candidates made to be refused, each in the registry of a worker that scores meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.artifact.artifact import Draft
from pipeline.artifact.keys import SigningKey
from tests.flow.candidates import (
    AS_CANARY,
    CUT,
    CUT_GOLDEN_THAT_AGREES,
    CUT_MODEL_THAT_AGREES,
    NAN_WEIGHTS,
    ON_LIVE_FRAMES,
    SLOW_IN_THE_PROBE,
    UNTRUSTED,
    WRITES_WHEN_LOADED,
    WRITES_WHEN_RUN,
    WRONG,
    Candidate,
)
from tests.flow.running import STREAMS, Running
from tests.pictures import GREY

KEY = SigningKey.new()
pytestmark = pytest.mark.timeout(300)

NO_PROBE: dict[str, object] = {"probe": "never"}
PROBE: dict[str, object] = {"probe": "swaps", "probe_timeout_s": 20}
SIGNED: dict[str, object] = {"trusted_keys": (str(KEY.public),)}
SHADOW: dict[str, object] = {
    **NO_PROBE,
    "rollout": "shadow",
    "shadow_frames": 600,
    "shadow_share": 1.0,
    "max_disagreement": 0.03,
}
CANARY: dict[str, object] = {
    **SHADOW,
    "rollout": "canary",
    "canary_share": 0.4,
    "canary_frames": 2500,
}

WORKERS: dict[str, dict[str, object]] = {
    "plain": NO_PROBE,
    "with a probe": PROBE,
    "with signatures": {**NO_PROBE, **SIGNED},
    "with signatures and a probe": {**PROBE, **SIGNED},
    "with a shadow": SHADOW,
    "with a canary": CANARY,
}
CANDIDATES: dict[str, list[Candidate]] = {
    "plain": [*WRONG, *CUT, *CUT_MODEL_THAT_AGREES, *CUT_GOLDEN_THAT_AGREES, WRITES_WHEN_RUN],
    "with a probe": [
        NAN_WEIGHTS,
        *CUT_MODEL_THAT_AGREES[::3],
        WRITES_WHEN_LOADED,
        WRITES_WHEN_RUN,
        SLOW_IN_THE_PROBE,
    ],
    # Without a probe: a network that writes when it is loaded would do so in the worker.
    "with signatures": UNTRUSTED,
    "with signatures and a probe": [WRITES_WHEN_LOADED, WRITES_WHEN_RUN],
    "with a shadow": ON_LIVE_FRAMES,
    "with a canary": AS_CANARY,
}

KEPT_OUT = {"incompatible", "forbidden", "wrong_on_golden", "shadow", "canary"}
"""Refusals for what a network is; of the others a whole copy, a signature or a faster machine may
mend each."""


class Workers:
    """One worker for all candidates of a kind, started when the first of them comes; one at a
    time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0
        self._running: dict[str, Running] = {}

    @contextmanager
    def of(self, kind: str) -> Iterator[Running]:
        """The one of this kind; that of another kind ends. Where a test fails it is given up, so
        that the next one has nothing of it."""
        if kind not in self._running:
            self.end()
            folder = self._folder / str(self._started)
            self._started += 1
            said = WORKERS[kind]
            key = KEY if "trusted_keys" in said else None
            self._running[kind] = Running(folder, said, key)
        try:
            yield self._running[kind]
        except BaseException:
            self._running.pop(kind).rig.end()
            raise

    def end(self) -> None:
        """Ends the one that runs."""
        while self._running:
            _, running = self._running.popitem()
            running.end()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    made = Workers(tmp_path_factory.mktemp("refused"))
    yield made
    made.end()


@pytest.mark.parametrize(
    ("kind", "candidate"),
    [
        pytest.param(kind, each, id=f"{kind}: {each.what}")
        for kind, candidates in CANDIDATES.items()
        for each in candidates
    ],
)
def test_the_good_model_goes_on_and_the_next_good_one_is_taken(
    workers: Workers, kind: str, candidate: Candidate
) -> None:
    with workers.of(kind) as running:
        good, written = running.model, running.written()
        refusals, kept_out = running.count(candidate.reason), running.kept_out()
        version = candidate.publish(running)
        running.until_told(candidate.reason, version)
        assert running.count(candidate.reason) == refusals + 1
        running.show(GREY)
        running.until_scored(50)
        assert (running.model.version, running.model.sha256) == (good.version, good.sha256)
        assert running.rows(written)[-1]["model"]["version"] == good.version

        is_kept_out = candidate.reason in KEPT_OUT
        assert running.kept_out() == kept_out + is_kept_out
        if is_kept_out:
            again = running.publish(Draft.again(running.rig.registry.read("tiny", version)))
            running.until_told("quarantined", again)

        after = running.take_good()
        running.until_scored(50)
        expected = {(each.version, each.sha256) for each in (good, after)}
        if candidate in AS_CANARY:
            digest = running.rig.registry.manifest("tiny", version).sha256
            expected.add((version, digest))
        check_rows(running.rows(written), good.epoch, expected)
        assert not running.trap.exists()


def check_rows(rows: list[dict], since: int, expected: set[tuple[int, str]]) -> None:
    """From this epoch on they name these versions and digests, and nobody who was withdrawn comes
    back."""
    models = [row["model"] for row in rows if row["model"]["epoch"] >= since]
    assert {(each["version"], each["sha256"]) for each in models} == expected
    for name in STREAMS:
        epochs = [row["model"]["epoch"] for row in rows if row["stream"] == name]
        assert epochs == sorted(epochs)
