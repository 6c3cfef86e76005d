"""The changes of a process in its mounts are layers too, the same in each way of running."""

from __future__ import annotations

import pytest

from pybuild_magic.builders.embedded.sandbox import SandboxMount
from pybuild_magic.store import Layer

from .conftest import Box, directory, file, owned, symlink

CHANGES = [
    ("true", []),
    ("cat f; ls -lR .; test -e own/f", []),
    ("echo new > x", ["0 x"]),
    ("echo x >> f", ["0 f"]),
    ("touch f", ["0 f"]),
    ("touch -d @1700000000 f", []),
    ("chmod 600 f; chmod 644 f", []),
    ("chmod 700 d", ["5 d"]),
    ("rm d/g", ["5 d", "0 d/.wh.g"]),
    ("rm -r d", ["0 .wh.d"]),
    ("rm -r d && mkdir d && touch d/n", ["5 d", "0 d/.wh.g", "0 d/n"]),
    ("rm -r d && touch d", ["0 d"]),
    ("mv d/g moved", ["5 d", "0 d/.wh.g", "0 moved"]),
    ("rm link && ln -s f link", ["2 link -> f"]),
    ("ln f twin", ["0 twin"]),
    ("echo x > a && ln a b", ["0 a", "1 b -> a"]),
    ("mkfifo pipe", ["6 pipe"]),
    ("chmod 777 .", []),
]


def mounted(box: Box, selector: str = "") -> SandboxMount:
    """A mount of a layer with owners of its own, whose changes are kept under number 3."""
    layer = box.layer(
        directory("d"),
        file("d/g", b"g"),
        file("f", b"f"),
        symlink("link", "f"),
        directory("own", uid=1000, gid=1001),
        file("own/f", b"mine", mode=0o644, uid=1000, gid=1001),
    )
    return SandboxMount("/m", snapshot=(layer.diff_id,), selector=selector, output=3)


def changes(box: Box, command: str, mount: SandboxMount, **spec: object) -> tuple[Layer, Layer]:
    """The layers that a process makes of a mount and of its root."""
    ran = box.run(command, keep=True, mounts=(mount,), cwd="/m", **spec)
    assert ran.code == 0, ran.stderr
    layer = box.sandbox.commit_mount(ran.outcome.outputs[mount.output])
    return layer, box.sandbox.commit(ran.outcome)


def listing(layer: Layer) -> list[str]:
    return [f"{entry.type} {entry.path}" + (f" -> {entry.link}" if entry.link else "") for entry in layer.index]


@pytest.mark.parametrize(("command", "entries"), CHANGES)
def test_what_changed_is_in_the_layer_of_the_mount(layered: Box, command: str, entries: list[str]) -> None:
    mount, root = changes(layered, f"touch /root-file; {command}", mounted(layered))
    assert listing(mount) == entries
    assert listing(root) == ["0 root-file"]


def test_contents_and_owners_are_kept(box: Box) -> None:
    command = "printf hello > n; chown 5:6 n; mkdir nd; chown 7:8 nd; chmod 600 own/f; chown 9:9 f; touch plain"
    mount, _ = changes(box, command if owned(box) else "printf hello > n; chmod 600 own/f; touch plain", mounted(box))
    entries = {entry.path: entry for entry in mount.index}
    snapshot = (*mounted(box).snapshot, mount.diff_id)
    assert box.store.tree(snapshot).read(entries["n"]) == b"hello"
    owners = {path: (entry.uid, entry.gid, oct(entry.mode)) for path, entry in entries.items()}
    expected = {"own": (1000, 1001, "0o755"), "own/f": (1000, 1001, "0o600"), "plain": (0, 0, "0o644")}
    if owned(box):
        expected |= {"n": (5, 6, "0o644"), "nd": (7, 8, "0o755"), "f": (9, 9, "0o644")}
    else:
        expected |= {"n": (0, 0, "0o644")}
    assert owners == expected


def test_a_part_that_is_mounted_changes_the_whole(box: Box) -> None:
    mount, _ = changes(box, "echo more >> g; touch n", mounted(box, selector="/d"))
    assert listing(mount) == ["5 d", "0 d/g", "0 d/n"]


def test_an_empty_mount_becomes_a_layer(box: Box) -> None:
    mount, root = changes(box, "echo x > x", SandboxMount("/m", output=0))
    assert listing(mount) == ["0 x"]
    assert listing(root) == []


def test_the_next_process_sees_them(box: Box) -> None:
    layer, _ = changes(box, "echo more >> f; rm d/g", mounted(box))
    mount = SandboxMount("/m", snapshot=(*mounted(box).snapshot, layer.diff_id), readonly=True)
    assert box.run("cat /m/f; ls /m/d; stat -c %u:%g /m/own/f", mounts=(mount,)).stdout == (
        "fmore\n1000:1001\n" if owned(box) else "fmore\n0:0\n"
    )


def test_another_user_s_changes_are_theirs(box: Box) -> None:
    mount, _ = changes(box, "echo more >> f; touch n", mounted(box, selector="/own"), user="user")
    assert {(entry.path, entry.uid, entry.gid) for entry in mount.index} == {
        ("own", 1000, 1001),
        ("own/f", 1000, 1001),
        ("own/n", 1000, 1001),
    }


def test_what_is_dropped_leaves_nothing(box: Box) -> None:
    ran = box.run("touch /m/x", mounts=(mounted(box),))
    assert not ran.outcome.work.exists()
