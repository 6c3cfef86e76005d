"""The modes of `--progress`, apart from the table of options, since `%load_ext` must import little."""

from __future__ import annotations

PROGRESS = ("auto", "widget", "plain", "rawjson", "quiet", "none")
