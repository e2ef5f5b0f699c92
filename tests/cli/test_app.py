"""What holds for every verb: it starts quickly, and its errors are for people."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.app import VERBS
from tests.artifacts import publish_tiny
from tests.cli.headrace import headrace
from tests.support import wait_until

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "cv2", "numpy", "pydantic", "rich", "fsspec", "starlette")

PRINT_IMPORTS = f"""
import sys
from pipeline.cli.app import main
try:
    main()
except SystemExit as ended:
    print(ended.code, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def _imported_by(*arguments: str) -> tuple[str, str]:
    ran = subprocess.run(
        [sys.executable, "-c", PRINT_IMPORTS, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return ran.stdout, ran.stderr.strip()


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    out, imported = _imported_by("--help")
    assert imported == "0 []"
    for verb in VERBS:
        assert f"  {verb.name} " in out


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_the_help_of_a_verb_imports_nothing_heavy(verb: str) -> None:
    out, imported = _imported_by(verb, "--help")
    assert imported == "0 []"
    assert f"Usage: headrace {verb}" in out
    assert "--help" in out


def test_every_verb_has_a_module() -> None:
    for verb in VERBS:
        assert importlib.util.find_spec(verb.place.partition(":")[0]), verb


def test_without_a_verb_the_help_is_shown() -> None:
    ran = headrace()
    assert ran.code == 2
    assert "Commands:" in ran.out + ran.err


def test_the_version_is_the_distributions() -> None:
    ran = headrace("--version")
    assert (ran.code, ran.out.split()[0]) == (0, "headrace")
    assert ran.out.split()[1][0].isdigit()


def test_an_unknown_verb_is_wrong_use_and_the_nearest_is_named() -> None:
    ran = headrace("wroker")
    assert ran.code == 2
    assert "'worker'" in ran.err


def test_an_unknown_option_is_wrong_use() -> None:
    ran = headrace("worker", "--sauce", "clip.mp4")
    assert ran.code == 2
    assert "--sauce" in ran.err


def test_a_known_error_is_one_line_and_its_exit_code(tmp_path: Path) -> None:
    ran = headrace("models", "list", "--registry", str(tmp_path / "absent"))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("headrace: there is no registry at ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("place", ["front", "end"])
def test_debug_shows_the_traceback_of_a_known_error(place: str, tmp_path: Path) -> None:
    arguments = ["models", "list", "--registry", str(tmp_path / "absent")]
    ran = headrace("--debug", *arguments) if place == "front" else headrace(*arguments, "--debug")
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert "headrace: there is no registry at " in ran.err


def test_a_password_is_in_no_error_and_no_traceback() -> None:
    for more in ((), ("--debug",)):
        ran = headrace("models", "list", "--registry", "nope://me:secret@host/models", *more)
        assert ran.code == 2
        assert "secret" not in ran.err


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    publish_tiny(str(tmp_path / "models"))
    command = [sys.executable, "-m", "pipeline", "models", "list", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [*command, "--registry", str(tmp_path / "models")],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=False,
    )
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, "")


def test_ctrl_c_outside_a_worker_is_130(tmp_path: Path) -> None:
    """A settings file that is a pipe holds the verb until the signal comes."""
    fifo = tmp_path / "headrace.toml"
    os.mkfifo(fifo)
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "config", "-c", str(fifo)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    writers: list[int] = []

    def is_being_read() -> bool:
        with contextlib.suppress(OSError):  # nobody reads it yet
            writers.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    with child:
        wait_until(is_being_read, 60)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    os.close(writers[0])
    assert child.returncode == 130
    assert "Traceback" not in err


def test_settings_are_shown_with_their_origin_as_json(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text("[batch]\nmax_size = 4\n")
    ran = headrace(
        *("config", "--json", "-c", str(file), "--max-frames", "7", "--no-server"),
        *("--source", "rtsp://me:secret@cam/live", "--max-wait", "5ms", "--slo", "0.1s"),
        env={"HEADRACE_ENGINE__THREADS": "3"},
    )
    assert ran.code == 0
    shown = json.loads(ran.out)
    assert shown["batch.max_size"] == {"value": 4, "from": f"{file}:2"}
    assert shown["lifecycle.max_frames"] == {"value": 7, "from": "--max-frames"}
    assert shown["engine.threads"] == {"value": 3, "from": "HEADRACE_ENGINE__THREADS"}
    assert shown["server.enabled"] == {"value": False, "from": "--no-server"}
    assert shown["batch.max_wait_s"] == {"value": 0.005, "from": "--max-wait"}
    assert shown["batch.slo_s"] == {"value": 0.1, "from": "--slo"}
    assert shown["sources"] == {"value": ["rtsp://***@cam/live"], "from": "--source"}
    assert shown["server.port"] == {"value": 8080, "from": "default"}


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[server]\nport = 9\n")
    ran = headrace("config", "--json", env={"HEADRACE_CONFIG": str(file)})
    assert json.loads(ran.out)["server.port"]["value"] == 9


def test_the_table_of_settings_names_all_of_them() -> None:
    shown, table = json.loads(headrace("config", "--json").out), headrace("config").out
    assert all(key in table for key in shown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max-wait", "5"), "--max-wait: '5' isn't a duration"),
        (("--port", "70000"), r"server.port is 70000 (--port), expected"),
        (("--processes", "2"), "--processes is 2, expected 1"),
        (("-c", "absent.toml"), "there is no settings file absent.toml"),
        (("--log-level", "loud"), "log_level is 'loud' (--log-level), expected"),
    ],
)
@pytest.mark.parametrize("verb", ["config", "check", "worker"])
def test_wrong_settings_end_with_2(verb: str, arguments: tuple[str, ...], message: str) -> None:
    ran = headrace(verb, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"headrace: {message}")


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text("[batch]\nmax_sise = 4\n")
    ran = headrace("worker", "-c", str(file))
    assert ran.code == 2
    assert f"unknown setting 'batch.max_sise' in {file}:2; did you mean 'batch.max_size'" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no model: give --model NAME"),
        (("--model", "tiny"), "no source: give at least one --source URL"),
        (("--model", "tiny", "--source", "absent.mp4"), "there is no file or folder 'absent.mp4'"),
        (("--model", "tiny", "--source", "synthetic:digits", "--sink", "csv:x"), "sink 'csv:x'"),
    ],
)
def test_a_worker_without_what_it_needs_ends_with_2(
    arguments: tuple[str, ...], message: str
) -> None:
    ran = headrace("worker", "--no-server", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1].startswith(f"headrace: {message}")


@pytest.mark.parametrize(
    "arguments",
    [
        ("worker", "--source", "synthetic:digits", "--model", "m", "--no-server"),
        ("train", "--publish", "digits"),
        ("publish", "net.pt", "--name", "mine"),
        ("models", "list"),
        ("models", "promote", "m@1", "--alias", "prod"),
        ("demo", "--source", "synthetic:digits", "--model", "m", "--port", "0"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize("below", ["", "/models"])
def test_a_registry_that_is_a_file_is_wrong_use(
    arguments: tuple[str, ...], below: str, tmp_path: Path
) -> None:
    file = tmp_path / "registry"
    file.write_text("no folder")
    ran = headrace(*arguments, "--registry", f"{file}{below}")
    assert ran.code == 2, ran.err
    assert "is a file or lies below one, expected a folder" in ran.err
    assert file.read_text() == "no folder"
