"""Random faults for an hour, and the checker every ten minutes: ``make soak``.

    python -m tests.faults.soak [--minutes 60] [--seed N] [--strict]

Each round of ten minutes has topics of its own, which are deleted behind it, so neither disk nor
this program grows. The same seed gives the same faults in the same order; when they hit is up to
the machine. Prints a JSON object for each round; exit code 1 if a promise was broken or a worker
ended by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.faults.arena import WINDOW, Arena, is_true_within
from tests.faults.scenarios import freeze
from tests.faults.steady import Steady
from tests.flow.process import Headrace
from tests.kafka.broker import LocalBroker

ROUND_S = 600.0
FRAMES_PER_S = 60
WORKERS = 2
DAMAGED_EVERY = 50
DONE_WITHIN_S = 180.0
BEGAN = "got partitions"
NEVER_BEGAN = "no broker answers"


class Round:
    """One topic, its workers, and what is done to them and to the broker."""

    def __init__(
        self, broker: LocalBroker, folder: Path, rng: random.Random, *, is_strict: bool = False
    ) -> None:
        self.arena = Arena(broker.address, folder)
        self.arena.is_strict = is_strict
        self.done: Counter[str] = Counter()
        self.ended: list[str] = []
        self._broker = broker
        self._rng = rng
        self._pause = threading.Event()
        self._acts: dict[str, Callable[[], None]] = {
            "kill_worker": self._kill_worker,
            "stop_worker": lambda: self._stop(self._any()),
            "freeze_worker": lambda: freeze(self.arena, self._any(), rng.uniform(1, 12)),
            "kill_broker": lambda: self._without_broker(broker.kill),
            "terminate_broker": lambda: self._without_broker(broker.terminate),
            "freeze_broker": self._freeze_broker,
            "swap": self._swap,
        }

    def play(self, seconds: float) -> None:
        """One fault after the other."""
        end = time.monotonic() + seconds
        with self._feeding():
            while time.monotonic() < end:
                self._fill_up()
                self._pause.wait(self._rng.uniform(2, 8))
                self._bury()
                name = self._rng.choice(sorted(self._acts))
                self.done[name] += 1
                self._acts[name]()
        self._fill_up()
        is_true_within(self.arena.is_all_done, DONE_WITHIN_S)
        self._bury()
        for worker in list(self.arena.workers):
            self._stop(worker)

    def report(self, number: int) -> dict:
        """The checker's verdict and what was done; deletes the topics."""
        harm = sum(count for name, count in self.done.items() if "swap" not in name)
        window = 0 if self.arena.is_strict else WINDOW * harm
        verdict = self.arena.verdict(f"soak-{number}", most_duplicates=window)
        topics = self.arena.topics
        with contextlib.suppress(KafkaError):
            admin = KafkaAdminClient(bootstrap_servers=self._broker.address)
            admin.delete_topics([topics.name, topics.results, topics.dead_letters])
            admin.close()
        return {
            "round": number,
            "faults": dict(sorted(self.done.items())),
            "ended_by_themselves": self.ended,
            "verdict": json.loads(verdict.to_json()),
        }

    @contextmanager
    def _feeding(self) -> Iterator[None]:
        enough = threading.Event()

        def feed() -> None:
            while not enough.is_set():
                frames = self.arena.feeder.pictures(FRAMES_PER_S, damaged_every=DAMAGED_EVERY)
                with contextlib.suppress(KafkaError):
                    self.arena.feeder.send(frames, pause_s=1 / FRAMES_PER_S)

        thread = threading.Thread(target=feed, name="feeder")
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()

    def _any(self) -> Headrace:
        return self._rng.choice(self.arena.workers)

    def _fill_up(self) -> None:
        while len(self.arena.workers) < WORKERS:
            self.arena.start()

    def _bury(self) -> None:
        """A worker that ended by itself is told of, and another takes its place. One that finds no
        broker at its start may end: its supervisor starts it again."""
        for worker in list(self.arena.workers):
            if worker.code is None:
                continue
            if worker.code == 1 and NEVER_BEGAN in worker.said() and BEGAN not in worker.said():
                self.done["start_without_broker"] += 1
            else:
                self.ended.append(f"exit code {worker.code}: {worker.said()[-3000:]}")
            self.arena.kill(worker)
        self._fill_up()

    def _kill_worker(self) -> None:
        self.arena.kill(self._any())

    def _stop(self, worker: Headrace) -> None:
        worker.signal(signal.SIGTERM)
        code = worker.end(90)
        if code == 0 and worker.out:
            self.arena.ended(worker)
            return
        if (
            code != -signal.SIGTERM and BEGAN in worker.said()
        ):  # it may not have come so far as to handle signals
            self.ended.append(f"stopped with exit code {code}: {worker.said()[-3000:]}")
        self.arena.kill(worker)

    def _without_broker(self, end: Callable[[], None]) -> None:
        end()
        self._pause.wait(self._rng.uniform(0, 10))
        self._broker.start_again()
        self.arena.topics.until_led()

    def _freeze_broker(self) -> None:
        with self._broker.frozen():
            self._pause.wait(self._rng.uniform(1, 15))

    def _swap(self) -> None:
        self.arena.publish(self._rng.randrange(20, 90))


def soak(minutes: float, seed: int, *, is_strict: bool = False) -> bool:
    """Plays all rounds; whether all promises were kept."""
    rng = random.Random(seed)
    left_s = 60 * minutes
    fine = True
    with (
        tempfile.TemporaryDirectory(prefix="headrace-soak-") as folder,
        LocalBroker() as broker,
        Steady(broker.address, f"{folder}/steady") as steady,
    ):
        number = 0
        while left_s > 0:
            number += 1
            place = Path(folder) / f"round-{number}"
            place.mkdir()
            round_ = Round(broker, place, rng, is_strict=is_strict)
            with round_.arena:
                round_.play(min(ROUND_S, left_s))
                report = round_.report(number)
            left_s -= ROUND_S
            report["memory"] = memory_of(steady)
            print(json.dumps(report, indent=2), flush=True)
            fine &= not (report["verdict"]["broken"] or report["ended_by_themselves"])
        wrong = steady.stop()
        last = {"seed": seed, "memory": memory_of(steady), "steady_worker": wrong or "fine"}
        print(json.dumps(last, indent=2))
    return fine and not wrong


def memory_of(steady: Steady) -> dict:
    """How much memory the long-lived worker has, and how fast that grows."""
    weights = steady.megabytes
    return {
        "samples": len(weights),
        "first_mb": weights[0] if weights else None,
        "last_mb": weights[-1] if weights else None,
        "mb_per_hour": steady.mb_per_hour(),
        "lost_records": steady.lost(),
    }


def main() -> int:
    """Reads the arguments and plays."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 16))
    parser.add_argument("--strict", action="store_true", help="strict mode: no duplicate at all")
    given = parser.parse_args()
    return 0 if soak(given.minutes, given.seed, is_strict=given.strict) else 1


if __name__ == "__main__":
    sys.exit(main())
