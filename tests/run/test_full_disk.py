"""A run whose changes a full disk keeps from being committed: they are kept, and committed when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.integration.lab import tmpfs
from tests.sandbox.test_unprivileged import ROOT, UID, as_user, user_place
from tests.services import require, tool
from tests.services.baseimages import BaseImage
from tests.services.common import need_root

STORY = r"""
import re, subprocess, sys
from pathlib import Path

disk, brim = Path(sys.argv[1]), sys.argv[2] == "brim"

def pybuild(*words, code=0):
    done = subprocess.run([sys.executable, "-m", "pybuild_magic", *words], capture_output=True, text=True)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr

make = (
    "echo kept > /made; chown 3:4 /made; mkdir -m 750 /dir; ln /made /dir/link; "
    "rm /bin/wget; rm -r /home; mkdir /home; "
    "head -c 6000000 /dev/urandom > /big; md5sum < /big; "
    "test -e /out/fill && dd if=/dev/zero of=/out/fill bs=64k; exit 5"
)
look = (
    "md5sum < /big; stat -c '%u:%g %a' /made /dir; test /made -ef /dir/link && echo linked; "
    "test -e /bin/wget || echo gone; ls -A /home"
)
(disk / "out").mkdir()
fill = disk / "out/fill"
if brim:
    fill.touch()  # there is not even room for a list of what has changed
said = pybuild("run", "--commit", "kept", "-v", f"{disk}/out:/out", "busybox", "sh", "-c", make, code=125)
[digest] = re.findall("^[0-9a-f]{32}  -$", said, re.M)
assert "No space is left for the store" in said, said
assert "What the run has changed is kept." in said, said
[line] = re.findall("`pybuild (commit [0-9a-f]{12} kept)`", said)
assert brim == bool(list(disk.glob("store/stopped/*/fs")))
again = pybuild(*line.split(), code=1)
assert "is kept" in again and line in again, again
pybuild("rm", "busybox")
pybuild("prune", "--all")
fill.unlink(missing_ok=True)
(disk / "other").unlink()
assert "Committed kept:latest" in pybuild(*line.split())
seen = pybuild("run", "kept", "sh", "-c", look).splitlines()
assert seen == [digest, "3:4 644", "0:0 750", "linked", "gone"], seen
assert not list(disk.glob("store/stopped/*"))
assert "The store is sound." in pybuild("fsck")
"""


@pytest.mark.parametrize(
    ("identity", "rung", "brim"),
    [
        pytest.param("root", "1", True, id="root"),
        pytest.param("root", "1", False, id="root-image"),
        pytest.param("range", "", True, id="subordinate-ids"),
        pytest.param("single", "3", True, id="one-id"),
        pytest.param("traced", "5", True, id="no-namespaces"),
    ],
)
def test_what_a_run_has_changed_survives_a_full_disk(
    busybox_layout: BaseImage, identity: str, rung: str, brim: bool
) -> None:
    """Not at the brim, there is room for a layer of the changes, but not for its packed form in the image."""
    require(lambda: need_root("mounting a small disk"))
    require(lambda: tool("newuidmap" if identity == "range" else "setpriv"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    with user_place() as (state, home), tmpfs(home / "disk", "40m") as disk:
        with Store(disk / "store") as store:
            load_image(store, busybox_layout.path, "busybox")
        (disk / "other").write_bytes(bytes(18 << 20))
        words = (sys.executable, "-c", STORY, str(disk), "brim" if brim else "image")
        variables = {"PYBUILD_HOME": str(disk / "store"), "PYBUILD_RUNG": rung}
        if identity == "root":
            ran = subprocess.run(words, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
        else:
            for path in (disk, *disk.rglob("*")):
                shutil.chown(path, UID, UID)
            ran = as_user(identity, state, home, *words, **variables)
    assert ran.returncode == 0, ran.stdout + ran.stderr
