"""A worker that lives through a whole soak: how its memory grows."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable

import httpx
import numpy as np
import psutil
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError

from tests.faults.arena import metric
from tests.faults.oracle.identity import Identity, picture
from tests.faults.oracle.networks import NAME, publish_network
from tests.flow.process import Headrace

TOPIC, RESULTS = "steady", "steady-results"
FRAMES_PER_S = 30
SAMPLE_EVERY_S = 5.0
WARMING_SHARE = 0.2
"""Of the samples: caches fill and pools grow for a while, which is no leak."""

_SMALL = {
    "num_partitions": 4,
    "configs": {"retention.bytes": str(32 << 20), "segment.bytes": str(8 << 20)},
}


class Steady:
    """The worker, who feeds it, and who weighs it. Its topics keep 128 MiB each.

    As a context manager it starts all, and kills the worker at the end if ``stop`` didn't.
    """

    def __init__(self, servers: str, registry: str) -> None:
        self._servers = servers
        self._registry = registry
        self._enough = threading.Event()
        self._threads: list[threading.Thread] = []
        self._samples: list[tuple[float, float]] = []
        self._started = time.monotonic()

    def __enter__(self) -> Steady:
        publish_network(self._registry, 1)
        admin = KafkaAdminClient(bootstrap_servers=self._servers)
        admin.create_topics({TOPIC: _SMALL, RESULTS: _SMALL}, wait_for_metadata=True)
        admin.close()
        self._worker = Headrace(
            *("worker", "--source", f"kafka://{self._servers}/{TOPIC}?group=steady&session=6s"),
            *("--sink", f"kafka://{self._servers}/{RESULTS}"),
            *("--model", NAME, "--registry", self._registry, "--port", "0", "--json"),
        )
        self._url = self._worker.until_ready()
        self._begin(self._feed)
        self._begin(self._weigh)
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()
        self._worker.__exit__()

    @property
    def megabytes(self) -> list[float]:
        """The worker's memory in MB, one sample each five seconds."""
        return [weight for _, weight in self._samples]

    def mb_per_hour(self) -> float | None:
        """The slope of its memory by least squares; None while there are too few samples."""
        kept = self._samples[int(len(self._samples) * WARMING_SHARE) :]
        if len(kept) < 3:
            return None
        seconds, weights = np.array(kept).T
        return round(3600 * float(np.polyfit(seconds, weights, 1)[0]), 2)

    def lost(self) -> float | None:
        """Records that retention took from it; None where it doesn't answer just now."""
        with contextlib.suppress(httpx.HTTPError):
            return metric(self._url, "headrace_consumer_lost_records_total")
        return None

    def stop(self) -> str:
        """Ends it; "" or what is wrong with the end."""
        self._enough.set()
        self._worker.signal(signal.SIGTERM)
        code = self._worker.end()
        if code:
            return f"exit code {code}: {self._worker.said()[-2000:]}"
        counts = self._worker.summary()
        done = counts["scored"] + counts["shed"] + counts["rejected"]
        if counts["received"] != done or counts["scored"] != done:
            return f"its counts don't add up: {counts}"
        return ""

    def _begin(self, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body)
        thread.start()
        self._threads.append(thread)

    def _feed(self) -> None:
        pictures = [picture(Identity(number % 8, number, 0)) for number in range(64)]
        number = 0
        while not self._enough.is_set():
            with contextlib.suppress(KafkaError):
                producer = KafkaProducer(bootstrap_servers=self._servers, max_block_ms=2_000)
                try:
                    while not self._enough.wait(1 / FRAMES_PER_S):
                        number += 1
                        producer.send(TOPIC, pictures[number % 64], key=b"cam-%d" % (number % 8))
                finally:
                    producer.close(timeout=2)

    def _weigh(self) -> None:
        process = psutil.Process(self._worker.pid)
        while not self._enough.wait(SAMPLE_EVERY_S):
            with contextlib.suppress(psutil.NoSuchProcess):
                weight = process.memory_info().rss / 1e6
                self._samples.append((time.monotonic() - self._started, weight))
