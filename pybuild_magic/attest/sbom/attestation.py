"""SBOMs of the built-in scanner as attestations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...cancel import Cancel
from ...store import LayerTree, Store, resolve
from ..statement import SPDX, Attestation, LayerForm
from .scan import proofs, scan
from .spdx import ProvingFile, document, supplemented

RESULT_SBOM = "sbom"
"""The name of the result's own SBOM; names of additional targets begin with it and a hyphen."""
_SUFFIX = ".spdx.json"
_BLOCK = 1 << 20


def tool() -> str:
    """Return the tool that writes SBOMs here, by name and version."""
    try:
        return f"pybuild_magic-{version('pybuild_magic')}"
    except PackageNotFoundError:
        return "pybuild_magic"


def scanned(
    name: str, target: str, store: Store, tree: LayerTree, cancel: Cancel, *, created: int, core: bool
) -> Attestation:
    """Scan a snapshot, called `target` in its document, and return its contents as `NAME.spdx.json`.

    `created` is in nanoseconds since 1970. Files of the result itself (`core`) name the layer that they come from.
    """
    scanned_tree = scan(store, tree, cancel)
    files = {path: _proving(path, tree, cancel) for path in proofs(scanned_tree.packages)}
    own = tool()
    predicate = document(target, scanned_tree.packages, files, scanned_tree.unread, created=created, tool=own)
    make = supplemented_by_layers(predicate, tree if core else None)
    return Attestation(name + _SUFFIX, SPDX, make, core=core)


def supplemented_by_layers(contents: Any, tree: LayerTree | None) -> Callable[[LayerForm], Any]:
    """Return what makes the document `contents` about `tree` name the layer of each file; as it is without a tree."""
    if tree is None:
        return lambda _: contents
    layers = _layers(tree)

    def predicate(form: LayerForm) -> Any:
        def layer_of(name: str) -> str:
            blob = form(layers(name))
            return blob.digest if blob else ""

        return supplemented(contents, layer_of, tool())

    return predicate


def _layers(tree: LayerTree) -> Callable[[str], str]:
    """Return a function that finds the diffID of a file's layer; "" for a file that is not there."""

    def layer_of(name: str) -> str:
        entry = tree.get(resolve(tree, name.lstrip("/"), follow_last=False))
        return tree.layer_of(entry) if entry else ""

    return layer_of


def _proving(path: str, tree: LayerTree, cancel: Cancel) -> ProvingFile:
    entry = tree.get(path)
    assert entry
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    with tree.open(entry) as file:
        while block := file.read(_BLOCK):
            cancel.check()
            sha1.update(block)
            if not entry.digest:
                sha256.update(block)
    return ProvingFile(path, sha1.hexdigest(), entry.digest.hex() or sha256.hexdigest())
