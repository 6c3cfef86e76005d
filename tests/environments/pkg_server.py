"""What a server of Julia's packages has, made here: a registry, and packages of one module, as plain files.

`Pkg` names each by the hash that Git gives to its tree, and asks for `registries`, `registry/UUID/HASH` and
`package/UUID/HASH` (https://github.com/JuliaLang/Pkg.jl/issues/1377).
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

REGISTRY = "23338594-aafe-5451-b93e-139f81909106"
"""The UUID of Julia's general registry, which Pkg adds by itself."""


def make_server(root: Path, modules: Mapping[str, str]) -> None:
    """Make the files: each of `modules` is the code of a package of that name, in version 1.0.0."""
    registry: dict[str, str] = {}
    rows: list[str] = []
    for number, (name, code) in enumerate(modules.items(), 1):
        uuid = f"00000000-0000-4000-8000-{number:012}"
        head = f'name = "{name}"\nuuid = "{uuid}"\n'
        tree = _put(root / "package" / uuid, {"Project.toml": f'{head}version = "1.0.0"\n', f"src/{name}.jl": code})
        registry[f"{name}/Package.toml"] = f'{head}repo = "https://git.example/{name}.jl.git"\n'
        registry[f"{name}/Versions.toml"] = f'["1.0.0"]\ngit-tree-sha1 = "{tree}"\n'
        rows.append(f'{uuid} = {{ name = "{name}", path = "{name}" }}\n')
    registry["Registry.toml"] = (
        f'name = "General"\nuuid = "{REGISTRY}"\nrepo = "https://git.example/General.git"\n\n[packages]\n'
        + "".join(rows)
    )
    tree = _put(root / "registry" / REGISTRY, registry)
    (root / "registries").write_text(f"/registry/{REGISTRY}/{tree}\n")


def _put(folder: Path, files: Mapping[str, str]) -> str:
    """Write an archive of files to a directory, under the hash that Git gives to their tree; return the hash."""
    with tempfile.TemporaryDirectory() as scratch:
        for path, text in files.items():
            file = Path(scratch, "tree", path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        git = ["git", f"--git-dir={scratch}/git", f"--work-tree={scratch}/tree"]
        for words in (["init", "-q"], ["add", "."], ["write-tree"]):
            done = subprocess.run([*git, *words], check=True, capture_output=True, text=True)
    tree = done.stdout.strip()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(text.encode()), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / tree).write_bytes(buffer.getvalue())
    return tree
