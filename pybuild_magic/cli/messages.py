"""Messages in a terminal: texts about the magics, reworded for the command."""

from __future__ import annotations

import re
import sys


def reword(text: str) -> str:
    """Reword a text about the magics for the command."""
    text = re.sub(r"^%env (?=\w+=)", "export ", text, flags=re.MULTILINE)
    return re.sub(r"%%build\b", "pybuild build", re.sub(r"%build(?= -|`|$)", "pybuild build", text)).replace(
        "%build ", "pybuild "
    )


def tell(text: str) -> None:
    """Print a message that is not part of the result."""
    print(reword(text), file=sys.stderr, flush=True)
