"""The loop of somebody who has measured: polls of up to 32, two decode threads, frozen
TorchScript in batches, results sent together, one commit a poll.

What `headrace bench kafka` measures beside the worker. At least once, as the worker is: results are
acknowledged before their offsets are committed.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from kafka import KafkaConsumer, KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

SIZE = (24, 24)
BATCH = 32
DECODE_THREADS = 2


def main() -> None:
    asked = _arguments()
    cv2.setNumThreads(1)  # threads of ours decode; OpenCV's own would only get in their way
    torch.set_num_threads(asked.torch_threads)
    network = torch.jit.load(asked.model).eval()  # frozen when it was published
    for _ in range(3):  # the first calls compile
        network(torch.zeros(BATCH, SIZE[1], SIZE[0], 3, dtype=torch.uint8))
    consumer = KafkaConsumer(
        bootstrap_servers=asked.servers,
        group_id=asked.frames,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=BATCH,
        max_partition_fetch_bytes=4 << 20,  # of 1 MiB, the default, 19 such frames would come
    )
    producer = KafkaProducer(bootstrap_servers=asked.servers, acks="all")
    consumer.partitions_for_topic(asked.frames)  # else kafka-python's join may hang for ever
    consumer.subscribe([asked.frames])
    done = 0
    with ThreadPoolExecutor(DECODE_THREADS) as decoders, torch.inference_mode():
        while done < asked.count:
            polled = consumer.poll(timeout_ms=500).values()
            records = [record for of_partition in polled for record in of_partition]
            if not records:
                continue
            batch = torch.from_numpy(np.stack(list(decoders.map(_sample, records))))
            confidences, best = torch.softmax(network(batch), dim=1).max(dim=1)
            for record, number, confidence in zip(
                records, best.tolist(), confidences.tolist(), strict=True
            ):
                row = {
                    "frame_id": f"{record.topic}/{record.partition}/{record.offset}",
                    "class": str(number),
                    "confidence": confidence,
                }
                producer.send(asked.results, json.dumps(row).encode(), key=record.key)
            producer.flush(timeout=30)
            consumer.commit()
            done += len(records)
    producer.close(timeout=10)
    consumer.close(autocommit=False)
    print(json.dumps({"scored": done}), flush=True)


def _sample(record: ConsumerRecord) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(record.value, np.uint8), cv2.IMREAD_COLOR)
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("servers", "frames", "results", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--torch-threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
