"""Scrapers as a process of their own: what they cost is on no account of the feeder's.

``python -m tests.faults.scraping URL`` scrapes until its input ends, and prints how many answers
of each code it had. ``python -m tests.faults.scraping`` is a server to be scraped instead: it
prints its URL, and answers until its input ends.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

from pipeline.server.app import make_app
from pipeline.server.run import HttpServer
from tests.watched import WatchedState

SCRAPES_PER_S = 200
SCRAPERS = 4


@contextmanager
def storm(url: str, codes: Counter[int]) -> Iterator[None]:
    """Scrapes ``url`` meanwhile, at ``SCRAPES_PER_S``, and counts the answers' codes."""
    with _process(url) as process:
        yield
        said, _ = process.communicate(timeout=30)
    codes.update({int(code): count for code, count in json.loads(said).items()})


@contextmanager
def decoy() -> Iterator[str]:
    """The URL of a server like a worker's that has no frames."""
    with _process() as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.faults.scraping", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _scrape(url: str, enough: threading.Event) -> Counter[int]:
    codes: Counter[int] = Counter()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    due = time.monotonic()
    while not enough.wait(max(0.0, due - time.monotonic())):
        due += SCRAPERS / SCRAPES_PER_S
        connection.request("GET", "/metrics")
        with connection.getresponse() as response:
            response.read()
        codes[response.status] += 1
    connection.close()
    return codes


def _be_scraped() -> None:
    server = HttpServer(make_app(WatchedState()), "127.0.0.1", 0)
    server.start()
    print(f"http://127.0.0.1:{server.port}/", flush=True)
    sys.stdin.read()
    server.stop()


def main() -> None:
    if len(sys.argv) == 1:
        _be_scraped()
        return
    enough = threading.Event()
    with ThreadPoolExecutor(SCRAPERS) as pool:
        scrapers = [pool.submit(_scrape, sys.argv[1], enough) for _ in range(SCRAPERS)]
        sys.stdin.read()
        enough.set()
        found = [each.result() for each in scrapers]
    print(json.dumps(sum(found, Counter())))


if __name__ == "__main__":
    main()
