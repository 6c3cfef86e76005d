"""Sizes, durations and names in words for people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from ..errors import UsageError
from ..oci import reference
from ..status.stepname import is_counted
from ..status.trace import Step
from ..summary import OMISSIONS, OutputSummary, VertexSummary

_UNITS = ("B", "kB", "MB", "GB", "TB")
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_PLACES = {
    "local": "Directory",
    "tar": "Tar archive",
    "oci": "OCI archive",
    "docker": "Docker archive",
    "image": "In the store",
    "registry": "Pushed",
    "cacheonly": "In the build cache",
}
_LAYOUTS = {"oci": "OCI layout", "docker": "Docker layout"}
_HUB = re.compile(r"^FROM docker\.io/(?:library/)?")
_PINNED = re.compile(r"^(FROM \S+)@sha256:\S+")


USAGES = {
    "regular": "Layers",
    "source.local": "Local contexts",
    "source.git.checkout": "Git checkouts",
    "exec.cachemount": "Cache mounts",
    "exec.failed": "State of failed steps",
    "exec.stopped": "Stopped runs, to be committed",
    "frontend": "Front ends",
    "internal": "Records",
}
"""BuildKit's types of records in words for people."""


def human_bytes(count: float) -> str:
    """Return a size in decimal units, in three digits: `1.39 MB`, `12.3 MB`; tests/display/data has the cases."""
    if count < 999.5:
        return f"{_fixed(count, 0)} B"
    unit = 0
    while count >= 999.95 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{_fixed(count, 2 if count < 9.995 else 1)} {_UNITS[unit]}"


def seconds(value: float) -> str:
    """Return a duration in words."""
    if value < 0.0005:
        return "0 s"
    if value < 0.9995:
        return f"{_fixed(value * 1000, 0)} ms"
    if value < 59.95:
        return f"{_fixed(value, 1)} s"
    whole = math.floor(value + 0.05)
    return f"{whole // 60} min {whole % 60} s"


def _fixed(value: float, digits: int) -> str:
    """Return a number with a fixed number of digits, halves rounded up as on the page."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: `1 layer`, `2 layers`, `3 entries`."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def left_out(omitted: Mapping[str, int]) -> str:
    """Return a note on what a result lacks and no part of its page mentions, and where it is; "" for nothing.

    tests/display/data has the cases.
    """
    parts = [
        noun if noun.startswith("the ") else plural(omitted[kind], noun)
        for kind, noun in OMISSIONS.items()
        if omitted.get(kind)
    ]
    rest = "In Python, the `summary` of the result has everything."
    return f"Left out, to keep the notebook small: {', '.join(parts)}. {rest}" if parts else ""


def familiar(names: Iterable[str]) -> str:
    """Return the names of images as people write them: `hello:latest` for `docker.io/library/hello:latest`."""
    return ", ".join(_familiar(name) for name in names)


def _familiar(name: str) -> str:
    try:
        return reference.parse(name).familiar
    except UsageError:
        return name  # a builder's answer is shown as it is


def short_digest(digest: str) -> str:
    """Return a digest, or another id, in the twelve digits that people read."""
    return digest.partition(":")[2][:12] or digest


def moment(timestamp: float) -> str:
    """Return a time of the past, in seconds since 1970, as the date and the time of day here; `never` for 0."""
    return datetime.fromtimestamp(timestamp).astimezone().strftime("%Y-%m-%d %H:%M") if timestamp else "never"


def shorten(name: str) -> str:
    """Return a vertex's name with its digests cut to twelve digits."""
    return _DIGEST.sub(r"\1…", name)


def instruction(text: str) -> str:
    """Return an instruction as its Dockerfile has it: BuildKit writes the whole name and the digest of a FROM."""
    return _PINNED.sub(r"\1", _HUB.sub("FROM ", shorten(text)))


def place(output: OutputSummary, driver: str) -> str:
    """Return what an output is, or where; an image is kept by the builder that made it. The page says the same."""
    if not output.dest and (output.type == "docker" or (output.type == "image" and driver == "docker")):
        return "In Docker"
    if output.type == "image" and driver:
        return "In BuildKit"
    layouts = _LAYOUTS if output.is_directory else {}
    return layouts.get(output.type) or _PLACES.get(output.type) or output.type


def clipped(text: str, length: int) -> str:
    """Return a text of at most `length` characters, cut between words if necessary."""
    if len(text) <= length:
        return text
    head = text[: length - 1]
    return (head if text[length - 1].isspace() else head.rpartition(" ")[0].rstrip() or head) + "…"


def abridged(text: str, length: int) -> str:
    """Return a text of at most `length` characters without its middle, cut between words; tests/display/data has the
    cases.
    """
    if len(text) <= length:
        return text
    head = re.sub(r"\s\S*$", "", text[: length // 2])
    tail = re.sub(r"^\S*\s", "", text[-(length // 2) :])
    return f"{head} … {tail}"


def count_steps(vertexes: Iterable[Step | VertexSummary]) -> str:
    """Return `9 steps, 4 cached` for the vertexes that count as steps, and `3 of 9 steps` where the others did not run;
    "" when none does. tests/display/data has the cases.
    """
    counted = [vertex for vertex in vertexes if is_counted(vertex.name)]
    if not counted:
        return ""
    ran = sum(vertex.started is not None for vertex in counted)
    cached = sum(vertex.cached for vertex in counted)
    some = f"{ran:,} of " if ran < len(counted) else ""
    return some + plural(len(counted), "step") + (f", {cached:,} cached" if cached else "")
