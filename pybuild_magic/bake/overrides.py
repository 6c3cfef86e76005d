"""The overrides of targets: `--set`, and what `--push` and `--load` make of outputs."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import UsageError
from ..golang.parsebool import parse_bool
from .values import FIELDS, Target


def changed(target: Target, changes: Iterable[tuple[str, str, bool]]) -> Target:
    """Return a target changed by `--set`; the first value of a list replaces the list, further ones are added."""
    replaced: set[str] = set()
    for path, value, plus in changes:
        key, _, name = path.partition(".")
        key = {"platform": "platforms", "secrets": "secret"}.get(key, key)
        if key in ("push", "load"):
            target = {**target, "output": _overridden(target.get("output", []), key, boolean(key, value))}
            continue
        if key not in FIELDS or key in ("inherits", "description"):
            raise UsageError(f"unknown key: {key}")
        row = FIELDS[key]
        if row.keyed:
            if not name:
                raise UsageError(f"invalid key {path}, {key} requires name")
            target = {**target, key: {**target.get(key, {}), name: value}}
        elif row.many:
            added = row.read([value], path)
            keep = plus or key in replaced or key in ("entitlements", "annotations", "attest")
            target = {**target, key: [*target.get(key, []), *added] if keep else added}
            replaced.add(key)
        else:
            target = {**target, key: boolean(key, value) if row.boolean else value}
    return target


def _overridden(outputs: list[dict[str, str]], key: str, enabled: bool) -> list[dict[str, str]]:
    """Return the outputs as `push` or `load` changes them."""
    if key == "push":
        if not enabled:
            remaining = [output for output in outputs if output["type"] != "registry"]
            return [{**output, "push": "false"} if output["type"] == "image" else output for output in remaining]
        pushed = [{**output, "push": "true"} if output["type"] == "image" else output for output in outputs]
        is_local = all(output["type"] == "docker" for output in outputs)
        return [*pushed, {"type": "image", "push": "true"}] if is_local else pushed
    loads = any(output["type"] == "docker" and not output.get("dest") for output in outputs)
    others = any(output["type"] not in ("docker", "image", "registry", "oci") for output in outputs)
    return [*outputs, {"type": "docker"}] if enabled and not loads and not others else outputs


def boolean(name: str, text: str) -> bool:
    """Return the boolean that `text` is, as Go reads it. Raises UsageError."""
    value = parse_bool(text)
    if value is None:
        raise UsageError(f"invalid value {text} for boolean key {name}")
    return value
