"""Bake: several builds that files describe. `plan` resolves them, and `baking` runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..bake import compose, hcl
from ..bake.targets import Config, Variable
from ..bake.values import FIELDS, Target
from ..cancel import Cancel
from ..errors import UsageError
from ..golang.path import clean_path
from ..oci import platform
from ..request.options import BuildOptions
from ..request.parse import parse_options
from ..request.values import csv_line, is_reference, is_remote
from .bakefiles import WORKING_DIRECTORY, Origin, Watch, read_local, read_remote, reader

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
"""The flags of `build` whose names differ from their fields'; all others are the same."""
_NOT_FLAGS = ("description", "context", "dockerfile", "dockerfile-inline", "inherits")


class BakePlan(msgspec.Struct, frozen=True):
    """The targets and groups to build."""

    groups: dict[str, list[str]]
    targets: dict[str, Target]
    variables: tuple[Variable, ...] = ()
    listing: tuple[tuple[str, str, bool], ...] = ()
    """All targets and groups in the files, including those that are not to be built: see `Config.listing`."""
    origin: Origin | None = None
    """The place that the files came from, if it is not this machine."""

    def to_json(self) -> str:
        """Return what `docker buildx bake --print` prints: the groups, and the targets with everything that they
        inherit.
        """
        targets = {name: _shown(target) for name, target in sorted(self.targets.items())}
        document: dict[str, Any] = {
            "group": {name: {"targets": names or None} for name, names in sorted(self.groups.items())}
        }
        document["target"] = targets
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()

    def order(self) -> list[str]:
        """Return the targets in an order in which each comes after those that are its contexts."""
        ordered: dict[str, None] = {}

        def add(name: str) -> None:
            for linked in _links(self.targets[name]).values():
                add(linked)
            ordered[name] = None

        for name in self.targets:
            add(name)
        return list(ordered)

    def needed(self) -> dict[str, set[str]]:
        """Return, for each target, the targets that are its contexts."""
        return {name: set(_links(target).values()) for name, target in self.targets.items()}


class Source(msgspec.Struct, frozen=True):
    """The input of `plan`: the text of a cell, and files here or at a URL. `context` is `BAKE_CMD_CONTEXT`."""

    files: Sequence[str] = ()
    text: str | None = None
    url: str = ""
    context: str = WORKING_DIRECTORY
    flags: Sequence[str] = ()
    """The flags of a build, with which a URL is fetched."""


_HERE = Source()


def plan(
    targets: Sequence[str] = (),
    source: Source = _HERE,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    watch: Watch = lambda _options, _cancel: None,
    cancel: Cancel | None = None,
) -> BakePlan:
    """Read Bake files, or the text of a cell, and resolve all that the targets (default: `default`) need.

    `watch` opens a display while a URL is fetched. Raises UsageError with the place, ContextError for a file that
    cannot be read, and BuildError for a URL that cannot be fetched.
    """
    try:
        files, origin = _read(source, watch, cancel or Cancel())
        return _plan(targets, source, files, origin, overrides, environ)
    except RecursionError:
        raise UsageError("The Bake file is nested too deeply.") from None


def _plan(
    targets: Sequence[str],
    source: Source,
    files: Sequence[tuple[str, str]],
    origin: Origin | None,
    overrides: Sequence[str],
    environ: Mapping[str, str],
) -> BakePlan:
    composed = [(name, content) for name, content in files if compose.is_compose(name)]
    services = compose.parse(composed, environ, reader(origin)) if composed else {}
    bodies = [hcl.parse(content, name) for name, content in files if not compose.is_compose(name)]
    builtin = {"BAKE_CMD_CONTEXT": source.context, "BAKE_LOCAL_PLATFORM": str(platform.host())}
    config = Config(bodies, environ, builtin)
    for name, target in services.items():
        config.add(name, target)
    if composed:
        config.groups.setdefault("default", list(services))
    groups, resolved = config.resolve(targets, overrides)
    placed = {name: {**target, "context": _placed(target["context"], origin)} for name, target in resolved.items()}
    return BakePlan(groups, placed, config.variables(), config.listing(), origin)


