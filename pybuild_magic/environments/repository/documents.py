"""The documents of a repository in TOML, JSON and YAML, with errors that name the file and the fault."""

from __future__ import annotations

import json
import tomllib
from typing import Any, cast

from ...errors import ContextError
from .files import RepositoryFiles

Table = dict[str, Any]


def read_toml(files: RepositoryFiles, path: str) -> Table:
    """Read an existing TOML file. Raises ContextError."""
    try:
        return tomllib.loads(files.text(path) or "")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ContextError(f"{path} cannot be read: {_reason(error)}.", hint="It must be valid TOML.") from None


def read_json(files: RepositoryFiles, path: str) -> Table:
    """Read a JSON object. Raises ContextError."""
    try:
        document = json.loads(files.text(path) or "")
    except (ValueError, RecursionError) as error:
        raise ContextError(f"{path} cannot be read: {_reason(error)}.", hint="It must be valid JSON.") from None
    return _table(document, path)


def read_yaml(files: RepositoryFiles, path: str) -> Table:
    """Read a YAML mapping; an empty file is an empty mapping. Raises ContextError."""
    import yaml

    try:
        document: object = yaml.safe_load(files.text(path) or "")
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        reason = getattr(error, "problem", "") or _reason(error)
        raise ContextError(f"{path} cannot be read{where}: {reason}.", hint="It must be valid YAML.") from None
    return {} if document is None else _table(document, path)


def table_in(document: Table, *keys: str) -> Table:
    """Return the table under some keys; an empty one when there is none."""
    value: object = document
    for key in keys:
        value = _entries(value).get(key)
    return _entries(value)


def rows(value: object) -> list[Any]:
    """Return a list as it is, and an empty one for anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a text as it is, and an empty one for anything else."""
    return value if isinstance(value, str) else ""


def _entries(value: object) -> Table:
    return cast("Table", value) if isinstance(value, dict) else {}


def _table(document: object, path: str) -> Table:
    if not isinstance(document, dict):
        raise ContextError(f"{path} cannot be read: it contains a {type(document).__name__} instead of a table.")
    return cast("Table", document)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
