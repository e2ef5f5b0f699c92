"""URLs as they may be shown: without the secrets that people write into them."""

from __future__ import annotations

import re

MASK = "***"

_SCHEME = re.compile(
    r"((?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*):(/{0,2})(.*)", re.IGNORECASE | re.DOTALL
)
"""fsspec chains schemes with ``::``."""
_IN_TEXT = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)

_LOCAL = frozenset({"camera", "dir", "file", "jsonl", "null", "stdout", "synthetic"})
"""Schemes whose URLs are paths or names: nothing in them is a secret."""

_HARMLESS = frozenset(
    {
        *("camera", "channel", "codec", "profile", "stream", "subtype", "trackid"),
        *("create", "fps", "group", "max_age", "mode", "open_timeout", "read_timeout", "session"),
        "start",
    }
)
"""Options of a URL whose values may be shown. Cameras put passwords and tokens into others."""


def mask_url(url: str) -> str:
    """Gives ``url`` with user, password and unknown options' values as ``***``.

    Everything before the last ``@`` goes: a password may hold an unescaped ``/``, ``?`` or ``#``,
    and rather too much is masked than too little. What is no URL comes back as it is.
    """
    match = _SCHEME.fullmatch(url)
    if match is None or match[1].lower() in _LOCAL:
        return url
    scheme, slashes, rest = match.groups()
    secret, at, shown = rest.rpartition("@")
    if secret:
        shown = f"{MASK}{at}{shown}"
    address, mark, query = shown.partition("?")
    return f"{scheme}:{slashes}{address}{mark}{'&'.join(map(_mask_option, query.split('&')))}"


def mask_text(text: str) -> str:
    """Gives a message or log line with every URL in it masked."""
    return _IN_TEXT.sub(lambda match: mask_url(match[0]), text)


def _mask_option(option: str) -> str:
    name, equals, value = option.partition("=")
    if not value or name.lower() in _HARMLESS:
        return option
    return f"{name}{equals}{MASK}"
