"""The same work as a LitServe server: an image as a form's file, batches of up to 32."""

from __future__ import annotations

import argparse

import cv2
import litserve
import numpy as np
import torch

SIZE = (24, 24)
BATCH = 32


class Classifier(litserve.LitAPI):
    def __init__(self, model: str) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=0.005)
        self._model = model

    def setup(self, device: str) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self._network = torch.jit.load(self._model).eval().to(device)
        for _ in range(3):  # the first calls compile
            self._network(torch.zeros(BATCH, SIZE[1], SIZE[0], 3, dtype=torch.uint8))

    def decode_request(self, request) -> torch.Tensor:
        payload = request["image"].file.read()
        image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
        small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
        return torch.from_numpy(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    @torch.inference_mode()
    def predict(self, x: torch.Tensor) -> list[tuple[int, float]]:
        confidences, best = torch.softmax(self._network(x), dim=1).max(dim=1)
        return list(zip(best.tolist(), confidences.tolist(), strict=True))

    def unbatch(self, output: list[tuple[int, float]]) -> list[tuple[int, float]]:
        return output

    def encode_response(self, output: tuple[int, float]) -> dict[str, object]:
        number, confidence = output
        return {"class": str(number), "confidence": confidence}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    server = litserve.LitServer(
        Classifier(asked.model), accelerator="cpu", workers_per_device=1, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=asked.port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
