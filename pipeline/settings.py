"""From the command line, the environment and a file to settings, and where each of them came from.

The first that says something of a setting wins: option, then ``HEADRACE_…``, then file, then
default. What nobody knows is refused, so that a misspelt setting is never silently without effect.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.urls import MASK, mask_url

ENV_PREFIX = "HEADRACE_"

OPTIONS: Mapping[str, str] = {
    "sources": "--source",
    "sinks": "--sink",
    "model.name": "--model",
    "model.registry": "--registry",
    "engine.device": "--device",
    "engine.backend": "--backend",
    "server.host": "--host",
    "server.port": "--port",
    "server.enabled": "--no-server",
    "lifecycle.max_frames": "--max-frames",
    "batch.max_size": "--batch-size",
    "batch.max_wait_s": "--max-wait",
    "batch.slo_s": "--slo",
    "sink.dead_letter": "--dead-letter",
    "log_level": "--log-level",
}
"""The settings that have an option of ``headrace worker``, ``check`` and ``config``."""

OTHER_VARIABLES: Mapping[str, str] = {
    "HEADRACE_CONFIG": "the settings file, as `-c`",
    "HEADRACE_SIGNING_PASSPHRASE": "of a private key that signs models",
    "HEADRACE_CHROMIUM": "the browser that the tests of the page use",
}
"""Variables that are no settings; ``HEADRACE_TEST_…`` are the tests'."""

# Kubernetes gives every pod HEADRACE_SERVICE_HOST, HEADRACE_PORT=tcp://… and the like once there is
# a Service of the name `headrace` beside it, and HEADRACE_KAFKA_… for one named `headrace-kafka`; a
# worker must not refuse to start because of them.
_KUBERNETES = re.compile(
    r"HEADRACE_([A-Z0-9]+_)*(SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP|SCTP)\w*)"
)


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting as it may be shown: ``value`` is masked where it holds a secret."""

    key: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Effective:
    """Settings, and for each that was given the option, variable or ``file:line`` it came from."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None = None

    def rows(self) -> list[EffectiveSetting]:
        """Every setting, in the order of the sections."""
        return [
            EffectiveSetting(key, _masked(_value(self.settings, key)), self.origin(key))
            for key in setting_fields()
        ]

    def origin(self, key: str) -> str:
        """Where a setting came from; ``default`` where nobody gave it."""
        return self.origins.get(key, "default")


def load_settings(config_file: Path | None, overrides: Mapping[str, object]) -> Effective:
    """Merges all that was said. A file is read only if it is named; none is looked for.

    ``overrides`` are the command line's, by dotted key (``batch.max_size``); None is not given.

    Raises:
        ConfigError: the file can't be read, a key or variable is unknown, or a value is wrong.
    """
    given: dict[str, object] = {}
    origins: dict[str, str] = {}
    if config_file is not None:
        for key, value, origin in _from_file(config_file):
            given[key], origins[key] = value, origin
    for key, value, origin in _from_environment():
        given[key], origins[key] = value, origin
    for key, value in overrides.items():
        if value is not None:
            given[key], origins[key] = value, OPTIONS.get(key, "command line")
    try:
        settings = Settings.model_validate(_nested(given))
    except ValidationError as cause:
        raise ConfigError(_explain(cause, origins)) from cause
    return Effective(settings, origins, config_file)


def setting_fields() -> dict[str, FieldInfo]:
    """Every setting by its dotted key, in the order of the sections."""
    return dict(_fields_of(Settings, ""))


def variable_of(key: str) -> str:
    """The environment variable of a setting: ``HEADRACE_BATCH__MAX_SIZE``."""
    return ENV_PREFIX + key.replace(".", "__").upper()


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field holds, or None for a setting."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _fields_of(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        inner = section_of(field)
        if inner is None:
            yield prefix + name, field
        else:
            yield from _fields_of(inner, f"{prefix}{name}.")


