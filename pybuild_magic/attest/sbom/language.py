"""Packages of programming languages, from the metadata that their installers leave: Python, conda, npm, R."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from ...golang.json import check_nesting
from ...store import Entry
from ..purl import purl
from .package import Files, Package, UnreadableError, text_of

_SEPARATORS = re.compile(r"[-_.]+")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)")
_OSI = "License :: OSI Approved :: "


def python(entry: Entry, files: Files) -> Iterator[Package]:
    """Read `METADATA` of a wheel, or `PKG-INFO` of an egg."""
    fields = _headers(text_of(files.read(entry)))
    name, version = _first(fields, "Name"), _first(fields, "Version")
    if name and version:
        classifiers = [
            classifier.removeprefix(_OSI) for classifier in fields.get("Classifier", ()) if classifier.startswith(_OSI)
        ]
        expression = _first(fields, "License-Expression") or _first(fields, "License")
        licence = (
            expression
            if expression and expression != "UNKNOWN" and len(expression) < 100
            else " AND ".join(classifiers)
        )
        where = purl("pypi", _SEPARATORS.sub("-", name).lower(), version)
        yield Package("pypi", name, version, where, licence, entry.path)


def r(entry: Entry, files: Files) -> Iterator[Package]:
    """Read the `DESCRIPTION` of an installed R package."""
    fields = _headers(text_of(files.read(entry)))
    name, version = _first(fields, "Package"), _first(fields, "Version")
    if name and version and "Built" in fields:
        yield Package("cran", name, version, purl("cran", name, version), _first(fields, "License"), entry.path)


def conda(entry: Entry, files: Files) -> Iterator[Package]:
    """Read a file of `conda-meta`."""
    document = _object(entry, files)
    name, version = _text(document, "name"), _text(document, "version")
    if name and version:
        channel = _text(document, "channel").rstrip("/").rpartition("/")[2]
        build, subdir = _text(document, "build"), _text(document, "subdir")
        where = purl("conda", name, version, qualifiers={"build": build, "channel": channel, "subdir": subdir})
        yield Package("conda", name, version, where, _text(document, "license"), entry.path)


def npm(entry: Entry, files: Files) -> Iterator[Package]:
    """Read the `package.json` of a package in `node_modules`."""
    document = _object(entry, files)
    whole, version = _text(document, "name"), _text(document, "version")
    if whole and version:
        scope, _, name = whole.rpartition("/")
        licence = document.get("license")
        if isinstance(licence, dict):
            licence = cast("dict[str, Any]", licence).get("type")
        where = purl("npm", name, version, namespace=scope)
        yield Package("npm", whole, version, where, licence if isinstance(licence, str) else "", entry.path)


def _object(entry: Entry, files: Files) -> dict[str, Any]:
    data = files.read(entry)
    check_nesting(data, entry.path)
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise UnreadableError(f"is not a JSON object: {error}") from error


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    return value.strip() if isinstance(value, str) else ""


def _headers(text: str) -> dict[str, list[str]]:
    """Return the fields of the header, up to the first empty line; continuation lines are left out."""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line:
            break
        if match := _FIELD.fullmatch(line):
            fields.setdefault(match[1], []).append(match[2].strip())
    return fields


def _first(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]
