"""The page that says what works on which builder has a row for everything, and each row says what the code does."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from pybuild_magic import exporters
from pybuild_magic.api import run as api
from pybuild_magic.builders.embedded import building as embedded
from pybuild_magic.errors import UnsupportedError, UsageError
from pybuild_magic.request.parse import parse_options
from pybuild_magic.request.solve_request import compile_request
from pybuild_magic.session import DirSink, FileSink, Sink
from tests.services.buildkit import Engine
from tests.services.registry import Registry

_SPEC = importlib.util.spec_from_file_location(
    "pybuild_docs_support", Path(__file__).parents[2] / "docs" / "support.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
support = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = support
_SPEC.loader.exec_module(support)

SAMPLES = {
    "add-host": "a:1.2.3.4",
    "allow": "network.host",
    "annotation": "a=b",
    "attest": "type=provenance,mode=max",
    "build-arg": "A=b",
    "build-context": "a=docker-image://busybox",
    "builder": "embedded",
    "cache-from": "type=registry,ref=a/b",
    "cache-to": "type=inline",
    "call": "outline,format=json",
    "cgroup-parent": "a",
    "file": "Dockerfile",
    "iidfile": "id",
    "label": "a=b",
    "metadata-file": "data",
    "network": "none",
    "no-cache-filter": "a",
    "output": "type=cacheonly",
    "platform": "linux/amd64",
    "progress": "plain",
    "provenance": "mode=max",
    "resource": "memory=1g",
    "sbom": "true",
    "secret": "id=a,env=PATH",
    "shm-size": "1g",
    "ssh": "default=/nowhere",
    "tag": "a",
    "target": "a",
    "ulimit": "nofile=1:2",
}
"""A value for each flag that takes one."""
VALUES = {
    "bool": "true",
    "int": "1",
    "string": "x",
    "path": "x",
    "names": "x",
    "epoch": "0",
    "annotation": "x",
}


def test_every_flag_of_buildx_has_a_row(engine: Engine) -> None:
    told = engine.docker("buildx", "build", "--help").stdout
    theirs = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", told, flags=re.MULTILINE))
    assert len(theirs) > 30
    assert theirs - {name for name, _ in support.flag_rows()} == set()


@pytest.mark.parametrize("name", [name for name, _ in support.flag_rows() if name not in support.NOT_OURS])
def test_a_flag_does_on_the_embedded_builder_what_its_row_says(name: str) -> None:
    claim = dict(support.flag_rows())[name]
    value = SAMPLES.get(name)
    words = [f"--{name}"] if value is None else [f"--{name}", value]
    if claim.embedded == support.SENTENCE:
        with pytest.raises(UnsupportedError):
            api.run(parse_options(["--policy", "filename=x"], environ={}))
        return
    more = ["-t", "a"] if name == "push" else []
    request = compile_request(parse_options([*words, *more, "."], environ={"PATH": ""}))
    embedded._check_supported(request)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name, _ in support.attribute_rows()])
def test_an_attribute_does_on_the_embedded_builder_what_its_row_says(kind: str, name: str, tmp_path: Path) -> None:
    claim = next(claim for one, other, claim in support.attribute_rows() if (one, other) == (kind, name))
    sink: Sink = DirSink(tmp_path) if kind == "local" else FileSink(tmp_path / "file")
    table = {attribute.name: attribute for attribute in exporters.get(kind).attributes}
    if claim.embedded == support.SENTENCE:
        with pytest.raises((UsageError, UnsupportedError), match=name):
            exporters.check(kind, {name: "true"}, sink)
        return
    attribute = table[name]
    text = attribute.choices[0] if attribute.choices else VALUES[attribute.kind]
    attrs = {name.replace("KEY", "a.b"): text}
    if kind in ("image", "registry"):
        attrs = {"name": "a/b", **attrs}
    exporters.check(kind, attrs, sink)


FIRST = (
    *("add-host", "allow", "annotation", "attest", "build-arg", "build-context", "cache-from", "cache-to"),
    *("cgroup-parent", "file", "iidfile", "label", "metadata-file", "network", "no-cache-filter"),
    *("output", "platform", "progress", "pull", "sbom", "secret", "shm-size", "ssh", "tag", "target", "ulimit"),
)
"""Flags that one build can have together."""
OTHERS = {
    "builder": ["--builder", "default"],
    "call": ["--call", "outline,format=json"],
    "check": ["--check"],
    "load": ["--load"],
    "no-cache": ["--no-cache"],
    "provenance": ["--provenance", "mode=max"],
    "push": ["--push", "--tag", "127.0.0.1:1/a"],
    "quiet": ["--quiet"],
}
LATER = {"policy", "resource"}
"""Flags that the tests' buildx does not have yet."""


