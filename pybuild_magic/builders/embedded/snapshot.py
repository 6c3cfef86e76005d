"""A snapshot: a file system as the layers that it is made of."""

from __future__ import annotations

Snapshot = tuple[str, ...]
"""DiffIDs, bottom layer first; () is the empty file system."""
