"""A conda channel for the tests: a few packages, made here, in a directory that any web server can serve.

`micromamba.py` installs from it with rattler's own solver and linker, since micromamba itself is in no registry.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import tarfile
from pathlib import Path
from typing import Any

_NOARCH: dict[str, Any] = {"noarch": "python", "subdir": "noarch", "build": "py_0"}
_VENV = "home = /usr/bin\ninclude-system-site-packages = false\n"


def make_channel(root: Path, python: str) -> list[str]:
    """Make the channel, for a base with this version of Python; returns the names of its files."""
    version = ".".join(python.split(".")[:2])
    links = {f"bin/python{version}": f"/usr/bin/python{version}", "bin/python3": f"python{version}"}
    packages = [
        # Python takes this directory for an environment, which uses the base image's Python.
        _package("python", python, {"pyvenv.cfg": _VENV}, {**links, "bin/python": "python3"}, subdir="linux-64"),
        _package("pip", importlib.metadata.version("pip"), _modules_of("pip"), depends=["python"], **_NOARCH),
        _package(
            "jupyterlab",
            "4.0",
            {"site-packages/jupyterlab.py": "def main():\n    print('4.0')\n"},
            depends=["python", "small >=1"],
            programs=["jupyter = jupyterlab:main"],
            **_NOARCH,
        ),
        *(
            _package("small", number, {"site-packages/small.py": f"version = {number!r}\n"}, **_NOARCH)
            for number in ("0.9", "1.0", "2.0")
        ),
        _package("ipykernel", "7.0", {"site-packages/ipykernel.py": ""}, depends=["python"], **_NOARCH),
    ]
    for subdir in ("noarch", "linux-64"):
        (root / subdir).mkdir(parents=True)
        records: dict[str, Any] = {}
        for index, content in packages:
            if index["subdir"] == subdir:
                name = f"{index['name']}-{index['version']}-{index['build']}.tar.bz2"
                (root / subdir / name).write_bytes(content)
                digest = hashlib.sha256(content).hexdigest()
                records[name] = {**index, "sha256": digest, "size": len(content)}
        document = {"info": {"subdir": subdir}, "packages": records, "packages.conda": {}, "repodata_version": 1}
        (root / subdir / "repodata.json").write_text(json.dumps(document))
    return [f"{index['subdir']}/{index['name']}-{index['version']}-{index['build']}.tar.bz2" for index, _ in packages]


def _package(
    name: str,
    version: str,
    files: dict[str, str | bytes],
    links: dict[str, str] | None = None,
    programs: list[str] | None = None,
    **more: Any,
) -> tuple[dict[str, Any], bytes]:
    """Return a package, and its entry in the index of a channel."""
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": [], **more}
    paths = [{"_path": path, "path_type": "hardlink", **_sums(content)} for path, content in files.items()]
    paths += [{"_path": path, "path_type": "softlink"} for path in links or {}]
    members: dict[str, str | bytes] = {
        **files,
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "".join(f"{path}\n" for path in [*files, *(links or {})]),
    }
    if "noarch" in more:
        noarch = {"type": "python", "entry_points": programs or []}
        members["info/link.json"] = json.dumps({"noarch": noarch, "package_metadata_version": 1})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as tar:
        for path, content in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(data := _bytes(content))
            tar.addfile(info, io.BytesIO(data))
        for path, target in (links or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return index, buffer.getvalue()


def _sums(content: str | bytes) -> dict[str, Any]:
    data = _bytes(content)
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _modules_of(name: str) -> dict[str, str | bytes]:
    """Return the files of a distribution of this machine, as a package for any platform has them."""
    files: dict[str, str | bytes] = {}
    for file in importlib.metadata.files(name) or ():
        if file.parts[0] != ".." and file.suffix != ".pyc":
            files[f"site-packages/{file}"] = Path(str(file.locate())).read_bytes()
    return files
