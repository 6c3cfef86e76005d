"""Snapshots: file systems as stacks of layers."""

from __future__ import annotations

Snapshot = tuple[str, ...]
"""The diffIDs, bottom layer first; () is the empty file system."""
