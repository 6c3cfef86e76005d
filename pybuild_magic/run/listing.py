"""Runs in the background as `docker ps` lists them: chosen by filters, and in the form of a template."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import UsageError, nearest
from ..golang.json import dumps
from ..golang.template import Method, execute
from ..oci import reference
from ..request.flags import MisreadError
from .health import HEALTHY, NONE, STARTING, UNHEALTHY
from .health import STATES as HEALTH_STATES
from .records import Record, find_record

STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_TITLES = {
    "ID": "RUN ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "State": "STATE",
    "Status": "STATUS",
    "Labels": "LABELS",
}
_HEALTH = {STARTING: " (health: starting)", HEALTHY: " (healthy)", UNHEALTHY: " (unhealthy)"}
_SHORT, _COMMAND = 12, 20
_WIDTH, _GAP = 10, 3
"""The least width of a column in docker's tables, and the space after its longest cell."""

Filter = tuple[str, str]
"""The name and the value of a filter."""


def read_filter(word: str) -> Filter:
    """Read `NAME=VALUE`. Raises UsageError for a filter that does not exist."""
    name, equals, value = word.partition("=")
    name = name.strip().lower()
    if not equals:
        raise MisreadError(f"--filter {word!r} is not NAME=VALUE.")
    if name not in _FILTERS:
        suggestion = nearest(name, [*_FILTERS])
        hint = f"Did you mean {suggestion}?" if suggestion else f"The filters are {', '.join(_FILTERS)}."
        raise UsageError(f"--filter: there is no filter {name!r}.", hint=hint)
    if name == "status" and value not in STATES:
        raise UsageError(f"--filter status={value} is not a state.", hint=f"The states are {', '.join(STATES)}.")
    if name == "health" and value not in HEALTH_STATES:
        raise UsageError(f"--filter health={value} is not one.", hint=f"It is one of {', '.join(HEALTH_STATES)}.")
    if name == "exited" and not value.removeprefix("-").isdigit():
        raise UsageError(f"--filter exited={value} is not an exit code.")
    return name, value


def chosen(records: Sequence[Record], filters: Iterable[Filter]) -> list[Record]:
    """Return the records that pass: one value of each filter has to hold, and every one of `label`."""
    values: dict[str, list[str]] = {}
    for name, value in filters:
        values.setdefault(name, []).append(value)

    def passes(record: Record, name: str) -> bool:
        found = (_FILTERS[name](record, value) for value in values[name])
        return all(found) if name == "label" else any(found)

    return [record for record in records if all(passes(record, name) for name in values)]


def _is_labelled(record: Record, word: str) -> bool:
    name, equals, value = word.partition("=")
    return name in record.info.labels and (not equals or record.info.labels[name] == value)


def _matches(text: str, pattern: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        raise UsageError(f"--filter: {pattern!r} is not a regular expression.") from None


_FILTERS: dict[str, Callable[[Record, str], bool]] = {
    "ancestor": lambda record, word: reference.parse(word).tagged().familiar == record.info.image,
    "before": lambda record, word: record.info.created < find_record(word).info.created,
    "exited": lambda record, word: not record.running and record.fresh().info.exit_code == int(word),
    "health": lambda record, word: _health(record) == word,
    "id": lambda record, word: _matches(record.info.id, word),
    "label": _is_labelled,
    "name": lambda record, word: _matches(record.info.name, word.removeprefix("/")),
    "since": lambda record, word: record.info.created > find_record(word).info.created,
    "status": lambda record, word: _state(record) == word,
}
"""The filters of `docker ps`, but for those on networks, volumes and ports."""


def formatted(records: Sequence[Record], form: str, *, whole: bool = False) -> str:
    """Return records in a form of `docker ps --format`: `json`, a template, or `table` and a template.

    Unless `whole`, IDs and commands are shortened. Raises UsageError.
    """
    rows = [_fields(record, whole=whole) for record in records]
    if form == "json":
        form = "{{json .}}"
    head, _, template = form.partition(" ")
    if head != "table":
        text = form.replace("\\t", "\t").replace("\\n", "\n")
        return "\n".join(execute(text, row, indent=False) for row in rows)
    template = template.strip().replace("\\t", "\t") or "\t".join(f"{{{{.{name}}}}}" for name in _DEFAULT)
    titles = {**_TITLES, "Label": Method(lambda name: name)}
    cells = [execute(template, row, indent=False).split("\t") for row in (titles, *rows)]
    widths = [max(_WIDTH, *(len(row[i]) + _GAP for row in cells if i < len(row))) for i in range(max(map(len, cells)))]
    return "\n".join(
        "".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]]) for row in cells
    )


_DEFAULT = ("ID", "Image", "Command", "RunningFor", "Status", "Names")


def _state(record: Record) -> str:
    if record.running:
        return "running"
    return "dead" if record.fresh().info.exit_code is None else "exited"


def _fields(record: Record, *, whole: bool) -> dict[str, Any]:
    info, now = record.info, time.time()
    state, health = _state(record), _health(record)
    ended = record.fresh().info if state == "exited" else info
    status = {
        "running": f"Up {human_duration(now - info.created)}{_HEALTH.get(health, '')}",
        "exited": f"Exited ({ended.exit_code}) {human_duration(now - ended.ended)} ago",
    }
    command = " ".join(_quoted(word) for word in info.command)
    return {
        "Command": dumps(command if whole or len(command) <= _COMMAND else f"{command[: _COMMAND - 1]}…").decode(),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(info.created)),
        "ID": info.id if whole else info.id[:_SHORT],
        "Image": info.image,
        "Label": Method(lambda name: info.labels.get(name, "")),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(info.labels.items())),
        "Names": info.name,
        "RunningFor": f"{human_duration(now - info.created)} ago",
        "State": state,
        "Status": status.get(state, "Dead"),
    }


def _health(record: Record) -> str:
    return record.info.health.status if record.info.health is not None else NONE


def _quoted(word: str) -> str:
    """Return a word of a command as docker shows it."""
    escaped = word.replace("'", r"'\''")
    return f"'{escaped}'" if " " in word else word


def human_duration(seconds: float) -> str:
    """Return a duration in docker's words: `Less than a second`, `About a minute`, `3 days`."""
    whole = int(seconds)
    hours = int(seconds / 3600 + 0.5)
    for limit, text in ((1, "Less than a second"), (2, "1 second"), (60, f"{whole} seconds"), (120, "About a minute")):
        if whole < limit:
            return text
    if whole < 3600:
        return f"{whole // 60} minutes"
    for limit, text in ((2, "About an hour"), (48, f"{hours} hours"), (24 * 14, f"{hours // 24} days")):
        if hours < limit:
            return text
    return f"{hours // 24 // 7} weeks"
