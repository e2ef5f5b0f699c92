from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.settings import (
    OPTIONS,
    OTHER_VARIABLES,
    load_settings,
    setting_fields,
    variable_of,
)


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("HEADRACE_"):
            monkeypatch.delenv(name)


def _file(folder: Path, text: str) -> Path:
    path = folder / "headrace.toml"
    path.write_text(text)
    return path


def test_without_anything_said_all_is_default() -> None:
    loaded = load_settings(None, {})
    assert loaded.settings == Settings()
    assert {row.origin for row in loaded.rows()} == {"default"}
    assert [row.key for row in loaded.rows()] == list(setting_fields())


def test_a_file_in_the_folder_is_not_read_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, "[batch]\nmax_size = 5\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).settings.batch.max_size == Settings().batch.max_size


def test_option_beats_environment_beats_file_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _file(
        tmp_path,
        '# mine\nsources = "clip.mp4"\n\n[batch]\nmax_size = 5\nmax_wait_s = 0.5\n'
        "[lifecycle]\nmax_frames = 5\n[ server ]\n'port' = 5\n",
    )
    monkeypatch.setenv("HEADRACE_BATCH__MAX_WAIT_S", "0.25")
    monkeypatch.setenv("HEADRACE_LIFECYCLE__MAX_FRAMES", "6")
    loaded = load_settings(file, {"lifecycle.max_frames": 7, "server.host": None})
    settings = loaded.settings
    assert settings.sources == ("clip.mp4",)
    assert (settings.batch.max_size, settings.batch.max_wait_s) == (5, 0.25)
    assert (settings.lifecycle.max_frames, settings.server.port) == (7, 5)
    assert dict(loaded.origins) == {
        "sources": f"{file}:2",
        "batch.max_size": f"{file}:5",
        "batch.max_wait_s": "HEADRACE_BATCH__MAX_WAIT_S",
        "lifecycle.max_frames": "--max-frames",
        "server.port": f"{file}:10",
    }
    assert loaded.origin("server.host") == "default"


def test_inline_tables_and_dotted_keys_are_found_in_their_line(tmp_path: Path) -> None:
    file = _file(tmp_path, "batch.max_size = 5\nserver = {port = 1, host = 'a'}\n")
    assert dict(load_settings(file, {}).origins) == {
        "batch.max_size": f"{file}:1",
        "server.port": f"{file}:2",
        "server.host": f"{file}:2",
    }


