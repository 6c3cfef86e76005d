"""The stream that archives are written through: the same bytes whatever takes them."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import Interrupted
from pybuild_magic.exporters.output import OutputWriter

BIG = os.urandom(300_000)


def write(target: BinaryIO | socket.socket, source: Path, seen: list[int]) -> int:
    output = OutputWriter(target, Cancel(), seen.append)
    with source.open("rb") as file:
        for _ in range(3):
            output.write(b"head")
            output.copy(file.fileno(), 10, len(BIG) - 10)
            output.copy(file.fileno(), 5, 100)
    output.close()
    return output.written


EXPECTED = (b"head" + BIG[10:] + BIG[5:105]) * 3


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(BIG)
    return path


def into_file(source: Path, seen: list[int]) -> bytes:
    path = source.with_name("target")
    with path.open("w+b") as file:
        write(file, source, seen)
        assert file.tell() == len(EXPECTED)
    return path.read_bytes()


def into_appending_file(source: Path, seen: list[int]) -> bytes:
    path = source.with_name("target")
    path.write_bytes(b"")
    with path.open("ab") as file:
        write(file, source, seen)
    return path.read_bytes()


def into_memory(source: Path, seen: list[int]) -> bytes:
    buffer = io.BytesIO()
    write(buffer, source, seen)
    return buffer.getvalue()


def into_pipe(source: Path, seen: list[int]) -> bytes:
    read, write_end = os.pipe()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(os.fdopen(read, "rb").read()))
    reader.start()
    with os.fdopen(write_end, "wb") as file:
        write(file, source, seen)
    reader.join()
    return got[0]


def into_socket(source: Path, seen: list[int]) -> bytes:
    one, other = socket.socketpair()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(other.makefile("rb").read()))
    reader.start()
    write(one, source, seen)
    one.close()
    reader.join()
    other.close()
    return got[0]


@pytest.mark.parametrize("way", [into_file, into_appending_file, into_memory, into_pipe, into_socket])
def test_the_bytes_are_the_same_whatever_takes_them(way: Callable[[Path, list[int]], bytes], source: Path) -> None:
    seen: list[int] = []
    assert way(source, seen) == EXPECTED
    assert seen[-1] == len(EXPECTED)
    assert seen == sorted(seen)


def test_a_file_that_is_shorter_than_said_is_an_error(source: Path, tmp_path: Path) -> None:
    for size in (len(BIG) + 1, 200_000_000):
        with (
            (tmp_path / "target").open("wb") as file,
            source.open("rb") as data,
            pytest.raises(OSError, match="shorter"),
        ):
            OutputWriter(file, Cancel()).copy(data.fileno(), 0, size)


def test_a_cancel_stops_it(source: Path) -> None:
    cancel = Cancel()
    cancel.cancel()
    with source.open("rb") as data, pytest.raises(Interrupted):
        OutputWriter(io.BytesIO(), cancel).copy(data.fileno(), 0, len(BIG))
