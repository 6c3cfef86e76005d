"""What steps leave is removed beside the next ones, whoever waits for it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pybuild_magic.builders.embedded.sandbox.leftovers import Leftovers


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "pybuild-leftovers"}


def test_a_build_goes_on_while_another_waits_for_its_end() -> None:
    others = threads()  # of other tests
    begun, go, removed = threading.Event(), threading.Event(), list[Path]()

    def remove(path: Path) -> None:
        begun.set()
        assert go.wait(60)
        removed.append(path)

    leftovers = Leftovers(remove)
    leftovers.add(Path("a"))
    leftovers.close([os.open("/", os.O_RDONLY)])
    first = threading.Thread(target=leftovers.wait)
    first.start()
    assert begun.wait(60)
    leftovers.add(Path("b"))
    leftovers.start()  # does not wait for the first
    go.set()
    leftovers.wait()
    first.join()
    assert sorted(removed) == [Path("a"), Path("b")] and threads() <= others


def test_a_forked_process_removes_its_own(tmp_path: Path) -> None:
    leftovers = Leftovers(Path.rmdir)
    (tmp_path / "before").mkdir()
    leftovers.add(tmp_path / "before")
    leftovers.start()  # so that there is a thread, which the child lacks
    (tmp_path / "after").mkdir()
    child = os.fork()
    if child == 0:
        try:
            leftovers.add(tmp_path / "after")
            leftovers.wait()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0 and not (tmp_path / "after").exists()
    leftovers.wait()
    assert not (tmp_path / "before").exists()
