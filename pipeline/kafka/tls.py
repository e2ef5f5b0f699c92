"""TLS to brokers: the context of our files, and a memory of the handshakes that failed.

kafka-python says of a failed handshake that no broker answers, if it says anything, and waits for
the broker's part in one for ever (3.0.12, ``KafkaSSLTransport.handshake``). Both are mended here,
in the socket, which the ``ssl`` module lets a context choose.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError


class Handshakes:
    """Why handshakes with brokers failed, of which kafka-python only says that they did.
    Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[str, str] = {}

    def note(self, host: str, failure: str | None) -> None:
        """A handshake with ``host`` is over; ``failure`` says why it failed, None if it didn't."""
        with self._lock:
            if failure is None:
                self._failures.pop(host, None)
            else:
                self._failures[host] = failure

    def complaint(self) -> str | None:
        """Why the last handshake with some host failed, or None. Told once: what is so for longer
        fails again."""
        with self._lock:
            complaint = next(iter(self._failures.values()), None)
            self._failures.clear()
            return complaint


class BrokerContext(ssl.SSLContext):
    """A client's context whose handshakes end within some seconds, and are remembered."""

    handshakes: Handshakes
    settings: KafkaSettings
    handshake_within_s = 10.0


class BrokerSocket(ssl.SSLSocket):
    """A connection of a ``BrokerContext``. Owned by: kafka-python's I/O thread."""

    _deadline: threading.Timer | None = None

    def do_handshake(self, block: bool = False) -> None:
        """Goes on with the handshake. Called again and again, as the socket doesn't block."""
        context: Any = self.context  # typeshed knows no context but the common one
        if self._deadline is None:
            self._deadline = threading.Timer(context.handshake_within_s, self._give_up)
            self._deadline.daemon = True
            self._deadline.start()
        host = str(self.server_hostname)
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.close()  # kafka-python doesn't
            failure = why_failed(host, error, context.settings)
            if failure is not None:  # else the connection was lost, which tells nothing
                context.handshakes.note(host, failure)
            raise
        self._deadline.cancel()
        context.handshakes.note(host, None)

    def close(self) -> None:
        """Closes it, in the middle of a handshake as well."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().close()

    def _give_up(self) -> None:
        """Wakes whoever waits for the socket. Not ``self.shutdown``, which throws TLS's state away
        under the feet of the thread that uses it."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)


def make_context(
    settings: KafkaSettings, key_password: str, handshakes: Handshakes
) -> BrokerContext:
    """Reads the files that the settings name.

    Raises:
        ConfigError: one is missing, or isn't what it should be.
    """
    context = BrokerContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificates and host names
    context.sslsocket_class = BrokerSocket
    context.handshakes, context.settings = handshakes, settings
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.verify_hostname
    if settings.ca_file:
        path = _readable("kafka.ca_file", settings.ca_file)
        try:
            context.load_verify_locations(cafile=path)
        except ssl.SSLError as cause:
            raise ConfigError(
                f"kafka.ca_file: {path} holds no certificate, expected PEM"
            ) from cause
    else:
        context.load_default_certs()
    if settings.cert_file:
        _load_own(context, settings, key_password)
    return context


def _load_own(context: ssl.SSLContext, settings: KafkaSettings, key_password: str) -> None:
    certificate = _readable("kafka.cert_file", settings.cert_file)
    key = _readable("kafka.key_file", settings.key_file) if settings.key_file else None
    asked: list[bool] = []

    def password() -> str:  # without it OpenSSL asks on the terminal
        asked.append(True)
        return key_password

    try:
        context.load_cert_chain(certificate, key, password)
    except (ssl.SSLError, ValueError) as cause:
        place = f"kafka.key_file: {key}" if key else f"kafka.cert_file: {certificate}"
        if asked and not key_password:
            why = "the private key is encrypted: set kafka.key_password_file"
        elif asked:
            why = "kafka.key_password isn't the password of the private key"
        elif "MISMATCH" in str(getattr(cause, "reason", "")):
            why = f"the private key isn't that of the certificate in {certificate}"
        else:
            why = "expected a certificate and its private key, in PEM" + (
                "" if key else "; a key that is in a file of its own: kafka.key_file"
            )
        raise ConfigError(f"{place}: {why}") from cause


def _readable(setting: str, file: str) -> Path:
    path = Path(file).expanduser()
    try:
        with path.open("rb"):
            return path
    except OSError as cause:
        raise ConfigError(f"{setting}: {file} can't be read: {cause.strerror}") from cause


def why_failed(host: str, error: BaseException, settings: KafkaSettings) -> str | None:
    """Says what is wrong and what to do, where a TLS error tells; None for a mere loss of the
    connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(host, error, settings)
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError):
        return None
    reason = str(error.reason or error)
    if "ALERT" in reason and settings.cert_file:
        return f"{host} doesn't accept the certificate in kafka.cert_file ({reason})"
    if "CERTIFICATE" in reason and "ALERT" in reason:
        return f"{host} asks for a certificate of ours ({reason}): set kafka.cert_file"
    return f"{host} and we found no way to encrypt ({reason})"


_EXPIRED, _NOT_YET_VALID = 10, 9  # of OpenSSL's X509_V_ERR_…
_WRONG_NAME = (62, 64)


def _of_certificate(host: str, error: ssl.SSLCertVerificationError, settings: KafkaSettings) -> str:
    said = error.verify_message.rstrip(".")
    if error.verify_code in _WRONG_NAME:
        todo = "connect by a name that is in it, or have it made for this one"
    elif error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        todo = "have it renewed, and look at this machine's clock"
    elif settings.ca_file:
        todo = f"{settings.ca_file} (kafka.ca_file) isn't of the authority that signed it"
    else:
        todo = "set kafka.ca_file to the certificate of the authority that signed it"
    return f"the certificate of {host} isn't to be trusted ({said}): {todo}"
