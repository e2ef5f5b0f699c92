"""All settings, in sections named as the stages. Each field says its unit and what it is for."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from pipeline.config_section import Section, one_or_many
from pipeline.model_config import ModelSettings


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
    slo_s: float = Field(
        default=0.0,
        ge=0,
        description=(
            "of 100 frames, 95 are to be scored within so many seconds of being decoded: batches "
            "are as large, and wait as long, as that allows, but larger where frames queue; 0: no "
            "such goal"
        ),
    )


class EngineSettings(Section):
    """Where and how the network runs."""

    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda` or `cuda:N`")
    threads: int = Field(
        default=0,
        ge=0,
        description="threads that a network computes with; 0: one on up to two cores, else the "
        "cores less one",
    )
    backend: Literal["auto", "torchscript", "onnxruntime"] = Field(
        default="torchscript",
        description="who runs the network: `torchscript`; `onnxruntime`, on a CPU, for versions "
        "that were published with `--formats onnx` (it takes `headrace[onnx]`); `auto`, the "
        "winner of a race of both and of numbers of threads at the first start",
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
