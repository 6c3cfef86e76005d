"""How a build's results were made, from the history that a daemon keeps of its builds.

Source: `setRecordProvenance` of buildx.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from ...attest.provenance import as_slsa_02
from ...errors import BuildError
from ...net.grpc.rpc import GrpcError
from ..proto import control_pb2 as pb
from .connect import Connection
from .images import read_content

_STATEMENT = "application/vnd.in-toto+json"
_TYPE = "in-toto.io/predicate-type"
_SLSA = "https://slsa.dev/provenance/"
_SECONDS = 30.0


class DaemonRecord:
    """The record of one build: see BuildRecord. A daemon that keeps no history has none.

    It is read at once, while there is a connection: opening another may take long.
    """

    def __init__(self, connection: Connection, ref: str) -> None:
        self._documents: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(GrpcError, BuildError):
            self._read(connection, ref)

    def __call__(self, *, steps: bool) -> dict[str, dict[str, Any]]:
        """See BuildRecord."""
        return {key: row if steps else _without_steps(row) for key, row in self._documents.items()}

    def _read(self, connection: Connection, ref: str) -> None:
        request = pb.BuildHistoryRequest(Ref=ref, EarlyExit=True)
        for event in connection.stream("ListenBuildHistory", request, pb.BuildHistoryEvent, _SECONDS):
            results = dict(event.record.Results) or {"": event.record.Result}
            for platform, result in results.items():
                if (document := _document(connection, result)) is not None:
                    self._documents[platform] = document


def _document(connection: Connection, result: pb.BuildResultInfo) -> dict[str, Any] | None:
    for row in result.Attestations:
        kind = row.annotations.get(_TYPE, "")
        if row.media_type == _STATEMENT and kind.startswith(_SLSA):
            data = read_content(connection, row.digest)
            try:
                document = msgspec.json.decode(data or b"", type=dict[str, Any])
            except msgspec.DecodeError:
                return None
            return document if kind == f"{_SLSA}v0.2" else as_slsa_02(document)
    return None


def _without_steps(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("buildConfig", "metadata")}
