"""The Dockerfile that adds a kernel to an image, for `--add-ipykernel`."""

from __future__ import annotations

import re

import msgspec

from ..errors import UsageError
from ..oci import reference
from ..oci.config import ImageConfig
from ..store import resolve
from ..store.tree import Tree
from .find import SEARCHED, find_program


def dockerfile_with_ipykernel(image: str, tree: Tree, config: ImageConfig) -> str:
    """Return the text of a Dockerfile that adds ipykernel to `image` with the package manager of its Python.

    That is conda, pip, or the packages of Debian and Alpine; USER is preserved. Raises UsageError for an image without
    Python, or without a suitable package manager.
    """
    places = config.config.search_path or SEARCHED

    def program(*names: str) -> str:
        return find_program(tree, places, *names)

    python, pip, conda = program("python3", "python"), program("pip3", "pip"), program("mamba", "conda")
    owned = python.startswith(("/usr/bin/", "/bin/"))
    if conda and python.rpartition("/")[0] == conda.rpartition("/")[0]:
        command = f"{conda} install --yes ipykernel"
    elif python and pip and not (owned and _externally_managed(tree)):
        command = f"{python} -m pip install --no-cache-dir ipykernel"
    elif program("apt-get") and (owned or not python):
        command = (
            "apt-get update && apt-get install --yes --no-install-recommends python3-ipykernel && "
            "rm -rf /var/lib/apt/lists/*"
        )
    elif program("apk") and owned:
        command = "apk add --no-cache py3-ipykernel"
    else:
        raise UsageError(
            f"{image} has {'no pip' if python else 'no Python'}, so ipykernel cannot be added to it.",
            hint="Install a Jupyter kernel in its Dockerfile.",
        )
    user = config.config.user
    lines = [f"FROM {image}", f"RUN {command}"]
    if user not in ("", "root", "0") and re.fullmatch(r"[\w.:-]+", user):
        lines = [lines[0], "USER root", lines[1], f"USER {user}"]
    return "\n".join(lines) + "\n"


def derived_name(image: str) -> str:
    """Return the name for `image` with ipykernel added: its tag with `-kernel` appended."""
    parsed = reference.parse(image).tagged()
    return msgspec.structs.replace(parsed, tag=f"{parsed.tag or 'latest'}-kernel", digest="").familiar


def _externally_managed(tree: Tree) -> bool:
    """Return whether pip would refuse to install into the system's Python (PEP 668)."""
    library = resolve(tree, "usr/lib")
    return any(
        tree.get(f"{entry.path}/EXTERNALLY-MANAGED") is not None
        for entry in tree.children(library)
        if entry.path.rpartition("/")[2].startswith("python3")
    )
