"""Who runs networks: each backend reads one of an artifact's files and gives an ``Engine``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping

from pipeline.artifact.artifact import Artifact
from pipeline.artifact.manifest import Manifest
from pipeline.engine.base import Engine
from pipeline.engine.gentle import at_once
from pipeline.engine.torchscript import load_torchscript
from pipeline.errors import ArtifactRefused, ConfigError
from pipeline.types import Backend, Format

FORMAT_OF: Mapping[Backend, Format] = {"onnxruntime": "onnx"}
"""What a backend reads where that isn't ``model.pt``."""

_PACKAGES: Mapping[Backend, tuple[str, ...]] = {
    "torchscript": (),
    "onnxruntime": ("onnx", "onnxruntime"),
}
_EXTRAS: Mapping[Backend, str] = {"onnxruntime": "onnx"}


def import_backend(backend: Backend) -> None:
    """Imports what it needs, which takes some tenths of a second the first time.

    Raises:
        ConfigError: it isn't installed, or broken.
    """
    if backend == "torchscript":
        return
    if not is_installed(backend):
        raise ConfigError(
            f"engine.backend is {backend!r}, which isn't installed: "
            f"pip install 'headrace[{_EXTRAS[backend]}]', or take torchscript"
        )
    try:
        importlib.import_module(f"pipeline.engine.{backend}_engine")
    except (ImportError, OSError) as cause:
        raise ConfigError(f"engine.backend {backend!r} can't be imported: {cause}") from cause


def is_installed(backend: Backend) -> bool:
    """Whether it can be imported; it isn't."""
    return all(importlib.util.find_spec(each) for each in _PACKAGES[backend])


def check_backend(backend: Backend, device: str) -> None:
    """Checks that it is installed and computes on ``device``.

    Raises:
        ConfigError: it isn't, or doesn't.
    """
    import_backend(backend)
    if backend != "torchscript" and device != "cpu":
        raise ConfigError(
            f"engine.backend is {backend!r}, which computes on the CPU here, and the device is "
            f"{device}: take engine.device cpu, or the backend torchscript"
        )


def backends_of(manifest: Manifest) -> list[Backend]:
    """Those that a version has files for, TorchScript first; they may not be installed."""
    return ["torchscript", *(each for each, what in FORMAT_OF.items() if what in manifest.formats)]


def installed_backends(manifest: Manifest) -> list[Backend]:
    """Those of a version's backends that are installed here, TorchScript first."""
    return [each for each in backends_of(manifest) if is_installed(each)]


def digest_of(manifest: Manifest, backend: Backend) -> str:
    """The sha256 of the file that it runs, where there is one: what a result names, as that is what
    computed it. Else that of ``model.pt``."""
    format_ = FORMAT_OF.get(backend)
    if format_ is None or format_ not in manifest.formats:
        return manifest.sha256
    return manifest.formats[format_].sha256


def check_has_file(backend: Backend, manifest: Manifest) -> None:
    """Checks that a version holds what ``backend`` runs.

    Raises:
        ArtifactRefused: ``no_format``.
    """
    format_ = FORMAT_OF.get(backend)
    if format_ is not None and format_ not in manifest.formats:
        raise ArtifactRefused(
            "no_format",
            f"{manifest.name}@{manifest.version} holds no {format_}, which the backend {backend} "
            f"runs: publish it again with --formats {format_}, or take the backend torchscript",
        )


def load_backend(
    backend: Backend,
    artifact: Artifact,
    device: str,
    *,
    threads: int = 1,
    rest: Callable[[], None] = at_once,
) -> Engine:
    """Loads a version from its bytes. ``threads`` is how many it may compute with, where that isn't
    torch's, and ``rest`` is called between steps that hold the interpreter's lock.

    Raises:
        ArtifactRefused: see ``check_has_file``; else as the backend says.
        RestartNeeded: the device is lost.
    """
    check_has_file(backend, artifact.manifest)
    if backend == "torchscript":
        return load_torchscript(artifact.model, device, rest)
    from pipeline.engine.onnxruntime_engine import load_onnxruntime

    return load_onnxruntime(artifact.formats[FORMAT_OF[backend]], threads, rest)
