"""The same work as a Quix Streams application: one message at a time, its own checkpoints.

What `headrace bench kafka` measures beside the worker, in an environment of its own: see
requirements.txt. Quix Streams is built on librdkafka, which fetches and sends on threads in C.
"""

from __future__ import annotations

import argparse
import json

import cv2
import numpy as np
import torch
from quixstreams import Application, message_context

SIZE = (24, 24)


def main() -> None:
    asked = _arguments()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)  # a batch of one gains nothing from a second
    network = torch.jit.load(asked.model).eval()  # frozen when it was published
    for _ in range(3):  # the first calls compile
        network(torch.zeros(1, SIZE[1], SIZE[0], 3, dtype=torch.uint8))

    def score(value: bytes) -> dict[str, object]:
        image = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_COLOR)
        small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
        rgb = torch.from_numpy(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        with torch.inference_mode():
            confidences = torch.softmax(network(rgb.unsqueeze(0)), dim=1)[0]
        best = int(confidences.argmax())
        context = message_context()
        return {
            "frame_id": f"{context.topic}/{context.partition}/{context.offset}",
            "class": str(best),
            "confidence": float(confidences[best]),
        }

    app = Application(
        broker_address=asked.servers,
        consumer_group=asked.frames,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="WARNING",
    )
    frames = app.topic(asked.frames, value_deserializer="bytes")
    results = app.topic(asked.results, value_serializer="json")
    app.dataframe(frames).apply(score).to_topic(results)
    app.run(count=asked.count, collect=False)
    print(json.dumps({"scored": asked.count}), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("servers", "frames", "results", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--count", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
