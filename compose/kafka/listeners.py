"""Ways into a broker beside the plain one: encrypted, with passwords, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from compose.kafka.ports import HOST

_LOGIN = "org.apache.kafka.common.security"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


@dataclass(frozen=True)
class Listener:
    """One port of a broker. Clients are sent to ``advertised`` once they have got in; ``settings``
    are this listener's alone."""

    name: str
    protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"]
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    advertised: str = HOST

    def lines(self) -> list[str]:
        """Its settings as the broker's file says them."""
        return [
            f"listener.name.{self.name.lower()}.{key}={value}"
            for key, value in self.settings.items()
        ]


def tls_settings(keys: Path, authority: Path | None = None) -> dict[str, str]:
    """TLS with the private key and certificates of a PEM file. With ``authority`` a client must
    show a certificate that this one signed."""
    settings = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(keys)}
    if authority is not None:
        settings |= {
            "ssl.client.auth": "required",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority),
        }
    return settings


def sasl_settings(mechanisms: tuple[str, ...], users: Mapping[str, str]) -> dict[str, str]:
    """Passwords, or tokens, which are believed unsigned: for tests alone. SCRAM's users are made
    when a broker is formatted, ``users`` are PLAIN's."""
    plain = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    logins = {
        "PLAIN": f"plain.PlainLoginModule required {plain};",
        "SCRAM-SHA-256": "scram.ScramLoginModule required;",
        "SCRAM-SHA-512": "scram.ScramLoginModule required;",
        "OAUTHBEARER": (
            'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
        ),
    }
    return {
        "sasl.enabled.mechanisms": ",".join(mechanisms),
        **{f"{each.lower()}.sasl.jaas.config": f"{_LOGIN}.{logins[each]}" for each in mechanisms},
    }


def listener_lines(plain: str, controller: str, others: tuple[Listener, ...]) -> list[str]:
    """The settings of all ports: the plain one and the controller's as ``HOST:PORT``, and more."""
    names = {each.name: each for each in others}
    places = [f"{name}://{HOST}:{each.port}" for name, each in names.items()]
    told = [f"{name}://{each.advertised}:{each.port}" for name, each in names.items()]
    kinds = [f"{name}:{each.protocol}" for name, each in names.items()]
    return [
        f"listeners={','.join([f'PLAINTEXT://{plain}', *places, f'CONTROLLER://{controller}'])}",
        f"advertised.listeners={','.join([f'PLAINTEXT://{plain}', *told])}",
        "listener.security.protocol.map="
        + ",".join(["PLAINTEXT:PLAINTEXT", *kinds, "CONTROLLER:PLAINTEXT"]),
        *(line for each in others for line in each.lines()),
    ]
