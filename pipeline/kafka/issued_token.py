"""Tokens that an OAuth 2.0 endpoint issues for our own id and secret (RFC 6749, 4.4)."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from pipeline.errors import ConfigError

_ANSWER_WITHIN_S = 5.0
"""kafka-python asks for a token on the thread that keeps its group alive."""
_MOST_ANSWER_BYTES = 256 * 1024
_LIFETIME_S = 60.0
"""Where the endpoint doesn't say."""
_GOOD_FOR = 0.8
"""Of its lifetime: a broker must not get one that ends on the way."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and where."""

    url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str


class IssuedToken:
    """The newest token, issued when one is needed. Thread-safe; blocks for five seconds at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token = ""
        self._good_until_mono_s = 0.0

    def get(self, client: Client) -> str:
        """Gives a token that is good for a while.

        Raises:
            ConfigError: the endpoint refuses us, or isn't one.
            OSError: it doesn't answer now.
        """
        with self._lock:
            now = time.monotonic()
            if now >= self._good_until_mono_s:
                self._token, lifetime_s = _issue(client)
                self._good_until_mono_s = now + _GOOD_FOR * lifetime_s
            return self._token

    def forget(self) -> None:
        """A broker didn't take it: the next one is issued anew."""
        with self._lock:
            self._good_until_mono_s = 0.0


def require_token_url(url: str) -> None:
    """Refuses what isn't a URL to which a secret may be sent.

    Raises:
        ConfigError: it is no https: one, nor an http: one of this machine.
    """
    try:
        parts = urlsplit(url)
        is_here = parts.scheme == "http" and parts.hostname in _LOOPBACK
    except ValueError:
        parts, is_here = urlsplit(""), False
    if not (is_here or (parts.scheme == "https" and parts.hostname)) or "@" in parts.netloc:
        raise ConfigError(
            "kafka.token_url: expected https://HOST/PATH without a user; plain http is for this"
            " machine alone"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: the secret is in the headers."""

    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        """Follows nothing."""


def _issue(client: Client) -> tuple[str, float]:
    form = {"grant_type": "client_credentials"}
    if client.scope:
        form["scope"] = client.scope
    login = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
    request = urllib.request.Request(
        client.url,
        urlencode(form).encode(),
        {
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
            "Accept": "application/json",
        },
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=_ANSWER_WITHIN_S) as answer:
            said = _parsed(answer.read(_MOST_ANSWER_BYTES))
    except urllib.error.HTTPError as refused:
        with refused:
            raise _refusal(client, refused) from refused
    except http.client.HTTPException as cause:
        raise OSError(f"{client.url} (kafka.token_url) doesn't speak HTTP") from cause
    except OSError as cause:
        reason = getattr(cause, "reason", cause)
        raise OSError(f"{client.url} (kafka.token_url) doesn't answer: {reason}") from cause
    token, lifetime_s = said.get("access_token"), said.get("expires_in")
    if not isinstance(token, str) or not token:
        raise ConfigError(
            f"{client.url} (kafka.token_url) gave no access_token: is it the right one?"
        )
    return token, float(lifetime_s) if isinstance(lifetime_s, int | float) else _LIFETIME_S


def _refusal(client: Client, refused: urllib.error.HTTPError) -> Exception:
    said = _parsed(refused.read(_MOST_ANSWER_BYTES))
    why = said.get("error_description") or said.get("error") or refused.reason
    message = f"{client.url} (kafka.token_url) answers {refused.code}: {why}"
    if refused.code == 429 or refused.code >= 500:
        return OSError(message)
    return ConfigError(
        f"{message}; are kafka.client_id {client.client_id!r}, its secret and kafka.token_scope"
        " right?"
    )


def _parsed(content: bytes) -> Mapping[str, object]:
    try:
        said = json.loads(content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
