"""Compose files as Bake files: a target for each service with a build section, and a group of all of them.

Source: the Compose specification's build section, and buildx's `x-bake`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ..errors import UsageError
from ..request.values import is_reference, is_remote, parse_size
from .evaluate import to_text
from .project import Project, Read
from .values import FIELDS, Target

_SAME = {
    "context": "context",
    "dockerfile": "dockerfile",
    "dockerfile_inline": "dockerfile-inline",
    "target": "target",
    "network": "network",
    "shm_size": "shm-size",
    "no_cache": "no-cache",
    "pull": "pull",
    "tags": "tags",
    "platforms": "platforms",
    "cache_from": "cache-from",
    "cache_to": "cache-to",
    "entitlements": "entitlements",
}
"""Fields that targets have under another spelling."""


def is_compose(name: str) -> bool:
    """Return whether a file name is that of a Compose file."""
    return name.lower().endswith((".yml", ".yaml"))


def parse(files: Sequence[tuple[str, str]], environ: Mapping[str, str], read: Read) -> dict[str, Target]:
    """Return the targets of the files, which have names and texts; `read` reads those that they name in turn.

    Raises UsageError.
    """
    project, variables = Project(read).load(files, environ)
    targets: dict[str, Target] = {}
    for service, fields in project["services"].items():
        if not fields.get("image") and fields.get("build") is None:
            raise UsageError(f'{files[0][0]}: service "{service}" has neither an image nor a build context specified')
        if fields.get("build") is not None:
            targets[_named(service)] = _target(service, fields, project["secrets"], variables)
    return targets


def _named(service: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", service)


def _target(service: str, fields: dict[str, Any], secrets: dict[str, Any], environ: Mapping[str, str]) -> Target:
    definition = fields["build"]
    build = cast("dict[str, Any]", definition) if isinstance(definition, dict) else {"context": to_text(definition)}
    target: Target = {}
    for key, name in _SAME.items():
        if build.get(key) not in (None, "", False, []):
            target[name] = FIELDS[name].read(build[key], f"{service}.{key}")
    if "context" in target and not is_remote(target["context"]):
        target["context"] = posixpath.normpath(target["context"])
    if "shm-size" in target:
        target["shm-size"] = _binary_size(parse_size(target["shm-size"], f"{service}.shm_size"))
    readers: dict[str, Callable[[Any], Any]] = {
        "args": lambda value: _args(value, fields, environ),
        "labels": _map,
        "extra_hosts": _hosts,
        "additional_contexts": _contexts,
        "ssh": lambda value: FIELDS["ssh"].read(_lines(value), service),
        "secrets": lambda value: [_secret(item, secrets) for item in cast("list[Any]", value)],
        "ulimits": _ulimits,
    }
    renamed = {"extra_hosts": "extra-hosts", "additional_contexts": "contexts", "secrets": "secret"}
    for key, read in readers.items():
        if build.get(key):
            target[renamed.get(key, key)] = read(build[key])
    attests = [f"type={kind}{_attested(build[kind])}" for kind in ("sbom", "provenance") if build.get(kind)]
    if attests:
        target["attest"] = FIELDS["attest"].read(attests, service)
    if not target.get("tags") and fields.get("image"):
        target["tags"] = [to_text(fields["image"])]
    extension = build.get("x-bake")
    for key, value in cast("dict[str, Any]", extension if isinstance(extension, dict) else {}).items():
        if key in FIELDS:
            row, before = FIELDS[key], target.get(key, {})
            target[key] = row.read(value.split() if row.many and isinstance(value, str) else value, f"{service}.{key}")
            if row.keyed:
                target[key] = {**before, **(_contexts(target[key]) if key == "contexts" else target[key])}
    return target


def _binary_size(size: float) -> str:
    """Return a number of bytes in the notation of Go's units package: `128MiB`."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.4g}{_UNITS[unit]}"


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def _attested(value: Any) -> str:
    text = to_text(value)
    return "" if text == "true" else ",disabled=true" if text == "false" else f",{text}"


def _map(value: Any) -> dict[str, str]:
    """Return a map, which may be written as a list of NAME=VALUE."""
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        return {key: "" if item is None else to_text(item) for key, item in pairs.items()}
    pairs = [to_text(item).partition("=") for item in cast("list[Any]", value)]
    return {name: text for name, _, text in pairs}


def _args(value: Any, fields: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the build arguments; one without a value takes it from the service's variables or the project's."""
    entries = cast("Any", value).items() if isinstance(value, dict) else [
        (name, text if equals else None) for name, equals, text in (to_text(item).partition("=") for item in value)
    ]  # fmt: skip
    known = {**environ, **fields["environment"]}
    resolved = {name: known.get(name) if text is None else to_text(text) for name, text in entries}
    return {name: text for name, text in resolved.items() if text is not None}


def _hosts(value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        return _map(cast("Any", value))
    pairs = [re.split(r"[=:]", to_text(item), maxsplit=1) for item in cast("list[Any]", value)]
    return {pair[0]: pair[-1] for pair in pairs}


def _contexts(value: Any) -> dict[str, str]:
    def context(where: str) -> str:
        kind, _, service = where.partition(":")
        if kind in ("service", "target"):
            return f"target:{_named(service)}"
        return where if is_reference(where) else posixpath.normpath(where)

    return {name: context(where) for name, where in _map(value).items()}


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [key if item is None else f"{key}={item}" for key, item in cast("dict[str, Any]", value).items()]
    return [to_text(item) for item in cast("list[Any]", value)]


def _secret(value: Any, secrets: dict[str, Any]) -> dict[str, str]:
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {"source": to_text(value)}
    source = to_text(fields["source"])
    declared = secrets.get(source)
    if not isinstance(declared, dict):
        raise UsageError(f"The Compose file has no secret {source!r}.")
    members = cast("dict[str, Any]", declared)
    for key, name in (("file", "src"), ("environment", "env")):
        if members.get(key):
            value = to_text(members[key])
            return {"id": source, name: posixpath.normpath(value) if key == "file" else value}
    raise UsageError(f"The secret {source!r} has neither file: nor environment:.")


def _ulimits(value: Any) -> list[str]:
    limits: list[str] = []
    for name, limit in cast("dict[str, Any]", value).items():
        both = cast("dict[str, Any]", limit) if isinstance(limit, dict) else {"soft": limit, "hard": limit}
        limits.append(f"{name}={both['soft']}:{both['hard']}")
    return limits