def _placed(context: str, origin: Origin | None) -> str:
    """Return the context of a target, as a path here or a URL. Raises UsageError."""
    if context == "-":
        raise UsageError("context from stdin not allowed in bake")
    if is_remote(context):
        return context
    if context.startswith(WORKING_DIRECTORY):
        return clean_path(context.removeprefix(WORKING_DIRECTORY))
    return origin.context(context) if origin else clean_path(context)


def _read(source: Source, watch: Watch, cancel: Cancel) -> tuple[list[tuple[str, str]], Origin | None]:
    cell = [(_CELL, source.text)] if source.text is not None else []
    if source.url:
        files, origin = read_remote(source.url, source.files, source.flags, watch, cancel)
        return [*cell, *files], origin
    return [*cell, *(read_local(source.files) if source.files or not cell else [])], None


def options_of(name: str, plan: BakePlan, layouts: Mapping[str, str], flags: Sequence[str]) -> BuildOptions:
    """Return the options of a target's build. `layouts` has the places of the targets that are its contexts."""
    target, origin = plan.targets[name], plan.origin
    if call_of(target) != "build":
        layouts = {}  # nothing is built that could be handed over
    words: list[str] = []
    for key, value in target.items():
        if key == "contexts":
            words += [f"--build-context={other}={_context(where, layouts, origin)}" for other, where in value.items()]
        elif key not in _NOT_FLAGS:
            words += [f"--{_FLAGS.get(key, key)}={word}" for word in _words(key, value)]
    words += [*flags, *(origin.credentials() if origin else [])]
    context, inline = target["context"], target.get("dockerfile-inline")
    if inline is None:
        words.append(f"--file={_dockerfile(name, context, target['dockerfile'], origin)}")
    return parse_options([*words, context], dockerfile=inline)


def _dockerfile(target: str, context: str, file: str, origin: Origin | None) -> str:
    if file == "-":
        raise UsageError("dockerfile from stdin not allowed in bake")
    if file.startswith(WORKING_DIRECTORY):
        return str(Path(file.removeprefix(WORKING_DIRECTORY)).absolute())
    if is_remote(context):
        return file
    if origin:
        raise UsageError(
            f"The target {target} combines a Dockerfile from {origin.url} with a context on this machine.",
            hint=f"For a Dockerfile on this machine, write {WORKING_DIRECTORY}{file}.",
        )
    return str(Path(context, file))


def _words(key: str, value: Any) -> list[str]:
    row = FIELDS[key]
    if row.keyed:
        sign = ":" if key == "extra-hosts" else "="
        return [f"{name}{sign}{text}" for name, text in value.items()]
    if key == "call":
        return [call_of({key: value})]
    if not row.many:
        return [str(value).lower() if row.boolean else str(value)]
    if key == "ssh":
        return ["=".join([entry["id"], *([",".join(entry["paths"])] if entry.get("paths") else [])]) for entry in value]
    return [entry if isinstance(entry, str) else csv_line(_texts(entry)) for entry in value]


def call_of(target: Target) -> str:
    """Return the question about a target that is asked instead of building it; `build` if there is none."""
    call: str = target.get("call") or "build"
    return "check" if call == "lint" else call


def _texts(entry: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in entry.items()}


def _context(where: str, layouts: Mapping[str, str], origin: Origin | None) -> str:
    if where.startswith("target:"):
        layout = layouts.get(where.removeprefix("target:"))
        return f"oci-layout://{layout}" if layout else where
    if where.startswith(WORKING_DIRECTORY):
        return where.removeprefix(WORKING_DIRECTORY) or "."
    return where if is_reference(where) or origin is None else origin.context(where)


def _links(target: Target) -> dict[str, str]:
    """Return those contexts of a target that are other targets, by the name of the context."""
    contexts: dict[str, str] = target.get("contexts", {})
    return {name: where[7:] for name, where in contexts.items() if where.startswith("target:")}


def _shown(target: Target) -> Target:
    """Return a target as it is printed: template sequences escaped, and empty fields left out."""

    def escaped(text: str) -> str:
        return text.replace("${", "$${").replace("%{", "%%{")

    document: Target = {}
    for name, value in target.items():
        if value in ([], {}, None):
            continue
        if name in ("args", "labels", "extra-hosts"):
            value = {key: escaped(text) for key, text in value.items()}
        elif name == "annotations":
            value = [escaped(text) for text in value]
        elif name == "dockerfile-inline":
            value = escaped(value)
        document[name] = value
    return document
