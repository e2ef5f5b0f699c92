"""Labels from a Kafka topic: each is of a frame in another, which is fetched by its id.

A label's record has the frame's id (``topic/partition/offset``) as its key, or as ``frame_id`` in
its value, a JSON object with ``label``. The pictures are kept as the folder that ``feedback``
reads. Nothing is joined or committed: how far it came is the caller's to remember.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ConfigError, FrameRejected, HeadraceError
from pipeline.kafka.address import KafkaAddress
from pipeline.kafka.cluster import open_cluster
from pipeline.kafka.lag import Bounds
from pipeline.kafka.reading import read_ranges
from pipeline.kafka.record import Record
from pipeline.labelled_folder import keep_labelled, kept_pictures

log = logging.getLogger(__name__)

_LARGEST_GAP = 64
"""Frames that are read over without need, rather than to seek: some megabytes."""


class Label(NamedTuple):
    """What somebody says that a frame shows."""

    partition: int
    offset: int
    label: str


class KafkaLabels:
    """Fetches what was labelled into a folder. Owned by: the watching thread.

    Args:
        labels: The topic of labels.
        frames: The topic that the labelled frames are in; labels of others are left out, so that
            who may write labels can't have other topics read.
        folder: Where pictures go; the newest ``most`` of what comes at once.
        known: The model's labels.
        most: Labels that are looked at in one go.
    """

    def __init__(
        self,
        labels: KafkaAddress,
        frames: KafkaAddress,
        folder: Path,
        known: Sequence[str],
        most: int,
    ) -> None:
        self._labels = labels
        self._frames = frames
        self._folder = folder
        self._known = frozenset(known)
        self._most = most
        self._left_out: Counter[str] = Counter()

    def collect(self, places: Mapping[int, int], stop: threading.Event) -> Mapping[int, int]:
        """Fetches what came since ``places``, the next offset of each partition of the labels;
        gives the places to go on at. Blocks.

        Raises:
            SourceUnavailable: the cluster doesn't answer.
            ConfigError: a topic may not be read, or that of the frames isn't there.
        HeadraceError: the folder can't be written.
        """
        ranges = self._new(places)
        self._left_out.clear()
        wanted: dict[tuple[int, int], str] = {}
        for records in read_ranges(self._labels, ranges, stop):
            for record in records:
                label = self._label(record)
                if label is not None:  # of two labels of a frame the later one counts
                    wanted[label.partition, label.offset] = label.label
        kept = self._fetch(wanted, stop) if wanted else 0
        if stop.is_set():  # what was left is read again
            return places
        for path in kept_pictures(self._folder)[: -self._most]:
            path.unlink(missing_ok=True)
        if wanted or self._left_out:
            self._left_out["its frame is gone or no picture"] += len(wanted) - kept
            says = ", ".join(f"{n} left out: {why}" for why, n in self._left_out.items() if n)
            log.info("%s: %d labelled frames fetched; %s", self._labels, kept, says or "all")
        return {**places, **{number: each.end for number, each in ranges.items()}}

    def _new(self, places: Mapping[int, int]) -> dict[int, Bounds]:
        bounds = _bounds(self._labels) or {}
        each = max(1, self._most // max(1, len(bounds)))
        # Of a topic that was made anew all is new.
        known = {n: at for n, at in places.items() if n in bounds and at <= bounds[n].end}
        return {
            number: Bounds(max(there.start, there.end - each, known.get(number, 0)), there.end)
            for number, there in bounds.items()
        }

    def _label(self, record: Record) -> Label | None:
        """What a record says, None where it isn't a label of one of our frames; counts why."""
        try:
            said = json.loads(record.value or b"")
            frame_id = str(said.get("frame_id") or (record.key or b"").decode())
            label = str(said["label"])
            topic, partition, offset = frame_id.rsplit("/", 2)
            place = int(partition), int(offset)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            self._left_out["no label of a frame"] += 1
            return None
        if topic != self._frames.topic:
            self._left_out[f"not of {self._frames.topic}"] += 1
        elif label not in self._known or Path(label).name != label:
            self._left_out["the model has no such label"] += 1
        else:
            return Label(*place, label)
        return None

    def _fetch(self, wanted: Mapping[tuple[int, int], str], stop: threading.Event) -> int:
        bounds = _bounds(self._frames)
        if bounds is None:
            raise ConfigError(f"--frames {self._frames}: there is no such topic")
        kept = 0
        for ranges in rounds(wanted, bounds):
            for records in read_ranges(self._frames, ranges, stop):
                for record in records:
                    label = wanted.get((record.partition, record.offset))
                    if label is not None and record.value:
                        kept += self._keep(record, label)
        return kept

    def _keep(self, record: Record, label: str) -> bool:
        frame_id = f"{record.topic}/{record.partition}/{record.offset}"
        try:
            keep_labelled(self._folder, label, frame_id, record.value or b"")
        except FrameRejected:
            return False
        except OSError as cause:
            raise HeadraceError(
                f"{self._folder} can't be written: {cause.strerror}. Free some space, or choose"
                " another folder."
            ) from cause
        return True


def _bounds(address: KafkaAddress) -> dict[int, Bounds] | None:
    """Where the log of each of a topic's partitions begins and ends now; None without the topic."""
    with open_cluster(address) as cluster:
        partitions = cluster.topics().get(address.topic)
        return None if partitions is None else cluster.bounds(address.topic, partitions)


def rounds(
    wanted: Mapping[tuple[int, int], str], bounds: Mapping[int, Bounds]
) -> Iterator[dict[int, Bounds]]:
    """Ranges that hold all wanted offsets which are still there, one of each partition at a time.
    What lies between two is read over where that is little."""
    runs: dict[int, list[Bounds]] = {}
    for partition, offset in sorted(wanted):
        there = bounds.get(partition)
        if there is None or not there.start <= offset < there.end:
            continue
        of_it = runs.setdefault(partition, [])
        if of_it and offset - of_it[-1].end <= _LARGEST_GAP:
            of_it[-1] = Bounds(of_it[-1].start, offset + 1)
        else:
            of_it.append(Bounds(offset, offset + 1))
    while any(runs.values()):
        yield {number: of_it.pop(0) for number, of_it in runs.items() if of_it}
