"""The place where IPython shows what cells print and answer: a Jupyter front end, or a terminal and its size."""

from __future__ import annotations

import os
import sys
from typing import Any


def in_kernel() -> bool:
    """Return whether a Jupyter front end displays outputs, rather than a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def in_terminal() -> bool:
    """Return whether IPython runs in an interactive terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and not in_kernel() and sys.stdout.isatty() and sys.stderr.isatty()


def terminal_width() -> int:
    """Return the columns of the terminal in which IPython shows values; 0 elsewhere."""
    if not in_terminal():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 0


def in_color() -> bool:
    """Return whether a terminal has colours, and its user wants them."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def asked_by_page() -> bool:
    """Return whether the running cell was sent by a notebook page, which keeps its outputs in order.

    Programs that run notebooks, such as nbconvert, send cells without an id, and their outputs are read as text.
    """
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython.get_ipython() if ipython else None, "kernel", None)
    parent: dict[str, Any] = kernel.get_parent() if kernel is not None else {}
    return "cellId" in parent.get("metadata", {})


def cell_number() -> int:
    """Return the number of the running cell; 0 outside of IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell.execution_count if shell else 0
