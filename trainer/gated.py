"""Publishing through the gate: what would replace a version is first compared with it.

    where do the aliases stand? → compare → write the version → move each alias, if it still stands
        there; else compare with what it stands for now

A version is written without an alias and gets them one by one, so that a death at any point leaves
each where it was or at a version that stood the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from pipeline.artifact.artifact import Draft
from pipeline.artifact.manifest import Manifest
from pipeline.errors import ArtifactRefused, PublishRefused
from pipeline.probe.client import Probe
from trainer.gate import Comparison, GateSettings, Measure, compare
from trainer.incumbent import Heldout, Incumbents
from trainer.options import Target
from trainer.tasks import MEASURES, scores_of

GATE_NOTE = "gate"
"""The manifest's note of what a version was compared with."""

Verdict: TypeAlias = Literal["worse", "not worse", "not compared"]

_NOT_ITS_FAULT = frozenset({"no_room", "too_slow", "unreachable"})
"""Refusals that say nothing of the incumbent: workers may well be running it."""

_NAMES: Mapping[Measure, str] = {
    "accuracy": "accuracy",
    "f1": "mean F1",
    "mse": "mean squared error",
}
_FORMATS: Mapping[Measure, Callable[[float | None], str]] = {
    "accuracy": "{:.2%}".format,
    "f1": "{:.2%}".format,
    "mse": lambda mean: "that isn't finite" if mean is None else f"{mean:.4g}",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate beside one incumbent. Without a ``comparison``, ``why_not`` says why there is
    none."""

    name: str
    version: int
    aliases: tuple[str, ...]
    settings: GateSettings
    comparison: Comparison | None
    why_not: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the gate goes by."""
        if self.comparison is None:
            return "not compared"
        return "worse" if self.comparison.is_worse(self.settings.tolerance) else "not worse"

    def __str__(self) -> str:
        incumbent = f"{self.name}@{self.version} ({', '.join(self.aliases)})"
        found = self.comparison
        if found is None:
            return f"not compared with {incumbent}: {self.why_not}"
        ours, theirs = map(_FORMATS[found.measure], found.means)
        if found.measure == "accuracy":
            pairs = f"{found.gained} that only the new one has right, {found.lost} only the old one"
        else:
            pairs = f"{found.gained} on which the new one is better, {found.lost} the old one"
        return (
            f"{self.verdict} than {incumbent}: {_NAMES[found.measure]} {ours}, the incumbent's"
            f" {theirs}, on the same {found.samples} held-out samples ({pairs};"
            f" p {found.p_value:.2g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """As the JSON summary has it."""
        found = self.comparison
        said: dict[str, Any] = {
            "incumbent": self.version,
            "aliases": list(self.aliases),
            "verdict": self.verdict,
        }
        if found is None:
            return said | {"why": self.why_not}
        ours, theirs = (None if mean is None else round(mean, 6) for mean in found.means)
        return said | {
            "samples": found.samples,
            "measure": found.measure,
            found.measure: ours,
            f"incumbent_{found.measure}": theirs,
            "gained": found.gained,
            "lost": found.lost,
            "p_value": round(found.p_value, 6),
        }


@dataclass(frozen=True, slots=True)
class Gated:
    """What came of it. ``published`` is None where nothing was written; ``refusal`` says why an
    alias is where it was."""

    compared: tuple[Compared, ...]
    published: Manifest | None
    refusal: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As the JSON summary has it."""
        return {
            "compared": [each.to_dict() for each in self.compared],
            "refusal": self.refusal,
        }

    def check(self, remedy: str) -> None:
        """Raises what is to be said last.

        Raises:
            PublishRefused: an alias is where it was; ``remedy`` says how it moves all the same.
        """
        if self.refusal is not None:
            raise PublishRefused(f"{self.refusal}. {remedy}")


@dataclass(slots=True)
class Gate:
    """Compares one draft with the versions that it would replace. Owned by: one thread.

    Without ``heldout`` it says once that nothing is compared.
    """

    target: Target
    draft: Draft
    heldout: Heldout | None
    settings: GateSettings
    probe: Probe
    say: Callable[[str], None]
    compared: dict[int, Compared] = field(default_factory=dict)

    def publish(self) -> Gated:
        """Compares, and publishes what isn't worse, or all if so told.

        Raises:
            ArtifactRefused: see ``Registry.publish``.
            PublishRefused: an incumbent can't be compared, through no fault of its own. Nothing is
                written; where it came in between, it is the ``Gated``'s refusal.
        """
        registry, name, aliases = self.target.registry, self.target.name, self.target.aliases
        standing = {alias: registry.standing(name, alias) for alias in aliases}
        for version in dict.fromkeys(filter(None, standing.values())):
            self._compare(version, tuple(each for each in aliases if standing[each] == version))
        if refusal := self._refusal():
            return Gated(self._all, None, f"{name} isn't published: it is {refusal}")
        notes = dict(self.draft.notes)
        if self.compared:
            notes[GATE_NOTE] = "; ".join(str(each) for each in self._all)
        manifest = registry.publish(replace(self.draft, notes=notes), (), self.target.key)
        for alias, since in standing.items():
            what = f"{name}@{manifest.version} is published and {alias} doesn't move to it"
            try:
                has_moved = self._advance(alias, since, manifest.version)
            except PublishRefused as refused:  # of what another publisher put there in between
                return Gated(self._all, manifest, f"{what}: {refused}")
            if not has_moved:
                return Gated(self._all, manifest, f"{what}: it is {self._refusal()}")
        return Gated(self._all, manifest)

    @property
    def _all(self) -> tuple[Compared, ...]:
        return tuple(self.compared.values())

    def _refusal(self) -> str:
        if self.settings.even_if_worse:
            return ""
        return "; ".join(str(each) for each in self._all if each.verdict == "worse")

    def _advance(self, alias: str, since: int, version: int) -> bool:
        """Moves an alias; where another publisher moved it in between, what it put there is an
        incumbent too. False where that is the better one."""
        registry, name = self.target.registry, self.target.name
        while (now := registry.advance(name, alias, version, since)) < version:
            if now:
                self._compare(now, (alias,))
            if self._refusal():
                return False
            since = now
        return True

    def _compare(self, version: int, aliases: tuple[str, ...]) -> None:
        if version not in self.compared:
            self.compared[version] = compared = self._compared(version, aliases)
            if self.heldout is not None or len(self.compared) == 1:  # without data, once for all
                self.say(str(compared))

    def _compared(self, version: int, aliases: tuple[str, ...]) -> Compared:
        name, heldout = self.target.name, self.heldout

        def found(comparison: Comparison | None, why_not: str = "") -> Compared:
            return Compared(name, version, aliases, self.settings, comparison, why_not)

        if heldout is None:
            return found(None, "there is no held-out data, which --data gives")
        self.say(f"running {name}@{version} on {len(heldout.samples)} held-out samples")
        try:
            incumbents = Incumbents(self.target.registry, name, self.probe)
            theirs = incumbents.predictions(version, self.draft.contract, heldout)
        except ArtifactRefused as refused:
            if refused.reason in _NOT_ITS_FAULT and not self.settings.even_if_worse:
                raise PublishRefused(
                    f"{name}@{version} can't be compared with the new one here: {refused};"
                    " --even-if-worse publishes without"
                ) from refused
            return found(None, str(refused))
        ours_n, theirs_n = scores_of(heldout.predictions), scores_of(theirs)
        return found(compare(ours_n, theirs_n, MEASURES[heldout.predictions.task]))
