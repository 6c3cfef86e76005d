"""Receipt of results from a daemon (`moby.filesync.v1.FileSend`): an archive into a file, a tree into a directory."""

from __future__ import annotations

import contextlib
import os
import stat as st
import threading
from collections import deque
from collections.abc import Iterator, Mapping

from ....cancel import Cancel
from ....errors import ExportError
from ....exporters.directory import DirectoryWriter, keep_only
from ....exporters.files import Item
from ....exporters.local import destination
from ....golang.filemode import unix_mode
from ....net.grpc.rpc import NOT_FOUND, UNKNOWN, GrpcError
from ....net.grpc.stream import Call, CallCancelled, prefixed
from ....session import DirSink, FileSink, Sink
from ....session.files import CAPABILITY
from ....store import Entry
from ....store.entry import BLOCK, CHAR, DIR, FIFO, FILE, SYMLINK
from ...proto.session_pb2 import Packet, Stat
from .fsutil import bytes_of

_EXPORTER_ID = "buildkit-attachable-exporter-id"
_AHEAD = 8 << 20
"""The most bytes of contents requested ahead of their turn, which bounds the memory for reordering."""
_FILES_AHEAD = 128
_MAX_ENTRIES = 20_000_000
_MAX_PATH = 1 << 16
_KINDS = {
    st.S_IFREG: FILE,
    st.S_IFDIR: DIR,
    st.S_IFLNK: SYMLINK,
    st.S_IFCHR: CHAR,
    st.S_IFBLK: BLOCK,
    st.S_IFIFO: FIFO,
}


class FileSend:
    """Serves `DiffCopy` for the sinks of a session. `entries` has the entries written to directories, by exporter."""

    def __init__(self, sinks: Mapping[str, Sink], cancel: Cancel, modes: Mapping[str, str] | None = None) -> None:
        """Prepare the service. `modes` has `delete` for exporters that remove other files from their directory."""
        self._sinks = sinks
        self._cancel = cancel
        self._modes = dict(modes or {})
        self.entries: dict[str, list[Entry]] = {}
        self.complete: set[str] = set()
        """The exporters whose results have arrived."""
        self._locks = {name: threading.Lock() for name in sinks}

    def diff_copy(self, call: Call) -> None:
        """Receive the result of one exporter. Its file or directory appears once complete, or stays as it was."""
        name = (call.metadata.get(_EXPORTER_ID) or [next(iter(self._sinks), "")])[0]
        sink = self._sinks.get(name)
        if sink is None:
            raise GrpcError(NOT_FOUND, f"exporter {name!r} not found")
        if isinstance(sink, FileSink):
            with sink.open() as file:
                while messages := call.receive_all():
                    for message in messages:
                        file.write(bytes_of(message))
                # An interrupted daemon ends its stream in the same way as one that is done.
                self._cancel.check()
            self.complete.add(name)
            return
        # Older daemons send the files of each platform separately and at the same time.
        with self._locks[name]:
            self._take_tree(call, name, sink)

    def finish(self) -> None:
        """Remove extra files from directories with `mode=delete`, once all platforms have arrived. Raises
        ExportError.
        """
        for name, mode in self._modes.items():
            sink = self._sinks.get(name)
            if mode == "delete" and isinstance(sink, DirSink) and name in self.complete:
                keep_only(sink.path.absolute(), self.entries[name])

    def _take_tree(self, call: Call, name: str, sink: DirSink) -> None:
        receiver = _Receiver(call)
        with destination(sink) as directory:
            writer = DirectoryWriter(directory, receiver.content, self._cancel)
            try:
                writer.write(receiver.items())
            except ExportError as error:
                receiver.fail(error.message)
                raise
            receiver.finish()
        self.entries.setdefault(name, []).extend(receiver.entries)
        self.complete.add(name)


