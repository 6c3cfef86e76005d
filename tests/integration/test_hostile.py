"""What an enemy may send: contexts, archives, images, registries and directories that mean no good."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.errors import BuildError, RunError, SourceError
from tests.search import holders
from tests.services.baseimages import BaseImage, push
from tests.services.registry import Registry
from tests.sources.servers import HTTPServer, Reply

from .lab import Home, presentable

SECRET = "what-is-outside-stays-outside"
BASE = "FROM busybox\n"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the context, from which nothing may come and to which nothing may go."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_text(SECRET)
    yield directory
    assert [path.name for path in directory.iterdir()] == ["secret"]
    assert (directory / "secret").read_text() == SECRET


def nowhere(*roots: Path) -> None:
    """The secret is in no file below the roots."""
    for root in roots:
        assert holders(root, SECRET.encode()) == []


# Contexts


@pytest.mark.parametrize(
    "source", ["../outside/secret", "/outside/secret", "link", "dir/secret", "deep", "a/../../outside/secret"]
)
def test_nothing_outside_of_the_context_is_read(home: Home, tmp_path: Path, outside: Path, source: str) -> None:
    context = tmp_path / "context"
    (context / "a").mkdir(parents=True)
    (context / "link").symlink_to(outside / "secret")
    (context / "dir").symlink_to("../outside")
    (context / "deep").symlink_to("a/../../outside/secret")
    error = home.fails(f"{BASE}COPY {source} /got\n", str(context))
    assert "not found" in error.message
    assert str(error.location) == "Dockerfile:2"
    nowhere(home.root)


def test_links_are_copied_as_links(home: Home, tmp_path: Path, outside: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "link").symlink_to(outside / "secret")
    (context / "dir").symlink_to("../outside")
    home.build("FROM scratch\nCOPY . /\n", str(context), outputs=f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/link").readlink() == outside / "secret"
    assert (tmp_path / "out/dir").is_symlink()
    nowhere(home.root)


def test_a_dockerfile_behind_a_link_out_of_the_context_is_not_read(home: Home, tmp_path: Path, outside: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").symlink_to(outside / "secret")
    error = home.fails(None, str(context))  # type: ignore[arg-type]
    assert "failed to read dockerfile" in error.message
    assert SECRET not in error.render()
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY x /\n")
    (context / "x").write_text("")
    (context / ".dockerignore").symlink_to(outside / "secret")
    try:
        home.build(None, str(context))  # type: ignore[arg-type]
    finally:
        nowhere(home.root)


def test_what_a_build_makes_is_followed_inside_of_it(home: Home, tmp_path: Path, outside: Path) -> None:
    """Links to this machine's paths, made in a stage, are followed in the stage by COPY, WORKDIR and mounts."""
    dockerfile = f"""FROM busybox AS a
RUN ln -s {outside} /abs && ln -s ../../../../../../..{outside} /rel
RUN mkdir -p {outside} && echo mine > {outside}/secret
COPY <<E /abs/new
new
E
WORKDIR /rel/work
COPY <<E here
here
E
RUN --mount=type=cache,target=/abs/cache --mount=type=tmpfs,target=/rel/tmp touch /abs/cache/x /rel/tmp/y
FROM scratch
COPY --from=a /abs/secret /one
COPY --from=a /rel/secret /two
COPY --from=a {outside} /all
"""
    home.build(dockerfile, outputs=f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/one").read_text() == "mine\n"
    assert (tmp_path / "out/two").read_text() == "mine\n"
    assert (tmp_path / "out/all/new").read_text() == "new\n"
    assert (tmp_path / "out/all/work/here").read_text() == "here\n"
    nowhere(home.root, tmp_path / "out")


NAMES = [
    b"new\nline",
    b"\xff\xfe not text",
    b"\x1b[31mred\x1b[0m",
    b"-rf",
    b"* ? [a]",
    b"quo\"te'$(x)`",
    b"<script>alert(1)<script>",
    b"\xe2\x80\xae reversed",
    b"x" * 255,
    b" leading and trailing ",
]


def test_names_that_are_no_words(home: Home, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(context) + b"/" + name)).write_text("x")
    outputs = [f"type={kind},dest={tmp_path}/{kind}" for kind in ("local", "tar", "oci")]
    result = home.build("FROM busybox\nCOPY . /d/\nRUN ls /d && touch /d/*\n", str(context), outputs=outputs, tags="x")
    assert sorted(os.fsencode(path.name) for path in (tmp_path / "local/d").iterdir()) == sorted(NAMES)
    with tarfile.open(tmp_path / "tar") as archive:
        names = {os.fsencode(member.name) for member in archive if member.name.startswith("d/")}
    assert names == {b"d/" + name for name in NAMES}
    html = result._repr_mimebundle_()["text/html"]
    assert "<script>alert" not in html
    assert "\x1b" not in repr(result)
    for name in (b"new\nline", b"\xff\xfe not text"):
        again = {os.fsdecode(name): "x"}
        home.build("FROM scratch\nCOPY . /\n", again)


