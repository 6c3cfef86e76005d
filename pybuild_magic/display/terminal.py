"""A line of a program's terminal output, with escape sequences and overprinting resolved to text."""

from __future__ import annotations

from ..untrusted.printable import colored, printable_json, visible, visible_lines

__all__ = ["colored", "printable_json", "visible", "visible_lines"]