@pytest.mark.parametrize(
    ("said", "sources"),
    [
        ("clip.mp4", ("clip.mp4",)),
        ('["a.mp4", "rtsp://cam/live"]', ("a.mp4", "rtsp://cam/live")),
    ],
)
def test_several_urls_come_from_the_environment_as_json(
    said: str, sources: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_SOURCES", said)
    assert load_settings(None, {}).settings.sources == sources


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[batch]\nmax_sise = 4\n",
            r"'batch\.max_sise' in .*headrace\.toml:2; .*'batch\.max_size'",
        ),
        ("max_size = 4\n", r"'max_size' in .*:1; did you mean 'batch\.max_size'"),
        ("[lifecycle]\nport = 4\n", r"'lifecycle\.port' in .*:2; did you mean 'server\.port'"),
        ("[zzz]\n", r"unknown setting 'zzz' in .*:1"),
        ("[zzz.qqq]\nvvv = 1\n", r"unknown setting 'zzz\.qqq\.vvv'"),
        ("batch = 4\n", r"'batch' in .*:1; it is a section: \[batch\]"),
        ("[batch]\nmax_size = -1\n", r"batch\.max_size is -1 \(.*:2\), expected greater than or"),
        ("[batch]\nmax_size = 'many'\n", r"batch\.max_size is 'many' \(.*:2\), expected integer"),
        ("[sink]\nretry_for_s = inf\n", r"sink\.retry_for_s is inf .*expected a finite number"),
        ("[engine]\ndevice = 'tpu'\n", r"engine\.device is 'tpu' .*`cuda:N`"),
        ("log_level = 'loud'\n", r"log_level is 'loud' .*'debug', 'info', 'warning' or 'error'"),
        ("sources = [1]\n", r"sources is 1 \(.*:1\), expected string"),
        ("batch = \n", r"headrace\.toml isn't TOML: .*line 1"),
    ],
)
def test_a_wrong_file_is_refused_with_what_to_look_at(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        load_settings(_file(tmp_path, text), {})
    assert "\n" not in str(refused.value)


def test_all_wrong_values_are_told_at_once(tmp_path: Path) -> None:
    file = _file(tmp_path, "[batch]\nmax_size = -1\n[server]\nport = 70000\n")
    with pytest.raises(ConfigError, match=r"batch\.max_size is -1 .*; server\.port is 70000 "):
        load_settings(file, {})


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no settings file .*absent"):
        load_settings(tmp_path / "absent.toml", {})
    with pytest.raises(ConfigError, match="can't be read"):
        load_settings(tmp_path, {})
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="isn't UTF-8"):
        load_settings(binary, {})


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("HEADRACE_BATCH__MAX_SISE", "HEADRACE_BATCH__MAX_SIZE"),
        ("HEADRACE_BATCH_MAX_SIZE", "HEADRACE_BATCH__MAX_SIZE"),
        ("HEADRACE_LOGLEVEL", "HEADRACE_LOG_LEVEL"),
        ("HEADRACE_PORT", "HEADRACE_SERVER__PORT"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused(
    variable: str, nearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigError, match=f"{variable} is no setting; did you mean '{nearest}'"):
        load_settings(None, {})


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*OTHER_VARIABLES, "HEADRACE_TEST_SLOW", "HEADRACE_SERVICE_HOST"):
        monkeypatch.setenv(variable, "x")
    monkeypatch.setenv("HEADRACE_SERVICE_PORT_HTTP", "80")
    monkeypatch.setenv("HEADRACE_PORT_80_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("HEADRACE_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("HEADRACE_KAFKA_SERVICE_HOST", "10.0.0.2")
    monkeypatch.setenv("HEADRACE_KAFKA_PORT_9093_TCP_ADDR", "10.0.0.2")
    monkeypatch.setenv("HEADRACE_KAFKA_PORT", "tcp://10.0.0.2:9093")
    assert load_settings(None, {}).settings == Settings()


def test_a_wrong_value_names_its_option_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"server\.port is 70000 \(--port\), expected .*65535"):
        load_settings(None, {"server.port": 70000})
    monkeypatch.setenv("HEADRACE_SERVER__ENABLED", "perhaps")
    with pytest.raises(ConfigError, match=r"'perhaps' \(HEADRACE_SERVER__ENABLED\), .*boolean"):
        load_settings(None, {})


def test_passwords_are_masked_where_settings_are_shown() -> None:
    url = "rtsp://user:secret@cam.local/live"
    loaded = load_settings(None, {"sources": (url,)})
    assert loaded.settings.sources == (url,)
    assert "user:secret" not in repr(loaded.rows())
    assert loaded.rows()[0].value == ["rtsp://***@cam.local/live"]
    with pytest.raises(ConfigError) as refused:
        load_settings(None, {"log_level": url})
    assert "secret" not in str(refused.value)


def test_every_option_is_of_a_setting() -> None:
    assert OPTIONS.keys() <= setting_fields().keys()
    assert variable_of("batch.max_size") == "HEADRACE_BATCH__MAX_SIZE"


def test_a_password_is_shown_masked_and_is_in_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA__PASSWORD", "tell-nobody")
    loaded = load_settings(None, {})
    assert loaded.settings.kafka.password.get_secret_value() == "tell-nobody"
    rows = {row.key: (row.value, row.origin) for row in loaded.rows()}
    assert rows["kafka.password"] == ("***", "HEADRACE_KAFKA__PASSWORD")
    assert rows["kafka.key_password"] == ("", "default")
    assert "tell-nobody" not in repr(loaded)
    monkeypatch.delenv("HEADRACE_KAFKA__PASSWORD")
    file = _file(tmp_path, "[kafka]\npassword = 20061115\n")
    with pytest.raises(ConfigError, match=r"kafka.password is \*\*\*") as refused:
        load_settings(file, {})
    assert "20061115" not in f"{refused.value} {refused.value.__cause__}"
