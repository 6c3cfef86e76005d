"""Local directories offered to a daemon (`moby.filesync.v1.FileSync`), which requests only changed files."""

from __future__ import annotations

import contextlib
import os
import queue
import stat as st
import threading
from collections.abc import Mapping
from typing import BinaryIO

from ....errors import BuildError, ContextError
from ....golang.filemode import go_mode
from ....net.grpc.rpc import NOT_FOUND, UNKNOWN, GrpcError
from ....net.grpc.stream import Call, CallCancelled, prefixed
from ....net.wire import Buffer
from ....session import FileStat, Filter, LocalDir
from ...proto.session_pb2 import Packet, Stat
from .fsutil import ERR, FIN, REQ, data_packet, options

_BLOCK = 1 << 20
"""Bytes of a file in each message."""
_BATCH = 1 << 18
"""Bytes of messages that are sent together."""
_BATCHES = 8
"""The most batches that are read but not yet sent."""
_STATS = 512
"""The number of descriptions after which requests are handled, so that contents flow during the walk."""


class FileSync:
    """Serves `DiffCopy` for the directories of a session."""

    def __init__(self, directories: Mapping[str, LocalDir]) -> None:
        self._directories = directories

    def diff_copy(self, call: Call) -> None:
        """Describe the wanted files of a directory, and send the requested ones."""
        name = (options(call.metadata, "dir-name") or [""])[0]
        directory = self._directories.get(name)
        if directory is None:
            raise GrpcError(NOT_FOUND, f"no access allowed to dir {name!r}")
        selection = Filter(
            include=tuple(options(call.metadata, "include-patterns")),
            exclude=tuple(options(call.metadata, "exclude-patterns")),
            follow=tuple(options(call.metadata, "followpaths")),
        )
        _Sender(directory, call).run(selection)


class _Sender:
    """One transfer. One thread walks and reads, another sends what was read, so that neither waits for the other."""

    def __init__(self, directory: LocalDir, call: Call) -> None:
        self._directory = directory
        self._call = call
        self._files: dict[int, FileStat] = {}
        """The files that may still be requested, by number."""
        self._out: list[Buffer] = []
        self._size = 0
        self._batches: queue.Queue[list[Buffer] | None] = queue.Queue(_BATCHES)
        self._lost = False

    def run(self, selection: Filter) -> None:
        """Run the whole transfer. Raises BuildError, OSError, GrpcError and CallCancelled."""
        thread = threading.Thread(target=self._send, name="pybuild-filesync", daemon=True)
        thread.start()
        try:
            self._transfer(selection)
        finally:
            self._batches.put(None)
            thread.join()
        if self._lost:
            raise CallCancelled

    def _send(self) -> None:
        while (batch := self._batches.get()) is not None:
            if not self._lost:
                try:
                    self._call.send(batch)
                except CallCancelled:
                    self._lost = True

    def _transfer(self, selection: Filter) -> None:
        try:
            self._walk(selection)
        except BuildError as error:
            self._fail(error.message)
            raise
        except OSError as error:
            self._fail(f"{error.filename or 'the directory'}: {error.strerror}")
            raise
        while not self._answer():
            pass

    def _walk(self, selection: Filter) -> None:
        for number, entry in enumerate(self._directory.walk(selection)):
            if st.S_ISREG(entry.mode):
                self._files[number] = entry
            self._put(prefixed(Packet(stat=self._describe(entry)).SerializeToString()))
            if number % _STATS == _STATS - 1:
                while self._call.waiting():
                    self._answer()
        self._put(prefixed(Packet(type=Packet.PACKET_STAT).SerializeToString()))
        self._flush()

    def _describe(self, entry: FileStat) -> Stat:
        stat = Stat(
            path=_text(entry.path),
            mode=go_mode(entry.mode),
            uid=entry.uid,
            gid=entry.gid,
            size=entry.size,
            modTime=entry.mtime_ns,
        )
        # An unreadable file fails the build only when the daemon requests it.
        with contextlib.suppress(ContextError):
            for name, value in self._directory.xattrs(entry.path).items():
                stat.xattrs[_text(name)] = value
        if entry.link:
            stat.linkname = _text(entry.link)
        if entry.devmajor or entry.devminor:
            stat.devmajor, stat.devminor = entry.devmajor, entry.devminor
        return stat

    def _answer(self) -> bool:
        """Handle the packets that have arrived, at least one; return whether the transfer is complete."""
        while True:
            if not self._call.waiting():
                self._flush()
            message = self._call.receive()
            if message is None:
                raise CallCancelled
            packet = Packet.FromString(message)
            if packet.type == REQ:
                self._send_file(packet.ID)
            elif packet.type == FIN:
                self._put(prefixed(Packet(type=Packet.PACKET_FIN).SerializeToString()))
                self._flush()
                return True
            elif packet.type == ERR:
                reason = packet.data.decode("utf-8", "replace")
                raise GrpcError(UNKNOWN, f"the daemon could not take the files: {reason}")
            if not self._call.waiting():
                self._flush()
                return False

    def _send_file(self, number: int) -> None:
        entry = self._files.pop(number, None)
        if entry is None:
            raise GrpcError(UNKNOWN, f"invalid file id {number}")
        if entry.size:
            self._send_content(number, entry)
        # A file without content may be a socket, which cannot be opened at all.
        self._put(data_packet(number, b""))

    def _send_content(self, number: int, entry: FileStat) -> None:
        fd = self._directory.descriptor(entry.path)
        if fd is not None:
            try:
                # Reading one byte more than the file had during the walk also detects its end.
                block_size = min(entry.size + 1, _BLOCK)
                while block := os.read(fd, block_size):
                    self._put(data_packet(number, block))
                    if len(block) < block_size:
                        break
                    block_size = _BLOCK
            finally:
                os.close(fd)
        else:
            with self._directory.open(entry.path) as file:
                self._send_stream(number, file)

    def _send_stream(self, number: int, file: BinaryIO) -> None:
        while block := file.read(_BLOCK):
            self._put(data_packet(number, block))

    def _put(self, buffers: list[Buffer]) -> None:
        self._out += buffers
        for buffer in buffers:
            self._size += len(buffer)
        if self._size >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._out:
            out, self._out, self._size = self._out, [], 0
            if self._lost:
                raise CallCancelled
            self._batches.put(out)

    def _fail(self, message: str) -> None:
        self._put(prefixed(Packet(type=Packet.PACKET_ERR, data=message.encode()).SerializeToString()))
        self._flush()


def _text(path: str) -> str:
    """Return a path in a form that protobuf's `string` can carry. Raises BuildError for a path that is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise BuildError(
            f"The name {path!r} in the context is not UTF-8, which BuildKit's protocol requires.",
            hint="Rename it, or exclude it in .dockerignore.",
        ) from None
    return path
