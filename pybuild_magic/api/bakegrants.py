"""The privileges of targets, which `--allow` has to grant, such as reading paths outside of the working directory.

A Bake file may come from anywhere, so it does not decide by itself what is read and written. Source: buildx's
`bake/entitlements.go`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bake.values import FIELDS, Target
from ..errors import UsageError
from ..golang.parsebool import parse_bool
from ..portable import user_path
from ..request.values import is_reference, is_remote
from .bakefiles import WORKING_DIRECTORY

_PLAIN = ("network.host", "security.insecure", "ssh", "device", "buildx.local.delete")
_ANYWHERE = "*"
_SWITCH = "BUILDX_BAKE_ENTITLEMENTS_FS"
"""The variable that turns off the checks of paths."""


def check(
    targets: Mapping[str, Target],
    allow: Sequence[str],
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Raise UsageError with the missing flags if targets need more than is granted.

    Whatever `--set` names is granted by that.
    """
    granted, read, write = _granted(allow)
    for key, entry in _set(overrides):
        more_read, more_write = _paths(key, [entry])
        read, write = read | set(map(_real, more_read)), write | set(map(_real, more_write))
        granted |= {entry} if key == "entitlements" else set()
    missing: dict[str, None] = {}
    checks_paths = parse_bool(environ.get(_SWITCH, "true")) is not False
    for target in targets.values():
        missing |= dict.fromkeys(word for word in _privileges(target) if not _is_granted(word, granted))
        if checks_paths:
            wants_read, wants_write = _used(target)
            missing |= dict.fromkeys(f"fs.read={path}" for path in _missing(wants_read, read))
            missing |= dict.fromkeys(f"fs.write={path}" for path in _missing(wants_write, write))
            if any(not entry.get("paths") for entry in target.get("ssh", [])) and "ssh" not in granted:
                missing["ssh"] = None
    if missing:
        flags = " ".join(f"--allow={word}" for word in missing)
        raise UsageError(
            f"The Bake file needs privileges that were not granted: {', '.join(missing)}.",
            hint=f"To grant them, add {flags}",
        )


def _granted(allow: Sequence[str]) -> tuple[set[str], set[str], set[str]]:
    here = os.path.realpath(".")
    granted, read, write = set[str](), {here}, {here}
    for word in allow:
        key, _, value = word.partition("=")
        place = "/" if value == _ANYWHERE else _real(value)
        if key in ("fs", "fs.read"):
            read.add(place)
        if key in ("fs", "fs.write"):
            write.add(place)
        if key in _PLAIN:
            granted.add(word)
        elif key not in ("fs", "fs.read", "fs.write", "image", "image.push", "image.load"):
            raise UsageError(f'unknown entitlement key "{key}"', hint=f"It takes fs=PATH, fs=*, {', '.join(_PLAIN)}.")
    return granted, read, write


def _is_granted(word: str, granted: set[str]) -> bool:
    return word in granted or word.partition("=")[0] in granted


def _set(overrides: Sequence[str]) -> Iterable[tuple[str, Any]]:
    """Return the field and the value of each `--set` that names paths or privileges."""
    for word in overrides:
        path, _, value = word.partition("=")
        key = path.removesuffix("+").partition(".")[2]
        key = {"secrets": "secret"}.get(key, key)
        if key == "entitlements":
            yield key, value
        elif key in ("output", "cache-from", "cache-to", "secret", "ssh"):
            yield from ((key, entry) for entry in FIELDS[key].read([value], path))


def _privileges(target: Target) -> list[str]:
    words = [word for word in target.get("entitlements", []) if word.partition("=")[0] in _PLAIN]
    has_delete = any(output.get("mode") == "delete" for output in target.get("output", []))
    return [*words, "buildx.local.delete"] if has_delete else words


def _used(target: Target) -> tuple[set[str], set[str]]:
    """Return the paths that a target reads, and those that it writes."""
    contexts: dict[str, str] = target.get("contexts", {})
    read = {where.removeprefix(WORKING_DIRECTORY) for where in contexts.values() if not is_reference(where)}
    context = target["context"]
    if not is_remote(context):
        read.add(context)
        if "dockerfile-inline" not in target:
            file = target["dockerfile"]
            local = file.startswith(WORKING_DIRECTORY)
            read.add(file.removeprefix(WORKING_DIRECTORY) if local else str(Path(context, file)))
    write = set[str]()
    for key in ("output", "cache-from", "cache-to", "secret", "ssh"):
        more_read, more_write = _paths(key, target.get(key, []))
        read, write = read | more_read, write | more_write
    return read, write


def _paths(key: str, entries: Iterable[Any]) -> tuple[set[str], set[str]]:
    read, write = set[str](), set[str]()
    for entry in entries:
        if key == "ssh":
            read |= set(entry.get("paths", []))
        elif key == "secret":
            read |= {entry["src"]} if entry.get("src") else set()
        elif key == "output":
            write |= {entry["dest"]} if entry.get("dest") else set()
        elif entry.get("type") == "local" and key == "cache-from":
            read |= {entry["src"]} if entry.get("src") else set()
        elif entry.get("type") == "local" and key == "cache-to":
            write |= {entry["dest"]} if entry.get("dest") else set()
    return read, write


def _missing(paths: set[str], granted: set[str]) -> list[str]:
    return sorted(path for path in map(_real, paths) if not any(_is_below(path, place) for place in granted))


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _real(path: str) -> str:
    return os.path.realpath(user_path(path))
