"""A RUN's worth of work under the tracer leaves what it leaves under the kernel's own namespaces."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.builders.embedded.sandbox import tracer
from pybuild_magic.builders.embedded.sandbox.helper import owners
from tests.services.buildkit import Engine

from .conftest import BINDS, ENVIRONMENT, IDENTITIES, differences, manifest, prepare

pytestmark = pytest.mark.xdist_group("tracer")


def digest(root: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of all files below."""
    rows = {str(path): path.lstat() for path in root.rglob("*")}
    return {
        path: (info.st_mode, info.st_size, info.st_mtime_ns)
        for path, info in rows.items()
        if not stat.S_ISDIR(info.st_mode)
    }


def known(found: list[str], truth: dict[str, Any]) -> list[str]:
    """Differences of paths that the truth is told of, or that should not be there at all."""
    return [line for line in found if "/usr/bin/perl" in truth or not line.startswith("/usr/bin/perl")]


@pytest.mark.parametrize("identity", IDENTITIES)
def test_packages_users_owners_devices_and_capabilities_are_as_the_kernel_has_them(
    program: tracer.Tracer, image: Path, truth: dict[str, Any], place: Path, identity: str
) -> None:
    machine = prepare(program, image, place, identity)
    before = digest(place / "store")
    if identity == "user":
        # The scenario changes one name of a linked file: copy-on-write parts it from the others, as overlayfs does.
        truth = {path: row for path, row in truth.items() if not path.startswith("/usr/bin/perl")}
    output = machine.sh("sh /scenario/scenario.sh && python3 /scenario/manifest.py")
    assert known(differences(truth, manifest(output)), truth) == []
    # It is seen again by the next one, and the table says it to Python.
    assert known(differences(truth, manifest(machine.run("python3", "/scenario/manifest.py"))), truth) == []
    table = machine.table()
    disk = (machine.root / "srv/disk").lstat()
    assert (table[disk.st_dev, disk.st_ino].mode, table[disk.st_dev, disk.st_ino].rdev) == (
        stat.S_IFBLK | 0o640,
        os.makedev(8, 1),
    )
    raw = (machine.root / "srv/raw").lstat()
    assert table[raw.st_dev, raw.st_ino].xattrs["security.capability"]
    assert digest(place / "store") == before


def test_a_container_without_any_right(
    program: tracer.Tracer, image: Path, truth: dict[str, Any], place: Path, engine: Engine
) -> None:
    """Docker's default profile, an ordinary user, all capabilities dropped, no new privileges."""
    prepare(program, image, place, "user")
    shutil.copytree(program.path.parent, place / "bin")
    name = f"pybuild-tracer:{uuid.uuid4().hex[:12]}"
    words = ["tar", "-C", place, "--owner=1000", "--group=1000", "-c", "store", "state", "bin"]
    archive = subprocess.run(words, capture_output=True, check=True).stdout
    engine.docker("import", "-", name, input=archive)
    try:
        traced = tracer.Traced(
            args=["sh", "-c", "sh /scenario/scenario.sh && python3 /scenario/manifest.py"],
            root="/store",
            binds=BINDS,
            owners="/state/owners",
        )
        inside = tracer.command(tracer.Tracer(Path("/bin/tracer")), traced)
        flags = ["--user=1000:1000", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
        env = [f"--env={key}={value}" for key, value in ENVIRONMENT.items()]
        done = engine.docker("run", "--rm", *flags, *env, name, *inside, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert differences(truth, manifest(done.stdout)) == []
    finally:
        engine.docker("rmi", "--force", name)


def test_a_table_of_100_000_files_is_read_and_written(tmp_path: Path) -> None:
    file = str(tmp_path / "owners")
    owners.write(file, (((1, ino), owners.Owner(ino, 7, xattrs={"security.x": b"v"})) for ino in range(1, 100_001)))
    table = owners.read(file)
    assert len(table) == 100_000
    assert table[1, 99_999].uid == 99_999
    assert table[1, 5].xattrs == {"security.x": b"v"}
