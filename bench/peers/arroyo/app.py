"""The same work as an arroyo consumer: decoding on two threads, batches of 32, then results.

Arroyo is built on librdkafka, which fetches and sends on threads in C.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from arroyo import Topic
from arroyo.backends.kafka import KafkaConsumer, KafkaPayload, KafkaProducer
from arroyo.backends.kafka.configuration import (
    build_kafka_configuration,
    build_kafka_consumer_configuration,
)
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import (
    BatchStep,
    CommitOffsets,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    Produce,
    RunTask,
    RunTaskInThreads,
    UnbatchStep,
)
from arroyo.processing.strategies.batching import ValuesBatch
from arroyo.types import Commit, Message, Partition

SIZE = (24, 24)
BATCH = 32
DECODE_THREADS = 2


class Sample(NamedTuple):
    key: bytes | None
    frame_id: str
    image: np.ndarray


def decoded(message: Message[KafkaPayload]) -> Sample:
    [(partition, next_offset)] = message.committable.items()
    image = cv2.imdecode(np.frombuffer(message.payload.value, np.uint8), cv2.IMREAD_COLOR)
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    frame_id = f"{partition.topic.name}/{partition.index}/{next_offset - 1}"
    return Sample(message.payload.key, frame_id, cv2.cvtColor(small, cv2.COLOR_BGR2RGB))


class Scoring(ProcessingStrategyFactory[KafkaPayload]):
    def __init__(self, asked: argparse.Namespace) -> None:
        self._network = torch.jit.load(asked.model).eval()  # frozen when it was published
        for _ in range(3):  # the first calls compile
            self._network(torch.zeros(BATCH, SIZE[1], SIZE[0], 3, dtype=torch.uint8))
        self._results = Topic(asked.results)
        self._producer = KafkaProducer(
            build_kafka_configuration({"bootstrap.servers": asked.servers})
        )
        self._left = asked.count
        self.done = threading.Event()

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        produce = Produce(self._producer, self._results, Counted(CommitOffsets(commit), self))
        unbatch = UnbatchStep(produce)
        score = RunTask(self._score, unbatch)
        batch = BatchStep(BATCH, 0.02, score)
        return RunTaskInThreads(decoded, DECODE_THREADS, 2 * BATCH, batch)

    def count(self) -> None:
        self._left -= 1
        if not self._left:
            self.done.set()

    @torch.inference_mode()
    def _score(self, message: Message[ValuesBatch[Sample]]) -> ValuesBatch[KafkaPayload]:
        samples = [each.payload for each in message.payload]
        batch = torch.from_numpy(np.stack([each.image for each in samples]))
        confidences, best = torch.softmax(self._network(batch), dim=1).max(dim=1)
        return [
            each.replace(_row(sample, number, confidence))
            for each, sample, number, confidence in zip(
                message.payload, samples, best.tolist(), confidences.tolist(), strict=True
            )
        ]


class Counted(ProcessingStrategy[Any]):
    """Counts what was acknowledged."""

    def __init__(self, next_step: ProcessingStrategy[Any], scoring: Scoring) -> None:
        self._next_step = next_step
        self._scoring = scoring

    def submit(self, message: Message[Any]) -> None:
        self._next_step.submit(message)
        self._scoring.count()

    def poll(self) -> None:
        self._next_step.poll()

    def close(self) -> None:
        self._next_step.close()

    def terminate(self) -> None:
        self._next_step.terminate()

    def join(self, timeout: float | None = None) -> None:
        self._next_step.join(timeout)


def _row(sample: Sample, number: int, confidence: float) -> KafkaPayload:
    row = {"frame_id": sample.frame_id, "class": str(number), "confidence": confidence}
    return KafkaPayload(sample.key, json.dumps(row).encode(), [])


def main() -> None:
    asked = _arguments()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    consumer = KafkaConsumer(
        build_kafka_consumer_configuration(
            {"bootstrap.servers": asked.servers},
            auto_offset_reset="earliest",
            group_id=asked.frames,
        )
    )
    scoring = Scoring(asked)
    processor = StreamProcessor(consumer, Topic(asked.frames), scoring)
    threading.Thread(target=_end, args=(scoring, processor), daemon=True).start()
    processor.run()
    print(json.dumps({"scored": asked.count}), flush=True)


def _end(scoring: Scoring, processor: StreamProcessor[KafkaPayload]) -> None:
    scoring.done.wait()
    processor.signal_shutdown()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("servers", "frames", "results", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