class _Readable(Settings, BaseSettings):
    """``Settings`` as pydantic-settings reads them from the environment; values stay strings."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", enable_decoding=False, frozen=True
    )


def _from_environment() -> Iterator[tuple[str, object, str]]:
    known = {variable_of(key) for key in setting_fields()}
    for variable, value in os.environ.items():
        name = variable.upper()
        if not name.startswith(ENV_PREFIX) or name in known or _is_anothers(name, value):
            continue
        raise ConfigError(
            f"the environment's {variable} is no setting{_nearest(name, known)}; "
            "`headrace config` shows all settings"
        )
    for key, value in _flat(EnvSettingsSource(_Readable)(), ""):
        yield key, value, variable_of(key)


def _is_anothers(variable: str, value: str) -> bool:
    if variable in OTHER_VARIABLES or variable.startswith("HEADRACE_TEST_"):
        return True
    if variable.endswith("_PORT") and "__" not in variable:
        return "://" in value
    return bool(_KUBERNETES.fullmatch(variable))


def _from_file(path: Path) -> Iterator[tuple[str, object, str]]:
    text, content = _read_toml(path)
    fields = setting_fields()
    for key, value in _flat(content, ""):
        line = _line_of(text, key)
        origin = f"{path}:{line}" if line else str(path)
        if key not in fields:
            is_section = any(known.startswith(f"{key}.") for known in fields)
            hint = f"; it is a section: [{key}]" if is_section else _nearest(key, fields)
            raise ConfigError(
                f"unknown setting {key!r} in {origin}{hint}; `headrace config` shows all settings"
            )
        yield key, value, origin


def _read_toml(path: Path) -> tuple[str, dict[str, object]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except FileNotFoundError as cause:
        raise ConfigError(f"there is no settings file {path} (looked in {Path.cwd()})") from cause
    except OSError as cause:
        raise ConfigError(f"the settings file {path} can't be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise ConfigError(f"the settings file {path} isn't UTF-8, expected TOML") from cause
    except tomllib.TOMLDecodeError as cause:
        raise ConfigError(f"the settings file {path} isn't TOML: {cause}") from cause


def _flat(content: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    """Leaves by dotted key. An empty table that is no section is a leaf: it must be refused too."""
    for name, value in content.items():
        key = prefix + name
        if isinstance(value, dict) and (value or f"{key}." in _SECTION_PREFIXES):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


_SECTION_PREFIXES = frozenset(key.rpartition(".")[0] + "." for key in setting_fields())


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    top: dict[str, object] = {}
    sections: dict[str, dict[str, object]] = {}
    for key, value in flat.items():
        section, dot, name = key.partition(".")
        if dot:
            sections.setdefault(section, {})[name] = value
        else:
            top[key] = value
    return {**top, **sections}


_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=")


def _line_of(text: str, key: str) -> int | None:
    """The line that says ``key``, for a person to look at: tomllib tells no positions. None for
    the odd spellings that a line by itself doesn't show."""
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TABLE.match(line):
            said = re.sub(r"[\s\"']", "", match[1])
            table = said + "."
        elif match := _KEY.match(line):
            said = table + re.sub(r"[\s\"']", "", match[1])
        else:
            continue
        if key == said or (not match[0].lstrip().startswith("[") and key.startswith(said + ".")):
            return number
    return None


def _nearest(unknown: str, known: Mapping[str, object] | set[str]) -> str:
    # Right in its name and in the wrong section, or else misspelt.
    name = unknown.rpartition(".")[2]
    best = [key for key in known if key.rpartition(".")[2] == name]
    best = best or difflib.get_close_matches(unknown, known, n=1, cutoff=0.5)
    return f"; did you mean {best[0]!r}?" if best else ""


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    """All that is wrong, in one line: key, value, where it came from, what was expected."""
    fields = setting_fields()
    parts: list[str] = []
    for each in error.errors(include_url=False):
        path = [str(step) for step in each["loc"]]
        key = next(
            (known for n in range(len(path), 0, -1) if (known := ".".join(path[:n])) in fields),
            ".".join(path),
        )
        expected = each["msg"].removeprefix("Value error, ").partition(", unable to")[0]
        expected = re.sub(r"^Input should be (a valid )?", "expected ", expected)
        about = fields[key].description if key in fields else None
        is_secret = key in fields and fields[key].annotation is SecretStr
        got = MASK if is_secret else repr(_masked(each["input"]))
        parts.append(
            f"{key} is {got} ({origins.get(key, 'default')}), {expected}"
            + (f" ({about})" if about else "")
        )
    return "; ".join(parts)


def _value(settings: Settings, key: str) -> object:
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _masked(value: object) -> object:
    if isinstance(value, SecretStr):
        return MASK if value else ""
    if isinstance(value, str):
        return mask_url(value)
    if isinstance(value, tuple | list):
        return [_masked(each) for each in value]
    return value