# Archives


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"evil"
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o644
    return info, data if kind == tarfile.REGTYPE else b""


def hostile_archives(outside: Path) -> dict[str, bytes]:
    up = "../" * 12
    return {
        "above": archive(member(f"{up}{outside}/evil"), member("../evil"), member("a/../../evil")),
        "absolute": archive(member(f"{outside}/evil"), member("/evil")),
        "through a link": archive(member("l", tarfile.SYMTYPE, str(outside)), member("l/evil")),
        "through a relative link": archive(member("l", tarfile.SYMTYPE, f"{up}{outside}"), member("l/evil")),
        "through links of links": archive(
            member("a", tarfile.SYMTYPE, "."), member("a/b", tarfile.SYMTYPE, ".."), member("a/b/../evil")
        ),
        "hardlink out": archive(member("h", tarfile.LNKTYPE, f"{outside}/secret")),
        "hardlink up": archive(member("h", tarfile.LNKTYPE, f"{up}{outside}/secret")),
        "hardlink through a link": archive(
            member("l", tarfile.SYMTYPE, str(outside)), member("h", tarfile.LNKTYPE, "l/secret")
        ),
        "link over the root": archive(member(".", tarfile.SYMTYPE, str(outside)), member("evil")),
        "whiteouts": archive(member(".wh.bin"), member(".wh..wh..opq"), member("etc/.wh..wh..opq"), member(".wh...")),
        "dots": archive(member("./././evil"), member("a//b///evil"), member("..."), member(".../evil")),
    }


@pytest.mark.parametrize("name", list(hostile_archives(Path("/x"))))
def test_an_archive_stays_where_it_is_unpacked(home: Home, tmp_path: Path, outside: Path, name: str) -> None:
    data = hostile_archives(outside)[name]
    dest = tmp_path / "out"
    try:
        home.build(f"{BASE}ADD evil.tar /sub/\nRUN true\n", {"evil.tar": data}, outputs=f"type=local,dest={dest}")
    except BuildError as error:
        presentable(error)
    nowhere(home.root)
    if dest.exists():
        nowhere(dest)
        assert (dest / "bin/sh").is_symlink(), "what is beside the target stays"
        evil = [path.relative_to(dest) for path in dest.rglob("evil") if not path.is_symlink()]
        below = str(outside).lstrip("/")
        assert all(path.parts[0] in ("sub", below.split("/")[0]) for path in evil), evil
    home.check()


@pytest.mark.parametrize("size", [1 << 62, -1])
def test_an_archive_that_lies_about_sizes(home: Home, size: int) -> None:
    info = tarfile.TarInfo("big")
    info.size = 1
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (b"\x80" if size > 0 else b"\xff") + (size & ((1 << 88) - 1)).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    error = home.fails(f"{BASE}ADD evil.tar /\n", {"evil.tar": bytes(header) + b"x" * 2048})
    assert str(error.location) == "Dockerfile:2"
    home.check()


# Images


def blob(root: Path, data: bytes, name: str = "") -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    path = root / "blobs/sha256" / (name or digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"digest": f"sha256:{name or digest}", "size": len(data)}


def layout(root: Path, layer: bytes, change: Callable[[dict[str, Any], dict[str, Any]], None] | None = None) -> str:
    """An image layout with one layer; `change` spoils its config or its manifest."""
    config: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    media = "application/vnd.oci.image."
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": f"{media}manifest.v1+json",
        "layers": [{"mediaType": f"{media}layer.v1.tar", **blob(root, layer)}],
    }
    if change:
        change(config, manifest)
    manifest["config"] = manifest.get("config") or {
        "mediaType": f"{media}config.v1+json",
        **blob(root, json.dumps(config).encode()),
    }
    described = {"mediaType": f"{media}manifest.v1+json", **blob(root, json.dumps(manifest).encode())}
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci-layout://{root}"


