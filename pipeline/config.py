"""All settings, in sections named as the stages. Each field says its unit and what it is for."""

from __future__ import annotations

import json
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Section(BaseModel):
    """A group of settings: frozen, and unknown keys are refused."""

    # An error must not repeat what was given: it may be a password.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


def one_or_many(value: object) -> object:
    """One text may stand alone; the environment takes several as a JSON array."""
    if not isinstance(value, str):
        return value
    if not value.startswith("["):
        return (value,)
    try:
        return json.loads(value)
    except json.JSONDecodeError as cause:
        raise ValueError("expected one text, or a JSON array of them") from cause


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
        default=60.0, gt=0, description="longest time of a version in the probe, in seconds"
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
        lt=1,
        description="share of the frames for which a version on trial may name another class than "
        "the active one",
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

    _several = field_validator("trusted_keys", mode="before")(one_or_many)

    @field_validator("trusted_keys")
    @classmethod
    def _no_empty_key(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        """An empty variable mustn't turn trust off: `[]` does."""
        if "" in keys:
            raise ValueError("an empty one is no key; `[]` is for none")
        return keys


class IntakeSettings(Section):
    """How much may be in the pipeline at once."""

    max_frames: int = Field(
        default=256,
        ge=1,
        description="frames in flight, from poll to durable outcome; each source but one may "
        "overdraw it by a poll",
    )
    max_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1,
        description="bytes of frames in flight, from poll to durable outcome",
    )
    poll_frames: int = Field(
        default=32, ge=1, description="most frames taken from a source by one poll"
    )
    live_queue_frames: int = Field(
        default=2,
        ge=1,
        description="frames of one live stream that may wait for decoding; older are shed",
    )


class DecodeSettings(Section):
    """The pool that turns pictures into samples."""

    threads: int = Field(
        default=0, ge=0, description="decode threads; 0: one more than usable cores"
    )
    timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="a frame whose decoding takes longer, in seconds, is tried once more, and "
        "then rejected",
    )
    max_image_bytes: int = Field(
        default=32 * 1024 * 1024, ge=1, description="larger frames are rejected"
    )
    max_image_pixels: int = Field(
        default=64_000_000, ge=1, description="larger pictures are rejected; 8K video: 33 million"
    )


class BatchSettings(Section):
    """When a batch closes. Buckets are the powers of two up to `max_size`, and `max_size`."""

    max_size: int = Field(
        default=0,
        ge=0,
        le=1024,
        description=(
            "most frames in a batch; 0: 32, and 64 for a network that computes 64 within "
            "`batch.max_wait_s`"
        ),
    )
    max_wait_s: float = Field(
        default=0.02,
        ge=0,
        description=(
            "longest wait of a batch's oldest frame for company, in seconds; four times as long "
            "without live frames, while enough are waiting to fill it"
        ),
    )


class EngineSettings(Section):
    """Where and how the network runs."""

    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda` or `cuda:N`")
    threads: int = Field(
        default=0,
        ge=0,
        description="torch threads; 0: one on up to two cores, else the cores less one",
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
            raise ValueError("which is no device")
        return value


class SinkSettings(Section):
    """How results are written."""

    retry_for_s: float = Field(
        default=300.0,
        ge=0,
        description="a sink that fails for longer than this, in seconds, ends the worker",
    )
    dead_letter: str = Field(
        default="", description="sink URL for rejected frames; empty: beside a jsonl or Kafka sink"
    )


class KafkaSettings(Section):
    """How all Kafka connections are made: encryption, and who we are. Files are read again for each
    new client, so that a certificate, password or token may be renewed under a running worker."""

    tls: bool = Field(default=False, description="whether connections are encrypted, by TLS 1.2 up")
    ca_file: str = Field(
        default="",
        description="PEM file of the authorities that may sign a broker's certificate; empty: "
        "the system's",
    )
    verify_hostname: bool = Field(
        default=True, description="whether a broker's certificate must be made for its address"
    )
    cert_file: str = Field(
        default="", description="PEM file of our own certificate, for brokers that ask for one"
    )
    key_file: str = Field(
        default="", description="PEM file of its private key; empty: in `kafka.cert_file` as well"
    )
    key_password: SecretStr = Field(
        default=SecretStr(""), description="password of a private key that is encrypted"
    )
    key_password_file: str = Field(default="", description="a file with that password")
    sasl: Literal["", "plain", "scram-sha-256", "scram-sha-512", "oauthbearer"] = Field(
        default="", description="how we say who we are; empty: not at all, or by the certificate"
    )
    username: str = Field(default="", description="the user's name, for plain and scram")
    password: SecretStr = Field(default=SecretStr(""), description="the user's password")
    password_file: str = Field(default="", description="a file with the user's password")
    token_file: str = Field(default="", description="a file with the token, for oauthbearer")
    token_url: str = Field(
        default="", description="https URL that issues the tokens instead (client credentials)"
    )
    token_scope: str = Field(default="", description="the scope that is asked for there")
    client_id: str = Field(default="", description="who we are to `kafka.token_url`")
    client_secret: SecretStr = Field(default=SecretStr(""), description="our secret there")
    client_secret_file: str = Field(default="", description="a file with that secret")
    experimental_strict: bool = Field(
        default=False,
        description="whether a source may say `mode=strict`, which is an experiment: see "
        "docs/decisions/0013-strict-mode.md",
    )


class ServerSettings(Section):
    """The HTTP server with metrics, health and the live page."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port; 0: any free one")
    enabled: bool = Field(default=True, description="whether there is a server at all")


class LifecycleSettings(Section):
    """Ends and deadlines."""

    max_frames: int = Field(default=0, ge=0, description="stop after this many frames; 0: never")
    drain_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="longest time for frames in flight to finish after a stop, in seconds",
    )
    stall_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="a call that takes longer, or frames in flight of which nothing comes for so "
        "long while no sink waits, in seconds: not live, and exit code 75",
    )


class Settings(Section):
    """Everything a worker needs to know."""

    sources: tuple[str, ...] = Field(default=(), description="source URLs")
    sinks: tuple[str, ...] = Field(default=("stdout:",), description="sink URLs")
    model: ModelSettings = ModelSettings()
    intake: IntakeSettings = IntakeSettings()
    decode: DecodeSettings = DecodeSettings()
    batch: BatchSettings = BatchSettings()
    engine: EngineSettings = EngineSettings()
    sink: SinkSettings = SinkSettings()
    kafka: KafkaSettings = KafkaSettings()
    server: ServerSettings = ServerSettings()
    lifecycle: LifecycleSettings = LifecycleSettings()
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least important log lines that are written, on stderr"
    )

    _several = field_validator("sources", "sinks", mode="before")(one_or_many)
