"""The settings of the model: which one scores, and what another must stand to take its place."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from pipeline.config_section import Section, one_or_many


class ModelSettings(Section):
    """Which model scores, and where it comes from."""

    name: str = Field(
        default="", description="model's name in the registry, `NAME[@VERSION or @ALIAS]`"
    )
    registry: str = Field(default="registry", description="fsspec URL or folder of the registry")
    watch_interval_s: float = Field(
        default=1.0, gt=0, description="seconds between looks at the alias for a new version"
    )
    trusted_keys: tuple[str, ...] = Field(
        default=(),
        description="public keys, `ed25519:…` or a PEM file's path each; with any, only versions "
        "that one of them signed may score",
    )
    state_folder: str = Field(
        default="",
        description="folder, one for a registry, that keeps the newest signed version taken and "
        "what was refused, so that a restarted worker refuses it too; empty: remembered while it "
        "runs",
    )
    probe: Literal["never", "swaps", "always"] = Field(
        default="swaps",
        description="when a version is first run in a process that is shut in: `swaps`, before it "
        "takes the place of another; `always`, before the first one too, which makes the start "
        "some seconds longer",
    )
    probe_timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="longest time of a version in the probe, in seconds; its rests beside a busy "
        "worker don't count",
    )
    rollout: Literal["swap", "shadow", "canary"] = Field(
        default="swap",
        description="how a version takes another's place: `swap`, at once; `shadow`, after it has "
        "run on the same frames, for nobody's eyes, and agrees; `canary`, after it has also scored "
        "a share of the streams for real",
    )
    shadow_frames: int = Field(
        default=2000,
        ge=1,
        description="frames after which the share of a version in the shadow so far decides; "
        "sooner where it surely agrees or surely doesn't",
    )
    max_disagreement: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of the frames for which a version on trial may name another class than "
        "the active one; 1: whatever it names",
    )
    max_confidence_drop: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="how much lower than the active one's the confidence of a version on trial may "
        "be on average",
    )
    max_slowdown: float = Field(
        default=3.0,
        ge=1,
        description="how many times as long as the active one a version on trial may take for most "
        "batches; beside another one each is slower than alone",
    )
    shadow_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="share of one thread's time that a version in the shadow may take",
    )
    canary_share: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of the streams, at least one, that a version scores as a canary",
    )
    canary_frames: int = Field(
        default=2000,
        ge=1,
        description="frames of these streams after which a version takes over as a canary, if "
        "nothing spoke against it",
    )

    drift_every_s: float = Field(
        default=2.0,
        ge=0,
        description="seconds between two frames of a stream that are compared with what the model "
        "was published with; 0: none are",
    )
    drift_frames: int = Field(
        default=400,
        ge=100,
        description="newest of these frames that are compared",
    )

    _several = field_validator("trusted_keys", mode="before")(one_or_many)

    @field_validator("trusted_keys")
    @classmethod
    def _no_empty_key(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        """An empty variable mustn't turn trust off: `[]` does."""
        if "" in keys:
            raise ValueError("an empty one is no key; `[]` is for none")
        return keys
