"""`start --secure`: a second port with TLS and a password, to try things on."""

from __future__ import annotations

from pathlib import Path

from compose.kafka.certificates import Authority
from compose.kafka.listeners import Listener, sasl_settings, tls_settings
from compose.kafka.ports import HOST

_USER = _PASSWORD = "headrace"
_OFFSET = 2  # 9092 and 9094, as Kafka's own examples have it


def secure_listener(data: Path, plain_port: int) -> Listener:
    """The port, with a certificate that is made the first time."""
    folder = data.resolve() / "authority"
    keys = folder / "broker.pem"
    if not keys.exists():
        Authority(folder).sign("broker", f"IP:{HOST}", "DNS:localhost")
    settings = tls_settings(keys) | sasl_settings(("PLAIN",), {_USER: _PASSWORD})
    return Listener("SECURE", "SASL_SSL", plain_port + _OFFSET, settings)


def write_client_settings(data: Path) -> Path:
    """Writes what Headrace needs to get in there, as a settings file; gives its path."""
    file = data / "headrace.toml"
    authority = data.resolve() / "authority" / "ca.pem"
    file.write_text(
        f'[kafka]\ntls = true\nca_file = "{authority}"\n'
        f'sasl = "plain"\nusername = "{_USER}"\npassword = "{_PASSWORD}"\n',
        encoding="utf-8",
    )
    return file
