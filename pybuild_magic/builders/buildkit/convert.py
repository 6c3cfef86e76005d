"""Conversion of BuildKit's messages into the structs that all code above the builders uses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ...status.messages import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning, without_credentials
from ...store.history import HistoryRecord
from ...store.usage import DiskUsage, Pruned, Usage
from ...untrusted.foreign import moment
from ...untrusted.redaction import redact, redact_data
from ..proto import control_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp


def _time(message: Message, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    return moment(stamp.seconds, stamp.nanos)


def _seconds(message: Message, field: str) -> float:
    time = _time(message, field)
    return time.timestamp() if time else 0.0


def status(message: pb.StatusResponse) -> SolveStatus:
    """Return one message of the status stream, with credentials removed from the URLs that BuildKit leaves in names."""
    converted = SolveStatus(
        vertexes=tuple(
            Vertex(
                vertex.digest,
                vertex.name,
                tuple(vertex.inputs),
                vertex.cached,
                _time(vertex, "started"),
                _time(vertex, "completed"),
                vertex.error,
            )
            for vertex in message.vertexes
        ),
        statuses=tuple(
            VertexStatus(
                status.ID,
                status.vertex,
                status.name,
                status.total,
                status.current,
                _time(status, "timestamp"),
                _time(status, "started"),
                _time(status, "completed"),
            )
            for status in message.statuses
        ),
        logs=tuple(VertexLog(log.vertex, log.stream, log.msg, _time(log, "timestamp")) for log in message.logs),
        warnings=tuple(_warning(warning) for warning in message.warnings),
    )
    return without_credentials(converted)


def _warning(warning: pb.VertexWarning) -> VertexWarning:
    lines = [span.start.line for span in warning.ranges]
    ends = [max(span.start.line, span.end.line) for span in warning.ranges]
    return VertexWarning(
        warning.vertex,
        warning.level,
        warning.short,
        tuple(warning.detail),
        warning.url,
        warning.info.filename,
        min(lines, default=0),
        max(ends, default=0),
    )


def _usage(record: pb.UsageRecord) -> Usage:
    return Usage(
        id=record.ID,
        type=record.RecordType or "regular",
        size=record.Size,
        created=_seconds(record, "CreatedAt"),
        last_used=_seconds(record, "LastUsedAt"),
        usage_count=record.UsageCount,
        in_use=record.InUse,
        shared=record.Shared,
        description=record.Description,
    )


def disk_usage(records: Iterable[pb.UsageRecord]) -> DiskUsage:
    """Return a daemon's records, largest first."""
    rows = sorted((_usage(record) for record in records), key=lambda row: -row.size)
    reclaimable = sum(row.size for row in rows if not row.in_use and not row.shared)
    return DiskUsage(tuple(rows), sum(row.size for row in rows), reclaimable)


def pruned(records: Iterable[pb.UsageRecord]) -> Pruned:
    """Return the records that a daemon removed."""
    rows = tuple(_usage(record) for record in records)
    return Pruned(rows, sum(row.size for row in rows))


def history(record: pb.BuildHistoryRecord) -> HistoryRecord:
    """Return an entry of a daemon's build history."""
    done = record.HasField("CompletedAt")
    error = record.error.message
    outcome = "running"
    if done:
        outcome = "completed" if not error else "canceled" if record.error.code == 1 else "error"
    attrs: dict[str, str] = redact_data(dict(record.FrontendAttrs))
    return HistoryRecord(
        ref=record.Ref,
        name=_name(attrs),
        created=_seconds(record, "CreatedAt"),
        completed=_seconds(record, "CompletedAt") if done else None,
        status=outcome,
        error=redact(error),
        request=msgspec.json.encode(
            {
                "Ref": record.Ref,
                "Frontend": record.Frontend,
                "FrontendAttrs": attrs,
                "Exporters": [{"Type": exporter.Type, "Attrs": dict(exporter.Attrs)} for exporter in record.Exporters],
            }
        ),
        result=msgspec.json.encode(dict(record.ExporterResponse)),
    )


def _name(attrs: dict[str, str]) -> str:
    context = attrs.get("context", "").rpartition("/")[2]
    name = "/".join(part for part in (context, attrs.get("filename", "")) if part)
    return f"{name} ({attrs['target']})" if attrs.get("target") else name
