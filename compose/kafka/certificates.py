"""A throw-away certificate authority, and what it signs. By the ``openssl`` command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from compose.kafka.jars import BrokerError, end_of

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


class Authority:
    """Signs certificates for tests; its own is ``ca.pem``. All files go into ``folder``.

    Raises:
        BrokerError: there is no ``openssl``, or it fails.
    """

    def __init__(self, folder: Path, name: str = "headrace test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            *("req", "-x509", *_EC, "-days", "3650", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
        )

    def sign(self, name: str, *places: str, days: int = 3650) -> Path:
        """Makes a private key and a certificate for ``places`` (``IP:127.0.0.1``, ``DNS:host``);
        gives the PEM file that holds both, as Kafka and OpenSSL take it. With negative ``days`` it
        has expired already."""
        key, made = (self._folder / f"{name}.{kind}" for kind in ("key", "crt"))
        request = self._folder / f"{name}.csr"
        extensions = self._folder / f"{name}.ext"
        _openssl(
            *("req", "-new", *_EC, "-subj", f"/CN={name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        extensions.write_text(f"subjectAltName={','.join(places)}\n" if places else "")
        _openssl(
            *("x509", "-req", "-in", str(request), "-days", str(days), "-CAcreateserial"),
            *("-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-extfile", str(extensions), "-out", str(made)),
        )
        both = self._folder / f"{name}.pem"
        both.touch(mode=0o600)
        both.write_bytes(key.read_bytes() + made.read_bytes())
        return both


def _openssl(*arguments: str) -> None:
    if shutil.which("openssl") is None:
        raise BrokerError("certificates need openssl, and there is none: apt-get install openssl")
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerError(f"openssl {arguments[0]} failed: {end_of(done.stderr)}")
