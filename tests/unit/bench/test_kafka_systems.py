"""How the systems are started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.bench.kafka.measure import cpu_seconds, require_proc
from pipeline.bench.kafka.plan import CEILINGS, contenders
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
        quix_python=Path("quix/bin/python"),
    )


def test_every_system_has_a_program_that_is_there(systems: Systems) -> None:
    require_checkout()
    for name in contenders(has_quix=True):
        if name in CEILINGS:
            continue
        python, *rest = systems.command(name, JOB)
        assert python == ("quix/bin/python" if name == "quix" else sys.executable)
        assert rest[0] == "-m" or Path(rest[0]).is_file()
        assert "40" in rest


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
    for name in ("competent", "quix"):
        assert systems.command(name, JOB)[-2:] == ["--model", "model.pt"]


def test_cpu_time_is_read_from_outside() -> None:
    require_proc()
    before = cpu_seconds(os.getpid())
    assert before is not None
    assert before > 0
    assert cpu_seconds(2**22 + 1) is None  # beyond the largest pid that Linux gives
