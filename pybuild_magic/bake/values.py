"""The table of a target's fields: how each is read, merged with the inherited value, and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from ..errors import UsageError
from ..request.values import split_csv
from .evaluate import as_list, to_bool, to_text

Target = dict[str, Any]
"""The fields of a target, as `bake --print` shows them."""


class Field(msgspec.Struct, frozen=True):
    """A field of a target."""

    read: Callable[[Any, str], Any]
    """Converts an HCL value to the shown one; the second argument names the place. Raises UsageError."""
    many: bool = False
    """Whether it is a list."""
    keyed: bool = False
    """Whether it is a map of texts, whose entries are merged."""
    adds: bool = False
    """Whether a list is added to the inherited one instead of replacing it."""
    boolean: bool = False
    key: str = ""
    """The key by which a later list entry replaces an earlier one: `id`."""

    def empty(self) -> Any:
        """Return the value of an unset field."""
        return [] if self.many else {} if self.keyed else None

    def normal(self, value: Any) -> Any:
        """Return the value without duplicates."""
        if not self.many:
            return value
        unique: dict[Any, Any] = {}
        for entry in cast("list[Any]", value):
            identity = entry.get(self.key) if self.key else msgspec.json.encode(entry, order="deterministic")
            unique[identity] = entry
        return list(unique.values())


def _text(value: Any, _: str) -> str:
    return to_text(value)


def _texts(value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        raise UsageError(f"{where} is a string, but must be a list.", hint=f'Write ["{value}"].')
    return [to_text(item) for item in as_list(value) if item is not None]


def _map(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} must be a map.")
    return {key: to_text(item) for key, item in cast("Mapping[str, Any]", value).items() if item is not None}


def _bool(value: Any, _: str) -> bool:
    return to_bool(value)


def _entries(read: Callable[[str, str], dict[str, Any]]) -> Callable[[Any, str], list[dict[str, Any]]]:
    """Read a list of objects, each of which may be written as a line of values."""

    def entries(value: Any, where: str) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = []
        for item in as_list(value):
            if isinstance(item, str):
                result += [read(item, where)] if item else []
            elif isinstance(item, Mapping):
                fields = cast("Mapping[str, Any]", item)
                result.append({key: _entry_value(key, text) for key, text in fields.items() if text is not None})
            else:
                raise UsageError(f"{where} has an entry that is neither a string nor an object.")
        return result

    return entries


def _entry_value(name: str, value: Any) -> Any:
    return cast("Any", value) if isinstance(value, list) or name == "disabled" else to_text(value)


def _pairs(text: str, where: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for word in split_csv(text, where):
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{where}: {word!r} is not KEY=VALUE.")
        fields[name.strip().lower()] = value
    return fields


def _cache(text: str, where: str) -> dict[str, Any]:
    if "=" not in text and "," not in text:
        return {"type": "registry", "ref": text}
    return _typed(_pairs(text, where), where)


def _output(text: str, where: str) -> dict[str, Any]:
    if "," not in text and not text.startswith("type="):
        return {"type": "tar" if text == "-" else "local", "dest": text}
    return _typed(_pairs(text, where), where)


def _typed(fields: dict[str, Any], where: str) -> dict[str, Any]:
    if not fields.get("type"):
        raise UsageError(f"{where} needs a type, for instance type=registry.")
    return fields


def _attest(text: str, where: str) -> dict[str, Any]:
    fields = _typed(_pairs(text, where), where)
    if "disabled" in fields:
        disabled = to_bool(fields.pop("disabled"))
        return {**fields, "disabled": True} if disabled else fields
    return fields


def _secret(text: str, where: str) -> dict[str, Any]:
    fields = _pairs(text, where)
    kind, source = fields.pop("type", ""), fields.pop("source", "")
    if source:
        fields["src"] = source
    if kind == "env" and "env" not in fields and "src" in fields:
        fields["env"] = fields.pop("src")
    return fields


def _ssh(text: str, _: str) -> dict[str, Any]:
    name, equals, paths = text.partition("=")
    return {"id": name, "paths": paths.split(",")} if equals else {"id": name}


FIELDS: dict[str, Field] = {
    "description": Field(_text),
    "inherits": Field(_texts, many=True, adds=True),
    "annotations": Field(_texts, many=True, adds=True),
    "attest": Field(_entries(_attest), many=True, adds=True, key="type"),
    "context": Field(_text),
    "contexts": Field(_map, keyed=True),
    "dockerfile": Field(_text),
    "dockerfile-inline": Field(_text),
    "args": Field(_map, keyed=True),
    "labels": Field(_map, keyed=True),
    "tags": Field(_texts, many=True),
    "cache-from": Field(_entries(_cache), many=True, adds=True),
    "cache-to": Field(_entries(_cache), many=True),
    "target": Field(_text),
    "secret": Field(_entries(_secret), many=True, adds=True, key="id"),
    "ssh": Field(_entries(_ssh), many=True, adds=True, key="id"),
    "platforms": Field(_texts, many=True),
    "output": Field(_entries(_output), many=True),
    "pull": Field(_bool, boolean=True),
    "no-cache": Field(_bool, boolean=True),
    "network": Field(_text),
    "no-cache-filter": Field(_texts, many=True, adds=True),
    "shm-size": Field(_text),
    "ulimits": Field(_texts, many=True, adds=True),
    "call": Field(_text),
    "entitlements": Field(_texts, many=True, adds=True),
    "extra-hosts": Field(_map, keyed=True),
}
"""The fields, in the order in which they are shown."""


def merge(base: Target, over: Target) -> Target:
    """Return `base` with the fields of `over`: maps and some lists are merged, other values are replaced."""
    merged = dict(base)
    for name, value in over.items():
        row = FIELDS[name]
        if row.keyed:
            merged[name] = {**merged.get(name, {}), **value}
        elif row.adds:
            merged[name] = row.normal([*merged.get(name, []), *value])
        else:
            merged[name] = value
    return merged
