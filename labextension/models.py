"""Writes src/generated.ts: the types of the documents that the page draws, from the structs that Python writes."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgspec

from pybuild_magic import summary

TARGET = Path(__file__).resolve().parent / "src" / "generated.ts"
_HEAD = """// Written by labextension/models.py from the structs of pybuild_magic/summary.py: see `make types`.

/** The media type under which a notebook keeps a `Summary`. */
"""
_TABS = "/** The tabs of a result, by the names that `--view` takes. */\n"
_WIDTH = 116
_SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def typescript() -> str:
    """Return the whole module: an interface for each struct that a Summary consists of, in the order of their names."""
    _, components = msgspec.json.schema_components([summary.Summary])
    tabs = " | ".join(f'"{name}"' for name in summary.TABS)
    head = f'{_HEAD}export const MIME_TYPE = "{summary.MIME_TYPE}";\n\n{_TABS}export type TabName =\n  {tabs};\n'
    return "\n".join([head, *(_declaration(name, components[name]) for name in sorted(components))])


def _declaration(name: str, schema: dict[str, Any]) -> str:
    docs = _docs(getattr(summary, name))
    head = f"/** {schema['description']} */\n"
    if schema["type"] == "array":
        fields = getattr(summary, name).__struct_fields__
        items = ", ".join(f"{field}: {_type(item)}" for field, item in zip(fields, schema["prefixItems"], strict=True))
        return f"{head}export type {name} = [{items}];\n"
    rows: list[str] = []
    for field, item in schema["properties"].items():
        mark = "" if field in schema.get("required", ()) else "?"
        if doc := docs.get(field):
            rows += textwrap.wrap(f"/** {doc} */", _WIDTH, initial_indent="  ", subsequent_indent="   * ")
        rows.append(f"  {field}{mark}: {_type(item)};")
    return "\n".join([f"{head}export interface {name} {{", *rows, "}", ""])


def _type(schema: dict[str, Any]) -> str:
    """The TypeScript of one JSON schema, as far as msgspec writes them for our structs."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        item = _type(schema["items"])
        return f"({item})[]" if " " in item else f"{item}[]"
    if kind == "object":
        values = schema.get("additionalProperties", True)
        return f"Record<string, {'unknown' if values in (True, {}) else _type(values)}>"
    return _SIMPLE[kind] if kind else "unknown"


def _docs(struct: type) -> dict[str, str]:
    """The docstrings that stand below the fields of a struct."""
    body = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[field.target.id] = _field_doc(str(below.value.value))
    return docs


def _field_doc(doc: str) -> str:
    return re.sub(r"\s+", " ", doc).strip().replace("*/", "* /")


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(0 if TARGET.read_text("utf-8") == typescript() else f"{TARGET.name} is stale: run `make types`.")
    TARGET.write_text(typescript(), "utf-8")
