"""Which network is trained, beside its name: options, weights to begin with, what is frozen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from trainer.nets.simple_cnn import CnnOptions
from trainer.served import TRAINING_NORMALISATION, Normalisation


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A state_dict to begin with, and the digest of its bytes."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> WeightsFile:
        """Reads the file for its digest.

        Raises:
            ConfigError: it isn't there or can't be read.
        """
        try:
            with path.open("rb") as file:
                return cls(path, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as cause:
            raise ConfigError(f"--weights {path} can't be read: {cause.strerror}") from cause


@dataclass(frozen=True, slots=True)
class NetSettings:
    """What decides the network besides its name.

    Args:
        cnn: Options of ``simple-cnn``; other networks take none.
        weights: What to begin with in place of drawn weights; see ``trainer.finetune``.
        freeze: Patterns of parameters' names that don't learn, such as ``features.*``.
        normalisation: What the network's input went through; part of the exported network.
    """

    cnn: CnnOptions = field(default_factory=CnnOptions)
    weights: WeightsFile | None = None
    freeze: tuple[str, ...] = ()
    normalisation: Normalisation = TRAINING_NORMALISATION

    def identity(self) -> dict[str, Any]:
        """What a resumed run must have in common with its beginning.

        What is as usual is None, as it is in a run of before these settings were: it goes on.
        """
        usual = replace(self.normalisation, channels=3) == TRAINING_NORMALISATION
        changed = self.cnn.changed()
        return {
            **{name: changed.get(name) for name in ("activation", "batch_norm", "dropout", "init")},
            "weights": self.weights.sha256 if self.weights else None,
            "freeze": list(self.freeze) or None,
            "mean": None if usual else list(self.normalisation.mean),
            "std": None if usual else list(self.normalisation.std),
            "channels": None if self.normalisation.channels == 3 else self.normalisation.channels,
        }

    def notes(self) -> dict[str, str]:
        """What an artifact says of it: the settings that aren't as usual."""
        names = {"weights": "weights_sha256"}
        return {
            names.get(name, name): ", ".join(map(str, value))
            if isinstance(value, list)
            else str(value)
            for name, value in self.identity().items()
            if value is not None
        }
