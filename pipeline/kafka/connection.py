"""Connections to a Kafka cluster: what consumer, producer and admin have in common."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import kafka.record.util
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import (
    AuthorizationError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnsupportedCodecError,
)

from pipeline.errors import ConfigError, HeadraceError, SourceUnavailable
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.login import login_options
from pipeline.kafka.probe import knock
from pipeline.kafka.record import MAX_RECORD_BYTES

log = logging.getLogger(__name__)

_CONNECT_WITHIN_MS = 10_000
_CLOSE_WITHIN_S = 5.0
_ANSWER_WITHIN_S = 30.0
_MOST_RECONNECT_BACKOFF_MS = 1_000
"""kafka-python's default of 30 s keeps a client silent for most of a minute after its broker is
back (measured: 52 to 58 s)."""


def require_crc32c() -> None:
    """Refuses to run without the ``crc32c`` package.

    Raises:
        ConfigError: it is missing; kafka-python then sums in Python, 47 times slower on frames.
    """
    if kafka.record.util.crc32c_c is None:
        raise ConfigError(
            "the Python package crc32c is missing, without which kafka-python checks records 47"
            " times slower; pip install crc32c"
        )


class NotLetIn(KafkaError):
    """The cluster wants to be spoken to in another way than the settings say."""

    def __str__(self) -> str:
        return str(self.args[0])


def connection_options(address: KafkaAddress) -> dict[str, Any]:
    """The arguments of a kafka-python client that say where it connects, how, and how patiently.

    Knocks first. Blocks for up to ten seconds, and some more where the cluster is silent; to be
    called within ``kafka_errors``.

    Raises:
        NotLetIn: the cluster can't be spoken to so.
        KafkaConnectionError: it doesn't answer.
    """
    access = address.access
    try:
        refusal = knock(address.servers, access, _CONNECT_WITHIN_MS / 1000)
        if refusal is not None:
            raise NotLetIn(refusal)
        return {
            "bootstrap_servers": list(address.servers),
            "client_id": "headrace",
            "bootstrap_timeout_ms": _CONNECT_WITHIN_MS,
            "reconnect_backoff_max_ms": _MOST_RECONNECT_BACKOFF_MS,
            "security_protocol": access.protocol,
            "ssl_context": access.context(),
            **login_options(access),
        }
    except ConfigError as cause:  # a file that was there at the start
        raise NotLetIn(str(cause)) from cause
    except OSError as cause:
        raise KafkaConnectionError(str(cause)) from cause


@contextmanager
def kafka_errors(
    address: KafkaAddress, retry: type[HeadraceError] = SourceUnavailable
) -> Iterator[None]:
    """Turns kafka-python's errors into ours: what a person must mend is a ``ConfigError``, all else
    is ``retry``. Where we got in once, that we aren't let in now may mend itself: certificates and
    passwords are renewed, and our files are read again."""
    access = address.access
    refused = retry if access.has_entered(address.servers) else ConfigError
    try:
        yield
        access.note_entry(address.servers)
    except AuthorizationError as cause:
        raise ConfigError(f"{address}: not allowed ({_words(cause)})") from cause
    except UnsupportedCodecError as cause:
        raise ConfigError(
            f"{address}: records are compressed in a way that can't be read here ({_words(cause)});"
            " for snappy, pip install python-snappy"
        ) from cause
    except NotLetIn as cause:
        raise refused(f"{address}: {cause}") from cause
    except SaslAuthenticationFailedError as cause:
        raise refused(f"{address}: {_words(cause)}: {access.mend_login()}") from cause
    except (KafkaConnectionError, KafkaTimeoutError) as cause:
        complaint = access.handshakes.complaint()
        if complaint is not None:  # of a broker that the first one sent us to
            raise refused(f"{address}: {complaint}") from cause
        raise retry(f"{address}: no broker answers ({_words(cause)}); is it running?") from cause
    except KafkaError as cause:
        raise retry(f"{address}: {_words(cause)}") from cause
    except OSError as cause:
        raise retry(f"{address}: {cause}") from cause


def make_producer(address: KafkaAddress, deliver_within_s: float, **more: Any) -> KafkaProducer:
    """Connects a producer whose records are acknowledged by all replicas in sync. Blocks up to ten
    seconds; raises kafka-python's own errors, see ``kafka_errors``."""
    return KafkaProducer(
        **connection_options(address),
        metrics_enabled=False,
        enable_idempotence=True,
        acks="all",
        max_request_size=MAX_RECORD_BYTES,
        delivery_timeout_ms=int(deliver_within_s * 1000),
        # Its default of 30 s is refused where a delivery has less than that.
        request_timeout_ms=int(min(_ANSWER_WITHIN_S, deliver_within_s / 2) * 1000),
        allow_auto_create_topics=False,
        **more,
    )


def close_producer(producer: KafkaProducer, flush_s: float = _CLOSE_WITHIN_S) -> None:
    """Closes it within seconds, whatever state it is in; what isn't delivered in ``flush_s`` never
    will be. Never raises."""
    try:
        producer.close(timeout=flush_s)
    except Exception as error:  # noqa: BLE001  (a wedged client raises anything)
        # It raises where the flush takes too long, before its thread is told to end: that one would
        # keep all that isn't delivered, and try on for minutes.
        log.info("a producer is given up with what it hasn't delivered: %r", error)
        with suppress(Exception):
            producer._sender.force_close()
            producer._closed = True


def has_topic(address: KafkaAddress) -> bool:
    """Whether the topic is there, and may be seen. A producer's own answer to that takes its whole
    time-out. Blocks for up to ten seconds.

    Raises:
        SourceUnavailable: the cluster doesn't answer.
    """
    with connect_admin(address) as admin:
        return address.topic in admin.list_topics()


def create_topic(address: KafkaAddress, partitions: int) -> bool:
    """Makes a topic for frames; whether it wasn't there yet. Blocks for some seconds at the most.

    Raises:
        ConfigError: not allowed.
        SourceUnavailable: the cluster doesn't answer, or refuses.
    """
    options = {
        "num_partitions": partitions,
        "configs": {"max.message.bytes": str(MAX_RECORD_BYTES)},
    }
    with connect_admin(address) as admin:
        try:
            admin.create_topics({address.topic: options}, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            return False
    return True


@contextmanager
def connect_admin(address: KafkaAddress, **more: Any) -> Iterator[KafkaAdminClient]:
    """Connects a client that asks about topics and groups, and changes them; closes it at the end.
    Blocks for up to ten seconds.

    Raises:
        ConfigError: not allowed.
        SourceUnavailable: the cluster doesn't answer, or refuses.
    """
    with kafka_errors(address):
        admin = KafkaAdminClient(**connection_options(address), **more)
        try:
            yield admin
        finally:
            admin.close()


def _words(error: BaseException) -> str:
    """kafka-python's error in one line: its name says more than its text."""
    # A topic that is refused comes with the whole request and response.
    text = str(error).strip().partition("\n")[0].partition(": Request '")[0]
    name = type(error).__name__
    return text if text.startswith(name) else f"{name}: {text}" if text else name
