"""The graph of a front end of an image in a provenance: its ops as they were sent, and the lines behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message as Protobuf

from ....attest.buildconfig import DefinitionFile, Steps, info_of
from ....llb.protobuf import Message
from ...proto import ops_pb2 as pb
from .definition import Definition, parse

_GO_NAMES = {"byID": "byId"}


def read_op(data: bytes) -> Message:
    """Return the fields of an `Op` that a front end sent."""
    return _fields(parse(pb.Op, data))


def source_of(source: pb.Source, layout: Callable[[str], str], steps: Steps) -> dict[str, Any] | None:
    """Return BuildKit's `Source` for the steps of a definition; None when it names no files.

    `layout` finds the place of an OCI layout: see `Definition`.
    """
    if not source.infos:
        return None
    locations = {
        digest: MessageToDict(places, preserving_proto_field_name=True) for digest, places in source.locations.items()
    }
    infos = [
        info_of(
            DefinitionFile(
                info.filename,
                info.data.decode("utf-8", "surrogateescape"),
                Definition(info.definition, layout).edge,
                info.language,
            ),
            read_op,
        )
        for info in source.infos
    ]
    return {"locations": steps.by_step(locations), "infos": infos}


def _fields(message: Protobuf) -> Message:
    return {_GO_NAMES.get(field.name, field.name): _value(value) for field, value in message.ListFields()}


def _value(value: Any) -> Any:
    if isinstance(value, Protobuf):
        return _fields(value)
    if isinstance(value, str | bytes | int):
        return value
    if hasattr(value, "items"):
        return dict(value)
    return [_value(item) for item in cast("list[Any]", value)]
