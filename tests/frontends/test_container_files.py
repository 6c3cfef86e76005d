"""Files of a container's mounts, as a front end reads them by BuildKit's ReadFileContainer and its like."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.lab import Home
from tests.services.buildkit import Engine

from .conftest import Front
from .test_frontends import BASE, context_of

pytestmark = pytest.mark.xdist_group("frontends")

MADE = (
    "run mkdir /d && echo hello > /d/f && chmod 750 /d && chown 5:6 /d/f && ln -s d/f /near && ln -s /d/f /far && "
    "ln -s ../../d/f /d/up && ln -s loop /loop && ln -s d /via && mkfifo /pipe && mknod /null c 1 3 && "
    "dd if=/dev/zero of=/large bs=1M count=17\n"
)
FILE, DIRECTORY, LINK = oct(0o644), oct(0o750 | 1 << 31), oct(0o777 | 1 << 27)
PEEKS = {
    "file 0 /d/f": "b'hello\\n'",
    "file 2 /d/f": "b'hello\\n'",
    "file 0 /../d/./f": "b'hello\\n'",
    "file 0 /near": "b'hello\\n'",
    "file 0 /via/f 1 3": "b'ell'",
    "file 0 /d/f 4611686018427387904 3": "b''",
    "file 0 /d/f -1 3": "/d/f cannot be read from -1 on",
    "file 0 /large": "/large has 17825792 bytes, more than a message holds",
    "file 0 /large 17825790 99999999999": r"b'\x00\x00'",
    "file 0 /far": "open /far: path escapes from parent",
    "file 0 /d/up": '"/d/up" leads above its root.',
    "file 0 /loop": '"/loop" leads through too many symbolic links.',
    "file 0 /pipe": "/pipe is not a regular file",
    "file 0 /null": "/null is not a regular file",
    "file 0 /d": "/d is not a regular file",
    "file 0 d/f": "can't make d/f relative to /",
    "file 0 /nothing": "open /nothing: no such file or directory",
    "file 1 /d/f": "open /d/f: no such file or directory",
    "file 3 /d/f": "open /d/f: no such file or directory",
    "file 4 /d/f": "mount index 4 is out of bounds (4 available)",
    "file -1 /d/f": "mount index -1 is out of bounds (4 available)",
    "file none /d/f": "container details for nothing@0 not found",
    "dir 0 /d f": f"f {FILE} 0o0 0o0 0o6 ",
    "dir 0 /near": "/near is not a directory",
    "dir 1 /": "",
    "stat 0 /d": f"d {DIRECTORY} 0o0 0o0 0o0 ",
    "stat 0 /near": f"near {FILE} 0o0 0o0 0o6 ",
    "stat 0 /nothing/x": "stat /nothing/x: no such file or directory",
}
"""What a front end asks for, and what it is told: names, modes and sizes, but no owners, as by BuildKit."""


def told(path: Path) -> dict[str, str]:
    lines = [line.partition(": ") for line in (path / "told").read_text().split("\n") if ": " in line]
    return {asked: text for asked, _, text in lines}


def test_the_files_of_a_container_s_mounts_are_read(front: Front, home: Home, tmp_path: Path) -> None:
    peeks = "".join(f"peek {words}\n" for words in [*PEEKS, "stat 0 /far", "stat 0 /d/up"])
    home.build(f"# syntax={front.ref}\n{BASE}{MADE}open\n{peeks}close\n", outputs=[str(tmp_path)])
    found = told(tmp_path)
    # Of a link that leads to where another mount may be, the link itself is told.
    for path, name, target in (("/far", "far", "/d/f"), ("/d/up", "up", "../../d/f")):
        link = found.pop(f"stat 0 {path}").split(" ")
        assert (link[0], link[1], link[-1]) == (name, LINK, target)
    assert found == PEEKS


def test_what_a_process_may_have_changed_cannot_be_read(front: Front, home: Home, tmp_path: Path) -> None:
    """BuildKit has a directory of each mount, which it reads; here they go with the sandbox."""
    peeks = "peek file 0 /d/f\npeek file 1 /x\npeek file 2 /d/f\n"
    text = f"# syntax={front.ref}\n{BASE}{MADE}open\nprocess echo x > /scratch/x\n{peeks}close\n"
    home.build(text, outputs=[str(tmp_path)])
    late = "of a container cannot be read once a process may have changed it"
    assert told(tmp_path) == {
        "file 0 /d/f": f"/ {late}",
        "file 1 /x": f"/scratch {late}",
        "file 2 /d/f": "b'hello\\n'",
    }


def test_the_buildkit_of_the_tests_does_not_have_it_yet(
    front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    context = context_of(tmp_path)
    text = f"# syntax={front.ref}\n{BASE}{MADE}open\npeek file 0 /d/f\npeek dir 0 /d\npeek stat 0 /d\nclose\n"
    (tmp_path / "Dockerfile").write_text(text)
    out = tmp_path / "out"
    engine.buildx_build(context, f"--file={tmp_path / 'Dockerfile'}", f"--output=type=local,dest={out}")
    assert told(out) == {
        words: f"unknown method {method} for service moby.buildkit.v1.frontend.LLBBridge"
        for words, method in (
            ("file 0 /d/f", "ReadFileContainer"),
            ("dir 0 /d", "ReadDirContainer"),
            ("stat 0 /d", "StatFileContainer"),
        )
    }
