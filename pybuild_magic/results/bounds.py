"""Bounds on a summary: the document that a notebook keeps of a build has a limit, however large the build was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any, TypeVar, cast

import msgspec

from ..status.trace import KEPT_FIRST
from ..summary import (
    AttestedSummary,
    FileSummary,
    ImageSummary,
    ManifestSummary,
    MaterialSummary,
    OutputSummary,
    SoftwareSummary,
    Summary,
    VertexSummary,
)

LIMIT = 120_000
"""Bytes of the document; the page beside it has its own limit, so that both together stay below 200 kB."""
LEVELS = 12
"""How many sizes are tried until the summary fits, each half of the one before."""

_LOGS = 32_000
"""The most characters of all logs together; `_LOG` is the limit of each."""
_LOG = 16_000
_LINE = 8
"""Characters that a line takes besides its text: its end and its time."""

T = TypeVar("T")


class _Log(msgspec.Struct, frozen=True):
    """The part of one log that is kept."""

    head: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()
    size: int = 0


def bound(summary: Summary, limit: int = LIMIT) -> Summary:
    """Return the summary cut to `limit` bytes of JSON; `omitted` counts what was left out."""
    for level in range(LEVELS):
        small = bound_to(summary, level)
        if level == LEVELS - 1 or len(msgspec.json.encode(small)) <= limit:
            return small
    raise AssertionError


def bound_to(summary: Summary, level: int) -> Summary:
    """Return the summary cut to one of the `LEVELS`; each keeps about half as much as the level before."""
    return _Bounds(level).summary(summary)


class _Bounds:
    def __init__(self, level: int) -> None:
        self._share = 0.5**level
        self._omitted: Counter[str] = Counter()

    def _most(self, count: int, least: int = 0) -> int:
        return max(least, int(count * self._share))

    def summary(self, summary: Summary) -> Summary:
        # Texts and trees shrink first; steps, layers and labels are all kept as long as possible.
        many = min(1.0, 4 * self._share)
        vertexes = self._vertexes(summary.vertexes, int(1000 * many))
        logs = self._logs(vertexes)
        small = msgspec.structs.replace(
            summary,
            ref=self.text(summary.ref, 100),
            builder=self.text(summary.builder, 200),
            driver=self.text(summary.driver, 100),
            target=self.text(summary.target, 200),
            vertexes=tuple(self._vertex(vertex, logs.get(vertex.digest)) for vertex in vertexes),
            warnings=tuple(
                msgspec.structs.replace(
                    warning,
                    short=self.text(warning.short, 500),
                    detail=self.text(warning.detail, 500),
                    url=self.text(warning.url, 300),
                )
                for warning in self.first(summary.warnings, int(100 * many), "warnings")
            ),
            image=self._image(summary.image, many) if summary.image else None,
            attested=tuple(self._attested(attested) for attested in self.first(summary.attested, 20, "attestations")),
            outputs=tuple(self._output(output) for output in self.first(summary.outputs, 50, "outputs")),
            request=self.text(summary.request, self._most(32_000, 200), "request"),
            command=self.text(summary.command, self._most(32_000, 200), "command"),
            error=self.text(summary.error, 4000),
            hint=self.text(summary.hint, 1000),
            dockerfile=self.text(summary.dockerfile, self._most(64_000, 200), "Dockerfile"),
        )
        omitted = Counter(summary.omitted) + self._omitted
        return msgspec.structs.replace(small, omitted={key: count for key, count in omitted.items() if count > 0})

    def text(self, text: str, limit: int, kind: str = "") -> str:
        """Return at most `limit` characters of a text, all of which JSON can hold; count the others as `kind`."""
        if len(text) > limit:
            if kind:
                self._omitted[kind] += len(text) - limit + 1
            text = text[: limit - 1] + "…"
        return text if text.isascii() else text.encode("utf-8", "replace").decode()

    def first(self, items: Sequence[T], limit: int, kind: str) -> Sequence[T]:
        """Return the first `limit` items, and count the others."""
        self._omitted[kind] += max(0, len(items) - limit)
        return items[:limit]

    def _vertexes(self, vertexes: Sequence[VertexSummary], limit: int) -> list[VertexSummary]:
        """Return at most `limit` steps: those that failed, then those that took longest."""
        self._omitted["vertexes"] += max(0, len(vertexes) - limit)
        if len(vertexes) <= limit:
            return list(vertexes)
        selected = nsmallest(limit, vertexes, lambda vertex: (not vertex.error, -vertex.seconds))
        ids = {id(vertex) for vertex in selected}
        return [vertex for vertex in vertexes if id(vertex) in ids]

    def _logs(self, vertexes: Sequence[VertexSummary]) -> dict[str, _Log]:
        """Return the logs that fit: those of failed steps are taken first, then those of later steps."""
        logs: dict[str, _Log] = {}
        room = self._most(_LOGS, 200)
        order = sorted(enumerate(vertexes), key=lambda numbered: (not numbered[1].error, -numbered[0]))
        for _, vertex in order:
            log = self._log(vertex, min(room, self._most(_LOG, 200)))
            room -= log.size
            logs[vertex.digest] = log
            self._omitted["log lines"] += max(0, vertex.log_lines - len(log.head) - len(log.tail))
        return logs

    def _log(self, vertex: VertexSummary, room: int) -> _Log:
        """Return the end of a log, in three quarters of the room, and its beginning, in the rest."""
        head, tail = (text.split("\n") if text else [] for text in (vertex.log_head, vertex.log_tail))
        seconds = vertex.log_seconds if len(vertex.log_seconds) == len(head) + len(tail) else ()
        last = self._fitting(reversed(tail), room if len(tail) == vertex.log_lines else room * 3 // 4)
        whole = [*head, *tail] if len(head) + len(tail) == vertex.log_lines else head
        first = self._fitting(whole[: min(KEPT_FIRST, vertex.log_lines - len(last))], room - sum(map(len, last)))
        times = (*seconds[: len(first)], *seconds[len(seconds) - len(last) :]) if seconds else ()
        return _Log(tuple(first), tuple(reversed(last)), times, sum(map(len, first)) + sum(map(len, last)))

    def _fitting(self, lines: Iterable[str], room: int) -> list[str]:
        longest = self._most(400, 100)
        fitting: list[str] = []
        for line in lines:
            clipped = line if len(line) <= longest else f"{line[: longest - 1]}…"
            room -= len(clipped) + _LINE
            if room < 0:
                break
            fitting.append(self.text(clipped, longest))
        return fitting

    def _vertex(self, vertex: VertexSummary, log: _Log | None) -> VertexSummary:
        log = log or _Log()
        return msgspec.structs.replace(
            vertex,
            digest=self.text(vertex.digest, 150),
            name=self.text(vertex.name, self._most(1000, 60)),
            inputs=tuple(self.text(digest, 150) for digest in self.first(vertex.inputs, self._most(200, 4), "inputs")),
            error=self.text(vertex.error, self._most(4000, 200)),
            log_head="\n".join(log.head),
            log_tail="\n".join(log.tail),
            log_seconds=log.seconds,
            stage=self.text(vertex.stage, 100),
        )

    def _output(self, output: OutputSummary) -> OutputSummary:
        files: Sequence[FileSummary] = output.files
        limit = self._most(500)
        if len(files) > limit:
            files = nsmallest(limit, files, lambda file: file.path.count("/"))
            paths = {file.path for file in files}
            files = [file for file in output.files if file.path in paths][:limit]
        omitted = output.more_files + len(output.files) - len(files)
        self._omitted["files"] += omitted
        return msgspec.structs.replace(
            output,
            dest=self.text(output.dest, 500),
            names=tuple(self.text(name, 300) for name in self.first(output.names, self._most(100, 3), "names")),
            files=tuple(
                msgspec.structs.replace(file, path=self.text(file.path, 1000), link=self.text(file.link, 300))
                for file in files
            ),
            more_files=omitted,
        )

    def _image(self, image: ImageSummary, many: float) -> ImageSummary:
        return msgspec.structs.replace(
            image,
            names=tuple(self.text(name, 300) for name in self.first(image.names, self._most(100, 3), "names")),
            media_type=self.text(image.media_type, 200),
            manifests=tuple(
                self._manifest(manifest, many)
                for manifest in self.first(image.manifests, max(1, int(64 * many)), "manifests")
            ),
            raw=self._document(image.raw),
        )

    def _attested(self, attested: AttestedSummary) -> AttestedSummary:
        """Return the attestation with only its first materials and packages; their full counts stay."""
        return msgspec.structs.replace(
            attested,
            platform=self.text(attested.platform, 200),
            provenance=self.text(attested.provenance, 20),
            facts=cast("dict[str, str]", self._json(attested.facts, self._most(500, 80))),
            materials=tuple(
                MaterialSummary(self.text(material.uri, 500), self.text(material.digest, 150))
                for material in attested.materials[: self._most(60, 3)]
            ),
            parameters=cast("dict[str, str]", self._json(attested.parameters, self._most(500, 80))),
            scanner=self.text(attested.scanner, 500),
            packages=tuple(
                SoftwareSummary(*(self.text(value, 200) for value in msgspec.structs.astuple(package)))
                for package in attested.packages[: self._most(100)]
            ),
        )

    def _document(self, raw: str) -> str:
        """Return a JSON text, or "" if there is no room for all of it."""
        if len(raw) <= self._most(32_000):
            return self.text(raw, len(raw))
        self._omitted["documents"] += 1
        return ""

    def _manifest(self, manifest: ManifestSummary, many: float) -> ManifestSummary:
        texts = self._most(2000, 80)
        return msgspec.structs.replace(
            manifest,
            media_type=self.text(manifest.media_type, 200),
            platform=self.text(manifest.platform, 200),
            config_digest=self.text(manifest.config_digest, 150),
            config_media_type=self.text(manifest.config_media_type, 200),
            config=self._config(manifest.config),
            layers=tuple(
                msgspec.structs.replace(
                    layer,
                    digest=self.text(layer.digest, 150),
                    media_type=self.text(layer.media_type, 200),
                    diff_id=self.text(layer.diff_id, 150),
                    created_by=self.text(layer.created_by, texts),
                )
                for layer in self.first(manifest.layers, max(1, int(200 * many)), "layers")
            ),
            history=tuple(
                msgspec.structs.replace(
                    entry,
                    created=self.text(entry.created, 60),
                    created_by=self.text(entry.created_by, texts),
                    comment=self.text(entry.comment, 200),
                )
                for entry in self.first(manifest.history, int(300 * many), "history")
            ),
            annotations=cast("dict[str, str]", self._json(manifest.annotations, self._most(4000, 80))),
            raw=self._document(manifest.raw),
            wasted=tuple(
                msgspec.structs.replace(wasted, path=self.text(wasted.path, 500))
                for wasted in self.first(manifest.wasted, self._most(20, 3), "wasted paths")
            ),
        )

    def _config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config; a large one goes without the parts that `history` and `layers` repeat."""
        if len(json.dumps(config)) > self._most(8000):
            config = {key: value for key, value in config.items() if key not in ("history", "rootfs")}
        return cast("dict[str, Any]", self._json(config, self._most(4000, 80)))

    def _json(self, value: object, limit: int, depth: int = 8) -> object:
        """Return a JSON value with texts of at most `limit` characters, and lists and objects of bounded length."""
        if isinstance(value, str):
            self._omitted["values"] += len(value) > limit
            return self.text(value, limit)
        if not isinstance(value, dict | list):
            return value
        if not depth:
            self._omitted["values"] += 1
            return "…"
        if isinstance(value, list):
            items = self.first(cast("list[object]", value), self._most(200, 3), "values")
            return [self._json(item, limit, depth - 1) for item in items]
        pairs = self.first(list(cast("dict[str, object]", value).items()), self._most(200, 3), "values")
        return {self.text(key, min(limit, 300)): self._json(item, limit, depth - 1) for key, item in pairs}
