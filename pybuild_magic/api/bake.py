"""Bake: several builds that files describe, in the order that they need each other.

A target that another one names as a context (`target:NAME`) is built first, and handed over as an OCI layout, so that
its config is known as well as its files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..bake import compose, hcl
from ..bake.hcl import Body
from ..bake.targets import Config
from ..bake.values import FIELDS, Target
from ..cancel import Cancel
from ..errors import ContextError, UsageError
from ..oci import platform
from ..portable import kind_of, user_path
from ..request.options import BuildOptions
from ..request.parse import parse_options
from ..request.values import csv_line, is_remote
from ..result import BuildResult
from .run import Progress, run

_DEFAULTS = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)
"""The files that are read when none is named: those that are there."""
_CELL = "the cell"
_FLAGS = {
    "annotations": "annotation",
    "args": "build-arg",
    "contexts": "build-context",
    "labels": "label",
    "tags": "tag",
    "platforms": "platform",
    "ulimits": "ulimit",
    "entitlements": "allow",
    "extra-hosts": "add-host",
}
"""The flag of `build` for a field that is called otherwise; the others are called the same."""
_NOT_FLAGS = ("description", "context", "dockerfile", "dockerfile-inline", "inherits")


class Plan(msgspec.Struct, frozen=True):
    """What is to be built."""

    groups: dict[str, list[str]]
    targets: dict[str, Target]

    def to_json(self) -> str:
        """Return what `docker buildx bake --print` prints: the groups, and the targets with all that they inherit."""
        shown = {name: _shown(target) for name, target in sorted(self.targets.items())}
        document = {"group": {name: {"targets": names} for name, names in sorted(self.groups.items())}, "target": shown}
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()

    def order(self) -> list[str]:
        """Return the targets, each after those that it has as contexts."""
        ordered: dict[str, None] = {}

        def add(name: str) -> None:
            for linked in _links(self.targets[name]).values():
                add(linked)
            ordered[name] = None

        for name in self.targets:
            add(name)
        return list(ordered)


def plan(
    targets: Sequence[str] = (),
    *,
    files: Sequence[str] = (),
    text: str | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Plan:
    """Read Bake files, or the `text` of a cell, and resolve what the targets (default: `default`) need.

    Raises UsageError with the place, and ContextError for a file that cannot be read.
    """
    try:
        return _plan(targets, files, text, overrides, environ)
    except RecursionError:
        raise UsageError("The Bake file is nested too deeply.") from None


def _plan(
    targets: Sequence[str], files: Sequence[str], text: str | None, overrides: Sequence[str], environ: Mapping[str, str]
) -> Plan:
    bodies: list[Body] = []
    services: dict[str, Target] = {}
    for name, content in _read(files, text):
        if compose.is_compose(name):
            _, declared = compose.parse(content, name, environ)
            services |= declared
        else:
            bodies.append(hcl.parse(content, name))
    config = Config(bodies, environ, {"BAKE_CMD_CONTEXT": "", "BAKE_LOCAL_PLATFORM": str(platform.host())})
    for name, target in services.items():
        config.add(name, target)
    if services:
        config.groups.setdefault("default", list(services))
    return Plan(*config.resolve(targets, overrides))


def _read(files: Sequence[str], text: str | None) -> Iterator[tuple[str, str]]:
    if text is not None:
        yield _CELL, text
    elif not files and not any(kind_of(Path(name)) for name in _DEFAULTS):
        raise ContextError("There is no Bake file here.", hint="Such as docker-bake.hcl, or name one with -f.")
    for name in files or ([] if text is not None else [name for name in _DEFAULTS if kind_of(Path(name))]):
        try:
            content = sys.stdin.read() if name == "-" else user_path(name).read_text("utf-8")
        except OSError as error:
            raise ContextError(f"{name} cannot be read: {error.strerror or error}.") from None
        except UnicodeDecodeError:
            raise ContextError(f"{name} is no text.") from None
        yield name, content


def bake(
    plan: Plan,
    flags: Sequence[str] = (),
    watch: Callable[[BuildOptions, Cancel], Progress | None] = lambda _options, _cancel: None,
    cancel: Cancel | None = None,
) -> dict[str, BuildResult]:
    """Build the targets of a plan, each with the `flags` of a build too, and return their results by name.

    `watch` makes the display of each build. Raises the BuildError of the first target that fails, which it names.
    """
    cancel = cancel or Cancel()
    results: dict[str, BuildResult] = {}
    wanted = {linked for target in plan.targets.values() for linked in _links(target).values()}
    with tempfile.TemporaryDirectory(prefix="pybuild-bake-") as scratch:
        layouts = {name: str(Path(scratch, name)) for name in wanted}
        for name in plan.order():
            options = options_of(name, plan.targets[name], layouts, flags)
            try:
                results[name] = run(options, watch(options, cancel), cancel)
            except Exception as error:
                error.add_note(f"while the target {name} was built")
                raise
    return results


def options_of(name: str, target: Target, layouts: Mapping[str, str], flags: Sequence[str]) -> BuildOptions:
    """Return the options of a target's build. `layouts` are where targets lie that are contexts of others."""
    words: list[str] = []
    for key, value in target.items():
        if key not in _NOT_FLAGS:
            words += [f"--{_FLAGS.get(key, key)}={word}" for word in _words(key, value, layouts)]
    words += flags
    if name in layouts:
        words.append(f"--output=type=oci,tar=false,compression=uncompressed,dest={layouts[name]}")
    context = target["context"].removeprefix("cwd://") or "."
    inline = target.get("dockerfile-inline")
    if inline is None:
        local = not is_remote(context) and context != "-"
        words.append(f"--file={_dockerfile(context, target['dockerfile']) if local else target['dockerfile']}")
    return parse_options([*words, context], dockerfile=inline)


def _dockerfile(context: str, name: str) -> str:
    return name.removeprefix("cwd://") if name.startswith("cwd://") else str(Path(context, name))


def _words(key: str, value: Any, layouts: Mapping[str, str]) -> list[str]:
    row = FIELDS[key]
    if row.keyed:
        sign = ":" if key == "extra-hosts" else "="
        return [f"{name}{sign}{_context(text, layouts) if key == 'contexts' else text}" for name, text in value.items()]
    if not row.many:
        return [str(value).lower() if row.boolean else str(value)]
    if key == "ssh":
        return ["=".join([entry["id"], *([",".join(entry["paths"])] if entry.get("paths") else [])]) for entry in value]
    return [entry if isinstance(entry, str) else csv_line(_texts(entry)) for entry in value]


def _texts(entry: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in entry.items()}


def _context(where: str, layouts: Mapping[str, str]) -> str:
    other = where.removeprefix("target:")
    return f"oci-layout://{layouts[other]}" if other != where else where


def _links(target: Target) -> dict[str, str]:
    """Return the contexts of a target that are other targets, by the name of the context."""
    contexts: dict[str, str] = target.get("contexts", {})
    return {name: where[7:] for name, where in contexts.items() if where.startswith("target:")}


def _shown(target: Target) -> Target:
    """Return a target as it is printed: what could be read as a template is escaped, and what is empty is left out."""

    def escaped(text: str) -> str:
        return text.replace("${", "$${").replace("%{", "%%{")

    shown: Target = {}
    for name, value in target.items():
        if value in ([], {}, None):
            continue
        if name in ("args", "labels", "extra-hosts"):
            value = {key: escaped(text) for key, text in value.items()}
        elif name == "annotations":
            value = [escaped(text) for text in value]
        elif name == "dockerfile-inline":
            value = escaped(value)
        shown[name] = value
    return shown
