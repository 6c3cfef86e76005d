"""All tests of the sandbox once more as an ordinary user: with subordinate ids, and with its own id alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import require, tool

UID = 54_321
ROOT = Path(__file__).parents[2]

# A mount namespace of its own gives the user an entry in passwd and subuid, and a way to a Python under /root.
ENTER = r"""
set -e
state=$1 identity=$2 prefix=$3; shift 3
mount --make-rprivate /
for file in passwd subuid subgid; do
    cp /etc/$file "$state/$file" 2>/dev/null || : > "$state/$file"
    [ -e /etc/$file ] || continue
    mount --bind "$state/$file" /etc/$file
done
echo "pybuilder:x:54321:54321::/nonexistent:/bin/sh" >> "$state/passwd"
if [ "$identity" = range ]; then
    # As where somebody has pasted the line twice, and once more with another range that overlaps it.
    for range in 300000:65536 300000:65536 310000:65536; do
        for file in subuid subgid; do echo "pybuilder:$range" >> "$state/$file"; done
    done
fi
blocked=$(echo "$prefix" | cut -d/ -f2)
if [ -n "$blocked" ] && ! setpriv --reuid 54321 --regid 54321 --clear-groups test -x "$prefix"; then
    mkdir "$state/prefix"
    mount --bind "$prefix" "$state/prefix"
    mount -t tmpfs -o mode=755 tmpfs "/$blocked"
    mkdir -p "$prefix"
    mount --move "$state/prefix" "$prefix"
fi
ulimit -n 1024
[ "$identity" = traced ] && set -- setpriv --reuid 54321 --regid 54321 --clear-groups "$@" &&
    exec "$PYTHON" -c "$NO_NAMESPACES" "$@"
exec setpriv --reuid 54321 --regid 54321 --clear-groups "$@"
"""


# The filter of system calls of a container's runtime: no namespaces, for this process and all that it starts.
NO_NAMESPACES = """
import os, struct, sys
from pybuild_magic.builders.embedded.sandbox.helper import linux, security
calls = security._ARCHITECTURES[os.uname().machine]
numbers = next(iter(calls.values()))
program = [(0x20, 0, 0, 0), (0x15, 0, 1, numbers["unshare"]), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
linux.set_seccomp(b"".join(struct.pack("=HBBI", *line) for line in program))
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
@pytest.mark.parametrize("identity", ["range", "single", "traced"])
def test_everything_works_for_an_ordinary_user(identity: str) -> None:
    require(lambda: tool("setpriv"))
    if identity == "range":
        require(lambda: tool("newuidmap"))
        if not Path("/etc/subuid").exists():
            pytest.skip("there is no /etc/subuid to put something over")
    if identity != "range":
        subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    with user_place() as (state, home):
        ran = run_as_user(identity, state, home)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert " passed" in ran.stdout


@contextmanager
def user_place() -> Iterator[tuple[Path, Path]]:
    """A directory for what is mounted over the machine's files, and one of the user's own."""
    with tempfile.TemporaryDirectory() as place:  # pytest's own directories are closed to other users
        Path(place).chmod(0o711)
        state, home = Path(place) / "state", Path(place) / "home"
        state.mkdir()
        home.mkdir()
        os.chown(home, UID, UID)
        yield state, home


def run_as_user(identity: str, state: Path, home: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Run tests as the user."""
    names = ("run", "changes", "outputs", "mounts", "lifetime", *(["escape"] if identity != "traced" else []))
    tests = files or [f"tests/sandbox/test_{name}.py" for name in names]
    return as_user(identity, state, home, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


def as_user(
    identity: str, state: Path, home: Path, *command: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as the user, with these variables in its environment."""
    environment = {
        **{name: value for name, value in os.environ.items() if name.startswith("PYBUILD_TEST_")},
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYBUILD_TEST_IDENTITY": identity,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "NO_NAMESPACES": NO_NAMESPACES,
        **({"CI": os.environ["CI"]} if "CI" in os.environ else {}),
        **variables,
    }
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", ENTER, "sh", str(state), identity, sys.base_prefix, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
