"""Attributes of exporters: typed, checked before the build, and errors that name the nearest."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from pybuild_magic import exporters
from pybuild_magic.errors import UnsupportedError, UsageError
from pybuild_magic.exporters.attributes import Annotation
from pybuild_magic.request.outputs import EXPORTERS
from pybuild_magic.session import DirSink, FileSink

FILE = FileSink("x.tar")
DIR = DirSink("x")


@pytest.mark.parametrize(
    ("kind", "attrs", "sink", "message"),
    [
        ("oci", {"compresion": "gzip"}, FILE, r'has no attribute "compresion"\. Did you mean "compression"\?'),
        ("oci", {"compression": "gzp"}, FILE, r"must be one of uncompressed, gzip, zstd \(did you mean gzip\?\)"),
        ("oci", {"compression-level": "high"}, FILE, "must be a number from"),
        ("oci", {"compression-level": "10"}, FILE, "gzip has 0 to 9"),
        ("oci", {"compression": "zstd", "compression-level": "23"}, FILE, "must be a number"),
        ("oci", {"force-compression": "yes"}, FILE, "must be true or false"),
        ("oci", {"source-date-epoch": "now"}, FILE, "seconds since 1970"),
        ("oci", {"name": "Foo"}, FILE, "must be lowercase"),
        ("oci", {"annotation-indx.a": "b"}, FILE, 'Did you mean "annotation-index.a"'),
        ("oci", {"annotation[linux/x/y/z].a": "b"}, FILE, "is not a platform"),
        ("oci", {"oci-mediatypes": "false", "annotation-index.a": "b"}, FILE, "oci-mediatypes=false"),
        ("oci", {"oci-mediatypes": "false", "oci-artifact": "true"}, FILE, "conflicts"),
        ("oci", {"tar": "false"}, FILE, "needs a directory"),
        ("oci", {}, DIR, "use tar=false"),
        ("oci", {}, None, "dest=FILE"),
        ("tar", {}, None, "dest=FILE"),
        ("tar", {"compression": "gzip"}, FILE, "has no attribute"),
        ("local", {}, None, "dest=DIR"),
        ("local", {"mode": "move"}, DIR, "one of copy, delete"),
        ("local", {"mode": "delete"}, DirSink("."), "working directory"),
        ("local", {"mode": "delete"}, DirSink("/"), "working directory"),
        ("image", {"push": "true"}, None, "needs a name"),
        ("registry", {}, None, "needs a name"),
        ("image", {"push-by-digest": "true", "name": "a:b"}, None, "cannot be pushed by digest"),
        ("image", {"unpack": "true", "rewrite-timestamp": "true"}, None, "conflicts"),
        ("cacheonly", {"x": "y"}, None, "It has none"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    kind: str, attrs: dict[str, str], sink: DirSink | FileSink | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        exporters.check(kind, attrs, sink)
    assert "\n" not in str(caught.value)


def test_an_exporter_that_is_none_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean type=docker"):
        exporters.get("dcoker")


def test_estargz_is_said_to_be_for_another_builder() -> None:
    with pytest.raises(UnsupportedError, match="--builder"):
        exporters.check("oci", {"compression": "estargz"}, FILE)


def test_docker_without_dest_needs_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(UnsupportedError, match=r"dest=FILE"):
        exporters.check("docker", {}, None)
    monkeypatch.setenv("DOCKER_HOST", "gopher://me@host")
    with pytest.raises(UnsupportedError, match=r"cannot be reached: unix://, tcp:// and ssh:// can"):
        exporters.check("docker", {}, None)


def test_values_are_typed_and_defaults_are_buildkits() -> None:
    values = exporters.check("image", {"name": "a,b:1", "compression-level": "5", "store": "", "push": "f"})
    assert values["name"] == ("a", "b:1")
    assert values["compression-level"] == 5
    assert values["store"] is True
    assert values["push"] is False
    assert values["compression"] == "gzip"
    assert values.explicit == {"name", "compression-level", "store", "push"}
    assert exporters.check("registry", {"name": "a"})["push"] is True
    assert exporters.check("registry", {"name": "a"})["store"] is False


def test_an_epoch_may_be_taken_away() -> None:
    assert exporters.check("tar", {}, FILE).epoch(7) == 7
    assert exporters.check("tar", {"source-date-epoch": "5"}, FILE).epoch(7) == 5
    assert exporters.check("tar", {"source-date-epoch": ""}, FILE).epoch(7) is None


def test_annotations_have_scope_and_platform() -> None:
    attrs = {"annotation.a.b": "1", "annotation-manifest-descriptor[linux/x86_64].c": "2"}
    assert exporters.check("oci", attrs, FILE).annotations == (
        Annotation("manifest", "", "a.b", "1"),
        Annotation("manifest-descriptor", "linux/amd64", "c", "2"),
    )


def test_the_table_has_every_exporter_and_says_what_it_writes() -> None:
    modules = (import_module(f"{exporters.__name__}.{module.name}") for module in iter_modules(exporters.__path__))
    assert {module.EXPORTER.type for module in modules if hasattr(module, "EXPORTER")} == set(EXPORTERS)
    for kind, row in EXPORTERS.items():
        exporter = exporters.get(kind)
        names = {attribute.name for attribute in exporter.attributes}
        assert (exporter.type, "name" in names, "dest" in names) == (kind, row.image, bool(row.dest))


@pytest.mark.parametrize("kind", EXPORTERS)
def test_every_attribute_is_documented_and_parses_its_own_default(kind: str) -> None:
    for attribute in exporters.get(kind).attributes:
        assert attribute.doc.endswith(".")
        if isinstance(attribute.default, bool):
            assert attribute.parse(str(attribute.default).lower()) == attribute.default
        elif attribute.kind == "choice":
            assert attribute.parse(attribute.default) == attribute.default
