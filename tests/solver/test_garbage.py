"""The collector of cyclic garbage waits while an object is made for each of many files, and works again afterwards."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.builders.embedded.files.copying import Copier
from pybuild_magic.garbage import uncollected
from pybuild_magic.session import MemorySource

from .compare import solve


@pytest.fixture(autouse=True)
def _enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


@uncollected
def _look() -> bool:
    return gc.isenabled()


@uncollected
def _fail() -> None:
    raise ValueError


def test_it_is_off_during_the_function_and_on_after_it() -> None:
    assert not _look() and gc.isenabled()
    with pytest.raises(ValueError):
        _fail()
    assert gc.isenabled()


def test_who_has_turned_it_off_finds_it_off() -> None:
    gc.disable()
    _look()
    assert not gc.isenabled()


def test_it_comes_on_after_the_last_of_several_threads() -> None:
    begun, end = threading.Barrier(2), threading.Event()

    @uncollected
    def wait() -> None:
        begun.wait(10)
        end.wait(10)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait(10)
    _look()
    assert not gc.isenabled()
    end.set()
    thread.join()
    assert gc.isenabled()


def test_a_copy_of_many_files_is_made_without_it(builder: EmbeddedBuilder) -> None:
    seen: list[str] = []

    def see(phase: str, _: dict[str, int]) -> None:
        frame = sys._getframe(1)
        while phase == "start" and frame is not None:
            seen.append(frame.f_code.co_qualname)
            frame = frame.f_back

    gc.callbacks.append(see)
    try:
        solve(builder, "FROM scratch\nCOPY . /\n", MemorySource({f"d{n % 10}/{n}": "x" for n in range(3000)}))
    finally:
        gc.callbacks.remove(see)
    assert gc.isenabled()
    assert seen and Copier._file.__qualname__ not in seen