class _Receiver:
    """The receiver of one tree: entries come in the daemon's order, contents as they are requested.

    A single thread reads packets and writes files. Contents are requested ahead of their turn, up to `_AHEAD` bytes, so
    that a large file is streamed to disk and small files do not wait for each other.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self.entries: list[Entry] = []
        self._messages: deque[bytes] = deque()
        """Messages that were received but not yet processed."""
        self._items: deque[tuple[int, Item]] = deque()
        """Items that were described but not yet taken by the writer."""
        self._wanted: deque[tuple[int, int]] = deque()
        """(number, size) of files that were not requested yet."""
        self._asked: dict[int, int] = {}
        """Sizes of files that were requested and are not yet complete or not yet taken."""
        self._parts: dict[int, list[bytes]] = {}
        self._arrived: dict[int, int] = {}
        self._complete: set[int] = set()
        self._asked_bytes = 0
        self._described = False
        self._seen = 0
        self._current = -1
        self._regular: set[str] = set()

    def items(self) -> Iterator[Item]:
        """Yield the entries, each after all its parent directories."""
        while True:
            while not self._items and not self._described:
                self._take()
            if not self._items:
                return
            self._current, item = self._items.popleft()
            yield item

    def content(self, item: Item, fd: int) -> None:
        """Yield the content of the item that `items` yielded last."""
        number, size = self._current, item.entry.size
        self._ask(number)
        done = 0
        while True:
            for part in self._parts.pop(number, ()):
                done += len(part)
                view = memoryview(part)
                while view:
                    view = view[os.write(fd, view) :]
            if number in self._complete:
                break
            self._take()
        if done != size:
            raise ExportError(
                f"{_shown(item.entry.path)} arrived with {done} bytes instead of the {size} announced by the daemon."
            )
        self._complete.discard(number)
        self._asked_bytes -= self._asked.pop(number)
        self._arrived.pop(number, None)
        self._ask()

    def finish(self) -> None:
        """Tell the daemon that everything is written, and wait for its answer; it may end the session without one."""
        self._send(Packet(type=Packet.PACKET_FIN))
        with contextlib.suppress(CallCancelled):
            while messages := [*self._messages] or self._call.receive_all():
                self._messages.clear()
                if any(Packet.FromString(message).type == Packet.PACKET_FIN for message in messages):
                    return

    def fail(self, message: str) -> None:
        """Tell the daemon why the transfer is aborted."""
        with contextlib.suppress(CallCancelled):
            self._send(Packet(type=Packet.PACKET_ERR, data=message.encode()))

    def _send(self, *packets: Packet) -> None:
        self._call.send([part for packet in packets for part in prefixed(packet.SerializeToString())])

    def _ask(self, must: int = -1) -> None:
        """Request the next contents as far as there is room; those of the file `must` in any case.

        Nothing is requested until half of the earlier contents have arrived, so that small files are requested in
        batches.
        """
        if must in self._asked or (
            must < 0 and (len(self._asked) > _FILES_AHEAD // 2 or self._asked_bytes > _AHEAD // 2)
        ):
            return
        packets: list[Packet] = []
        while self._wanted:
            number, size = self._wanted[0]
            room = not self._asked or (self._asked_bytes + size <= _AHEAD and len(self._asked) < _FILES_AHEAD)
            if not room and number != must:
                break
            self._wanted.popleft()
            self._asked[number] = size
            self._asked_bytes += size
            packets.append(Packet(type=Packet.PACKET_REQ, ID=number))
        if packets:
            self._send(*packets)

    def _take(self) -> None:
        if not self._messages:
            self._messages.extend(self._call.receive_all())
            if not self._messages:
                raise CallCancelled
        packet = Packet.FromString(self._messages.popleft())
        if packet.type == Packet.PACKET_STAT:
            self._take_stat(packet)
        elif packet.type == Packet.PACKET_DATA:
            self._take_data(packet.ID, packet.data)
        elif packet.type == Packet.PACKET_ERR:
            raise GrpcError(UNKNOWN, packet.data.decode("utf-8", "replace"))
        elif packet.type == Packet.PACKET_FIN:
            raise ExportError("The daemon ended the export early.")

    def _take_data(self, number: int, data: bytes) -> None:
        if number not in self._asked or number in self._complete:
            raise ExportError("The daemon sent a file that was not requested.")
        if not data:
            self._complete.add(number)
            return
        received = self._arrived[number] = self._arrived.get(number, 0) + len(data)
        if received > self._asked[number]:
            raise ExportError("The daemon sent more of a file than it had announced.")
        self._parts.setdefault(number, []).append(data)

    def _take_stat(self, packet: Packet) -> None:
        if not packet.HasField("stat"):
            self._described = True
            return
        number, self._seen = self._seen, self._seen + 1
        stat = packet.stat
        if number >= _MAX_ENTRIES or len(stat.path) > _MAX_PATH:
            raise ExportError("The daemon announced more files, or longer paths, than an export may have.")
        entry = _entry(stat)
        hardlink = stat.linkname if entry.type == FILE else ""
        if hardlink and hardlink not in self._regular:
            raise ExportError(f"{_shown(entry.path)} is announced as a hard link to a file that does not exist.")
        if entry.type == FILE:
            self._regular.add(entry.path)
            if not hardlink:
                self._wanted.append((number, entry.size))
                if not self._asked:
                    self._ask()
        self.entries.append(entry)
        self._items.append((number, Item(entry, hardlink=hardlink)))


def _entry(stat: Stat) -> Entry:
    """Return the entry of a STAT. Files belong to the user who writes them, whatever owner the daemon names."""
    try:
        mode = unix_mode(stat.mode)
    except ValueError as error:
        raise ExportError(f"{_shown(stat.path)}: {error}.") from None
    kind = _KINDS.get(st.S_IFMT(mode))
    if kind is None:
        raise ExportError(f"{_shown(stat.path)} is a socket, which cannot be exported.")
    if stat.size < 0:
        raise ExportError(f"{_shown(stat.path)} is announced with {stat.size} bytes.")
    return Entry(
        stat.path.strip("/"),
        kind,
        st.S_IMODE(mode),
        stat.uid,
        stat.gid,
        stat.modTime,
        stat.size if kind == FILE else 0,
        link=stat.linkname if kind == SYMLINK else "",
        devmajor=stat.devmajor,
        devminor=stat.devminor,
        xattrs={
            name: bytes(value) for name, value in stat.xattrs.items() if name == CAPABILITY or name.startswith("user.")
        },
    )


def _shown(path: str) -> str:
    return path.encode("utf-8", "replace").decode()
