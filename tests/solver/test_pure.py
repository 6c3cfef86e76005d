"""Modes, wildcards and progress: the small rules that copies and displays stand on."""

from __future__ import annotations

import threading

import pytest

from pybuild_magic.builders.embedded.files.mode import parse_mode
from pybuild_magic.builders.embedded.files.upper import FileOpError
from pybuild_magic.golang.match import has_wildcards, match
from pybuild_magic.status.messages import SolveStatus, VertexStatus
from pybuild_magic.status.report import Reporter


@pytest.mark.parametrize(
    ("text", "before", "directory", "after"),
    [
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("go=", 0o777, False, 0o700),
        ("go-rwx", 0o755, True, 0o700),
        ("u=rw,go=r", 0o777, False, 0o644),
        ("a=rX", 0o700, False, 0o555),
        ("a=rX", 0o600, False, 0o444),
        ("a=rX", 0o600, True, 0o555),
        ("u+s,g+s", 0o755, False, 0o6755),
        ("+t", 0o755, True, 0o1755),
        ("u-s", 0o4755, False, 0o755),
        ("g=u", 0o750, False, 0o770),
        ("o+g", 0o750, False, 0o755),
        ("u+x-w", 0o644, False, 0o544),
        ("u=rwx,g=rx,o=", 0o644, False, 0o750),
    ],
)
def test_symbolic_modes_are_those_of_chmod(text: str, before: int, directory: bool, after: int) -> None:
    assert parse_mode(text)(before, directory) == after


@pytest.mark.parametrize("text", ["", "x", "u+q", "z+x", "u", "u+x,", "+x+"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    if text == "+x+":  # an empty permission list changes nothing
        assert parse_mode(text)(0o644, False) == 0o755
        return
    with pytest.raises(FileOpError, match="invalid mode"):
        parse_mode(text)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "abc", True),
        ("*", "a/c", False),
        ("a*/b", "abc/b", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("[]a]", "]", False),
        ("[-]", "-", False),
        ("[x-]", "x", False),
        ("[", "[", False),
        ("a[", "a", False),
        ("[\\]a]", "]", True),
        ("[é-ü]", "ö", True),
        ("a.c", "abc", False),
        ("", "", True),
        ("\\", "\\", False),
    ],
)
def test_wildcards_match_as_in_go(pattern: str, name: str, matches: bool) -> None:
    assert match(pattern, name) is matches


def test_escaped_wildcards_are_none() -> None:
    assert [has_wildcards(text) for text in ("a*", "a\\*", "a\\\\*", "[a", "a?", "plain", "\\")] == [
        *(True, False, True, True, True, False, False),
    ]


def test_counters_are_few_messages_and_the_last_one_is_right() -> None:
    messages: list[SolveStatus] = []
    with Reporter(messages.append).vertex("sha256:1", "v") as vertex, vertex.step("bytes") as step:
        for count in range(100_000):
            step.update(count, 100_000)
    statuses: list[VertexStatus] = [status for message in messages for status in message.statuses]
    assert len(statuses) < 50
    assert (statuses[-1].current, statuses[-1].completed is not None) == (99_999, True)


def test_messages_of_many_threads_come_one_at_a_time() -> None:
    inside = threading.Lock()
    count = 0

    def sink(_: SolveStatus) -> None:
        nonlocal count
        assert inside.acquire(blocking=False)
        count += 1
        inside.release()

    vertex = Reporter(sink).vertex("sha256:1", "v")
    threads = [threading.Thread(target=lambda: [vertex.log(b"x") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == 4000
