"""Quix Streams in an environment of its own: its dependencies aren't ours."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from pipeline.bench.kafka.systems import CHECKOUT, RIVALS
from pipeline.errors import ConfigError

FOLDER = CHECKOUT / "build" / "quix"
_INSTALL_WITHIN_S = 600.0  # 13 s where the registry is near
_LINK = "headrace-environment.pth"


def find_quix() -> Path | None:
    """The interpreter that has Quix Streams, if it was made."""
    python = FOLDER / "bin" / "python"
    return python if python.exists() and any(FOLDER.glob(f"lib/*/site-packages/{_LINK}")) else None


def make_quix() -> Path:
    """Makes the environment in build/quix where it isn't there, with pip from the registry that pip
    is set to. PyTorch, OpenCV and numpy aren't installed again: a .pth file puts this process's
    packages behind Quix Streams' own. Blocks for a minute or so.

    Raises:
        ConfigError: pip fails.
    """
    found = find_quix()
    if found is not None:
        return found
    python = FOLDER / "bin" / "python"
    _run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
    quiet = ("--quiet", "--disable-pip-version-check")
    requirements = str(RIVALS / "quix-requirements.txt")
    _run([str(python), "-m", "pip", "install", *quiet, "-r", requirements])
    # Only now: pip must not take what we have for what Quix Streams needs.
    [packages] = FOLDER.glob("lib/*/site-packages")
    (packages / _LINK).write_text(sysconfig.get_path("purelib") + "\n")
    return python


def quix_version(python: Path) -> str:
    """Of the environment that ``make_quix`` made."""
    script = "from importlib.metadata import version; print(version('quixstreams'))"
    return _run([str(python), "-c", script]).strip()


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_WITHIN_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as cause:
        said = getattr(cause, "stderr", "") or str(cause)
        last = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
        raise ConfigError(
            f"no environment for Quix Streams in {FOLDER}: {last}; --no-quix measures without it"
        ) from cause
    return done.stdout
