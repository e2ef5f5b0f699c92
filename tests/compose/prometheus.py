"""The real Prometheus, of Debian's package."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.compose.service import Service
from tests.compose.shipped import PROMETHEUS_FILE, RULES_FILE, read_yaml, services
from tests.support import wait_until

_ANSWERS_WITHIN_S = 20.0


def find(program: str) -> str:
    """The path of ``prometheus`` or ``promtool``; fails the test where there is none."""
    path = shutil.which(program)
    if path is None:
        pytest.fail(
            f"no {program}: run `make setup-prometheus-tests` (Debian's package prometheus)",
            pytrace=False,
        )
    return path


class Prometheus:
    """A Prometheus with the shipped command, configuration and rules, which scrapes each second.

    Owned by: the test's thread.
    """

    def __init__(self, folder: Path, port: int, target: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        config = read_yaml(PROMETHEUS_FILE)
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES_FILE)]
        [job] = config["scrape_configs"]
        job["static_configs"] = [{"targets": [target]}]
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        places = {
            "--config.file=/etc/prometheus/prometheus.yml": f"--config.file={file}",
            "--storage.tsdb.path=/prometheus": f"--storage.tsdb.path={folder / 'prometheus'}",
        }
        given = services()["prometheus"]["command"]
        command = [find("prometheus"), *(places.get(each, each) for each in given)]
        command.append(f"--web.listen-address=127.0.0.1:{port}")
        self._service = Service(command, folder / "prometheus.log")

    def await_ready(self) -> None:
        """Waits until it answers."""
        wait_until(self._is_ready, _ANSWERS_WITHIN_S)

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The series that an expression has now; fails where Prometheus refuses it."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": promql}, timeout=10)
        content = answer.json()
        assert content["status"] == "success", f"{promql}: {content}"
        result = content["data"]["result"]
        return result if content["data"]["resultType"] == "vector" else [{"value": result}]

    def value(self, promql: str) -> float:
        """The value of an expression that has one series; 0 while it has none."""
        found = self.query(promql)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else 0.0

    def rules(self) -> dict[str, dict[str, Any]]:
        """What it says of each rule that it evaluates, by name."""
        groups = httpx.get(f"{self.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = httpx.get(f"{self.url}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def end(self) -> int:
        """Ends it; gives its exit code."""
        return self._service.end()

    def _is_ready(self) -> bool:
        assert self._service.is_running, self._service.said()
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False
