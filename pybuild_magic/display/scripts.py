"""The scripts and styles that widgets send to the page."""

from __future__ import annotations

from pathlib import Path


def source(name: str) -> str:
    """Return the text of a file of `static/`, for a widget's class.

    A path would do as well, but then anywidget lets every instance watch the file for changes, and none is ever freed.
    """
    return (Path(__file__).parent / "static" / name).read_text("utf-8") + "\n"
