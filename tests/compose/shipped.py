"""What compose/ ships, read as Docker, Prometheus and Grafana would read it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "compose"
COMPOSE_FILE = FOLDER / "docker-compose.yml"
PROMETHEUS_FILE = FOLDER / "prometheus" / "prometheus.yml"
RULES_FILE = FOLDER / "prometheus" / "headrace.rules.yml"
DASHBOARD_FILE = FOLDER / "grafana" / "dashboards" / "headrace.json"

_METRIC = re.compile(r"\bheadrace_[a-z_]+[a-z]\b")


@dataclass(frozen=True, slots=True)
class Expression:
    """A PromQL expression and where it stands."""

    where: str
    promql: str

    @property
    def metrics(self) -> set[str]:
        """The worker's metrics that it names."""
        return set(_METRIC.findall(self.promql))

    def __str__(self) -> str:
        return self.where


def read_yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def services() -> dict[str, dict[str, Any]]:
    """The services of docker-compose.yml, its anchors resolved."""
    return read_yaml(COMPOSE_FILE)["services"]


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules of a ``kind``, ``alert`` or ``record``."""
    groups = read_yaml(RULES_FILE)["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def rule_expressions() -> list[Expression]:
    return [
        Expression(rule[kind], rule["expr"]) for kind in ("record", "alert") for rule in rules(kind)
    ]


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, the rows' titles among them."""
    return json.loads(DASHBOARD_FILE.read_text(encoding="utf-8"))["panels"]


def panel_expressions() -> list[Expression]:
    """What the panels ask, with Grafana's variables as they are for all workers."""
    values = {"$instance": ".*", "$__rate_interval": "10s"}
    found = []
    for panel in panels():
        for target in panel.get("targets", ()):
            promql = target["expr"]
            for name, value in values.items():
                promql = promql.replace(name, value)
            found.append(Expression(f"{panel['title']} {target['refId']}", promql))
    return found
