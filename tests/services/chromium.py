"""Debian's Chromium, driven by Playwright (whose own browsers need a download)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .common import INSTALL_HINT, ServiceMissingError, find

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")

ARGUMENTS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


def executable() -> Path:
    """The path of Chromium.

    Raises:
        ServiceMissingError: it is not installed.
    """
    for name in NAMES:
        if path := find(name):
            return path
    raise ServiceMissingError(f"Chromium is not installed: {INSTALL_HINT}")


def arguments() -> list[str]:
    """The arguments to launch it with; Chromium's sandbox refuses to run as root."""
    return [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run a headless Chromium with a fresh profile until the end of the block.

    Raises:
        ServiceMissingError: Chromium or Playwright is not installed.
    """
    program = executable()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ServiceMissingError("Playwright is not installed: run `pip install -e .[dev]`") from error
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=arguments(), headless=True)
        try:
            yield opened
        finally:
            opened.close()
