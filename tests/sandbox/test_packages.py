"""What packages, users and rights leave in a layer is the same on every rung: entry for entry what namespaces leave."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import Sandbox, tracer
from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store, import_tar
from tests.places.image import debian_base
from tests.services import require, tool
from tests.services.common import need_root

from .conftest import Box

pytestmark = pytest.mark.xdist_group("packages")

ROOT = Path(__file__).parents[2]
PACKAGES = "libcap2-bin openssh-client cron"
"""A program for capabilities, groups with files that are set-group-ID, and a directory that only some may use."""
DOWNLOAD = f"apt-get update -q && apt-get install -y -q -d --no-install-recommends {PACKAGES}"
WORK = f"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-download --no-install-recommends {PACKAGES}
useradd -m -u 1234 -s /bin/sh ann && groupadd -g 77 team && usermod -aG team ann
echo 'ann ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ann && chmod 440 /etc/sudoers.d/ann
su ann -c 'mkdir -m 700 ~/own && echo a > ~/own/f && ln -s own ~/link && umask 077 && echo b > ~/private'
su ann -c 'sudo sh -c "id -u > /by-sudo && chown 5:6 /by-sudo"; sudo -u "#1234" id -u > ~/again'
mkdir /tree && cp -a /usr/share/perl5 /tree/perl && chown -R ann:team /tree && chown -h 8:9 /home/ann/link
chmod 2775 /tree && mkdir /tree/inherits && : > /tree/inherits/f
cp /bin/true /bin/raw && setcap cap_net_raw+ep /bin/raw && getcap /bin/raw
mknod /null c 1 3 && mknod -m 640 /loop b 7 0 && chown 0:team /loop
stat -c '%n %u:%g %a %F' /tree/inherits/f /home/ann/* /loop /by-sudo /usr/bin/crontab
"""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, tuple[str, ...]]]:
    """A store, and in it Debian with the packages that are to be installed."""
    require(lambda: need_root("every rung holds for root alone"))
    image = require(debian_base)
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    with Store(tmp_path_factory.mktemp("debian")) as store, store.lease(), Sandbox(store, rung=1) as sandbox:
        store.remove_tree = sandbox.remove
        load_image(store, image.path, "debian")
        [(base,)] = store.db.read("SELECT diff_id FROM layers")
        box = Box(sandbox, store.layer(base))
        ran = box.run(DOWNLOAD, keep=True)
        assert ran.code == 0, ran.stdout + ran.stderr
        yield store, (base, sandbox.commit(ran.outcome).diff_id)


@pytest.fixture(scope="module")
def expected(debian: tuple[Store, tuple[str, ...]]) -> tuple[str, dict[str, object]]:
    return work_on(1, debian)


def work_on(rung: int, debian: tuple[Store, tuple[str, ...]]) -> tuple[str, dict[str, object]]:
    """What the work prints at its end on a rung (0: the best), and the layer that it leaves."""
    store, snapshot = debian
    with Sandbox(store, rung=rung) as sandbox:
        store.remove_tree = sandbox.remove
        assert sandbox.rung is not None and sandbox.rung.number == (rung or 4)
        box = Box(sandbox, store.layer(snapshot[0]))
        ran = box.run(WORK, keep=True, snapshot=snapshot)
        assert ran.code == 0, ran.stdout + ran.stderr
        layer = sandbox.commit(ran.outcome)
    entries: dict[str, object] = {
        entry.path: (
            entry.type,
            oct(entry.mode),
            entry.uid,
            entry.gid,
            entry.link,
            entry.devmajor,
            entry.devminor,
            entry.xattrs,
        )
        for entry in layer.index
    }
    return ran.stdout.partition("/bin/raw")[2], entries


@pytest.mark.parametrize("rung", [3, 4, 5])
def test_packages_users_and_rights_are_the_same_on_every_rung(
    debian: tuple[Store, tuple[str, ...]], expected: tuple[str, dict[str, object]], rung: int
) -> None:
    compare(work_on(rung, debian), expected)


def test_a_run_is_traced_where_the_store_is_on_fuse(
    debian: tuple[Store, tuple[str, ...]], expected: tuple[str, dict[str, object]], tmp_path: Path
) -> None:
    """As in a home on a network: overlayfs keeps no changes there, and every RUN would copy all files."""
    require(lambda: tool("bindfs"))
    if not Path("/dev/fuse").exists():
        pytest.skip("this kernel has no FUSE")
    old, snapshot = debian
    source, place = tmp_path / "source", tmp_path / "place"
    for path in (source, place):
        path.mkdir()
    subprocess.run(["bindfs", "-o", "attr_timeout=0", source, place], check=True)
    try:
        with Store(place) as store, store.lease():
            for diff_id in snapshot:
                with old.blobs.open(diff_id) as tar:
                    import_tar(store, tar)
            compare(work_on(0, (store, snapshot)), expected)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def compare(done: tuple[str, dict[str, object]], expected: tuple[str, dict[str, object]]) -> None:
    printed, entries = done
    assert printed == expected[0]
    assert {path: entry for path, entry in entries.items() if expected[1].get(path) != entry} == {}
    assert expected[1].keys() - entries.keys() == set()
    assert len(entries) > 300, "and it is not nothing"


def test_without_a_tracer_proot_installs_a_package(
    debian: tuple[Store, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a pure wheel has it, in a place that gives no rights: it works, and owners are root's."""
    require(lambda: tool("proot"))
    monkeypatch.setattr(tracer, "_BIN", tmp_path / "no-program")
    store, snapshot = debian
    with Sandbox(store, rung=5) as sandbox:
        store.remove_tree = sandbox.remove
        box = Box(sandbox, store.layer(snapshot[0]))
        layer = box.commit(
            "apt-get install -y -q --no-download --no-install-recommends cron && mkdir /g && chown games:games /g",
            snapshot=snapshot,
            env=("DEBIAN_FRONTEND=noninteractive",),
        )
        # The shell's `[` asks by faccessat2, and stat by statx, of which proot 5.1 knows neither.
        script = "id -un; [ -r /g ] && stat -c %n /g; crontab -l"
        ran = box.run(script, snapshot=(*snapshot, layer.diff_id), user="games")
    entries = {entry.path: entry for entry in layer.index}
    assert [(oct(entries[path].mode), entries[path].gid) for path in ("usr/bin/crontab", "g")] == [
        ("0o2755", 0),
        ("0o755", 0),
    ]
    assert (ran.stdout, ran.stderr) == ("games\n/g\n", "no crontab for games\n")
