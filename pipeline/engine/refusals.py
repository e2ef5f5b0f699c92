"""Versions that aren't taken: for now or for good, and who is told."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from pipeline.artifact.followed import Followed
from pipeline.artifact.manifest import Manifest
from pipeline.artifact.names import LATEST
from pipeline.clock import Clock
from pipeline.errors import ArtifactRefused, HeadraceError
from pipeline.metrics import Metrics
from pipeline.types import ModelIdentity, SwapEvent

log = logging.getLogger(__name__)

AGAIN_S = 60.0
"""To try costs the active model some of its speed."""

_PASSING = frozenset({"unreachable", "missing", "incomplete"})
"""Refusals that may mend themselves: such a version is tried again at the next look."""

_MENDABLE = frozenset({"no_room", "untrusted", "too_slow"})
"""Refusals that others may mend, by more memory or a signature: tried again after ``AGAIN_S``."""

_QUARANTINED = frozenset(
    {"incompatible", "forbidden", "wrong_on_golden", "probe", "shadow", "canary", "error"}
)
"""Refusals for what the artifact is: its content is refused under any version."""

_FORGOTTEN = frozenset({"incompatible", "error"})
"""Those of them that a restart of the worker forgets, whatever it keeps: it is how to take another
contract, and an error that nobody foresaw may have been of the moment."""


class Refusals:
    """Says each once, and remembers it: the version until the alias has moved, and the content of
    one that was refused for what it is. ``digest_of`` says which of a version's files is run here.

    Owned by: the swap thread; ``on_event`` is set before that starts.
    """

    def __init__(
        self,
        followed: Followed,
        metrics: Metrics,
        clock: Clock,
        digest_of: Callable[[Manifest], str] = lambda manifest: manifest.sha256,
    ) -> None:
        self._followed = followed
        self._quarantine = followed.quarantine
        self._metrics = metrics
        self._clock = clock
        self._digest_of = digest_of
        self._version = 0
        self._last_complaint = ""
        self._again_mono_s = math.inf
        self.on_event: Callable[[SwapEvent], None] | None = None
        metrics.trials.quarantined.set(len(self._quarantine))

    def may_try(self, version: int) -> bool:
        """Whether it wasn't refused, or may be tried again."""
        return version != self._version or self._clock.monotonic() >= self._again_mono_s

    def forget(self) -> None:
        """The alias stands for what scores: whatever was refused before may come again."""
        self._last_complaint, self._version, self._again_mono_s = "", 0, math.inf

    def check(self, manifest: Manifest) -> None:
        """Looks whether this content was refused before.

        Raises:
            ArtifactRefused: ``quarantined``.
        """
        if why := self._quarantine.why(manifest.content):
            sha256 = self._digest_of(manifest)
            raise ArtifactRefused(
                "quarantined",
                f"sha256 {sha256} was refused before; publish another model ({why})",
            )

    def refuse(self, active: ModelIdentity, version: int, error: HeadraceError) -> None:
        """Says once why a version isn't taken; the active model goes on."""
        reason = error.reason if isinstance(error, ArtifactRefused) else "unreachable"
        complaint = f"{version} {reason} {error}"
        if reason not in _PASSING:
            self._version = version
            may_mend = reason in _MENDABLE
            self._again_mono_s = self._clock.monotonic() + AGAIN_S if may_mend else math.inf
        if complaint == self._last_complaint:
            return
        self._last_complaint = complaint
        sha256 = self._look_at(active.name, version, reason, str(error))
        wanted = version or self._followed.selector or LATEST
        log.warning("%s@%s is refused: %s", active.name, wanted, error)
        self.tell(ModelIdentity(active.name, version, sha256, active.epoch), reason, str(error))

    def roll_back(self, bad: ModelIdentity, content: str, complaint: str) -> None:
        """Keeps out a version that has scored."""
        self._version, self._again_mono_s = bad.version, math.inf
        self._keep_out(bad, content, "rolled_back", complaint)
        self.tell(bad, "rolled_back", complaint)

    def tell(self, identity: ModelIdentity, result: str, detail: str, pause_s: float = 0.0) -> None:
        """Counts what came of a version, and shows it."""
        self._metrics.model_swaps.labels(result).inc()
        if self.on_event is not None:
            self.on_event(
                SwapEvent(
                    at=self._clock.now(),
                    name=identity.name,
                    version=identity.version,
                    sha256=identity.sha256,
                    epoch=identity.epoch,
                    result=result,
                    detail=detail,
                    pause_s=pause_s,
                )
            )

    def _look_at(self, name: str, version: int, reason: str, why: str) -> str:
        """Keeps out who was refused for what it is; gives its digest, "" if unknown."""
        try:
            manifest = self._followed.registry.manifest(name, version)
        except HeadraceError:
            return ""
        sha256 = self._digest_of(manifest)
        if reason in _QUARANTINED:
            refused = ModelIdentity(name, version, sha256, 0)
            self._keep_out(refused, manifest.content, reason, why)
        return sha256

    def _keep_out(self, refused: ModelIdentity, content: str, reason: str, why: str) -> None:
        add = self._quarantine.add_for_now if reason in _FORGOTTEN else self._quarantine.add
        add(refused, content, f"{reason}: {why}", self._clock.now())
        self._metrics.trials.quarantined.set(len(self._quarantine))
