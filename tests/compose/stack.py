"""The services of docker-compose.yml as processes of this machine, without Docker.

Commands, environments and health checks are those of the file. What a container changes is changed
back: names of hosts, ports and folders become those of the test, and an image's entry point becomes
the program that is installed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx
from kafka import KafkaProducer

from compose.kafka.jars import HERE as KAFKA_FOLDER
from compose.kafka.jars import LIBS, fetch, find_java
from compose.kafka.ports import free_port
from pipeline.artifact.registry import Registry
from tests.artifacts import publish_tiny
from tests.compose.prometheus import Prometheus
from tests.compose.service import Service, run, succeeds
from tests.compose.shipped import services
from tests.support import wait_until

_HEALTHY_WITHIN_S = 60.0
_SHORT_TRAINING = "headrace train --epochs 1 --train-samples 100"
ALWAYS_LATE = "synthetic:digits?mode=live&fps=30&max_age=1ms"
"""A camera whose frames are too old once they are there: all of them are shed."""


class Stack:
    """Kafka, a trained model, a worker, a feed and Prometheus. As a context manager it ends them.

    Owned by: the test's thread. Starting takes half a minute and raises ``BrokerError`` where Java
    or Maven is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services = services()
        self._registry = str(folder / "registry")
        self._ports = {port: free_port() for port in ("29092", "9092", "29093", "8080", "9090")}
        self._running: dict[str, Service] = {}
        self.prometheus: Prometheus | None = None

    @property
    def worker_url(self) -> str:
        """Where the worker serves its metrics."""
        return f"http://127.0.0.1:{self._ports['8080']}"

    def here(self, text: object) -> str:
        """A value of the file with this machine's addresses and folders for the containers'."""
        words = str(text)
        for port, ours in self._ports.items():
            words = words.replace(f":{port}", f":{ours}").replace(f"/{port}", f"/{ours}")
        if words in self._ports:
            words = str(self._ports[words])
        for there, ours in {
            "//kafka:": "//127.0.0.1:",
            "0.0.0.0": "127.0.0.1",
            "/registry": self._registry,
            "/tmp/run": f"{self.folder}/run",
            "/var/lib/kafka/data": f"{self.folder}/kafka",
        }.items():
            words = words.replace(there, ours)
        return words

    def command(self, service: str) -> list[str]:
        """A service's command."""
        return [self.here(word) for word in self.services[service]["command"]]

    def environment(self, service: str) -> dict[str, str]:
        """A service's variables."""
        given = self.services[service].get("environment", {})
        return {name: self.here(value) for name, value in given.items()}

    def is_healthy(self, service: str) -> bool:
        """Runs the service's own health check."""
        kind, *command = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return succeeds([self.here(word) for word in command])

    def train(self) -> str:
        """Runs the trainer, with less to learn; gives what it said."""
        self._start("trainer")
        trainer = self._running.pop("trainer")
        assert trainer.wait() == 0, trainer.said()
        return trainer.said()

    def start(self) -> None:
        """Starts everything in the order of the file's ``depends_on``."""
        self._start_kafka()
        self._start("trainer")
        self._await_healthy("kafka")
        run(self.command("topics"), self.environment("topics"))
        trainer = self._running.pop("trainer")
        assert trainer.wait() == 0, trainer.said()
        self._start("worker", "--source", ALWAYS_LATE)
        self.prometheus = Prometheus(
            self.folder, self._ports["9090"], f"127.0.0.1:{self._ports['8080']}"
        )
        self.prometheus.await_ready()
        self._await_healthy("worker")
        self._start("feed")

    def send(self, value: bytes) -> None:
        """Puts a record on the feed's topic, through the port for programs outside."""
        servers = f"127.0.0.1:{self._ports['9092']}"
        producer = KafkaProducer(bootstrap_servers=servers)
        producer.send("frames", value, key=b"stranger").get(20)
        producer.close(timeout=10)

    def publish(self, labels: Sequence[str] = ()) -> None:
        """Publishes another network as the next version; of other ``labels`` if some are given."""
        registry = Registry(self._registry)
        contract = registry.read("digits", 1).manifest.contract
        publish_tiny(registry, "digits", tuple(labels) or contract.labels, 0.5, contract.preprocess)

    def metrics(self) -> str:
        """The worker's own page of metrics."""
        return httpx.get(f"{self.worker_url}/metrics", timeout=10).text

    def _start(self, service: str, *more: str) -> None:
        command = [
            word.replace("headrace train", _SHORT_TRAINING) for word in self.command(service)
        ]
        log = self.folder / f"{service}.log"
        self._running[service] = Service([*command, *more], log, self.environment(service))

    def _start_kafka(self) -> None:
        """Starts the broker with the properties that the image makes of the variables."""
        fetch()
        variables = self.environment("kafka")
        cluster, heap = variables.pop("CLUSTER_ID"), variables.pop("KAFKA_HEAP_OPTS")
        file = self.folder / "server.properties"
        lines = [
            f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}"
            for name, value in variables.items()
        ]
        file.write_text("\n".join(lines), encoding="utf-8")
        jvm = [
            find_java(),
            *heap.split(),
            f"-Dlog4j2.configurationFile={KAFKA_FOLDER / 'log4j2.xml'}",
            f"-Dheadrace.kafka.log={self.folder / 'broker.log'}",
            *("-cp", f"{LIBS}/*"),
        ]
        format_ = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster]
        run([*jvm, *format_, "--config", str(file)])
        self._running["kafka"] = Service(
            [*jvm, "kafka.Kafka", str(file)], self.folder / "kafka.log"
        )

    def _await_healthy(self, service: str) -> None:
        running = self._running[service]

        def is_there() -> bool:
            assert running.is_running, running.said()
            return self.is_healthy(service)

        wait_until(is_there, _HEALTHY_WITHIN_S)

    def end(self) -> dict[str, int]:
        """Ends all in the opposite order; gives the exit codes."""
        codes = {} if self.prometheus is None else {"prometheus": self.prometheus.end()}
        for name in reversed(list(self._running)):
            codes[name] = self._running.pop(name).end()
        return codes

    def __enter__(self) -> Stack:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
