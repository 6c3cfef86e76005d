"""How attestations and annotations are laid out in each output, beside what BuildKit makes of the same build."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.attested import comparable
from tests.integration.lab import Home
from tests.services.buildkit import Engine

FILES = {"b": "b\n", "f": "f\n", "sub/g": "g\n"}
DOCKERFILE = "FROM scratch AS base\nCOPY . /\nLABEL l=1\n"
BOTH = "--platform=linux/amd64,linux/arm64"
ANNOTATED = (
    "annotation.a=1,annotation-manifest.b=2,annotation-index.c=3,annotation-manifest-descriptor.d=4,"
    "annotation-index-descriptor.e=5,annotation[linux/amd64].f=6,annotation-manifest[linux/arm64].g=7"
)
FORM = "compression=uncompressed,rewrite-timestamp=true,oci-artifact=false"
"""What both make in the same way, where the newer BuildKit that is followed here has another default."""
PROVENANCE = "--provenance=mode=max,version=v0.2"

CASES: dict[str, tuple[str, ...]] = {
    "local": ("type=local,dest={out}/d",),
    "local, prefix": ("type=local,dest={out}/d,attestation-prefix=x-",),
    "local, split": ("type=local,dest={out}/d,platform-split=true",),
    "local, two platforms": (BOTH, "type=local,dest={out}/d,attestation-prefix=x-"),
    "tar": ("type=tar,dest={out}/t",),
    "tar, prefix": ("type=tar,dest={out}/t,attestation-prefix=x-",),
    "tar, two platforms": (BOTH, "type=tar,dest={out}/t"),
    "tar, two platforms in one": (BOTH, "type=tar,dest={out}/t,platform-split=false,attestation-prefix=x-"),
    "several": (
        "type=local,dest={out}/d",
        "type=tar,dest={out}/t,attestation-prefix=y-",
        "type=oci,dest={out}/o,{form}",
        "type=oci,dest={out}/p,{form},oci-artifact=true",
    ),
    "several, two platforms": (BOTH, "type=local,dest={out}/d", "type=oci,dest={out}/o,{form}"),
    "inline alone": ("--provenance=mode=max,version=v0.2,inline-only=true", "type=local,dest={out}/d"),
    "inline, asked of an archive": (
        "--provenance=mode=max,version=v0.2,inline-only=true",
        "type=oci,dest={out}/o,{form},attestation-inline=true",
    ),
    "oci, annotated": (f"type=oci,dest={{out}}/o,{{form}},{ANNOTATED.rpartition(',')[0]}",),
    "oci, annotated, two platforms": (BOTH, f"type=oci,dest={{out}}/o,{{form}},{ANNOTATED}"),
    "oci, annotated, plain": ("--provenance=false", "type=oci,dest={out}/o,{form},annotation.a=1"),
    "oci, artifact": ("type=oci,dest={out}/o,{form},oci-artifact=true",),
    "oci, no artifact": ("type=oci,dest={out}/o,{form}",),
    "oci, names": ("type=oci,dest={out}/o,{form},name=example.com/a/b:c",),
}


@pytest.mark.parametrize("name", CASES)
def test_each_output_has_what_buildkit_s_has(home: Home, engine: Engine, tmp_path: Path, name: str) -> None:
    context = tmp_path / "context"
    for path, text in FILES.items():
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        (context / path).write_text(text)
    file = tmp_path / "Dockerfile"
    file.write_text(DOCKERFILE)
    flags = [words for words in CASES[name] if words.startswith("--")]
    outputs = [words for words in CASES[name] if not words.startswith("--")]
    if not any(words.startswith("--provenance") for words in flags):
        flags.append(PROVENANCE)
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    engine.buildx_build(
        context,
        *flags,
        *(f"--output={output.format(out=theirs, form=FORM)}" for output in outputs),
        *("--file", file),
        env={"SOURCE_DATE_EPOCH": "1000000000"},
    )
    options = {
        flag.partition("=")[0].removeprefix("--").replace("platform", "platforms"): flag.partition("=")[2]
        for flag in flags
    }
    home.build(
        None,
        str(context),
        file=str(file),
        outputs=[output.format(out=mine, form=FORM) for output in outputs],
        build_args={"SOURCE_DATE_EPOCH": "1000000000"},
        **options,
    )
    ours, real = dict(_seen(mine)), dict(_seen(theirs))
    assert ours == real


def _seen(root: Path) -> Iterator[tuple[str, Any]]:
    """What is in a directory, in the tars in it, and in the archives of images in it."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() and path.parent != root:  # which the client makes
            yield name, oct(path.stat().st_mode)
        elif name in ("o", "p"):
            yield name, _image(path)
        elif name == "t":
            with tarfile.open(path) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    data = file.read() if file else b""
                    own = (member.type, oct(member.mode), member.uid, member.gid, member.uname)
                    yield f"t/{member.name}", (*own, _content(member.name, data))
        elif path.is_file():
            yield name, (oct(path.stat().st_mode), _content(name, path.read_bytes()))


def _content(name: str, data: bytes) -> Any:
    if not name.endswith(".json"):
        return data
    statement = json.loads(data)
    return statement["subject"], _predicate(statement)


def _predicate(statement: dict[str, Any]) -> Any:
    found = comparable(statement)
    args = found["predicate"]["invocation"]["parameters"]["args"]
    args.pop("cmdline", None)
    return found


def _image(path: Path) -> Any:
    """The documents of an archive, without digests and sizes of what has times in it."""
    with tarfile.open(path) as tar:
        files = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}

    def shown(value: Any) -> Any:
        if isinstance(value, list):
            return [shown(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: shown(item) for key, item in value.items() if key not in ("digest", "size")}
        digest = value.get("digest", "")
        kind = value.get("mediaType", "")
        if digest and isinstance(digest, str) and kind.endswith("+json") and "config" not in kind:
            document = json.loads(files[f"blobs/{digest.replace(':', '/')}"])
            found["is"] = _predicate(document) if "predicate" in document else shown(document)
        elif digest and not kind.endswith("+json"):
            found["digest"] = digest
        return found

    def nameless(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: ""
                if key in ("vnd.docker.reference.digest", "org.opencontainers.image.created")
                else nameless(item)
                for key, item in value.items()
            }
        return [nameless(item) for item in value] if isinstance(value, list) else value

    return nameless(shown(json.loads(files["index.json"])))
