"""The demo, as a newcomer runs it: one command, and a browser."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import expect

from pipeline.cli.demo_source import paced
from pipeline.clock import SystemClock
from pipeline.errors import ConfigError
from pipeline.source.url import Surroundings, make_source
from tests.artifacts import publish_tiny
from tests.browser import chromium, screenshot_path
from tests.environment import fill_with_what_is_declared
from tests.flow.process import Headrace
from tests.support import wait_until

pytestmark = pytest.mark.alone

_PICTURES = "[...document.images].filter(each => each.naturalWidth > 100).length"


def test_the_demo_trains_swaps_and_gets_better(tmp_path: Path) -> None:
    with Headrace("demo", "--seconds", "40", "--port", "0", "--json", cwd=tmp_path) as run:
        children = psutil.Process(run.pid).children
        wait_until(children, 30)
        trainer = children()[0]
        assert run.end(150) == 0, run.said()
        summary = run.summary()
    assert len(run.out) == 1
    assert summary["received"] == (
        summary["scored"] + summary["shed"] + summary["rejected"] + summary["in_flight"]
    )
    assert summary["in_flight"] == 0
    assert summary["swaps"] >= 1
    versions = summary["versions"]
    assert max(each["accuracy"] for each in versions[1:]) > versions[0]["accuracy"] + 0.2
    assert not trainer.is_running()
    assert "Traceback" not in run.said()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_night_falls_and_the_trainer_adapts_with_no_hand_on_it(tmp_path: Path) -> None:
    with Headrace("demo", "--night", "45", "--port", "0", "--json", cwd=tmp_path) as run:
        page = f"{run.until_ready()}live.json"

        def seen() -> dict[str, Any]:
            return httpx.get(page).json()["view"]

        def drifted() -> bool:
            moved = (seen()["drift"] or {"moved": {}})["moved"]
            return any(each["excess"] > 1 for each in moved.values())

        wait_until(drifted, 300)
        dusk = seen()
        by_day = max(each["version"] for each in dusk["versions"])
        worst = min(each["right"] / each["frames"] for each in dusk["history"][-15:])
        assert worst < 0.6

        def is_adapted() -> bool:
            now = seen()
            took = [each for each in now["swaps"] if each["version"] > by_day]
            return bool(took) and (now["accuracy"] or 0.0) > worst + 0.15

        wait_until(is_adapted, 300)
        took = [each for each in seen()["swaps"] if each["version"] > by_day]
        assert "as a canary" in took[0]["detail"]
        run.signal(signal.SIGINT)
        assert run.end(60) == 0, run.said()
    assert "Traceback" not in run.said()
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_demo_and_its_trainer(tmp_path: Path) -> None:
    with Headrace("demo", "--port", "0", "--json", cwd=tmp_path) as run:
        url = run.until_ready()
        trainer_and_probe = psutil.Process(run.pid).children()
        assert len(trainer_and_probe) == 2
        assert httpx.get(url + "metrics").status_code == 200
        run.signal(signal.SIGINT)
        assert run.end(60) == 0, run.said()
    assert not any(each.is_running() for each in trainer_and_probe)
    assert run.summary()["in_flight"] == 0
    assert "Traceback" not in run.said()


def test_what_a_killed_demo_leaves_goes_with_the_next_one(tmp_path: Path) -> None:
    """The first one dies while its trainer starts, the other is stopped there."""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with Headrace("demo", "--port", "0", env=env) as run:
        children = psutil.Process(run.pid).children
        wait_until(children, 30)
        (trainer,) = children()
        run.signal(signal.SIGKILL)
        run.end()
    wait_until(lambda: not trainer.is_running(), 30)
    (left,) = tmp_path.iterdir()
    with Headrace("demo", "--port", "0", "--json", env=env) as run:
        children = psutil.Process(run.pid).children
        wait_until(children, 30)
        (trainer,) = children()
        assert not left.exists()
        run.signal(signal.SIGTERM)
        assert run.end(30) == 0, run.said()
        assert run.summary()["received"] == 0
    assert not trainer.is_running()
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in run.said()


def test_the_demo_runs_on_a_clip_and_model_of_ones_own(tmp_path: Path, clips: Path) -> None:
    registry = str(tmp_path / "registry")
    publish_tiny(registry, "tiny")
    own = ("--source", str(clips / "bikes.mp4"), "--model", "tiny", "--registry", registry)
    with Headrace("demo", "--port", "0", "--json", *own, "--fps", "100") as run:
        assert run.end() == 0, run.said()
        assert run.summary()["scored"] == 250


def test_a_clip_of_ones_own_goes_at_its_own_rate_and_a_folder_at_one_that_can_be_seen(
    clips: Path, tmp_path: Path
) -> None:
    bikes = str(clips / "bikes.mp4")
    assert paced(bikes, None) == f"{bikes}?fps=25"
    assert paced(bikes, 5.0) == f"{bikes}?fps=5"
    assert paced(str(clips), None) == f"{clips}?fps=15"
    assert paced(f"{bikes}?fps=50", None) == f"{bikes}?fps=50"
    odd = tmp_path / "100%3F sure?.mp4"
    odd.symlink_to(bikes)
    assert make_source(paced(str(odd), None), Surroundings(SystemClock())).info.name == odd.name
    with pytest.raises(ConfigError, match="--fps is of"):
        paced(f"{bikes}?fps=50", 5.0)
    with pytest.raises(ConfigError, match="--fps is of"):
        paced("rtsp://127.0.0.1:9/camera", 5.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--source", "a.mp4", "--model", "m", "--streams", "2"), "--streams is of the demo's own"),
        (("--registry", "models"), "--registry is where --model is"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    arguments: tuple[str, ...], says: str
) -> None:
    with Headrace("demo", *arguments) as run:
        assert run.end() == 2
    assert says in run.said()


def test_a_port_that_is_taken_is_said_before_anything_is_trained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Headrace("demo", "--port", port) as run:
            assert run.end() == 2
    assert f"can't listen on port {port}" in run.said()
    assert "training" not in run.said()


def test_on_a_terminal_a_table_shows_how_it_goes(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    publish_tiny(registry, "tiny")
    terminal, its_end = pty.openpty()
    said: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end was closed
            while part := os.read(terminal, 1 << 16):
                said.append(part)

    command = [sys.executable, "-m", "pipeline", "demo", "--port", "0", "--registry", registry]
    command += ["--source", "synthetic:digits?fps=20&count=100", "--model", "tiny"]
    reader = threading.Thread(target=read)
    reader.start()
    run = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=its_end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        timeout=120,
        check=False,
    )
    os.close(its_end)
    reader.join(30)
    os.close(terminal)
    shown = b"".join(said).decode()
    assert run.returncode == 0, shown
    for words in ("frames/s", "age p50 / p99", "of the last ", "tiny@1", "100 = 100 scored"):
        assert words in shown
    assert "tiny@1: 0.0% right of 100 frames" in shown + run.stdout.decode()


def test_a_source_without_a_model_is_wrong_use() -> None:
    with Headrace("demo", "--source", "clip.mp4") as run:
        assert run.end() == 2
    assert "--source and --model go together" in run.said()


@pytest.mark.browser
def test_the_page_shows_the_running_demo(tmp_path: Path) -> None:
    with Headrace("demo", "--port", "0", cwd=tmp_path) as run:
        url = run.until_ready()
        with chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(url)
            expect(page.get_by_text("digits-3")).to_be_visible()
            expect(page.get_by_text("ready", exact=True)).to_be_visible()
            wait_until(lambda: page.evaluate(_PICTURES) == 4, 60)
            page.screenshot(path=screenshot_path("demo"), full_page=True)
        run.signal(signal.SIGINT)
        assert run.end(60) == 0


@pytest.fixture
def empty_environment(tmp_path: Path) -> Iterator[Path]:
    """A virtual environment with nothing but pip and what headrace declares that it needs, which
    pip would unpack for three minutes."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    fill_with_what_is_declared("headrace", packages)
    yield folder / "bin"
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_runs_in_an_empty_environment(tmp_path: Path, empty_environment: Path) -> None:
    root = Path(__file__).parents[2]
    pip = [empty_environment / "python", "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, root], check=True)
    (wheel,) = tmp_path.glob("headrace-*.whl")
    subprocess.run([*pip, "install", "-c", root / "constraints.txt", wheel], check=True)
    done = subprocess.run(
        [empty_environment / "headrace", "demo", "--seconds", "20", "--port", "0", "--json"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["scored"] > 0
    assert summary["versions"]
    assert summary["in_flight"] == 0
