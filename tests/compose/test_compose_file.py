"""What can be known of docker-compose.yml, the Dockerfile and Grafana's folder without Docker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import LifecycleSettings, ServerSettings
from pipeline.durations import parse_duration
from pipeline.kafka.address import parse_kafka_url
from tests.compose.shipped import (
    COMPOSE_FILE,
    FOLDER,
    PROMETHEUS_FILE,
    ROOT,
    read_yaml,
    services,
)

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
OURS = ("topics", "trainer", "worker", "feed")
STARTED_ONCE = {"topics", "trainer"}
KEYS = {
    *("build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image"),
    *("logging", "ports", "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs"),
    "volumes",
}
"""The keys of a service that the file uses, all of the Compose specification."""


def word_after(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Where in the container which volume or folder is, as ``{"/registry": "registry"}``."""
    return {each.split(":")[1]: each.split(":")[0] for each in service.get("volumes", ())}


@pytest.mark.parametrize("name", services())
def test_a_service_is_made_of_what_compose_knows(name: str) -> None:
    service = services()[name]
    assert set(service) <= KEYS
    assert all(isinstance(word, str) for word in service.get("command", ()))
    assert all(
        isinstance(value, str | int) and not isinstance(value, bool)
        for value in service.get("environment", {}).values()
    )
    for other, how in service.get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in STARTED_ONCE else "service_healthy"
        assert how == {"condition": wanted}
        assert other in STARTED_ONCE or "healthcheck" in services()[other]


@pytest.mark.parametrize("name", services())
def test_a_service_is_bounded_and_comes_back(name: str) -> None:
    service = services()[name]
    assert service["logging"]["options"]["max-size"]
    assert service.get("restart") == (None if name in STARTED_ONCE else "unless-stopped")


@pytest.mark.parametrize("name", services())
def test_an_image_has_a_version(name: str) -> None:
    repository, _, tag = services()[name]["image"].partition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), repository


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [port for each in services().values() for port in each.get("ports", ())]
    assert sorted(ports) == [f"127.0.0.1:{n}:{n}" for n in (3000, 8080, 9090, 9092)]


def test_mounted_files_are_there_and_volumes_are_declared() -> None:
    declared = set(read_yaml(COMPOSE_FILE)["volumes"])
    used = {source for each in services().values() for source in mounts(each).values()}
    assert {each for each in used if not each.startswith(".")} == declared
    assert all((FOLDER / each).is_dir() for each in used if each.startswith("."))


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_no_rights(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["image"] == f"headrace:{VERSION}"
    assert service["command"][0] in {"headrace", "sh"}


def test_only_the_trainer_writes_models_and_all_look_in_the_same_place() -> None:
    given = services()
    assert given["worker"]["volumes"] == ["registry:/registry:ro"]
    assert given["trainer"]["volumes"] == ["registry:/registry"]
    for name in ("worker", "trainer"):
        assert given[name]["environment"]["HEADRACE_MODEL__REGISTRY"] in mounts(given[name])


def test_the_worker_serves_the_model_that_the_trainer_publishes() -> None:
    given = services()
    assert "--publish digits" in given["trainer"]["command"][-1]
    assert word_after(given["worker"]["command"], "--model") == "digits"


def test_feed_and_worker_meet_on_one_topic_of_kafka() -> None:
    given = services()
    source, _ = parse_kafka_url(word_after(given["worker"]["command"], "--source"))
    for name in ("topics", "feed"):
        address, _ = parse_kafka_url(given[name]["command"][3])
        assert address == source
    advertised = given["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"INSIDE://{source.servers[0]}" in advertised
    assert "OUTSIDE://127.0.0.1:9092" in advertised


def test_the_broker_takes_the_largest_frame_and_keeps_its_records_in_the_volume() -> None:
    kafka = services()["kafka"]
    assert kafka["environment"]["KAFKA_MESSAGE_MAX_BYTES"] == 16 << 20
    [place] = mounts(kafka)
    assert kafka["environment"]["KAFKA_LOG_DIRS"].startswith(f"{place}/")


def test_a_stopped_worker_has_time_to_drain() -> None:
    grace_s = parse_duration(services()["worker"]["stop_grace_period"])
    assert grace_s > LifecycleSettings().drain_timeout_s


def test_ports_agree_from_worker_to_grafana() -> None:
    given = services()
    port = word_after(given["worker"]["command"], "--port")
    assert int(port) == ServerSettings().port
    assert f":{port}/readyz" in given["worker"]["healthcheck"]["test"][-1]
    [job] = read_yaml(PROMETHEUS_FILE)["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"worker:{port}"]}]
    assert job.get("metrics_path", "/metrics") == "/metrics"
    [source] = read_yaml(FOLDER / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    interval = read_yaml(PROMETHEUS_FILE)["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval


def test_grafana_finds_the_dashboard_where_it_is_mounted() -> None:
    grafana = services()["grafana"]
    [provider] = read_yaml(FOLDER / "grafana/provisioning/dashboards/headrace.yml")["providers"]
    folder = provider["options"]["path"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == folder
    assert (FOLDER / mounts(grafana)[folder] / home.name).is_file()
    for kind in ("datasources", "dashboards"):
        assert mounts(grafana)[f"/etc/grafana/provisioning/{kind}"].endswith(f"/{kind}")


@pytest.mark.slow
def test_the_wheel_builds_from_what_the_dockerfile_copies(tmp_path: Path) -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    stage = dockerfile.partition("RUN python -m build")[0]
    copied = [
        name
        for line in re.findall(r"^COPY (.+)$", stage, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    for name in (*copied, "constraints.txt"):
        assert f"!{name}" in ignored
    for name in copied:
        there = ROOT / name
        leave_out = shutil.ignore_patterns("__pycache__")
        if there.is_dir():
            shutil.copytree(there, tmp_path / name, ignore=leave_out)
        else:
            shutil.copy(there, tmp_path / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "wheels"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [each.name for each in (tmp_path / "wheels").iterdir()] == [
        f"headrace-{VERSION}-py3-none-any.whl"
    ]
