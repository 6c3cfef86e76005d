"""A Debian to run in, what its own namespaces make of a scenario, and ways to run the tracer."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.builders.embedded.sandbox import tracer
from pybuild_magic.builders.embedded.sandbox.helper import owners
from tests.services import baseimages, debian, require, tool
from tests.services.common import need_root

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ENVIRONMENT = {
    baseimages.PATH.partition("=")[0]: baseimages.PATH.partition("=")[2],
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
USER = 1000
AS_USER = (
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    *("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"),
)
"""An ordinary user with nothing: what a restricted pod gives."""
BINDS = [tracer.Bind("/proc", "/proc"), tracer.Bind("/dev", "/dev"), tracer.Bind("/sys", "/sys", readonly=True)]
IDENTITIES = ["root", "user"]


@pytest.fixture(scope="session")
def program() -> tracer.Tracer:
    """The tracer, built from these sources."""
    require(lambda: need_root("the reference of these tests"))
    require(lambda: tool("setpriv"))
    subprocess.run([sys.executable, REPOSITORY / "native" / "build.py"], check=True)
    found = tracer.find()
    assert found
    assert found.native
    return found


@contextlib.contextmanager
def new_place() -> Iterator[Path]:
    """A directory that ordinary users reach, as they do not reach pytest's; not on a tmpfs."""
    path = Path(tempfile.mkdtemp(prefix="pybuild-tracer-", dir="/var/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def session_place() -> Iterator[Path]:
    """A place for what all tests share."""
    with new_place() as path:
        yield path


@pytest.fixture
def place() -> Iterator[Path]:
    """A place for one test."""
    with new_place() as path:
        yield path


@pytest.fixture(scope="session")
def image(program: tracer.Tracer, session_place: Path) -> Path:
    """A Debian with python3, its package lists and the packages of the scenario at hand: root's, as root sees it."""
    base = require(baseimages.debian_python)
    root = session_place / "debian"
    root.mkdir()
    root.chmod(0o755)
    with tarfile.open(base.path / "blobs" / base.manifest["layers"][0]["digest"].replace(":", "/")) as tar:
        tar.extractall(root, filter="fully_trusted")
    sources = f"deb {require(debian.mirror)} {debian.host_suite()} main\n"
    (root / "etc/apt/sources.list").write_text(sources)
    (root / "etc/apt/apt.conf.d/99tests").write_text('Acquire::Check-Valid-Until "false";\n')
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    for name in ("scenario.sh", "manifest.py"):
        (root / "scenario").mkdir(exist_ok=True)
        shutil.copy(HERE / name, root / "scenario" / name)
    packages = "sudo libcap2-bin less"
    natively(root, f"apt-get update -q && apt-get install -y -q -d --no-install-recommends {packages}")
    return root


def natively(root: Path, script: str) -> str:
    """Run a shell script in `root` by the kernel's own means, as root."""
    mounts = f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev"
    words = ["unshare", "-mpfiu", "sh", "-c", f'{mounts} && exec chroot {root} sh -c "$1"', "sh", script]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def manifest(output: str) -> dict[str, Any]:
    """What manifest.py said."""
    line = next(line for line in output.splitlines() if line.startswith("MANIFEST "))
    return ast.literal_eval(line.removeprefix("MANIFEST "))


@dataclass
class Machine:
    """A root that the tracer shows, and who runs it."""

    program: tracer.Tracer
    folder: Path
    root: Path
    identity: str
    options: dict[str, Any]

    @property
    def uid(self) -> int:
        """Who runs it, on the machine."""
        return USER if self.identity == "user" else 0

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command."""
        binds = [*BINDS, *options.pop("binds", [])]
        traced = tracer.Traced(args=args, root=str(self.root), binds=binds, **{**self.options, **options})
        words = [*(AS_USER if self.identity == "user" else ()), *tracer.command(self.program, traced)]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def run(self, *args: str, code: int = 0, **options: Any) -> str:
        """Run a command to its end; returns its standard output."""
        process = self.start(*args, **options)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == code, f"exit code {process.returncode}\n{stdout[-3000:]}{stderr[-3000:]}"
        return stdout

    def sh(self, script: str, **options: Any) -> str:
        """Run a shell script."""
        return self.run("sh", "-c", script, **options)

    def python(self, script: str, **options: Any) -> str:
        """Run a Python script."""
        return self.run("python3", "-c", script, **options)

    def table(self) -> dict[tuple[int, int], owners.Owner]:
        """What was remembered."""
        return owners.read(self.options["owners"])


def prepare(program: tracer.Tracer, image: Path, folder: Path, identity: str) -> Machine:
    """A root of its own: a copy for root; for the user, hard links to a store of files that are the user's."""
    folder.mkdir(exist_ok=True)
    root, state = folder / "root", folder / "state"
    state.mkdir()
    options: dict[str, Any] = {"owners": str(state / "owners"), "changes": str(state / "changes")}
    if identity == "root":
        subprocess.run(["cp", "-a", image, root], check=True)
        return Machine(program, folder, root, identity, options)
    store = folder / "store"
    subprocess.run(["cp", "-a", image, store], check=True)
    subprocess.run(["chown", "-hR", f"{USER}:{USER}", store, state], check=True)
    subprocess.run(["chmod", "-R", "u+rwX", store], check=True)
    farm(store, root)
    rows: list[tuple[bytes, owners.Owner]] = []
    for path in image.rglob("*"):
        info = path.lstat()
        name = b"/" + os.fsencode(path.relative_to(image))
        names = info.st_nlink if stat.S_ISREG(info.st_mode) and info.st_nlink > 1 else 0
        if (info.st_uid, info.st_gid) != (0, 0) or info.st_mode & 0o6000 or names:
            rows.append((name, owners.Owner(info.st_uid, info.st_gid, info.st_mode, names=names)))
    owners.write(options["owners"], rows)
    return Machine(program, folder, root, identity, {**options, "copy_on_write": True})


def farm(store: Path, root: Path) -> None:
    """What the builder makes of extracted layers: directories and symbolic links are new, files are hard links."""
    subprocess.run(["cp", "-al", store, root], check=True)
    for path in [path for path in root.rglob("*") if path.is_symlink()]:
        target = path.readlink()
        path.unlink()
        path.symlink_to(target)
        os.lchown(path, USER, USER)


@pytest.fixture(scope="session", params=IDENTITIES)
def machine(request: pytest.FixtureRequest, program: tracer.Tracer, image: Path, session_place: Path) -> Machine:
    """A Debian under the tracer, run by root, and by an ordinary user with nothing."""
    return prepare(program, image, session_place / f"machine-{request.param}", request.param)


@pytest.fixture(scope="session")
def truth(image: Path, session_place: Path) -> dict[str, Any]:
    """What the kernel makes of the scenario."""
    root = session_place / "truth"
    subprocess.run(["cp", "-a", image, root], check=True)
    return manifest(natively(root, "sh /scenario/scenario.sh && python3 /scenario/manifest.py"))


def differences(truth: dict[str, Any], seen: dict[str, Any]) -> list[str]:
    """Paths that two manifests do not show alike."""
    paths = sorted({*truth, *seen})
    return [f"{path}: {truth.get(path)} / {seen.get(path)}" for path in paths if truth.get(path) != seen.get(path)]
