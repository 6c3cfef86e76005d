"""What ends in an image does not depend on the process that builds it: umask, directory, locale, variables, files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from .lab import REPO

DOCKERFILE = r"""FROM busybox
WORKDIR /work/deep
COPY --chmod=640 . /made/by/copy/
ADD f /made/by/add/
RUN mkdir é && touch é/ü a && ls -ld /dev /proc /sys /dev/* | cut -d' ' -f1 > modes && umask > mask && env | sort > env
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t/u --mount=type=secret,id=s,target=/s/t,required=false \
    stat -c '%a %u %n' /c /t /t/u > /mounts; touch /t/kept /run 2>/dev/null; ls -l /proc/self/fd | wc -l > /open
COPY <<EOT /heredoc/file
x
EOT
"""
BUILD = """
import os, sys, tempfile
from pathlib import Path
sys.path.insert(0, {repo!r})
umask, descriptors, gone = int(sys.argv[3], 8), int(sys.argv[4]), sys.argv[5]
os.umask(umask)
kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(descriptors)]
for fd in kept:
    os.set_inheritable(fd, True)
if gone:
    place = tempfile.mkdtemp()
    os.chdir(place)
    os.rmdir(place)
import pybuild_magic
result = pybuild_magic.build(
    {dockerfile!r},
    context=sys.argv[2],
    build_args={{"SOURCE_DATE_EPOCH": "0"}},
    no_cache=True,
    outputs=["type=image,name=odd,rewrite-timestamp=true"],
    progress="quiet",
)
print(result.image_id)
"""
ODD: dict[str, tuple[str, int, str, dict[str, str]]] = {
    "umask 077": ("077", 0, "", {}),
    "umask 000": ("000", 0, "", {}),
    "no directory": ("022", 0, "gone", {}),
    "many files": ("027", 200, "", {}),
    "C": ("022", 0, "", {"LC_ALL": "C", "TZ": "Pacific/Kiritimati"}),
    "variables": ("022", 0, "", {"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "1", "HOME": "/x"}),
}


@pytest.fixture(scope="module")
def usual(store_template: Path) -> str:
    return built(store_template, "022", 0, "", {})


def built(template: Path, umask: str, descriptors: int, gone: str, variables: dict[str, str]) -> str:
    done = build(template, umask, descriptors, gone, variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


def build(
    template: Path, umask: str, descriptors: int, gone: str, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        subprocess.run(["cp", "-a", template, place / "home"], check=True)
        context = place / "context"
        (context / "sub").mkdir(parents=True, mode=0o755)
        for path, mode in (("f", 0o644), ("sub/ä", 0o600)):
            (context / path).write_text(path)
            (context / path).chmod(mode)
        (context / "sub").chmod(0o750)
        for path in (context / "sub/ä", context / "sub", context / "f"):
            os.utime(path, (1e9, 1e9))
        script = place / "build.py"
        script.write_text(BUILD.format(repo=str(REPO), dockerfile=DOCKERFILE), "utf-8")
        return subprocess.run(
            [sys.executable, script, "-", str(context), umask, str(descriptors), gone],
            env={**os.environ, "PYBUILD_HOME": str(place / "home"), "PYTHONPATH": str(REPO), **variables},
            capture_output=True,
            text=True,
        )


@pytest.mark.parametrize("odd", ODD)
def test_the_image_is_the_usual_one(store_template: Path, usual: str, odd: str) -> None:
    assert usual.startswith("sha256:")
    assert built(store_template, *ODD[odd]) == usual


def test_names_that_would_become_others_are_refused(store_template: Path) -> None:
    """Where Python is told that files have ASCII names, and UTF-8 ones would be mistaken."""
    ascii_names = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = build(store_template, "022", 0, "", ascii_names)
    assert done.returncode == 1
    assert "UnsupportedError" in done.stderr and "PYTHONUTF8=1" in done.stderr
