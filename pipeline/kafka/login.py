"""What kafka-python is told of who we are."""

from __future__ import annotations

from typing import Any

from kafka.net.sasl.oauth import AbstractTokenProvider

from pipeline.kafka.access import KafkaAccess


def login_options(access: KafkaAccess) -> dict[str, Any]:
    """The arguments of a kafka-python client that say who we are, with the password as it is now.

    Raises:
        ConfigError: a file can't be read.
    """
    sasl, name = access.settings.sasl, access.settings.username
    if not sasl:
        return {}
    if sasl == "oauthbearer":
        return {"sasl_mechanism": access.mechanism, "sasl_oauth_token_provider": _Token(access)}
    if sasl.startswith("scram"):  # RFC 5802; kafka-python 3.0.12 sends the name as it is
        name = name.replace("=", "=3D").replace(",", "=2C")
    return {
        "sasl_mechanism": access.mechanism,
        "sasl_plain_username": name,
        "sasl_plain_password": access.password(),
    }


class _Token(AbstractTokenProvider):
    """Gives kafka-python the token as it is at each connection."""

    def __init__(self, access: KafkaAccess) -> None:
        super().__init__()
        self._access = access

    def token(self) -> str:
        return self._access.token()