def test_a_flag_is_taken_by_buildx_and_buildkit_where_its_row_says_so(engine: Engine, tmp_path: Path) -> None:
    """What buildx does not know is an error there, so that a build which ends well knows all."""
    asked = {name for name, claim in support.flag_rows() if claim.buildkit == support.WORKS}
    assert asked - support.NOT_OURS.keys() - LATER == {*FIRST, *OTHERS}
    (tmp_path / "a").write_text("a")
    (tmp_path / "Dockerfile").write_text("FROM scratch AS a\nCOPY a /\n")
    key = ed25519.Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    (tmp_path / "key").write_bytes(key.private_bytes(*form))
    values = SAMPLES | {
        "build-context": f"more={tmp_path}",
        "cache-from": "type=registry,ref=127.0.0.1:1/a",
        "iidfile": str(tmp_path / "id"),
        "metadata-file": str(tmp_path / "data"),
        "output": f"type=oci,dest={tmp_path / 'out.tar'}",
        "sbom": "false",
        "ssh": f"default={tmp_path / 'key'}",
        "tag": "pybuild-support",
    }
    words = [f"--{name}={values[name]}" if name in values else f"--{name}" for name in FIRST]
    engine.docker("buildx", "build", *words, ".", cwd=tmp_path)
    assert (tmp_path / "id").read_text().startswith("sha256:")
    assert "buildx.build.provenance" in (tmp_path / "data").read_text()
    for name, more in OTHERS.items():
        done = engine.docker("buildx", "build", *more, ".", cwd=tmp_path, check=False)
        failed = "failed to push 127.0.0.1:1/a" if name == "push" else ""
        assert (done.returncode == 0) == (not failed) and failed in done.stderr, f"--{name}: {done.stderr[-2000:]}"
    engine.docker("rmi", "127.0.0.1:1/a")
    for name in LATER:
        done = engine.docker("buildx", "build", f"--{name}=x", ".", cwd=tmp_path, check=False)
        assert f"unknown flag: --{name}" in done.stderr


READ = [
    (kind, name, claim.buildkit)
    for kind, name, claim in support.attribute_rows()
    for attribute in exporters.get(kind).attributes
    if attribute.name == name and attribute.kind in ("bool", "int", "epoch", "choice")
]
"""Attributes whose values BuildKit has to understand, so that one which it does not is an error if it reads them."""


def test_an_attribute_is_read_by_buildkit_where_its_row_says_so(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")

    def refuses(kind: str, attribute: str) -> tuple[bool, str]:
        place = f",dest={tmp_path / f'{kind}-{attribute}'}" if kind in ("oci", "docker", "local", "tar") else ""
        name = ",name=127.0.0.1:1/a" if kind == "registry" else ""
        output = f"type={kind}{place}{name},{attribute}=nonsense"
        done = engine.docker("buildx", "build", f"--output={output}", ".", cwd=tmp_path, check=False)
        return done.returncode != 0 and "nonsense" in done.stderr.rpartition("ERROR")[2], done.stderr[-500:]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: refuses(row[0], row[1]), READ))
    wrong = {row: said for row, (refused, said) in zip(READ, answers, strict=True) if not refused}
    assert {(kind, name) for kind, name, _ in wrong} == support.DECIDED_BY_ENGINE | support.DECIDED_BY_CLIENT, wrong


TEXTS = {
    ("image", "name"): "pybuild-support-name",
    ("image", "dangling-name-prefix"): "pybuild-support-prefix",
    ("image", "annotation.KEY"): "pybuild-support-annotation",
    ("registry", "name"): "pybuild-support-name",
    ("registry", "annotation.KEY"): "pybuild-support-annotation",
    ("oci", "name"): "pybuild-support-name",
    ("oci", "dest"): "made-here",
    ("oci", "annotation.KEY"): "pybuild-support-annotation",
    ("docker", "name"): "pybuild-support-name",
    ("docker", "dest"): "made-here",
    ("docker", "annotation.KEY"): "pybuild-support-annotation",
    ("local", "dest"): "made-here",
    ("local", "attestation-prefix"): "pybuild-support-",
    ("tar", "dest"): "made-here",
    ("tar", "attestation-prefix"): "pybuild-support-",
}
"""A text for each attribute that takes any, by which it can be found in the result."""
NAMELESS = "registry", "dangling-name-prefix"
"""What is for images without a name, and never takes effect: they are not pushed."""


def files_of(made: Path) -> dict[str, bytes]:
    """The names and contents of the files in a directory or an archive, by path."""
    if made.is_dir():
        return {str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    with tarfile.open(made) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]


