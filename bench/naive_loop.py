"""The loop that comes first to mind: one record at a time, eager PyTorch, a commit after each.

What `headrace bench kafka` measures beside the worker. Nothing here is made slow on purpose: one
torch thread, as more only slow down a network this small.
"""

from __future__ import annotations

import argparse
import json

import cv2
import numpy as np
import torch
from kafka import KafkaConsumer, KafkaProducer

from trainer.nets import build_net
from trainer.served import TRAINING_NORMALISATION, ServedNetwork

SIZE = (24, 24)


def main() -> None:
    asked = _arguments()
    torch.set_num_threads(1)
    network = ServedNetwork(build_net("reference-cnn", 10), TRAINING_NORMALISATION).eval()
    network.load_state_dict(torch.load(asked.weights, weights_only=True))
    consumer = KafkaConsumer(
        bootstrap_servers=asked.servers,
        group_id=asked.frames,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = KafkaProducer(bootstrap_servers=asked.servers, acks="all")
    consumer.partitions_for_topic(asked.frames)  # else kafka-python's join may hang for ever
    consumer.subscribe([asked.frames])
    done = 0
    with torch.inference_mode():
        for record in consumer:
            image = cv2.imdecode(np.frombuffer(record.value, np.uint8), cv2.IMREAD_COLOR)
            small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
            rgb = torch.from_numpy(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
            confidences = torch.softmax(network(rgb.unsqueeze(0)), dim=1)[0]
            best = int(confidences.argmax())
            row = {
                "frame_id": f"{record.topic}/{record.partition}/{record.offset}",
                "class": str(best),
                "confidence": float(confidences[best]),
            }
            producer.send(asked.results, json.dumps(row).encode(), key=record.key).get(30)
            consumer.commit()
            done += 1
            if done == asked.count:
                break
    producer.close(timeout=10)
    consumer.close(autocommit=False)
    print(json.dumps({"scored": done}), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("servers", "frames", "results", "weights"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
