"""What the worker is measured against: the loop that people write, and the machine's ceiling."""

from __future__ import annotations

import json
import queue
import threading
import time
from pathlib import Path

import numpy as np
import torch

from pipeline.artifact.names import parse_model
from pipeline.artifact.registry import Registry
from pipeline.bench.rounds import Run, percentile
from pipeline.bench.scenario import Scenario, use_threads
from pipeline.clock import SystemClock
from pipeline.engine.active import ActiveModel
from pipeline.engine.device import allocate_batch
from pipeline.engine.loading import Loader
from pipeline.errors import FrameRejected, StageFailed
from pipeline.opencv import cv2
from pipeline.preprocess import check_image, decode_image, write_sample
from pipeline.source.pacing import Pace
from pipeline.types import BatchNhwc

_STUCK_S = 60.0
_SPARE_BATCHES = 2
"""Batches beside those that decode threads are filling: one is computed, one waits."""


def plain_loop(scenario: Scenario, count: int, torch_threads: int, fps: float | None = None) -> Run:
    """Decodes, resizes, scores and writes one frame at a time, with nothing but PyTorch and OpenCV.

    With ``fps`` frames come as from a camera that doesn't wait: a frame's age counts from when it
    was due. Without it a frame is taken when the last one is done.
    """
    use_threads(torch_threads, scenario.machine.opencv_threads)
    ages_s: list[float] = []
    with (Path(scenario.folder) / "plain.jsonl").open("w") as results, torch.inference_mode():
        cpu_s, started = time.process_time(), time.monotonic()
        pace = Pace(SystemClock(), fps)
        for k in range(count):
            while not pace.wait(k, 1.0):
                pass
            taken = time.monotonic()
            best, confidence = _score_one(scenario, scenario.pictures[k % len(scenario.pictures)])
            ages_s.append(time.monotonic() - taken if fps is None else pace.lateness_s(k))
            row = {"frame": k, "class": scenario.labels[best], "confidence": confidence}
            results.write(json.dumps(row) + "\n")
        duration_s, cpu_s = time.monotonic() - started, time.process_time() - cpu_s
    return Run(count, duration_s, cpu_s, percentile(ages_s, 0.5), percentile(ages_s, 0.99))


def _score_one(scenario: Scenario, jpeg: bytes) -> tuple[int, float]:
    """Gives the best class and its confidence."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise FrameRejected("corrupt", "the jpeg can't be decoded")
    size = (scenario.spec.width, scenario.spec.height)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    rgb = torch.from_numpy(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    batch_nhwc = rgb.unsqueeze(0).to(scenario.device)
    confidences = torch.softmax(scenario.network(batch_nhwc), dim=1)[0].cpu()
    best = int(confidences.argmax())
    return best, float(confidences[best])


def ceiling(scenario: Scenario, count: int) -> Run:
    """Decode and forward alone: the worker's threads, decoding, batch size and engine, and nothing
    else. No streams, limits, deadlines, results, ledger or metrics."""
    return _Ceiling(scenario, _loaded(scenario)).run(count)


def bare_frame_s(scenario: Scenario, count: int) -> float:
    """Seconds for decode and forward of one frame, on one thread and with nobody else: what it
    takes where it waits for nothing. The median of so many, one after the other."""
    model = _loaded(scenario)
    use_threads(1, 1)
    spec, pictures = scenario.spec, scenario.pictures
    header = check_image(pictures[0])  # all are of one size
    batch_nhwc = allocate_batch((1, *spec.sample_shape_hwc), scenario.device)
    took_s: list[float] = []
    for k in range(count):
        started = time.monotonic()
        image_hwc = decode_image(pictures[k % len(pictures)], header, spec)
        write_sample(image_hwc, spec, batch_nhwc[0])
        model.engine.score(batch_nhwc)
        took_s.append(time.monotonic() - started)
    return percentile(took_s, 0.5)


def _loaded(scenario: Scenario) -> ActiveModel:
    """The worker's model, as it loads it."""
    use_threads(scenario.worker_torch_threads, 1)
    name, selector = parse_model(scenario.model)
    registry = Registry(scenario.registry)
    artifact = registry.read(name, registry.resolve(name, selector))
    return Loader.of(scenario.settings("null:"), SystemClock()).load(artifact, epoch=1)


class _Ceiling:
    """Always runs the largest bucket that a worker would take. Each decode thread fills whole
    batches of its own, so threads meet once a batch.

    Owned by: the thread that calls ``run``; the decode threads only touch the queues.
    """

    def __init__(self, scenario: Scenario, model: ActiveModel) -> None:
        self._scenario = scenario
        self._engine = model.engine
        self._batch_size = model.most_frames
        self._header = check_image(scenario.pictures[0])  # all are of one size
        self._todo: queue.SimpleQueue[range] = queue.SimpleQueue()
        self._idle: queue.SimpleQueue[BatchNhwc] = queue.SimpleQueue()
        self._filled: queue.SimpleQueue[BatchNhwc] = queue.SimpleQueue()
        shape_nhwc = (self._batch_size, *scenario.spec.sample_shape_hwc)
        for _ in range(scenario.decode_threads + _SPARE_BATCHES):
            self._idle.put(allocate_batch(shape_nhwc, scenario.device))

    def run(self, count: int) -> Run:
        """Scores ``count`` frames.

        Raises:
            StageFailed: no batch came for a minute.
        """
        size = self._batch_size
        for first in range(0, count, size):
            self._todo.put(range(first, min(first + size, count)))
        threads = [
            threading.Thread(target=self._decode, name="ceiling-decode", daemon=True)
            for _ in range(self._scenario.decode_threads)
        ]
        cpu_s, started = time.process_time(), time.monotonic()
        for thread in threads:
            thread.start()
        left = count
        while left:
            try:
                batch_nhwc = self._filled.get(timeout=_STUCK_S)
            except queue.Empty as cause:
                raise StageFailed(f"no batch was decoded in {_STUCK_S:g} s") from cause
            self._engine.score(batch_nhwc)  # whole: the last one may hold old rows
            left -= min(left, size)
            self._idle.put(batch_nhwc)
        duration_s, cpu_s = time.monotonic() - started, time.process_time() - cpu_s
        for thread in threads:
            thread.join()
        return Run(count, duration_s, cpu_s)

    def _decode(self) -> None:
        """Fills batches until nothing is left to do."""
        pictures, spec = self._scenario.pictures, self._scenario.spec
        while True:
            try:
                frames = self._todo.get_nowait()
            except queue.Empty:
                return
            batch_nhwc = self._idle.get()
            for row, k in enumerate(frames):
                image_hwc = decode_image(pictures[k % len(pictures)], self._header, spec)
                write_sample(image_hwc, spec, batch_nhwc[row])
            self._filled.put(batch_nhwc)
