"""The store is for its user alone, whatever the umask and the directory that it is put into."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pybuild_magic.errors import StoreError
from pybuild_magic.store import Store

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others, and becomes somebody else")
UID, GROUP, STRANGER = 54_321, 54_322, 54_323


@pytest.fixture(params=[0o000, 0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def open_to_others(home: Path) -> list[str]:
    """What is directly in the store, and its blobs, and anybody else has a right to."""
    found: list[str] = []
    for path in [*home.iterdir(), *home.glob("blobs/*"), *home.glob("blobs/*/*"), *home.glob("ingest/*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        if (mode := stat.S_IMODE(path.stat().st_mode)) != wanted:
            found.append(f"{path.relative_to(home)} {mode:o}")
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users find their way to, which pytest's own are closed to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        (home := Path(name) / "volume").mkdir(mode=0o755)
        yield home


def test_nothing_that_a_build_makes_is_open_to_others(tmp_path: Path) -> None:
    code = """if True:
        import os, sys
        from pathlib import Path
        from pybuild_magic import build
        os.umask(0)
        os.environ["PYBUILD_HOME"] = sys.argv[1]
        build("FROM scratch\\nARG WORD\\nLABEL word=$WORD\\nCOPY a /a", context={"a": b"a"}, build_args={"WORD": "w"})
    """
    (home := tmp_path / "home").mkdir(mode=0o755)
    subprocess.run([sys.executable, "-c", code, home], check=True)
    assert (home / "store.db").stat().st_size > 0
    assert open_to_others(home) == []


@pytest.mark.parametrize("mode", [0o755, 0o2755, 0o700])
def test_nothing_is_open_to_others_in_a_directory_that_exists(umask: int, mode: int, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    with Store(home) as store:
        store.blobs.put(b"a build-arg")
        assert (home / "store.db-wal").exists()
        assert open_to_others(home) == []
    assert stat.S_IMODE(home.stat().st_mode) == mode  # it is its user's, who may have reasons


def test_directories_above_a_new_store_are_for_the_user_too(umask: int, tmp_path: Path) -> None:
    with Store(tmp_path / "one" / "two" / "home"):
        pass
    for path in ("one", "one/two", "one/two/home"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700


def test_what_an_older_version_left_open_is_closed(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        digest = store.blobs.put(b"kept")
        other = sqlite3.connect(tmp_path / "store.db")  # keeps the -wal and -shm files
        other.execute("SELECT * FROM blobs").fetchall()
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (tmp_path / name).chmod(0o644)
    (tmp_path / "blobs").chmod(0o777)
    (tmp_path / "cachemounts").chmod(0o755)
    with Store(tmp_path) as store:
        assert store.blobs.read(digest) == b"kept"
        assert open_to_others(tmp_path) == []
    other.close()


def test_many_processes_make_one_store(tmp_path: Path) -> None:
    code = "import sys; from pybuild_magic.store import Store; Store(sys.argv[1]).blobs.put(b'x')"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "home")]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert open_to_others(tmp_path / "home") == []


@as_root
def test_root_does_not_use_a_users_store(place: Path) -> None:
    os.chown(place, UID, UID)
    with pytest.raises(StoreError, match=f"belongs to user {UID}, and this is root") as caught:
        Store(place)
    assert "sudo -H" in caught.value.hint
    assert list(place.iterdir()) == []


@as_root
def test_what_root_left_in_a_users_store_is_told(place: Path) -> None:
    os.chown(place, UID, UID)
    (place / "blobs").mkdir()
    message = become(lambda: Store(place).close(), UID, [])
    assert f"{place}/blobs belongs to root" in message
    assert "chown -R" in message


@as_root
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2777])
def test_a_directory_that_everybody_can_write_to(mode: int, place: Path) -> None:
    place.chmod(mode)
    with pytest.raises(StoreError, match="Everybody on this machine can write") as caught:
        Store(place)
    assert f"chmod go-w {place}" in caught.value.hint
    # Such a volume has room for a store of one's own, as the hint says to somebody who cannot close it.
    assert f"Set PYBUILD_HOME to {place}/pybuild" in become(lambda: Store(place).close(), UID, [])
    assert become(lambda: Store(place / "pybuild").blobs.put(b"x"), UID, []) == ""
    assert open_to_others(place / "pybuild") == []


VOLUMES = {
    "fsGroup of a pod": (0o2775, 0, GROUP, UID, [GROUP]),
    "OpenShift: any user, with the group of root": (0o775, 0, 0, UID, [0]),
    "OpenShift, set-group-ID": (0o2770, 0, 0, UID, [0]),
    "the user's own group": (0o775, UID, GROUP, UID, [GROUP]),
}


@as_root
@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("below", ["", "pybuild"])
def test_volumes_that_only_the_user_and_root_write_to(name: str, below: str, place: Path) -> None:
    mode, owner, group, uid, groups = VOLUMES[name]
    os.chown(place, owner, group)
    place.chmod(mode)
    assert become(lambda: Store(place / below).blobs.put(b"x"), uid, groups) == ""
    assert open_to_others(place / below) == []


ACCOUNTS = (
    "set -e; mount --make-rprivate /; cp /etc/group /etc/passwd $1;"
    f"echo team:x:{GROUP}:alice,bob >> $1/group; echo private:x:{STRANGER}: >> $1/group;"
    f"printf 'alice:x:{UID}:{STRANGER}::/:/bin/sh\\nbob:x:{STRANGER}:{GROUP}::/:/bin/sh\\n' >> $1/passwd;"
    'mount --bind $1/group /etc/group; mount --bind $1/passwd /etc/passwd; shift; exec "$@"'
)
OPEN = (
    "import grp, os, pwd, sys; from pybuild_magic.store import Store; from pybuild_magic.errors import BuildError\n"
    f"os.setgroups([{GROUP}]); os.setresgid({STRANGER}, {STRANGER}, {STRANGER}); os.setresuid({UID}, {UID}, {UID})\n"
    "try: Store(sys.argv[1])\nexcept BuildError as error: print(error, error.hint)"
)


@as_root
def test_a_group_that_somebody_else_is_in(place: Path) -> None:
    for path, group in (("team", GROUP), ("own", STRANGER)):
        (place / path).mkdir()
        os.chown(place / path, UID, group)
        (place / path).chmod(0o2775)
    said = {
        path: subprocess.check_output(
            ["unshare", "-m", "sh", "-c", ACCOUNTS, "sh", place.parent, sys.executable, "-c", OPEN, place / path],
            text=True,
        )
        for path in ("team", "own")
    }
    assert f"The group team can write to the store at {place}/team, and bob belongs to it too" in said["team"]
    assert f"chmod g-w {place}/team" in said["team"]
    assert said["own"] == ""


def become(action: Callable[[], object], uid: int, groups: list[int]) -> str:
    """Do something as another user, in another process; the BuildError that it ends in, in words."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        message = "the process ended early"
        try:
            os.setgroups(groups)
            os.setresgid(GROUP, GROUP, GROUP)
            os.setresuid(uid, uid, uid)
            action()
            message = ""
        except StoreError as error:
            message = f"{error} {error.hint}"
        except BaseException as error:
            message = repr(error)
        finally:
            os.write(writer, message.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said
