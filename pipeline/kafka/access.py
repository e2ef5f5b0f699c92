"""How we get into a cluster: what the settings say of it, checked, and what came of it so far."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError
from pipeline.kafka.issued_token import Client, IssuedToken, require_token_url
from pipeline.kafka.tls import Handshakes, make_context

log = logging.getLogger(__name__)

_WITH_PASSWORD = ("plain", "scram-sha-256", "scram-sha-512")
_OF_TLS = ("ca_file", "cert_file", "key_file", "key_password", "key_password_file")
_OF_USER = ("username", "password", "password_file")
_OF_ENDPOINT = ("token_url", "token_scope", "client_id", "client_secret", "client_secret_file")
_OF_SASL = (*_OF_USER, "token_file", *_OF_ENDPOINT)
_READ_ONCE = ("ca_file", "cert_file", "key_file", "key_password_file", "password_file")


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """The settings of all Kafka connections of a process; without any: plain, and nobody asks.

    Shared by all clients; what it remembers may be written by any thread.
    """

    settings: KafkaSettings = field(default_factory=KafkaSettings)
    handshakes: Handshakes = field(default_factory=Handshakes, repr=False, compare=False)
    _issued: IssuedToken = field(default_factory=IssuedToken, repr=False, compare=False)
    _entered: set[tuple[str, ...]] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def of(cls, settings: KafkaSettings) -> KafkaAccess:
        """Checks that the settings fit together and that their files can be used.

        Raises:
            ConfigError: they don't, or can't.
        """
        _require_pairs(settings)
        access = cls(settings)
        access.context()
        if settings.sasl in _WITH_PASSWORD:
            access.password()
        elif settings.token_url:
            require_token_url(settings.token_url)
            access.client()
        elif settings.sasl:
            access.token()
        if settings.sasl in ("plain", "oauthbearer") and not settings.tls:
            log.warning(
                "kafka.sasl is %s without kafka.tls: whoever is on the network can read what it"
                " sends to prove who we are",
                settings.sasl,
            )
        if not settings.verify_hostname:
            log.warning(
                "kafka.verify_hostname is off: whoever has any certificate of a trusted authority"
                " can pose as a broker"
            )
        return access

    @property
    def protocol(self) -> str:
        """Kafka's name for it: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        kind = "SSL" if self.settings.tls else "PLAINTEXT"
        return f"SASL_{kind}" if self.settings.sasl else kind

    @property
    def mechanism(self) -> str:
        """SASL's name for how we say who we are; empty where we don't."""
        return self.settings.sasl.upper()

    def context(self) -> ssl.SSLContext | None:
        """A context of the files as they are now; None without TLS.

        Raises:
            ConfigError: a file is missing or isn't what it should be.
        """
        if not self.settings.tls:
            return None
        password = _secret(self.settings, "key_password")
        return make_context(self.settings, password, self.handshakes)

    def password(self) -> str:
        """The user's password as it is now.

        Raises:
            ConfigError: its file can't be read, or is empty.
        """
        return _secret(self.settings, "password")

    def token(self) -> str:
        """The token of ``oauthbearer`` as it is now. Blocks for five seconds at the most, where it
        is issued anew.

        Raises:
            ConfigError: its file can't be read, or is empty, or its endpoint refuses us.
            OSError: the endpoint doesn't answer.
        """
        if self.settings.token_url:
            return self._issued.get(self.client())
        return _read_secret("kafka.token_file", self.settings.token_file)

    def client(self) -> Client:
        """Who we are where tokens are issued.

        Raises:
            ConfigError: the file with our secret can't be read.
        """
        settings, secret = self.settings, _secret(self.settings, "client_secret")
        return Client(settings.token_url, settings.client_id, secret, settings.token_scope)

    def forget_token(self) -> None:
        """A broker didn't take it: the next one is issued anew."""
        self._issued.forget()

    def mend_login(self) -> str:
        """What to look at where a broker doesn't believe who we are."""
        settings = self.settings
        if settings.token_url:
            return f"are the tokens of {settings.token_url} (kafka.token_url) meant for it?"
        if settings.sasl == "oauthbearer":
            return f"put a token that is valid into {settings.token_file} (kafka.token_file)"
        file = settings.password_file
        place = f"the password in {file} (kafka.password_file)" if file else "kafka.password"
        return f"is kafka.username {settings.username!r} right, and {place}?"

    def stamp(self) -> tuple[object, ...]:
        """Something that is another once a file was renewed that a client reads only when it is
        made. Never raises."""
        return tuple(map(_stamp, (getattr(self.settings, name) for name in _READ_ONCE)))

    def note_entry(self, servers: tuple[str, ...]) -> None:
        """A client got in there: from now on a refusal is an outage, which ends, and no error of
        the settings."""
        self._entered.add(servers)

    def has_entered(self, servers: tuple[str, ...]) -> bool:
        """Whether a client of this process ever got in there."""
        return servers in self._entered


