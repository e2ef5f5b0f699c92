"""Other systems, each in an environment of its own: their dependencies aren't ours."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.bench.kafka.plan import ARROYO, LITSERVE, MLSERVER, QUIX
from pipeline.bench.kafka.systems import CHECKOUT, program_of
from pipeline.errors import ConfigError

FOLDER = CHECKOUT / "build" / "peers"
ALL, NONE = "all", "none"

_INSTALL_WITHIN_S = 600.0  # 13 s where the registry is near
_LINK = "headrace-environment.pth"
_BOUNDARY = b"headrace-bench"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an HTTP server is asked: ``ready`` answers 200 once it can be, ``body`` makes what is
    posted to ``path`` of a picture's bytes."""

    ready: str
    path: str
    content_type: str
    body: Callable[[bytes], bytes]


def _form(picture: bytes) -> bytes:
    head = b'Content-Disposition: form-data; name="image"; filename="frame.jpg"'
    kind = b"Content-Type: image/jpeg"
    lines = (b"--" + _BOUNDARY, head, kind, b"", picture, b"--" + _BOUNDARY + b"--", b"")
    return b"\r\n".join(lines)


def _open_inference(picture: bytes) -> bytes:
    tensor = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(picture).decode()],
    }
    return json.dumps({"inputs": [tensor]}).encode()


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them: its program and requirements are in ``bench/peers/NAME``."""

    name: str
    title: str
    package: str
    endpoint: Endpoint | None = None
    """None where it reads and writes topics."""

    @property
    def folder(self) -> Path:
        """Of its environment."""
        return FOLDER / self.name

    @property
    def requirements(self) -> Path:
        """For pip."""
        return program_of(self.name).with_name("requirements.txt")

    def find(self) -> Path | None:
        """The interpreter of its environment, if that was made."""
        python = self.folder / "bin" / "python"
        links = self.folder.glob(f"lib/*/site-packages/{_LINK}")
        return python if python.exists() and any(links) else None

    def make(self) -> Path:
        """Makes the environment where it isn't there, with pip from the registry that pip is set
        to. PyTorch, OpenCV and numpy aren't installed again: a .pth file puts this process's
        packages behind the peer's own. Blocks for a minute or so.

        Raises:
            ConfigError: pip fails.
        """
        found = self.find()
        if found is not None:
            return found
        python = self.folder / "bin" / "python"
        self._run([sys.executable, "-m", "venv", "--clear", str(self.folder)])
        quiet = ("--quiet", "--disable-pip-version-check")
        requirements = ("-r", str(self.requirements))
        self._run([str(python), "-m", "pip", "install", *quiet, *requirements])
        # Only now: pip must not take what we have for what the peer needs.
        [packages] = self.folder.glob("lib/*/site-packages")
        (packages / _LINK).write_text(sysconfig.get_path("purelib") + "\n")
        return python

    def version(self, python: Path) -> str:
        """Of the environment that ``make`` made."""
        script = f"from importlib.metadata import version; print(version({self.package!r}))"
        return self._run([str(python), "-c", script]).strip()

    def _run(self, command: list[str]) -> str:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_INSTALL_WITHIN_S, check=True
            )
        except (OSError, subprocess.SubprocessError) as cause:
            said = getattr(cause, "stderr", "") or str(cause)
            last = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
            raise ConfigError(
                f"no environment for {self.title} in {self.folder}: {last}; --peers {NONE} measures"
                " without it"
            ) from cause
        return done.stdout


PEERS: Mapping[str, Peer] = {
    each.name: each
    for each in (
        Peer(QUIX, "Quix Streams", "quixstreams"),
        Peer(ARROYO, "arroyo", "sentry-arroyo"),
        Peer(
            LITSERVE,
            "LitServe",
            "litserve",
            Endpoint(
                "/health",
                "/predict",
                f"multipart/form-data; boundary={_BOUNDARY.decode()}",
                _form,
            ),
        ),
        Peer(
            MLSERVER,
            "MLServer",
            "mlserver",
            Endpoint(
                "/v2/models/bench/ready",
                "/v2/models/bench/infer",
                "application/json",
                _open_inference,
            ),
        ),
    )
}


def peers_named(said: str | None) -> dict[str, Path]:
    """The interpreters of those that are asked for, by name: ``all``, ``none`` or names with commas
    between them, installed where they aren't there; of None those that are there.

    Raises:
        ConfigError: a name is none, or pip fails.
    """
    if said is None:
        found = {name: peer.find() for name, peer in PEERS.items()}
        return {name: python for name, python in found.items() if python is not None}
    return {name: PEERS[name].make() for name in _names(said)}


def _names(said: str) -> Sequence[str]:
    if said == NONE:
        return ()
    names = tuple(PEERS) if said == ALL else tuple(said.split(","))
    for name in names:
        if name not in PEERS:
            raise ConfigError(
                f"--peers: there is no {name!r}; expected {', '.join(PEERS)}, {ALL} or {NONE}"
            )
    return names
