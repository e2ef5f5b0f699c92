"""How the systems are started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.bench.kafka.peers import PEERS, peers_named
from pipeline.bench.kafka.plan import CEILINGS, OVER_HTTP, contenders
from pipeline.bench.kafka.process import require_proc, session_cpu_seconds
from pipeline.bench.kafka.systems import Job, Systems, require_checkout
from pipeline.errors import ConfigError

JOB = Job("127.0.0.1:1", "frames", "results", 40)


@pytest.fixture
def systems() -> Systems:
    return Systems(
        registry="registry",
        models={"headrace": "bench@1", "headrace_full": "bench@2"},
        model_file=Path("model.pt"),
        weights_file=Path("weights.pt"),
        peers={name: Path(f"{name}/bin/python") for name in PEERS},
    )


def test_every_system_has_a_program_that_is_there(systems: Systems) -> None:
    require_checkout()
    for name in contenders(tuple(PEERS)):
        if name in (*CEILINGS, *OVER_HTTP):
            continue
        python, *rest = systems.command(name, JOB)
        assert python == (f"{name}/bin/python" if name in PEERS else sys.executable)
        assert rest[0] == "-m" or Path(rest[0]).is_file()
        assert "40" in rest


def test_servers_are_told_their_port_and_no_topic(systems: Systems) -> None:
    for name in OVER_HTTP:
        python, program, *rest = systems.server_command(name, 8123)
        assert python == f"{name}/bin/python"
        assert Path(program).is_file()
        assert rest == ["--port", "8123", "--model", "model.pt"]
        assert PEERS[name].endpoint is not None


def test_every_peer_says_what_pip_is_to_install() -> None:
    for peer in PEERS.values():
        assert f"{peer.package}==" in peer.requirements.read_text()


def test_peers_are_named_with_commas_or_none_of_them() -> None:
    assert peers_named("none") == {}
    with pytest.raises(ConfigError, match="no 'flink'; expected quix, arroyo"):
        peers_named("flink")


def test_a_wheel_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clone the repository"):
        require_checkout(tmp_path)


def test_the_workers_differ_in_the_model_alone(systems: Systems) -> None:
    auto, full = (systems.command(name, JOB) for name in ("headrace", "headrace_full"))
    assert [(a, b) for a, b in zip(auto, full, strict=True) if a != b] == [("bench@1", "bench@2")]
    assert "kafka://127.0.0.1:1/frames?group=frames" in auto
    assert "kafka://127.0.0.1:1/results" in auto


def test_the_naive_loop_takes_weights_and_the_others_torchscript(systems: Systems) -> None:
    assert systems.command("naive", JOB)[-2:] == ["--weights", "weights.pt"]
    for name in ("competent", "quix", "arroyo"):
        assert systems.command(name, JOB)[-2:] == ["--model", "model.pt"]


def test_cpu_time_is_read_from_outside() -> None:
    require_proc()
    assert session_cpu_seconds(os.getsid(0)) > 0
    assert session_cpu_seconds(2**22 + 1) == 0  # beyond the largest pid that Linux gives
