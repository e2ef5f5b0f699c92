"""A worker that goes on scoring while one candidate after another comes into its registry."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from pipeline.artifact.artifact import Draft
from pipeline.artifact.keys import SigningKey
from pipeline.artifact.names import LATEST
from pipeline.clock import SystemClock
from pipeline.config import ModelSettings
from pipeline.source.memory import MemorySource
from pipeline.types import Frame, ModelIdentity
from tests.artifacts import make_manifest_agree, tiny_draft
from tests.flow.rig import Rig, events, metric
from tests.pictures import GREY
from tests.support import wait_until

STREAMS = ("north", "south")
_FRAMES_AT_ONCE = 4

_TOLD_WITHIN_S = 240.0
"""The first one's probe has to start, which rests where the worker is busy."""


class Scene(MemorySource):
    """A camera's pace, so that others may work too; what it shows may change. See ``Source``."""

    def __init__(self, name: str) -> None:
        super().__init__([GREY], 10**9, SystemClock(), name=name)

    def poll(self, room: int, timeout_s: float) -> Sequence[Frame]:
        threading.Event().wait(0.01)
        return super().poll(min(room, _FRAMES_AT_ONCE), timeout_s)

    def show(self, pictures: Sequence[bytes]) -> None:
        """Shows these over and over."""
        self._payloads = pictures


class Running:
    """The worker, and what somebody may do to its registry. ``trap`` is the file that malicious
    networks want to write; with a ``key`` its good versions are signed. Ended by ``end``."""

    def __init__(self, folder: Path, said: dict[str, object], key: SigningKey | None) -> None:
        self.rig = Rig(folder)
        self.trap = folder / "trap"
        self.key = key
        if key is not None:
            self.rig.registry.sign(self.rig.registry.read("tiny", 1), key)
        self._biases = count(1)
        self._scenes = [Scene(name) for name in STREAMS]
        base = {"name": "tiny", "registry": self.rig.registry.url, "watch_interval_s": 0.02}
        model = ModelSettings.model_validate({**base, **said})
        self.worker = self.rig.worker(sources=self._scenes, model=model)
        self._summaries = self.rig.start(self.worker)
        try:
            self.until_scored(20)
            self.take_good()  # so that there is an older one, too
        except BaseException:
            self.rig.end()
            raise

    @property
    def model(self) -> ModelIdentity:
        """The one that scores."""
        model = self.worker.model()
        assert model is not None
        return model

    def until_scored(self, frames: int) -> None:
        """Waits for so many more."""
        enough = self.worker.summary().scored + frames
        wait_until(lambda: self.worker.summary().scored >= enough)

    def until_told(self, result: str, version: int) -> None:
        """Waits until this is the last thing that the page says of a version."""
        wait_until(lambda: events(self.worker)[-1:] == [(result, version)], _TOLD_WITHIN_S)

    def until_named(self, version: int) -> None:
        """Waits until a result is this version's."""
        since = self.written()
        wait_until(
            lambda: version in [row["model"]["version"] for row in self.rows(since)], _TOLD_WITHIN_S
        )

    def count(self, result: str) -> float:
        """How many versions came to this."""
        return metric(self.worker, "model_swaps_total", result=result)

    def kept_out(self) -> float:
        """How many contents are in quarantine."""
        return metric(self.worker, "quarantined_models")

    def show(self, *pictures: bytes) -> None:
        """Has the cameras show these over and over."""
        for scene in self._scenes:
            scene.show(pictures)

    def publish(self, draft: Draft) -> int:
        """Publishes a version, signed where the worker asks for it."""
        return self.publish_by(self.key, draft)

    def publish_by(self, key: SigningKey | None, draft: Draft) -> int:
        """Publishes a version, signed by ``key`` or nobody."""
        return self.rig.registry.publish(draft, key=key).version

    def publish_altered(
        self, draft: Draft, change: Callable[[Path], object], *, agrees: bool = False
    ) -> int:
        """Publishes a version whose folder is changed before the alias stands for it. If it
        ``agrees``, its manifest is changed too, and names the files that are there then."""
        registry = self.rig.registry
        version = registry.publish(draft, (), self.key).version
        folder = self.rig.folder / "registry" / "tiny" / str(version)
        change(folder)
        if agrees:
            make_manifest_agree(folder)
        self.point_at(version)
        return version

    def point_at(self, version: int) -> None:
        """Lets the alias stand for a version."""
        self.rig.registry.set_alias("tiny", LATEST, version)

    def take_good(self) -> ModelIdentity:
        """Publishes another good version and waits until it scores."""
        version = self.publish(tiny_draft(bias=next(self._biases) / 1000))
        self.until_told("swapped", version)
        self.until_scored(1)
        return self.model

    def written(self) -> int:
        """How many bytes of results there are."""
        return self.rig.out.stat().st_size

    def rows(self, since: int) -> list[dict]:
        """The whole rows after so many bytes, parsed."""
        with self.rig.out.open("rb") as file:
            file.seek(since)
            whole, _, _ = file.read().rpartition(b"\n")
        return [json.loads(line) for line in whole.partition(b"\n")[2].splitlines()]

    def end(self) -> None:
        """Ends the worker; it has lost, doubled or rejected nothing all that time."""
        try:
            self.worker.stop()
            summary = self.rig.finish(self._summaries)
            assert (summary.exit_code, summary.in_flight, summary.rejected) == (0, 0, 0)
            rows = self.rig.rows()
            assert summary.received == summary.scored == len(rows)
            for name in STREAMS:
                offsets = [row["source"]["offset"] for row in rows if row["stream"] == name]
                assert offsets == list(range(len(offsets)))
        finally:
            self.rig.end()
