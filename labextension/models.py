"""Writes src/generated.ts: the types of all that the page is sent, from the structs of which Python makes it."""

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
from pybuild_magic.display import protocol

TARGET = Path(__file__).resolve().parent / "src" / "generated.ts"
_HEAD = """// Written by labextension/models.py from pybuild_magic/summary.py and display/protocol.py: see `make types`.

/** The media type under which a notebook keeps a `Summary`. */
"""
_TABS = "/** The tabs of a result, by the names that `--view` takes. */\n"
_OMISSIONS = "/** The omitted parts of a result that a note below it mentions, in words. */\n"
_WIDTH = 116
_SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def typescript() -> str:
    """Return the whole module: a type for each struct of a result and of live progress, in the order of their names."""
    _, components = msgspec.json.schema_components(
        [summary.Summary, protocol.ProgressPlan, protocol.BuildProgress, protocol.LogNews]
    )
    tabs = " | ".join(f'"{name}"' for name in summary.TABS)
    head = f'{_HEAD}export const MIME_TYPE = "{summary.MIME_TYPE}";\n\n{_TABS}export type TabName =\n  {tabs};\n'
    omissions = "".join(f'  ["{kind}", "{words}"],\n' for kind, words in summary.OMISSIONS.items())
    head += f"\n{_OMISSIONS}export const OMISSIONS: readonly [string, string][] = [\n{omissions}];\n"
    return "\n".join([head, *(_declaration(name, components[name]) for name in sorted(components))])


def _declaration(name: str, schema: dict[str, Any]) -> str:
    struct = getattr(summary, name, None) or getattr(protocol, name)
    docs = _docs(struct)
    is_tuple = schema["type"] == "array"
    if is_tuple:
        fields = dict(zip(struct.__struct_fields__, schema["prefixItems"], strict=True))
        required = struct.__struct_fields__[: schema["minItems"]]
    else:
        fields, required = schema["properties"], schema.get("required", ())
    rows: list[str] = []
    for field, item in fields.items():
        if doc := docs.get(field):
            rows += textwrap.wrap(f"/** {doc} */", _WIDTH, initial_indent="  ", subsequent_indent="   * ")
        rows.append(f"  {field}{'' if field in required else '?'}: {_type(item)}{',' if is_tuple else ';'}")
    begin, end = (f"export type {name} = [", "];") if is_tuple else (f"export interface {name} {{", "}")
    return "\n".join([f"/** {schema['description']} */", begin, *rows, end, ""])


def _type(schema: dict[str, Any]) -> str:
    """The TypeScript of one JSON schema, as far as msgspec writes them for our structs."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(f'"{value}"' for value in schema["enum"])
    kind = schema.get("type")
    if "prefixItems" in schema:
        return f"[{', '.join(map(_type, schema['prefixItems']))}]"
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