def manifests(files: dict[str, bytes]) -> list[Any]:
    """The manifests of images in an OCI layout, by way of their index if there is one."""

    def blob(descriptor: Any) -> Any:
        return json.loads(files["blobs/" + descriptor["digest"].replace(":", "/")])

    (root,) = map(blob, json.loads(files["index.json"])["manifests"])
    return [blob(one) for one in root.get("manifests", ()) if one["platform"]["os"] != "unknown"] or [root]


def test_a_text_of_an_attribute_is_in_what_buildkit_makes(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    asked = {(kind, name) for kind, name, claim in support.attribute_rows() if claim.buildkit == support.WORKS}
    asked.remove(NAMELESS)
    assert asked - {(kind, name) for kind, name, _ in READ} == TEXTS.keys()
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")

    def seen(kind: str, name: str) -> bool:
        text = TEXTS[kind, name]
        folder = tmp_path / f"{kind}-{name}"
        folder.mkdir()
        made, metadata = folder / (text if name == "dest" else "made"), folder / "metadata"
        place = {"image": "", "registry": f",name={registry.host}/made"}.get(kind, f",dest={made}")
        value = "" if name == "dest" else f",{name.replace('KEY', 'a.b')}={text}"
        if (kind, name) == ("registry", "name"):
            place, value = "", f",name={registry.host}/{text}"
        output = f"--output=type={kind}{place}{value}"
        attested = json.dumps(kind not in ("docker", "registry"))  # the one cannot, and the other need not
        words = [f"--provenance={attested}", f"--metadata-file={metadata}", output]
        engine.docker("buildx", "build", *words, ".", cwd=tmp_path)
        told = json.loads(metadata.read_text())
        if kind == "image":
            digest = told["containerimage.digest"]
            engine.docker("save", "-o", made, digest)
            engine.docker("rmi", "--force", digest)
        match kind, name:
            case "registry", "name":
                manifest = json.loads(registry.blob_path(told["containerimage.digest"]).read_bytes())
                return told["image.name"] == f"{registry.host}/{text}:latest" and "layers" in manifest
            case "registry", "annotation.KEY":
                manifest = json.loads(registry.blob_path(told["containerimage.digest"]).read_bytes())
                return manifest["annotations"]["a.b"] == text
            case _, "name":
                return told["image.name"] == f"docker.io/library/{text}:latest"
            case _, "dangling-name-prefix":
                return told["image.name"] == f"{text}@{told['containerimage.digest']}"
            case _, "annotation.KEY":
                return [one["annotations"]["a.b"] for one in manifests(files_of(made))] == [text]
            case _, "attestation-prefix":
                return f"{text}provenance.json" in files_of(made)
            case _:
                return bool(files_of(made))

    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(TEXTS, pool.map(lambda row: seen(*row), TEXTS), strict=True))
    assert [row for row, found in answers.items() if not found] == []


def test_an_image_without_a_name_is_pushed_by_no_builder(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    kind, name = NAMELESS
    done = engine.docker("buildx", "build", f"--output=type={kind},{name}=a", ".", cwd=tmp_path, check=False)
    assert "tag is needed when pushing to registry" in done.stderr
    with pytest.raises(UsageError, match="needs a name to push to"):
        exporters.check(kind, {name: "a"}, FileSink(tmp_path / "file"))


def test_the_registry_exporter_pushes_whatever_is_said_of_that(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    output = "type=registry,name=127.0.0.1:1/a,push=false"
    done = engine.docker("buildx", "build", f"--output={output}", ".", cwd=tmp_path, check=False)
    assert "failed to push 127.0.0.1:1/a" in done.stderr
    engine.docker("rmi", "127.0.0.1:1/a", check=False)
    (exporter,) = compile_request(parse_options([f"--output={output}", "."], environ={})).exporters
    assert exporter.attrs["push"] == "true"


def test_an_attribute_that_is_gone_is_ignored_by_buildkit(engine: Engine, tmp_path: Path) -> None:
    gone = {name for _, name, claim in support.attribute_rows() if claim.buildkit == "ignored"}
    assert gone == {"buildinfo", "buildinfo-attrs"}
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")

    def made(*attributes: str) -> dict[str, bytes]:
        output = ",".join(["--output=type=oci,source-date-epoch=0", f"dest={tmp_path / 'made'}", *attributes])
        engine.docker("buildx", "build", "--provenance=false", output, ".", cwd=tmp_path)
        return {path: data for path, data in files_of(tmp_path / "made").items() if path.startswith("blobs/")}

    assert made() == made(*(f"{name}=nonsense" for name in gone))
