"""A broker that is spoken to in every way: TLS, certificates of clients, passwords, tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from compose.kafka.certificates import Authority
from compose.kafka.listeners import MECHANISMS, Listener, sasl_settings, tls_settings
from compose.kafka.ports import HOST, free_port
from pipeline.config import KafkaSettings
from pipeline.kafka.access import KafkaAccess
from pipeline.kafka.address import KafkaAddress
from tests.kafka.broker import LocalBroker

USER, PASSWORD = "worker", "correct-horse"
LOGIN = {"username": USER, "password": PASSWORD}
TOPIC = "frames"


@dataclass(frozen=True, slots=True)
class Secured:
    """A running broker's ports by name, what a client needs, and the plain way in for the test."""

    plain: str
    folder: Path
    authority: Authority
    ports: dict[str, int]

    def server(self, listener: str, host: str = HOST) -> str:
        """A listener's address."""
        return f"{host}:{self.ports[listener]}" if listener != "plain" else self.plain

    def address(self, listener: str, host: str = HOST, **settings: Any) -> KafkaAddress:
        """A topic behind a listener, with these settings of ``[kafka]``."""
        access = KafkaAccess.of(KafkaSettings(**settings))
        return KafkaAddress((self.server(listener, host),), TOPIC, access)

    @property
    def trusting(self) -> dict[str, Any]:
        """The settings that encrypt and trust the broker's authority."""
        return {"tls": True, "ca_file": str(self.authority.certificate)}


def token(valid_for_s: int = 3600) -> str:
    """A token that the broker believes unsigned."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": USER, "iat": now, "exp": now + valid_for_s})
    return ".".join([*map(_base64, parts), ""])


def _base64(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def set_password(secured: Secured, user: str, password: str) -> None:
    """Makes a user for SCRAM, or changes the password of one."""
    wanted = UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, password)
    with closing(KafkaAdminClient(bootstrap_servers=secured.plain)) as admin:
        assert admin.alter_user_scram_credentials([wanted]) == {user: None}


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """Runs such a broker; its certificates are in ``folder``."""
    authority = Authority(folder / "authority")
    good = tls_settings(authority.sign("broker", f"IP:{HOST}"))
    old = tls_settings(authority.sign("old", f"IP:{HOST}", days=-1))
    asking = tls_settings(authority.sign("asking", f"IP:{HOST}"), authority.certificate)
    sasl = sasl_settings(MECHANISMS, {USER: PASSWORD})
    scram = sasl_settings(("SCRAM-SHA-512",), {})
    listeners = [
        Listener("SECURE", "SASL_SSL", free_port(), {**good, **sasl}),
        Listener("TLS", "SSL", free_port(), good),
        Listener("MUTUAL", "SSL", free_port(), asking),
        Listener("OLD", "SSL", free_port(), old),
        # It sends clients to a name that isn't in its certificate.
        Listener("STRAY", "SSL", free_port(), good, advertised="localhost"),
        Listener("CLEAR", "SASL_PLAINTEXT", free_port(), scram),
        # It asks again every few seconds who we are.
        Listener(
            "FLEETING",
            "SASL_PLAINTEXT",
            free_port(),
            {**scram, "connections.max.reauth.ms": "4000"},
        ),
    ]
    with LocalBroker(listeners, {USER: PASSWORD}) as broker:
        ports = {each.name.lower(): each.port for each in listeners}
        yield Secured(broker.address, folder, authority, ports)