def wrong_diff_id(config: dict[str, Any], manifest: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]


def path_as_digest(config: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["digest"] = "sha256:../../../../outside/secret"


def path_as_diff_id(config: dict[str, Any], manifest: dict[str, Any]) -> None:
    config["rootfs"]["diff_ids"] = ["sha256:../../../outside/secret"]


def wrong_size(config: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["size"] += 1


def huge_size(config: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["size"] = 1 << 80


def too_few_layers(config: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["layers"] = []


def wrong_types(config: dict[str, Any], manifest: dict[str, Any]) -> None:
    config["rootfs"] = ["layers"]


def config_is_text(config: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["config"] = "none"


SPOILED = [
    wrong_diff_id,
    path_as_digest,
    path_as_diff_id,
    wrong_size,
    huge_size,
    too_few_layers,
    wrong_types,
    config_is_text,
]


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_spoiled_image_layout_is_refused(home: Home, tmp_path: Path, outside: Path, spoil: Any) -> None:
    where = layout(tmp_path / "layout", archive(member("f")), spoil)
    error = home.fails("FROM it\nCOPY <<E /x\nE\n", build_contexts={"it": where}, tags="x")
    assert isinstance(error, SourceError), error
    assert str(error.location) == "Dockerfile:1"
    nowhere(home.root)
    home.check()


def test_blobs_of_a_layout_that_are_other_files(home: Home, tmp_path: Path, outside: Path) -> None:
    layer = archive(member("f"))
    where = layout(tmp_path / "layout", layer)
    path = tmp_path / "layout/blobs/sha256" / hashlib.sha256(layer).hexdigest()
    path.unlink()
    for target in (outside / "secret", Path("/dev/zero"), tmp_path):
        path.symlink_to(target)
        error = home.fails("FROM it\n", build_contexts={"it": where}, tags="x")
        assert isinstance(error, SourceError), error
        assert SECRET not in error.render()
        path.unlink()
    error = home.fails("FROM it\n", build_contexts={"it": where}, tags="x")
    assert isinstance(error, SourceError)
    nowhere(home.root)
    home.check()


@pytest.mark.parametrize("name", list(hostile_archives(Path("/x"))))
def test_a_hostile_layer_stays_in_its_root(home: Home, tmp_path: Path, outside: Path, name: str) -> None:
    """As the root of a RUN it is extracted to disk, and exported."""
    layers = hostile_archives(outside)[name]
    where = layout(tmp_path / "layout", layers)
    dest = tmp_path / "out"
    dockerfile = 'FROM busybox AS tools\nFROM it\nRUN --mount=from=tools,target=/tools ["/tools/bin/true"]\n'
    dockerfile += "COPY <<E /evil\nE\n"
    try:
        home.build(dockerfile, build_contexts={"it": where}, outputs=f"type=local,dest={dest}")
    except BuildError as error:
        presentable(error)
    nowhere(home.root)
    if dest.exists():
        nowhere(dest)
    home.check()


def test_a_registry_that_sends_something_else(
    tmp_path: Path, registry: Registry, busybox_layout: BaseImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    home = Home(tmp_path / "home")
    ref = push(busybox_layout, registry.host, "hostile/base:1")
    layer = registry.blob_path(busybox_layout.manifest["layers"][0]["digest"])
    good = layer.read_bytes()
    try:
        layer.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
        error = home.fails(f"FROM {ref}\nRUN true\n")
        assert isinstance(error, SourceError), error
        assert busybox_layout.manifest["layers"][0]["digest"] in error.message
        assert str(error.location) == "Dockerfile:1"
        home.check()
    finally:
        layer.write_bytes(good)
    home.build(f"FROM {ref}\nRUN true\n")
    home.close()


ANSWERS: dict[str, tuple[Reply, str]] = {
    "html": (Reply(b"<html>hello</html>", headers={"Content-Type": "text/html"}), ""),
    "no json": (Reply(b"{" * 2000, headers={"Content-Type": "application/vnd.oci.image.index.v1+json"}), ""),
    "deep json": (Reply(b'{"manifests":' + b"[" * 100_000, headers={"Content-Type": "application/json"}), ""),
    "not found": (Reply(b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no\x1b[31m such"}]}', 404), "not"),
    "forbidden": (Reply(b"", 403), ""),
    "unauthorized": (Reply(b"", 401), ""),
    "a challenge of nonsense": (Reply(b"", 401, {"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'}), ""),
    "a redirect to a file": (Reply(b"", 302, {"Location": "file:///etc/passwd"}), ""),
    "a redirect to itself": (Reply(b"", 302, {"Location": "/v2/x/manifests/latest"}), ""),
    "unavailable": (Reply(b"", 503), ""),
    "too long": (Reply(b" " * (5 << 20), headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"}), ""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_registry_that_answers_nonsense(home: Home, name: str) -> None:
    reply, said = ANSWERS[name]
    with HTTPServer() as server:
        server.on("/v2/", Reply(b"{}"), forever=True)
        server.on("/v2/x/manifests/latest", reply, forever=True)
        error = home.fails(f"FROM {server.host}/x\n")
    assert isinstance(error, SourceError), error
    assert server.host in error.message
    assert said in error.message
    assert "\x1b" not in error.render()
    assert str(error.location) == "Dockerfile:1"


def test_a_registry_that_is_down(home: Home) -> None:
    error = home.fails("FROM 127.0.0.1:1/x\n")
    assert "127.0.0.1:1 cannot be connected to" in error.message
    assert str(error.location) == "Dockerfile:1"
    error = home.fails(BASE, tags="127.0.0.1:1/x", push=True)
    assert "127.0.0.1:1 cannot be connected to" in error.message


# Exports


def test_an_export_writes_through_no_link(home: Home, tmp_path: Path, outside: Path) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "d").symlink_to(outside)
    (dest / "secret").symlink_to(outside / "secret")
    (dest / "new").symlink_to(outside / "new")
    files = {"d/evil": "x", "d/secret": "x", "secret": "x", "new": "x"}
    home.build("FROM scratch\nCOPY . /\n", files, outputs=f"type=local,dest={dest}")
    assert (dest / "d/evil").read_text() == "x"
    assert not (dest / "d").is_symlink()
    assert not (dest / "secret").is_symlink()
    assert (dest / "new").read_text() == "x"


def test_an_image_that_has_links_writes_through_none(home: Home, tmp_path: Path, outside: Path) -> None:
    dockerfile = f"""FROM busybox AS a
RUN mkdir /d && echo x > /d/evil && ln -s {outside} /l
FROM scratch
COPY --from=a /l /d/
COPY --from=a /d /l
"""
    for number in range(2):
        try:
            home.build(dockerfile, outputs=f"type=local,dest={tmp_path}/out", no_cache=bool(number))
        except BuildError as error:
            presentable(error)


def test_special_files_are_exported_as_what_they_are_or_refused(home: Home, tmp_path: Path) -> None:
    dockerfile = f"{BASE}RUN mkfifo /pipe && mknod /null c 1 3 && chmod 4755 /bin/busybox\n"
    home.build(dockerfile, outputs=f"type=local,dest={tmp_path}/out")
    assert stat.S_ISFIFO((tmp_path / "out/pipe").lstat().st_mode)
    assert stat.S_ISCHR((tmp_path / "out/null").lstat().st_mode)


# What a step prints


def test_a_step_that_prints_without_end_is_cut_and_told_of(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    flood = "RUN head -c 40000000 /dev/zero | tr '\\0' x; echo; echo the end; false\n"
    error = home.fails(BASE + flood, progress="plain", tags="x")
    assert isinstance(error, RunError)
    assert error.logs[-1] == "the end"
    assert len("".join(error.logs)) < 10_000
    shown = "".join(capsys.readouterr())
    assert "[output clipped, log limit 8MiB reached]" in shown
    assert "bytes were left out here]" in shown
    assert "the end" in shown
    assert len(shown) < 10 << 20
    [record] = home.builder.history(1)
    log = b"".join(log.data for status in home.builder.replay(record) for log in status.logs)
    assert log.endswith(b"the end\n")
    assert 8 << 20 < len(log) < 9 << 20


def test_a_history_that_is_full_says_so_and_knows_how_the_steps_ended(home: Home) -> None:
    floods = "".join(f"RUN yes {number} is as good | head -c 7000000\n" for number in range(3))
    home.build(BASE + floods, tags="x")
    [record] = home.builder.history(1)
    messages = list(home.builder.replay(record))
    log = b"".join(log.data for status in messages for log in status.logs)
    assert log.count(b"[the rest is not in the history: it keeps 16 MiB of a build]") == 1
    assert len(log) < 17 << 20
    ended = {vertex.name for status in messages for vertex in status.vertexes if vertex.completed}
    assert any(name.endswith("RUN yes 2 is as good | head -c 7000000") for name in ended)