def _require_pairs(settings: KafkaSettings) -> None:
    given = {name for name in (*_OF_TLS, *_OF_SASL) if getattr(settings, name)}
    if not settings.verify_hostname:
        given.add("verify_hostname")
    if not settings.tls:
        _refuse(given, (*_OF_TLS, "verify_hostname"), "kafka.tls isn't: set kafka.tls = true")
    if not settings.cert_file:
        _refuse(
            given,
            ("key_file", "key_password", "key_password_file"),
            "kafka.cert_file isn't: give the certificate that the key belongs to",
        )
    for name in ("password", "key_password", "client_secret"):
        if {name, f"{name}_file"} <= given:
            raise ConfigError(f"kafka.{name} and kafka.{name}_file are both set: take one away")
    if not settings.sasl:
        choices = ", ".join((*_WITH_PASSWORD, "oauthbearer"))
        _refuse(given, _OF_SASL, f"kafka.sasl isn't: set it to one of {choices}")
    elif settings.sasl == "oauthbearer":
        _require_token(given, settings)
    else:
        its = ("token_file", *_OF_ENDPOINT)
        _refuse(given, its, f"kafka.sasl is {settings.sasl}: set it to oauthbearer")
        _require(given, settings.sasl, "username")
        _require(given, settings.sasl, "password", "password_file")


def _require_token(given: set[str], settings: KafkaSettings) -> None:
    _refuse(given, _OF_USER, "kafka.sasl is oauthbearer: set it to plain or scram-sha-512")
    _require(given, settings.sasl, "token_file", "token_url")
    if settings.token_file:
        _refuse(given, _OF_ENDPOINT, "kafka.token_file is, too: take that away")
    else:
        _require(given, settings.sasl, "client_id")
        _require(given, settings.sasl, "client_secret", "client_secret_file")


def _refuse(given: set[str], names: tuple[str, ...], because: str) -> None:
    for name in names:
        if name in given:
            raise ConfigError(f"kafka.{name} is set, but {because}, or take kafka.{name} away")


def _require(given: set[str], sasl: str, *names: str) -> None:
    if given.isdisjoint(names):
        wanted = " or ".join(f"kafka.{name}" for name in names)
        raise ConfigError(f"kafka.sasl is {sasl}, which needs {wanted}: set it")


def _secret(settings: KafkaSettings, name: str) -> str:
    file: str = getattr(settings, f"{name}_file")
    if file:
        return _read_secret(f"kafka.{name}_file", file)
    value: SecretStr = getattr(settings, name)
    return value.get_secret_value()


def _read_secret(setting: str, file: str) -> str:
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8").strip("\r\n \t")
    except OSError as cause:
        raise ConfigError(f"{setting}: {file} can't be read: {cause.strerror}") from cause
    except UnicodeDecodeError:  # without its cause, which would hold the secret
        raise ConfigError(f"{setting}: {file} isn't text, expected UTF-8") from None
    if not text:
        raise ConfigError(f"{setting}: {file} is empty")
    return text


def _stamp(file: str) -> tuple[int, ...] | None:
    try:
        found = Path(file).expanduser().stat() if file else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
