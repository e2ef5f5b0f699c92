"""The same work as a runtime of MLServer: images as base64, in batches that it makes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

SIZE = (24, 24)
BATCH = 32


class Classifier(MLModel):
    async def load(self) -> bool:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self._network = torch.jit.load(self.settings.parameters.uri).eval()
        for _ in range(3):  # the first calls compile
            self._network(torch.zeros(BATCH, SIZE[1], SIZE[0], 3, dtype=torch.uint8))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = map(_sample, Base64Codec.decode_input(payload.inputs[0]))
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(list(images)))
            confidences, best = torch.softmax(self._network(batch), dim=1).max(dim=1)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("class", list(map(str, best.tolist()))),
                NumpyCodec.encode_output("confidence", confidences.numpy()[:, None]),
            ],
        )


def _sample(payload: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
