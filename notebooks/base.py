"""Base images without a network: programs of this machine, with the libraries they need, as a build context."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path


def programs(*names: str) -> dict[str, bytes]:
    """Return the files of these programs and of their shared libraries, by their paths in the image."""
    files: dict[str, bytes] = {}
    for name in names:
        path = shutil.which(name)
        if path is None:
            raise FileNotFoundError(f"This machine has no {name}.")
        files[f"bin/{name}"] = Path(path).read_bytes()
        files |= libraries(path)
    return files


def libraries(*paths: str | Path) -> dict[str, bytes]:
    """Return the shared libraries that programs or extension modules need, by their paths in the image."""
    needed = subprocess.run(["ldd", *map(str, paths)], capture_output=True, text=True, check=False).stdout
    found = re.findall(r"(?:=> |^\s+)(/[^\s:]+) \(", needed, re.MULTILINE)
    return {name[1:]: Path(name).read_bytes() for name in found}


_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "__pycache__"}
_UNCHECKED = (1).to_bytes(4, "little")
"""The flag of bytecode that does not depend on the time of its source (PEP 552)."""


def python(*, ensurepip: bool = False) -> dict[str, bytes]:
    """Return this machine's Python with pip, but without its tests: about 1,500 files below `usr`.

    With `ensurepip`, which `python -m venv` uses to install pip, it also has the C++ runtime that kernels need, and the
    certificate authorities that this machine trusts.
    """
    library = Path(os.__file__).parent
    home = f"usr/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    spec = importlib.util.find_spec("pip")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("This Python has no pip: run `python -m ensurepip`.")
    program = Path(sys.executable).resolve()
    # pip keeps its downloads in the home directory of its user.
    files = {"usr/bin/python3": program.read_bytes(), "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"}
    files |= _modules(library, home) | _modules(Path(spec.origin).parent, f"{home}/site-packages/pip")
    if ensurepip:
        files |= _modules(library / "ensurepip", f"{home}/ensurepip")
        kernels = [Path(name).parent for name in map(_place, ("zmq", "debugpy", "markupsafe")) if name]
        native = libraries(*(path for folder in kernels for path in folder.rglob("*.so")))
        # Files beside the modules of a wheel are included.
        files |= {name: content for name, content in native.items() if name.startswith(("lib", "usr/lib"))}
        files |= _authorities()
    return files | libraries(program, *library.glob("lib-dynload/*.so"))


def _authorities() -> dict[str, bytes]:
    """Return this machine's certificate authorities, and the setting that makes pip use them instead of its own."""
    path = ssl.get_default_verify_paths().cafile
    if path is None:
        return {}
    return {"etc/ssl/cert.pem": Path(path).read_bytes(), "etc/pip.conf": b"[global]\ncert = /etc/ssl/cert.pem\n"}


def _place(module: str) -> str:
    spec = importlib.util.find_spec(module)
    return (spec.origin or "") if spec else ""


def _modules(folder: Path, target: str) -> dict[str, bytes]:
    """Return the modules in a folder with their existing bytecode, so that nothing has to be compiled."""
    files: dict[str, bytes] = {}
    for path in sorted(folder.iterdir()):
        name = path.name
        if path.is_dir():
            if name not in _LEFT_OUT and not name.startswith(("config-", "site-packages", "dist-packages")):
                files |= _modules(path, f"{target}/{name}")
        elif not name.endswith(".a"):
            files[f"{target}/{name}"] = path.read_bytes()
            compiled = Path(importlib.util.cache_from_source(str(path))) if name.endswith(".py") else path
            if compiled != path and compiled.exists():
                code = compiled.read_bytes()
                files[f"{target}/__pycache__/{compiled.name}"] = code[:4] + _UNCHECKED + bytes(8) + code[16:]
    return files
