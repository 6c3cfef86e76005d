"""The image config: read from what BuildKit writes, and written with the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pybuild_magic.errors import SourceError
from pybuild_magic.images.archive import open_images
from pybuild_magic.oci import config, timestamp
from pybuild_magic.oci.blobs import read, read_manifest
from pybuild_magic.oci.config import ContainerConfig, Healthcheck, History, ImageConfig, RootFS
from pybuild_magic.oci.manifest import decode_index, decode_manifest, media_type_of
from pybuild_magic.oci.platform import parse
from tests.services.buildkit import Engine

DOCKERFILE = """FROM busybox
MAINTAINER me <me@example.com>
ENV A="<x & y>" B='\u2028 \\t "quoted" é'
LABEL z=1 a=2 "with space"="<b>"
EXPOSE 80 53/udp 8000-8002
VOLUME /v /data
HEALTHCHECK --interval=5s --timeout=1m --start-period=2s --start-interval=1s --retries=7 CMD true
ONBUILD RUN echo hi
SHELL ["/bin/sh", "-ec"]
STOPSIGNAL SIGINT
USER 1:1
WORKDIR /work
ENTRYPOINT ["/bin/sh", "-c"]
CMD echo hi
"""


def test_what_buildkit_writes_is_written_again_byte_for_byte(engine: Engine, tmp_path: Path) -> None:
    images = open_images(engine.build_oci(None, tmp_path / "x.tar", dockerfile=DOCKERFILE, epoch=None))
    descriptor = images.index().manifests[0]
    manifest = read_manifest(images, descriptor)
    assert manifest.encode() == read(images, descriptor)
    data = read(images, manifest.config)
    parsed = config.decode(data)
    assert parsed.encode() == data
    assert parsed.digest == manifest.config.digest
    assert parsed.config.healthcheck == Healthcheck(
        ("CMD-SHELL", "true"), 5_000_000_000, 60_000_000_000, 2_000_000_000, 1_000_000_000, 7
    )
    assert parsed.config.exposed_ports.keys() == {"80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"}
    assert parsed.config.shell == ("/bin/sh", "-ec")
    assert parsed.config.on_build == ("RUN echo hi",)


def test_members_stand_in_gos_order_and_empty_ones_are_left_out() -> None:
    image = ImageConfig(
        architecture="arm64",
        os="linux",
        variant="v8",
        author="me",
        config=ContainerConfig(
            args_escaped=True, shell=("a",), labels={"b": "1", "a": "2"}, user="u", volumes={"/z": {}, "/a": {}}
        ),
        history=(History(created_by="x", empty_layer=True),),
        rootfs=RootFS(diff_ids=("sha256:a",)),
    )
    text = image.encode().decode()
    assert list(json.loads(text)) == [
        "architecture",
        "author",
        "config",
        "created",
        "history",
        "os",
        "rootfs",
        "variant",
    ]
    assert (
        '"config":{"User":"u","Volumes":{"/a":{},"/z":{}},"Labels":{"a":"2","b":"1"},"ArgsEscaped":true,"Shell":["a"]}'
        in text
    )
    assert '"rootfs":{"type":"layers","diff_ids":["sha256:a"]}' in text
    assert '"history":[{"created_by":"x","empty_layer":true}]' in text


def test_an_image_from_scratch_has_gos_nulls() -> None:
    text = config.empty(parse("linux/amd64")).encode()
    assert b'"created":null,"history":null' in text
    assert b'"diff_ids":null' in text


def test_html_separators_and_bytes_that_are_no_utf8_are_escaped_as_go_escapes_them() -> None:
    image = ImageConfig(
        architecture="a",
        os="l",
        config=ContainerConfig(env=("A=<&>\u2028\x01\x7f\n" + b"\xff".decode("utf-8", "surrogateescape"),)),
    )
    assert rb'"Env":["A=\u003c\u0026\u003e\u2028\u0001' in image.encode()
    assert image.encode().count(rb"\ufffd") == 1
    msgspec.json.decode(image.encode())


def test_nulls_and_members_that_buildkit_does_not_know_are_dropped() -> None:
    data = b'{"os":"linux","architecture":"amd64","container":"x","config":{"Labels":null,"StopTimeout":3,"Cmd":null}}'
    assert config.decode(data).config == ContainerConfig()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"os":1}', b'{"created":"yesterday"}', b'{"history":[{"created":"x"}]}', b"\xff"]
)
def test_what_is_no_config_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match="image config"):
        config.decode(data)


@pytest.mark.parametrize(
    ("text", "normal", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 0),
        ("2020-01-02T03:04:05.123456789Z", "2020-01-02T03:04:05.123456789Z", 1577934245123456789),
        ("2020-01-02T03:04:05.120000000Z", "2020-01-02T03:04:05.12Z", 1577934245120000000),
        ("2020-01-02T03:04:05+00:00", "2020-01-02T03:04:05Z", 1577934245000000000),
        ("2020-01-02T03:04:05+02:00", "2020-01-02T03:04:05+02:00", 1577927045000000000),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", -62135596800000000000),
    ],
)
def test_times_are_kept_to_the_nanosecond(text: str, normal: str, nanoseconds: int) -> None:
    assert timestamp.normal_time(text) == normal
    assert timestamp.parse_time(text) == nanoseconds
    if normal.endswith("Z"):
        assert timestamp.format_time(nanoseconds) == normal


@pytest.mark.parametrize("depth", [101, 200_000])
@pytest.mark.parametrize("read", [config.decode, decode_manifest, decode_index, media_type_of])
def test_documents_nested_without_end_are_refused(read: Callable[[bytes], object], depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        data = b'{"schemaVersion":2,"config":{"Labels":' + opening * depth + b"1" + closing * depth + b"}}"
        with pytest.raises(SourceError, match="is nested more than 100 deep"):
            read(data)


def test_brackets_in_texts_are_no_nesting() -> None:
    label = '{["\\' * 1000
    read = config.decode(json.dumps({"config": {"Labels": {"a": label}, "Cmd": ["x"] * 500}}).encode())
    assert read.config.labels == {"a": label}
