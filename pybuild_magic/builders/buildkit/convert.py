"""BuildKit's messages as the structs that everything above a builder knows."""

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
    when = _time(message, field)
    return when.timestamp() if when else 0.0


def status(message: pb.StatusResponse) -> SolveStatus:
    """Return one message of the status stream, without the credentials of URLs that BuildKit leaves in names."""
    found = SolveStatus(
        vertexes=tuple(
            Vertex(
                one.digest,
                one.name,
                tuple(one.inputs),
                one.cached,
                _time(one, "started"),
                _time(one, "completed"),
                one.error,
            )
            for one in message.vertexes
        ),
        statuses=tuple(
            VertexStatus(
                one.ID,
                one.vertex,
                one.name,
                one.total,
                one.current,
                _time(one, "timestamp"),
                _time(one, "started"),
                _time(one, "completed"),
            )
            for one in message.statuses
        ),
        logs=tuple(VertexLog(one.vertex, one.stream, one.msg, _time(one, "timestamp")) for one in message.logs),
        warnings=tuple(_warning(one) for one in message.warnings),
    )
    return without_credentials(found)


def _warning(one: pb.VertexWarning) -> VertexWarning:
    lines = [found.start.line for found in one.ranges]
    ends = [max(found.start.line, found.end.line) for found in one.ranges]
    return VertexWarning(
        one.vertex,
        one.level,
        one.short,
        tuple(one.detail),
        one.url,
        one.info.filename,
        min(lines, default=0),
        max(ends, default=0),
    )


def _usage(one: pb.UsageRecord) -> Usage:
    return Usage(
        id=one.ID,
        type=one.RecordType or "regular",
        size=one.Size,
        created=_seconds(one, "CreatedAt"),
        last_used=_seconds(one, "LastUsedAt"),
        usage_count=one.UsageCount,
        in_use=one.InUse,
        shared=one.Shared,
        description=one.Description,
    )


def disk_usage(records: Iterable[pb.UsageRecord]) -> DiskUsage:
    """Return a daemon's records, the largest first."""
    rows = sorted((_usage(one) for one in records), key=lambda row: -row.size)
    reclaimable = sum(row.size for row in rows if not row.in_use and not row.shared)
    return DiskUsage(tuple(rows), sum(row.size for row in rows), reclaimable)


def pruned(records: Iterable[pb.UsageRecord]) -> Pruned:
    """Return the records that a daemon removed."""
    rows = tuple(_usage(one) for one in records)
    return Pruned(rows, sum(row.size for row in rows))


def history(record: pb.BuildHistoryRecord) -> HistoryRecord:
    """Return one build of a daemon's history."""
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
                "Exporters": [{"Type": one.Type, "Attrs": dict(one.Attrs)} for one in record.Exporters],
            }
        ),
        result=msgspec.json.encode(dict(record.ExporterResponse)),
    )


def _name(attrs: dict[str, str]) -> str:
    context = attrs.get("context", "").rpartition("/")[2]
    name = "/".join(part for part in (context, attrs.get("filename", "")) if part)
    return f"{name} ({attrs['target']})" if attrs.get("target") else name
