"""The graph of a build in a `mode=max` provenance: its steps, and the lines of the Dockerfile behind them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ..errors import SourceRange
from ..llb.ops import Edge, Node, SourceOp, walk
from ..llb.protobuf import Message, digest_of, document, message_of, result_of
from ..oci.descriptor import Descriptor
from ..oci.digest import sha256
from ..untrusted.redaction import redact, redact_data
from .statement import LayerForm

_PRIVATE = ("local.session", "local.unique", "oci.session", "oci.store")
"""Attributes that name what is on this machine."""

ReadOp = Callable[[bytes], Message]
"""From the `Op` message that a front end sent to its fields."""
Snapshots = Callable[[Node], Sequence[Sequence[str]]]
"""From a vertex to the diffIDs of each of its outputs; None for a vertex that was not solved."""


class DefinitionFile(msgspec.Struct, frozen=True):
    """The Dockerfile, or another file of a front end's language, and where it came from."""

    filename: str
    text: str
    source: Edge | None = None
    language: str = "Dockerfile"


class Steps:
    """The vertices of a graph, inputs first, each once by its digest."""

    def __init__(self, root: Edge, read: ReadOp | None = None) -> None:
        self._numbers: dict[str, int] = {}
        self._digests: dict[int, str] = {}
        self._nodes: list[Node] = []
        self._documents: list[dict[str, Any]] = []
        self._places: dict[str, list[SourceRange]] = {}
        for node in walk(root):
            inputs = [(self._digests[id(edge.node)], edge.output) for edge in node.inputs]
            if read is not None and node.sent:
                message, digest = read(node.sent), sha256(node.sent)
            else:
                message = message_of(node, inputs)
                digest = digest_of(message)
            self._digests[id(node)] = digest
            self._places.setdefault(digest, []).extend(_places(node))
            if digest not in self._numbers:
                self._nodes.append(node)
                self._add(digest, document(_public(node, message)), inputs)
        last = result_of(self._digests[id(root.node)], root.output)
        self._add(digest_of(last), document(last), [(self._digests[id(root.node)], root.output)])

    def _add(self, digest: str, op: dict[str, Any], inputs: Sequence[tuple[str, int]]) -> None:
        step: dict[str, Any] = {"id": f"step{len(self._numbers)}", "op": redact_data(op)}
        if inputs:
            step["inputs"] = [f"step{self._numbers[digest]}:{output}" for digest, output in inputs]
        self._numbers[digest] = len(self._numbers)
        self._documents.append(step)

    @property
    def definition(self) -> dict[str, Any]:
        """Return BuildKit's `BuildConfig`."""
        mapping = {digest: f"step{number}" for digest, number in sorted(self._numbers.items())}
        return {"llbDefinition": self._documents, "digestMapping": mapping}

    def by_step(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by step, given by the digests of vertices; those of other vertices are left out."""
        known = {f"step{self._numbers[digest]}": value for digest, value in values.items() if digest in self._numbers}
        return dict(sorted(known.items()))

    @property
    def locations(self) -> dict[str, Any]:
        """Return the lines of the Dockerfile by step; the node that names the result is not a step."""
        return self.by_step({digest: _locations(places) for digest, places in self._places.items()})

    def layers(self, snapshots: Snapshots, form: LayerForm) -> dict[str, Any]:
        """Return the blobs of each output whose layers are all in the image."""
        layers: dict[str, Any] = {}
        for number, node in enumerate(self._nodes):
            for output, snapshot in enumerate(snapshots(node)):
                forms = [form(diff_id) for diff_id in snapshot]
                if forms and all(forms):
                    layers[f"step{number}:{output}"] = [[_layer(blob) for blob in forms if blob]]
        return dict(sorted(layers.items()))


def source_of(steps: Steps, file: DefinitionFile) -> dict[str, Any] | None:
    """Return BuildKit's `Source`: the Dockerfile, and which of its lines a step comes from; None for no lines."""
    locations = steps.locations
    return {"locations": locations, "infos": [info_of(file)]} if any(locations.values()) else None


def info_of(file: DefinitionFile, read: ReadOp | None = None) -> dict[str, Any]:
    """Return BuildKit's `SourceInfo` of a file."""
    info: dict[str, Any] = {
        **({"filename": file.filename} if file.filename else {}),
        **({"language": file.language} if file.language else {}),
        "data": base64.b64encode(redact(file.text).encode("utf-8", "surrogateescape")).decode(),
    }
    return info | (Steps(file.source, read).definition if file.source is not None else {})


def _public(node: Node, message: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(node.op, SourceOp) or not any(name in node.op.attrs for name in _PRIVATE):
        return message
    attrs = {name: value for name, value in node.op.attrs.items() if name not in _PRIVATE}
    source = {"identifier": node.op.identifier} | ({"attrs": attrs} if attrs else {})
    return {**message, "source": source}


def _places(node: Node) -> Sequence[SourceRange]:
    """Return the instructions that a vertex comes from; none for a named context, as in BuildKit."""
    if node.name.startswith("[context "):
        return ()
    return node.places or ((node.location,) if node.location else ())


def _locations(places: Sequence[SourceRange]) -> dict[str, Any]:
    """Return ranges as BuildKit writes them, one for each line."""
    locations = [
        {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in range(place.start, place.end + 1)]}
        for place in places
    ]
    return {"locations": locations} if locations else {}


def _layer(form: Descriptor) -> dict[str, Any]:
    return msgspec.structs.replace(form, platform=None).document()
