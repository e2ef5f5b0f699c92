"""The HTTP application: metrics, health, and the live page with its data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.clock import SystemClock
from pipeline.metrics import FrameCounts, Metrics
from pipeline.server.scrapes import Scrapes
from pipeline.sink.live import LiveView
from pipeline.sink.snapshot import model_row
from pipeline.types import ModelIdentity

_SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Cameras' pictures: no other site's page may show them through its visitor's browser.
    "cross-origin-resource-policy": "same-origin",
}

_ASSETS = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/app.js": ("app.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
    "/dom.js": ("dom.js", "text/javascript"),
    "/streams.js": ("streams.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class ServerState(Protocol):
    """What the server reads of a worker. All of it is called from the server's threads."""

    @property
    def metrics(self) -> Metrics:
        """What is scraped."""
        ...

    @property
    def live(self) -> LiveView:
        """What the page shows."""
        ...

    def liveness(self) -> str | None:
        """None while the worker makes progress, else why it should be started again."""
        ...

    def readiness(self) -> str | None:
        """None once it scores frames, else why it doesn't yet or any more."""
        ...

    def model(self) -> ModelIdentity | None:
        """The active model, None before the first is loaded."""
        ...

    def counts(self) -> FrameCounts:
        """All frame counters of one moment."""
        ...


def make_app(state: ServerState) -> Starlette:
    """Makes the ASGI application of one worker.

    What may take time (encoding a picture or the metrics) runs in the server's thread pool and
    never holds up a health check.
    """
    endpoints = _Endpoints(state)
    picture = Route("/streams/{name:path}.jpg", endpoints.picture)
    # A stream's name may hold anything, line ends too; Starlette's own pattern stops at those.
    picture.path_regex = re.compile(r"^/streams/(?P<name>.*)\.jpg\Z", re.DOTALL)
    routes = [
        *(Route(path, _asset(name, kind)) for path, (name, kind) in _ASSETS.items()),
        Route("/live.json", endpoints.live),
        picture,
        Route("/metrics", endpoints.metrics),
        Route("/healthz", endpoints.healthz),
        Route("/readyz", endpoints.readyz),
        Route("/v2/health/live", endpoints.v2_live),
        Route("/v2/health/ready", endpoints.v2_ready),
        Route("/v2/models/{name}/ready", endpoints.v2_model_ready),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_WithHeaders)])


class _Endpoints:
    """One method a URL. Thread-safe as the state is."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._scrapes = Scrapes(state.metrics.registry, SystemClock())

    def live(self, _request: Request) -> Response:
        model = self._state.model()
        return _json(
            {
                "schema": "headrace.live/1",
                "model": None if model is None else model_row(model),
                "not_live": self._state.liveness(),
                "not_ready": self._state.readiness(),
                "frames": _totals(self._state.counts()),
                "view": self._state.live.snapshot(),
            }
        )

    def picture(self, request: Request) -> Response:
        shown = self._state.live.picture(request.path_params["name"])
        if shown is None:
            return PlainTextResponse("no picture of a stream of this name\n", 404)
        return Response(shown.data, media_type=shown.content_type)

    async def metrics(self, request: Request) -> Response:
        """What is kept is given at once, on the event loop's own thread: changing threads costs as
        much of the interpreter as all the rest of a request."""
        accept = request.headers.get("accept", "")
        answer = self._scrapes.kept(accept)
        text, content_type = answer or await run_in_threadpool(self._scrapes.answer, accept)
        return Response(text, headers={"content-type": content_type})

    def healthz(self, _request: Request) -> Response:
        return _health(self._state.liveness())

    def readyz(self, _request: Request) -> Response:
        return _health(self._state.readiness())

    def v2_live(self, _request: Request) -> Response:
        is_live = self._state.liveness() is None
        return _json({"live": is_live}, 200 if is_live else 503)

    def v2_ready(self, _request: Request) -> Response:
        is_ready = self._state.readiness() is None
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    def v2_model_ready(self, request: Request) -> Response:
        name = request.path_params["name"]
        model = self._state.model()
        if model is None or model.name != name:
            serves = "none yet" if model is None else model.name
            return _json({"error": f"no model {name!r} here; the active one is {serves}"}, 404)
        is_ready = self._state.readiness() is None
        row: dict[str, object] = {"name": name, "version": str(model.version), "ready": is_ready}
        return _json(row, 200 if is_ready else 503)


class _WithHeaders:
    """Adds the security headers to every response, and forbids keeping any of them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_SECURITY_HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _asset(name: str, media_type: str) -> Callable[[Request], Response]:
    """An endpoint that gives one file of the page, read once."""
    content = files("pipeline.server").joinpath("page", name).read_bytes()

    def give(_request: Request) -> Response:
        # Asked for again each time, so that a page never runs with another version's script.
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    return give


def _health(reason: str | None) -> Response:
    if reason is None:
        return _json({"status": "ok"})
    return _json({"status": "unavailable", "reason": reason}, 503)


def _totals(counts: FrameCounts) -> dict[str, object]:
    """The counters over all streams: ``received = scored + shed + rejected + in_flight``."""
    return {
        "received": sum(counts.received.values()),
        "scored": sum(counts.scored.values()),
        "shed": sum(counts.shed.values()),
        "rejected": sum(counts.rejected.values()),
        "in_flight": counts.in_flight,
        "shed_by_reason": _by_reason(counts.shed),
        "rejected_by_reason": _by_reason(counts.rejected),
    }


def _by_reason(counts: dict[tuple[str, str], int]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for (_stream, reason), count in counts.items():
        reasons[reason] = reasons.get(reason, 0) + count
    return reasons


def _json(content: object, status_code: int = 200) -> Response:
    """ASCII only: a stream's name may hold characters that UTF-8 has no bytes for."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return Response(text, status_code, media_type="application/json")
