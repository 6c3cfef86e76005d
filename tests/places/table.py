"""The table of places in README.md: it says what the tests say."""

from __future__ import annotations

from collections.abc import Iterable

from .expected import reason
from .image import ROOT
from .place import PLACES, Place
from .task import TASKS

README = ROOT / "README.md"
BEGIN, END = "<!-- what `python -m tests.places --readme` writes -->", "<!-- end -->"
_COLUMNS = {
    "`COPY`, exports": ("copy",),
    "`RUN`": ("echo", "fail", "cancel"),
    "`RUN --mount`": ("mounts",),
    "`useradd`, `chown`, `USER`, `sudo`, `apt-get`": ("users", "sudo", "apt"),
}


def rows() -> Iterable[str]:
    """The lines of the table."""
    yield f"| in a container | {' | '.join(_COLUMNS)} |"
    yield f"|---|{'---|' * len(_COLUMNS)}"
    for place in PLACES.values():
        yield f"| {place.about} | {' | '.join(_mark(place, names) for names in _COLUMNS.values())} |"


def _mark(place: Place, names: Iterable[str]) -> str:
    return "not yet" if any(reason(place, TASKS[name]) for name in names) else "yes"


def written() -> str:
    """README.md with the table as it is now."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{BEGIN}", *rows(), f"{END}{after}"])
