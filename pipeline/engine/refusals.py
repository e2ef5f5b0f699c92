"""What a refusal says of the next look: the same version again, later, or never."""

from __future__ import annotations

PASSING = frozenset({"unreachable", "missing", "incomplete"})
"""Refusals that may mend themselves: such a version is tried again at the next look."""

MENDABLE = frozenset({"no_room", "untrusted", "too_slow"})
"""Refusals that others may mend, by more memory or a signature: tried again after ``AGAIN_S``."""

AGAIN_S = 60.0
"""To try costs the active model some of its speed."""

QUARANTINED = frozenset(
    {"incompatible", "forbidden", "wrong_on_golden", "probe", "shadow", "canary", "error"}
)
"""Refusals for what the artifact is: its content is refused under any version."""

FORGOTTEN = frozenset({"incompatible", "error"})
"""Those of them that a restart of the worker forgets, whatever it keeps: it is how to take another
contract, and an error that nobody foresaw may have been of the moment."""
