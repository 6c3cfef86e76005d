"""The levels on which two answers are compared, each with a diff that people can read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from operator import contains
from typing import Any

import msgspec

from tests.dockerfile.provenance import differing

from .answer import Answer, Image, Member, members
from .attested import comparable
from .case import Case

LEVELS = ("accepted", "files", "layers", "config", "bytes", "LLB", "provenance")
SHOWN = 12
"""Lines of a diff."""


class Verdict(msgspec.Struct):
    """What a comparison found: a level that is equal has an empty diff; a refusal has the first level alone."""

    diffs: dict[str, list[str]]

    @property
    def marks(self) -> dict[str, bool]:
        """Equal or not, by level."""
        return {level: not diff for level, diff in self.diffs.items()}

    @property
    def report(self) -> str:
        """The first level that differs, with its diff; "" when all is equal."""
        for level, diff in self.diffs.items():
            if diff:
                more = [f"… and {len(diff) - SHOWN} more lines"] if len(diff) > SHOWN else []
                return "\n".join([f"{level} differs (- BuildKit, + embedded builder):", *diff[:SHOWN], *more])
        return ""


def compare(case: Case, theirs: Answer, ours: Answer) -> Verdict:
    """Compare the embedded builder's answer with BuildKit's."""
    accepted = _accepted(case, theirs, ours)
    if theirs.error or ours.error:
        return Verdict({"accepted": accepted})
    diffs = {"accepted": accepted}
    checks = {"files": _files, "layers": _layers, "config": _config, "bytes": _bytes, "LLB": _llb}
    checks["provenance"] = _provenance
    if case.instead:
        del checks["config"], checks["bytes"], checks["LLB"], checks["provenance"]
    for level, check in checks.items():
        diffs[level] = _each_image(theirs, ours, check)
    if theirs.index != ours.index and diffs.get("bytes") == []:
        diffs["bytes"] = _values("index", theirs.index, ours.index)
    return Verdict(diffs)


def _accepted(case: Case, theirs: Answer, ours: Answer) -> list[str]:
    if bool(theirs.error) != bool(ours.error):
        return [f"- {sense(theirs.error) or 'accepted'}", f"+ {sense(ours.error) or 'accepted'}"]
    if not theirs.error:
        return []
    diff: list[str] = []
    said = [sense(theirs.error), sense(ours.error)]
    wanted = (case.says, case.says) if isinstance(case.says, str) else case.says
    equal = all(map(contains, said, wanted)) if case.says else said[0] == said[1]
    if not equal:
        diff += [f"- {said[0]}", f"+ {said[1]}"]
    # BuildKit does not place every refusal; where it does, ours is in the same place.
    if theirs.lines and theirs.lines != ours.lines:
        diff += [f"- lines {theirs.lines}", f"+ lines {ours.lines}"]
    return diff


PLAIN = re.compile(
    r"(There is no such file in (the context|that image or stage)( \(did you mean .+?\?\))?"
    r"|\.dockerignore excludes this file from the context): "
)
"""What is said in plain words before what BuildKit says."""


def sense(message: str) -> str:
    """A message without our own first words, and without what is random: names of snapshots and their mounts."""
    message = PLAIN.sub("", message)
    message = re.sub(r'of ref .+?: (?="/|too many)', "of ref *: ", message)
    message = re.sub(r"/\S*/(cachemounts/buildkit\d+|snapshots/\d+/fs)/", "/", message)  # where one was mounted
    return re.sub(r"\s+", " ", message).strip()


def _each_image(theirs: Answer, ours: Answer, check: Callable[[Image, Image], list[str]]) -> list[str]:
    platforms = [image.platform for image in theirs.images]
    if platforms != [image.platform for image in ours.images]:
        return [f"- platforms {platforms}", f"+ platforms {[image.platform for image in ours.images]}"]
    return [line for mine, image in zip(ours.images, theirs.images, strict=True) for line in check(image, mine)]


def _files(theirs: Image, ours: Image) -> list[str]:
    return _entries(_merged(theirs), _merged(ours))


def _layers(theirs: Image, ours: Image) -> list[str]:
    if len(theirs.layers) != len(ours.layers):
        return [f"- {len(theirs.layers)} layers", f"+ {len(ours.layers)} layers"]
    diff: list[str] = []
    for number, (their, our) in enumerate(zip(theirs.layers, ours.layers, strict=True), 1):
        if their.diff_id != our.diff_id:
            found = _entries(_listed(members(their.diff_id)), _listed(members(our.diff_id)))
            diff += [f"{line[:2]}layer {number}: {line[2:]}" for line in found]
    return diff


def _listed(found: list[Member]) -> dict[str, Member]:
    """Members by name; one that is there twice counts twice."""
    listed: dict[str, Member] = {}
    for member in found:
        name = member.name
        while name in listed:
            name += " (again)"
        listed[name] = member
    return listed


def _config(theirs: Image, ours: Image) -> list[str]:
    return _values("", _without_layers(theirs.config), _without_layers(ours.config))


def _without_layers(config: dict[str, Any]) -> dict[str, Any]:
    layers = config["rootfs"]["diff_ids"]
    return {**config, "rootfs": {**config["rootfs"], "diff_ids": None if layers is None else len(layers)}}


def _bytes(theirs: Image, ours: Image) -> list[str]:
    diff: list[str] = []
    for number, (their, our) in enumerate(zip(theirs.layers, ours.layers, strict=False), 1):
        if their.diff_id != our.diff_id:
            diff += [f"- layer {number}: {their.diff_id}", f"+ layer {number}: {our.diff_id}"]
            order = [[m.name for m in members(layer.diff_id)] for layer in (their, our)]
            if sorted(order[0]) == sorted(order[1]) and order[0] != order[1]:
                diff += [f"- order {order[0]}", f"+ order {order[1]}"]
    if theirs.config_digest != ours.config_digest:
        diff += [f"- config {theirs.config_digest}", f"+ config {ours.config_digest}"]
        if theirs.config == ours.config:
            diff += [f"- keys {json.dumps(theirs.config)}", f"+ keys {json.dumps(ours.config)}"]
    if theirs.manifest != ours.manifest:
        diff += _values("manifest", theirs.manifest, ours.manifest)
    elif theirs.digest != ours.digest:
        diff += [f"- manifest {theirs.digest}", f"+ manifest {ours.digest}"]
    return diff


def _llb(theirs: Image, ours: Image) -> list[str]:
    return differing(theirs.graph, ours.graph)


def _provenance(theirs: Image, ours: Image) -> list[str]:
    their, our = theirs.statement, ours.statement
    if not their or not our:
        return [] if their == our else [f"- {bool(their)}", f"+ {bool(our)}"]
    diff = _values("attachment", theirs.attachment, ours.attachment)
    return diff + _values("", comparable(their), comparable(our))


def _merged(image: Image) -> dict[str, Member]:
    """The file system that a runtime makes of the layers; names of one file know each other."""
    found: dict[str, Member] = {}
    inode: dict[str, int] = {}
    numbers = 0
    for layer in image.layers:
        listed = members(layer.diff_id)
        for member in listed:  # a layer's whiteouts are about the layers below it
            folder, _, name = member.name.rpartition("/")
            if name == ".wh..wh..opq":
                _drop(found, folder + "/", itself=False)
            elif name.startswith(".wh."):
                _drop(found, f"{folder}/{name[4:]}" if folder else name[4:])
        for member in listed:
            path = member.name.rstrip("/")
            if path.rpartition("/")[2].startswith(".wh."):
                continue
            if member.type != "dir" or (path in found and found[path].type != "dir"):
                _drop(found, path)
            if member.type == "hardlink":
                first = found[member.link]
                found[path] = msgspec.structs.replace(first, name=path)
                inode[path] = inode[member.link]
            else:
                found[path] = msgspec.structs.replace(member, name=path)
                numbers += 1
                inode[path] = numbers
    names: dict[int, list[str]] = {}
    for path in sorted(found):
        names.setdefault(inode[path], []).append(path)
    return {
        path: msgspec.structs.replace(found[path], link=" = ".join(names[number]))
        if len(names[number := inode[path]]) > 1
        else found[path]
        for path in found
    }


def _drop(found: dict[str, Member], path: str, *, itself: bool = True) -> None:
    below = path.rstrip("/") + "/"
    for name in [name for name in found if name.startswith(below) or (itself and name == path)]:
        del found[name]


def _entries(theirs: dict[str, Member], ours: dict[str, Member]) -> list[str]:
    diff: list[str] = []
    for name in sorted(theirs.keys() | ours.keys()):
        their, our = theirs.get(name), ours.get(name)
        if their == our:
            continue
        if their is None or our is None:
            only = their or our
            assert only
            diff.append(f"{'-' if their else '+'} {name}: {_brief(only)}")
            continue
        # The digest of a content says nothing where its beginning differs visibly.
        hidden = "content" if their.preview != our.preview else ""
        for field in Member.__struct_fields__:
            values = getattr(their, field), getattr(our, field)
            if values[0] != values[1] and field != hidden:
                shown = [oct(value) if field == "mode" else repr(value)[:200] for value in values]
                diff += [f"- {name}: {field} {shown[0]}", f"+ {name}: {field} {shown[1]}"]
    return diff


def _brief(member: Member) -> str:
    fields = msgspec.to_builtins(member)
    fields["mode"] = oct(member.mode)
    return " ".join(f"{key}={value!r}"[:200] for key, value in fields.items() if key not in ("name", "content"))


def _values(where: str, theirs: Any, ours: Any) -> list[str]:
    """A diff of two JSON values, by path."""
    if theirs == ours:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = [*theirs, *(key for key in ours if key not in theirs)]
        return [line for key in keys for line in _values(f"{where}.{key}", theirs.get(key), ours.get(key))]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [line for number, (a, b) in pairs for line in _values(f"{where}[{number}]", a, b)]
    return [f"- {where.lstrip('.')}: {json.dumps(theirs)}", f"+ {where.lstrip('.')}: {json.dumps(ours)}"]
