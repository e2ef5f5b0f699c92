"""The system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

SCREENSHOTS = Path("build/screenshots")

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",  # test machines are containers, often run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str:
    """The browser's path; fails the test where there is none."""
    for name in (os.environ.get("HEADRACE_CHROMIUM", ""), *_NAMES):
        path = shutil.which(name) if name else None
        if path:
            return path
    pytest.fail("no Chromium: run `make setup-browser-tests`, or set HEADRACE_CHROMIUM to its path")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; it ends with the block."""
    path = find_chromium()
    expect.set_options(timeout=20_000)  # a busy machine with two cores
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def screenshot_path(name: str) -> str:
    """Where a test leaves a picture to be looked at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return str(SCREENSHOTS / f"{name}.png")
