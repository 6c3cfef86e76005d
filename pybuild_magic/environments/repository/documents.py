"""The documents of a repository: TOML, JSON and YAML, read with errors that say which file and what is wrong."""

from __future__ import annotations

import json
import tomllib
from typing import Any, cast

from ...errors import ContextError
from .files import RepositoryFiles

Table = dict[str, Any]


def read_toml(files: RepositoryFiles, path: str) -> Table:
    """Read a TOML file that is there. Raises ContextError."""
    try:
        return tomllib.loads(files.text(path) or "")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ContextError(f"{path} cannot be read: {_reason(error)}.", hint="It has to be TOML.") from None


def read_json(files: RepositoryFiles, path: str) -> Table:
    """Read a JSON object. Raises ContextError."""
    try:
        document = json.loads(files.text(path) or "")
    except (ValueError, RecursionError) as error:
        raise ContextError(f"{path} cannot be read: {_reason(error)}.", hint="It has to be JSON.") from None
    return _table(document, path)


def read_yaml(files: RepositoryFiles, path: str) -> Table:
    """Read a YAML mapping; an empty file is an empty one. Raises ContextError."""
    import yaml

    try:
        document: object = yaml.safe_load(files.text(path) or "")
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        reason = getattr(error, "problem", "") or _reason(error)
        raise ContextError(f"{path} cannot be read{where}: {reason}.", hint="It has to be YAML.") from None
    return {} if document is None else _table(document, path)


def table_in(document: Table, *keys: str) -> Table:
    """Return the table at some keys, empty where there is none."""
    value: object = document
    for key in keys:
        value = _entries(value).get(key)
    return _entries(value)


def rows(value: object) -> list[Any]:
    """Return a list as it is, and an empty one for what is none."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a text as it is, and an empty one for what is none."""
    return value if isinstance(value, str) else ""


def _entries(value: object) -> Table:
    return cast("Table", value) if isinstance(value, dict) else {}


def _table(document: object, path: str) -> Table:
    if not isinstance(document, dict):
        raise ContextError(f"{path} cannot be read: it has a {type(document).__name__} where there should be a table.")
    return cast("Table", document)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
