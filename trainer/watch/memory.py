"""What a watching trainer remembers over a restart: ``watch.json`` in the run's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.errors import ConfigError
from trainer.checkpoint import write_atomically

_FORMAT = "headrace.watch/1"
_FILE = "watch.json"


@dataclass(frozen=True, slots=True)
class Memory:
    """Written before and after each training; one that was killed is begun anew, under another
    number.

    Attributes:
        base: The run that the next training begins with, below the watched run's folder; "" is
            that run itself. One that wasn't published is never built upon.
        trainings: How many were begun: the number of the last one's folder.
        used_until: When the newest label was written that was learnt from (Unix seconds).
        places: How far labels were read from Kafka, by topic and partition.
    """

    base: str = ""
    trainings: int = 0
    used_until: float = 0.0
    places: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])


def recall(run: Path) -> Memory:
    """Reads it; a run that was never watched has an empty one.

    Raises:
        ConfigError: it can't be read, or is of something else.
    """
    path = run / _FILE
    try:
        said = json.loads(path.read_text())
        if said.pop("format") != _FORMAT:
            raise ValueError(f"no {_FORMAT}")
        places = {
            topic: {int(number): int(offset) for number, offset in of_it.items()}
            for topic, of_it in said.pop("places").items()
        }
        return Memory(**said, places=places)
    except FileNotFoundError:
        return Memory()
    except OSError as cause:
        raise ConfigError(f"{path} can't be read: {cause.strerror}") from cause
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise ConfigError(
            f"{path} is damaged ({cause}): remove it, and all labels count as new"
        ) from cause


def remember(run: Path, memory: Memory) -> None:
    """Replaces it.

    Raises:
        HeadraceError: it can't be written.
    """
    content = json.dumps({"format": _FORMAT, **asdict(memory)}, indent=2)
    write_atomically(run / _FILE, content.encode() + b"\n")
