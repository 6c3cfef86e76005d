"""COPY, ADD and WORKDIR leave the layers, entry by entry, and the config that BuildKit leaves."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from tests.services.buildkit import Engine
from tests.solver.compare import Dir, Fifo, File, Hard, Link, Socket, Spec, both


def _archive(mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, kind, data, fields in [
            ("dir", tarfile.DIRTYPE, b"", {"mode": 0o750, "uid": 3}),
            ("dir/file", tarfile.REGTYPE, b"file", {"mode": 0o4755, "gid": 7, "mtime": 1_500_000_000}),
            ("deep/er/file", tarfile.REGTYPE, b"implied parents", {"mode": 0o600}),
            ("link", tarfile.SYMTYPE, b"", {"linkname": "dir/file"}),
            ("hard", tarfile.LNKTYPE, b"", {"linkname": "dir/file"}),
            ("fifo", tarfile.FIFOTYPE, b"", {}),
            ("null", tarfile.CHRTYPE, b"", {"devmajor": 1, "devminor": 3}),
            ("dir/file", tarfile.REGTYPE, b"again", {"mode": 0o640}),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), 1_400_000_000
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


TREE: Spec = {
    "a.txt": "a",
    "b.txt": File("b", 0o600),
    "run.sh": File("#!/bin/sh\n", 0o755),
    ".hidden": "h",
    "dir/one": "1",
    "dir/two": File("22", 0o4711),
    "dir/sub/three": "333",
    "dir/empty": Dir(0o700),
    "dir/.dot": ".",
    "other/one": "other one",
    "to-file": Link("a.txt"),
    "to-dir": Link("dir"),
    "dir/up": Link("../a.txt"),
    "broken": Link("nowhere"),
    "absolute": Link("/dir/one"),
}

WHOLE = {path: item for path, item in TREE.items() if path != "broken"}
"""BuildKit takes no dangling link beside a COPY with --exclude."""

CASES: dict[str, tuple[str, Spec]] = {
    "everything": ("FROM scratch\nCOPY . /", TREE),
    "everything to a new directory": ("FROM scratch\nCOPY . /new/deep/", TREE),
    "everything to a workdir": ("FROM scratch\nWORKDIR /w/x\nCOPY . .", TREE),
    "one file to a name": ("FROM scratch\nCOPY a.txt /x", TREE),
    "one file to a directory": ("FROM scratch\nCOPY a.txt /x/", TREE),
    "several files": ("FROM scratch\nCOPY a.txt b.txt run.sh /x/", TREE),
    "a directory's content": ("FROM scratch\nCOPY dir /x", TREE),
    "a directory's content, slash": ("FROM scratch\nCOPY dir/ /x/", TREE),
    "two directories": ("FROM scratch\nCOPY dir other /x/", TREE),
    "into an existing directory": ("FROM busybox\nCOPY dir /etc", TREE),
    "a file over a file": ("FROM busybox\nCOPY a.txt /etc/passwd", TREE),
    "twice the same": ("FROM scratch\nCOPY a.txt dir/one /x/\nCOPY . /x/", TREE),
    "the same again": ("FROM scratch\nCOPY dir /x/\nCOPY dir /x/", TREE),
    "glob": ("FROM scratch\nCOPY *.txt /x/", TREE),
    "glob of directories": ("FROM scratch\nCOPY d* /x/", TREE),
    "glob in a directory": ("FROM scratch\nCOPY dir/* /x/", TREE),
    "glob across directories": ("FROM scratch\nCOPY */one /x/", TREE),
    "glob with a class": ("FROM scratch\nCOPY [ab].txt /x/", TREE),
    "glob with a question mark": ("FROM scratch\nCOPY ?.txt /x/", TREE),
    "dotfiles": ("FROM scratch\nCOPY .hidden dir/.dot /x/", TREE),
    "a link as source": ("FROM scratch\nCOPY to-file /x/", TREE),
    "a link as source to a name": ("FROM scratch\nCOPY to-file /x", TREE),
    "a link to a directory as source": ("FROM scratch\nCOPY to-dir /x/", TREE),
    "through a link": ("FROM scratch\nCOPY to-dir/one /x/", TREE),
    "an absolute link as source": ("FROM scratch\nCOPY absolute /x/", TREE),
    "glob of links": ("FROM scratch\nCOPY to-* /x/", TREE),
    "owner by number": ("FROM scratch\nCOPY --chown=12:34 dir /x/", TREE),
    "owner by number, group too": ("FROM scratch\nCOPY --chown=12 dir /x/y/", TREE),
    "owner by name": ("FROM busybox\nCOPY --chown=daemon:mail dir /x/", TREE),
    "owner by name alone": ("FROM busybox\nCOPY --chown=www-data dir /x/", TREE),
    "owner that is unknown": ("FROM busybox\nCOPY --chown=nosuch:nogroup2 a.txt /x/", TREE),
    "owner from an earlier layer": (
        "FROM scratch\nCOPY passwd /etc/passwd\nCOPY --chown=me:us a.txt /x/",
        {**TREE, "passwd": "root:x:0:0::/:\nme:x:41:42::/:\n"},
    ),
    "mode": ("FROM scratch\nCOPY --chmod=640 dir /x/", TREE),
    "mode with special bits": ("FROM scratch\nCOPY --chmod=6755 dir /x/", TREE),
    "owner and mode of made parents": ("FROM scratch\nCOPY --chown=5:6 --chmod=700 a.txt /p/q/x", TREE),
    "heredoc": ("FROM scratch\nCOPY <<one <<two /x/\n1\none\n2\ntwo\n", {}),
    "heredoc to a name": ("FROM scratch\nCOPY --chmod=755 --chown=3:4 <<one /x/y\n1\none\n", {}),
    "over a link to a directory": (
        "FROM scratch\nCOPY l /\nCOPY dir /to/",
        {**TREE, "l/to": Link("real"), "l/real": Dir()},
    ),
    "into a linked directory": (
        "FROM scratch\nCOPY l /\nCOPY a.txt /to/",
        {**TREE, "l/to": Link("/real"), "l/real/x": ""},
    ),
    "into a link that is missing its end": (
        "FROM scratch\nCOPY l /\nCOPY a.txt /to/x/",
        {**TREE, "l/to": Link("gone")},
    ),
    "a file over a link": ("FROM scratch\nCOPY l /\nCOPY a.txt /to", {**TREE, "l/to": Link("real"), "l/real": "r"}),
    "a tree over a link to a file": (
        "FROM scratch\nCOPY one /\nCOPY two /",
        {"one/x": Link("y"), "one/y": "y", "two/x": "x"},
    ),
    "link with --link": ("FROM busybox\nCOPY --link dir /etc/", TREE),
    "--link onto a link": (
        "FROM scratch\nCOPY l /\nCOPY --link a.txt /to/",
        {**TREE, "l/to": Link("real"), "l/real": Dir()},
    ),
    "--link with names": ("FROM busybox\nCOPY --link --chown=5:6 --chmod=711 dir /x/", TREE),
    "exclude": ("FROM scratch\nCOPY --exclude=*.txt --exclude=dir/sub . /x/", WHOLE),
    "exclude with exception": ("FROM scratch\nCOPY --exclude=dir --exclude=!dir/one . /x/", WHOLE),
    "hard links": (
        "FROM scratch\nCOPY h /x/",
        {"h/b": "same", "h/a": Hard("h/b"), "h/sub/c": Hard("h/b"), "h/other": "same"},
    ),
    "a fifo": ("FROM scratch\nCOPY s /x/", {"s/fifo": Fifo(), "s/file": "f"}),
    "a socket": ("FROM scratch\nCOPY s /x/", {"s/sock": Socket(), "s/file": "f"}),
    "ignored files": (
        "FROM scratch\nCOPY . /x/",
        {**TREE, ".dockerignore": "*.txt\n!b.txt\ndir/sub\n**/one\n# no\n"},
    ),
    "ignored all but": ("FROM scratch\nCOPY . /x/", {**TREE, ".dockerignore": "*\n!dir/sub\n"}),
    "strange names": (
        "FROM scratch\nCOPY . /x/",
        {
            "ä ö": "umlaut",
            "a b/c\td": "tab",
            "back\\slash": "b",
            "n" * 150: "long",
            f"{'d' * 90}/{'e' * 90}": "deep",
            "q'\"": "q",
        },
    ),
    "order of names": (
        "FROM scratch\nCOPY . /",
        {"a/b": "", "a.b": "", "a-b/c": "", "a0": "", "B": "", "é": "", "\U0001f600": "", "\uffee": ""},
    ),
    "archive": ("FROM scratch\nADD x.tar /u/", {"x.tar": _archive()}),
    "archive compressed": (
        "FROM scratch\nADD x.tgz x.tar.bz2 /u/",
        {"x.tgz": gzip.compress(_archive()), "x.tar.bz2": _archive("w:bz2")},
    ),
    "archive with owner": ("FROM scratch\nADD --chown=8:9 x.tar /u/v/", {"x.tar": _archive()}),
    "archive over what is there": (
        "FROM scratch\nCOPY d /u/\nADD x.tar /u/",
        {"x.tar": _archive(), "d/dir": "a file", "d/deep/er/old": "old", "d/link/x": ""},
    ),
    "not an archive": ("FROM scratch\nADD x.tar.gz y.tar /u/", {"x.tar.gz": gzip.compress(b"text"), "y.tar": "text"}),
    "ADD of a directory": ("FROM scratch\nADD dir /x/", TREE),
    "workdir": ("FROM scratch\nWORKDIR /a/b\nWORKDIR c\nWORKDIR /a", {}),
    "workdir over a link": ("FROM scratch\nCOPY l /\nWORKDIR /to/new", {"l/to": Link("real"), "l/real": Dir()}),
    "from a stage": (
        "FROM scratch AS a\nCOPY . /s/\nFROM scratch\nCOPY --from=a /s/dir /x/\nCOPY --from=a /s/*.txt /y/",
        TREE,
    ),
    "from a stage, root": ("FROM scratch AS a\nCOPY dir /\nFROM scratch\nCOPY --from=a / /\nCOPY --from=a / /x/", TREE),
    "from a stage, hard links": (
        "FROM scratch AS a\nCOPY h /h/\nFROM scratch\nCOPY --from=a /h /x/",
        {"h/b": "same", "h/a": Hard("h/b"), "h/empty": "", "h/empty2": Hard("h/empty"), "h/zero": ""},
    ),
    "from an image": ("FROM scratch\nCOPY --from=busybox /etc /x/\nCOPY --from=busybox /bin/busybox /bin/sh /b/", {}),
    "over deleted files": (
        "FROM busybox\nRUN rm -r /home && mkdir /var/new\nCOPY dir /home/\nCOPY a.txt /var/",
        TREE,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_layers_are_those_of_buildkit(
    name: str, builder: EmbeddedBuilder, engine: Engine, engine_busybox: str, tmp_path: Path
) -> None:
    dockerfile, spec = CASES[name]
    ours, theirs = both(builder, engine, dockerfile, spec, tmp_path)
    assert ours.layers == theirs.layers
    assert ours.config == theirs.config
    assert ours.digest == theirs.digest
