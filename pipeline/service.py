"""A worker with its HTTP server: what ``headrace worker`` and the demo run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.config import ServerSettings
from pipeline.server.app import make_app
from pipeline.server.run import HttpServer
from pipeline.worker import Worker

log = logging.getLogger(__name__)


@contextmanager
def serving(worker: Worker, settings: ServerSettings) -> Iterator[str]:
    """Serves page, metrics and health while the block runs; gives the page's URL, "" if disabled.

    Raises:
        ConfigError: the address can't be listened on.
    """
    if not settings.enabled:
        yield ""
        return
    server = HttpServer(make_app(worker), settings.host, settings.port)
    server.start()
    url = page_url(settings.host, server.port)
    log.info("page, metrics and health at %s", url)
    try:
        yield url
    finally:
        server.stop()


def page_url(host: str, port: int) -> str:
    """The page's address; one of IPv6 stands in brackets (RFC 3986, 3.2.2)."""
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
