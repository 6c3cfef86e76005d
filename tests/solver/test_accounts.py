"""/etc/passwd and /etc/group as BuildKit reads them; what they do to a build is in tests/conformance/cases/users.py."""

from __future__ import annotations

import pytest

from pybuild_magic.builders.embedded.accounts import MAX_BYTES, AccountError, Group, User, atoi, groups, users


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("+5", 5),
        ("-5", -5),
        ("007", 7),
        ("9" * 5000, (1 << 63) - 1),
        ("-" + "9" * 5000, -(1 << 63)),
        ("0" * 5000 + "1", 1),
        *((text, None) for text in ("", " 5", "1_0", "0x10", "5a", "²", "٣", "+-5", "+")),
    ],
    ids=lambda value: str(value)[:12],
)
def test_numbers_are_gos(text: str, value: int | None) -> None:
    assert atoi(text) == value


def test_a_newline_alone_ends_a_line() -> None:
    data = "a\x0cx:y:1:2\r\n \xa0b:y:3:4:g:/h\n#c:y:5:6\nalone\n\n".encode()
    assert list(users(data)) == [
        User("a\x0cx", 1, 2, ""),
        User("b", 3, 4, "/h"),
        User("#c", 5, 6, ""),
        User("alone", 0, 0, ""),
    ]
    assert list(groups(b"# c:y:5:6\n g:x:7: a ,b\r\nalone\n")) == [
        Group("g", 7, (" a ", "b")),
        Group("alone", 0, ("",)),
    ]


def test_a_line_may_be_as_long_as_go_reads() -> None:
    line = b"a:x:1:2:" + b"g" * (65_535 - 8)
    assert [user.uid for user in users(line + b"\nb:x:3:4\n")] == [1, 3]
    with pytest.raises(AccountError, match="token too long"):
        list(users(b"b:x:3:4\n" + line + b"g"))
    assert [group.gid for group in groups(b"a:x:1:" + b"m" * 100_000 + b"\nb:x:2:")] == [1, 2]


def test_no_more_than_ten_megabytes_are_looked_at() -> None:
    filler = b"f:x:9:9:" + b"h" * 1015 + b"\n"
    data = filler * (MAX_BYTES // len(filler) + 1) + b"far:x:5:6\n"
    assert "far" not in {user.name for user in users(data)}
