"""What BuildKit answers to `--call`, for many Dockerfiles in one go, and what the embedded builder answers."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pybuild_magic.api import run as api
from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.cancel import Cancel
from pybuild_magic.request.options import BuildOptions
from pybuild_magic.request.solve_request import compile_request
from pybuild_magic.request.values import Call
from tests.services import baseimages, cache_dir
from tests.services.buildkit import Engine
from tests.services.common import lock

from .check_cases import FOREIGN, Case

AT_ONCE = 40


def foreign_image() -> bytes:
    """An OCI archive of `FOREIGN`: busybox, whose config says that it is for a platform of nobody's."""
    base = baseimages.busybox()
    config = json.dumps({**base.config, "architecture": "loong64"}).encode()
    manifest = dict(base.manifest)
    manifest["config"] = {**manifest["config"], "digest": _digest(config), "size": len(config)}
    data = json.dumps(manifest).encode()
    names = {"io.containerd.image.name": f"docker.io/library/{FOREIGN}:latest"}
    descriptor = {**base.descriptor, "digest": _digest(data), "size": len(data), "annotations": names}
    descriptor.pop("platform", None)
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode(),
    }
    layers = [base.blob(layer["digest"]) for layer in manifest["layers"]]
    files |= {"blobs/" + _digest(blob).replace(":", "/"): blob for blob in (config, data, *layers)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, blob in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(blob)
            tar.addfile(info, io.BytesIO(blob))
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write(root: Path, case: Case) -> Path:
    """The context of a case, its Dockerfile with it."""
    for name, data in {**case.files, "Dockerfile": case.dockerfile}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data)
    return root


def theirs(engine: Engine, method: str, cases: Mapping[str, Case]) -> dict[str, Any]:
    """BuildKit's answers by name, as `docker buildx bake` gives them. They are kept, by engine and cases."""
    key = f"1 {engine.version} {method} ".encode() + msgspec.json.encode(cases, order="sorted")
    kept = cache_dir() / "checks" / f"{hashlib.sha256(key).hexdigest()[:32]}.json"
    with lock("checks"):
        if not kept.exists():
            engine.load(foreign_image())
            names = list(cases)
            answers: dict[str, Any] = {}
            for start in range(0, len(names), AT_ONCE):
                answers |= _ask(engine, method, {name: cases[name] for name in names[start : start + AT_ONCE]})
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(answers))
    return json.loads(kept.read_bytes())


def _ask(engine: Engine, method: str, cases: Mapping[str, Case]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="pybuild-checks-") as scratch:
        targets: dict[str, Any] = {}
        for number, case in enumerate(cases.values()):
            context = write(Path(scratch, str(number)), case)
            targets[f"t{number}"] = {
                "context": str(context),
                "args": case.args,
                **({"target": case.target} if case.target else {}),
                **({"platforms": [case.platform]} if case.platform else {}),
            }
        file = Path(scratch, "bake.json")
        file.write_text(json.dumps({"target": targets, "group": {"default": {"targets": list(targets)}}}))
        flags = ("--allow=fs.read=*", "--progress=quiet", f"--call={method},format=json")
        command = ("buildx", "bake", "--file", file, *flags)
        done = engine.docker(*command, cwd=scratch, check=False)  # whose exit code tells of warnings too
        if "no such job" in done.stderr:  # BuildKit loses one now and then when many begin at once
            done = engine.docker(*command, cwd=scratch, check=False)
        assert done.stdout, done.stderr
        found = json.loads(done.stdout)["target"]
    return {name: found[f"t{number}"][method] for number, name in enumerate(cases)}


def ours(builder: EmbeddedBuilder, method: str, case: Case, root: Path) -> dict[str, Any]:
    """The embedded builder's answer."""
    options = BuildOptions(
        context=str(write(root, case)),
        build_args=case.args,
        target=case.target,
        platforms=(case.platform,) if case.platform else (),
        call=Call(method),
    )
    session = api.open_session(options, "embedded")
    request = compile_request(options, "embedded", session=session.id)
    response = builder.solve(request, session, lambda status: None, Cancel())
    return json.loads(response.exporter_response["result.json"])
