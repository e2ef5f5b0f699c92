"""Names of models and aliases, and what they may be made of: they become paths."""

from __future__ import annotations

import re

from pipeline.errors import ConfigError

LATEST = "latest"
"""The alias that a publish moves and that a model's bare name stands for."""

COPY_NOTE = "copy_of_version"
"""The note of a version that was published again: which one's bytes it has."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def is_name(name: str) -> bool:
    """Whether ``name`` may be a model's: a plain folder's name, nothing that leads elsewhere."""
    return bool(_NAME.fullmatch(name))


def check_name(name: str) -> str:
    """Gives a model's name back if it may be a folder of a registry.

    Raises:
        ConfigError: it isn't made of letters, digits, dots, dashes and underscores, beginning with
            a letter or digit, 128 at most.
    """
    if not is_name(name):
        raise ConfigError(
            f"the model's name is {name!r}, expected letters, digits, '.', '_' and '-', a letter "
            f"or digit first, 128 at most: give another name"
        )
    return name


def is_alias(alias: str) -> bool:
    """Whether ``alias`` is a name that no version number and no file of a registry can have."""
    reserved = alias.endswith((".pbtxt", ".json", ".pt", ".npz", ".sig"))
    return is_name(alias) and not alias.isdigit() and not reserved


def check_alias(alias: str) -> str:
    """Gives an alias back if it may be one.

    Raises:
        ConfigError: it is no name, only digits, or ends like a file of an artifact.
    """
    if not is_alias(alias):
        raise ConfigError(
            f"the alias is {alias!r}, expected a name such as 'latest' or 'prod': letters, digits, "
            f"'.', '_' and '-', a letter or digit first, not digits alone, no file's ending"
        )
    return alias


def version_of(text: str) -> int | None:
    """The version that a folder's name, a selector or an alias file's content stands for."""
    return int(text) if _VERSION.fullmatch(text) else None


def parse_model(model: str) -> tuple[str, str]:
    """Splits ``NAME[@VERSION or @ALIAS]`` into name and selector, ``""`` where none is given.

    Raises:
        ConfigError: the name or the selector can't be one.
    """
    name, at, selector = model.partition("@")
    check_name(name)
    if not at:
        return name, ""
    if version_of(selector) is None and not is_alias(selector):
        raise ConfigError(
            f"the model is {model!r}, expected NAME, NAME@VERSION or NAME@ALIAS "
            f"(digits, digits@3, digits@prod)"
        )
    return name, selector
