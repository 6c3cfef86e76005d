"""The keys by which BuildKit knows an op: the op's digest, and the relevant part of each input.

Source: BuildKit's solver/llbsolver/ops (CacheMap) and solver/cachemanager.go (rootKey).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..golang.json import dumps
from ..golang.match import has_wildcards
from ..golang.path import join_path
from ..llb.ops import (
    NO_INPUT,
    NO_OUTPUT,
    Chown,
    ContentCache,
    ExecOp,
    FileCopy,
    FileMkdir,
    FileMkfile,
    FileOp,
    MountType,
    Node,
)
from ..oci.digest import chain_id, sha256
from .opjson import document, platform_members

_NO_BINDS = (MountType.SECRET, MountType.SSH, MountType.TMPFS)


class Selector(msgspec.Struct, frozen=True):
    """The part of an input that an op reads, as BuildKit's content hash selects it."""

    path: str
    """From the root, cleaned."""
    wildcard: bool = False
    follow: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the path is the only restriction."""
        return not (self.wildcard or self.include or self.exclude)


class Dependency(msgspec.Struct, frozen=True):
    """The relevant part of an op's input."""

    selector: str = ""
    """A digest that is combined with the input's key."""
    content: tuple[Selector, ...] = ()
    """The part of the input that is hashed instead of using its key; () for none."""


class OpKey(msgspec.Struct, frozen=True):
    """The key of an op without those of its inputs."""

    digest: str
    dependencies: tuple[Dependency, ...]

    def record(self, output: int) -> str:
        """Return the digest of the records of an output."""
        return record_digest(self.digest, output)


def op_key(node: Node) -> OpKey:
    """Return the key of a node that is not a source."""
    dependencies = [Dependency()] * len(node.inputs)
    if isinstance(node.op, FileOp):
        dependencies = _file_dependencies(node.op, len(node.inputs))
    elif isinstance(node.op, ExecOp):
        dependencies = _mount_dependencies(node.op, len(node.inputs))
    return OpKey(sha256(document(node)), tuple(dependencies))


def record_digest(digest: str, output: int) -> str:
    """Return the digest of the records of an op's output."""
    return sha256(f"{digest}@{output}".encode())


def content_record(checksum: str) -> str:
    """Return the digest of the record for an input with this content."""
    return record_digest(checksum, -1)


def source_records(names: Sequence[str]) -> tuple[str, ...]:
    """Return the digests of the records of a source with these names."""
    return tuple(record_digest(sha256(f"buildkit.source.v0:{name}".encode()), 0) for name in names)


def image_names(digest: str, platform: str, diff_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of an image as a source: its manifest (or index) for a platform, and its layers."""
    manifest = sha256(dumps({"Digest": digest} | platform_members(platform)))
    return (manifest, chain_id(diff_ids)) if diff_ids else (manifest,)


def _mount_dependencies(op: ExecOp, count: int) -> list[Dependency]:
    paths: list[list[str]] = [[] for _ in range(count)]
    by_content = [False] * count
    for mount in op.mounts:
        if mount.mount_type in _NO_BINDS or mount.input == NO_INPUT:
            continue
        path = join_path("/", mount.selector)
        paths[mount.input].append(path)
        safe = mount.output == NO_OUTPUT or mount.readonly or path == "/"
        default = safe and mount.dest != "/"
        by_content[mount.input] = mount.content_cache is ContentCache.ON or (
            mount.content_cache is ContentCache.DEFAULT and default
        )
    return [
        Dependency(_selector_digest(selected), _mounted(selected) if hashed else ())
        for selected, hashed in zip(paths, by_content, strict=True)
    ]


def _mounted(paths: list[str]) -> tuple[Selector, ...]:
    outermost = _outermost(paths)
    if not outermost or "/" in outermost:
        return (Selector("/"),)
    return tuple(Selector(path, follow=True) for path in outermost)


def _selector_digest(paths: Sequence[str]) -> str:
    return sha256("\0".join(paths).encode("utf-8", "surrogateescape")) if paths else ""


def _file_dependencies(op: FileOp, count: int) -> list[Dependency]:
    selected: dict[int, list[tuple[str, Selector]]] = {}
    """The path in the op's form, and the selection that it makes."""
    for action in op.actions:
        change = action.action
        if isinstance(change, FileCopy | FileMkfile | FileMkdir) and change.owner is not None:
            _select_owner(change.owner, selected)
        if isinstance(change, FileCopy) and 0 <= action.secondary_input < count:
            selector = Selector(
                join_path("/", change.src),
                change.allow_wildcard and has_wildcards(change.src),
                change.follow_symlink,
                change.include_patterns,
                change.exclude_patterns,
            )
            selected.setdefault(action.secondary_input, []).append((change.src, selector))
    changed = {action.input for action in op.actions}
    dependencies = [Dependency()] * count
    for number, selectors in selected.items():
        if number in changed or number >= count:
            continue
        encoded = [path.encode("utf-8", "surrogateescape") for path, _ in selectors]
        digest = sha256(b"\0".join(sorted(encoded, reverse=True)))
        dependencies[number] = Dependency(digest, _deduplicated(selectors))
    return dependencies


def _select_owner(owner: Chown, selected: dict[int, list[tuple[str, Selector]]]) -> None:
    for name, path in ((owner.user, "/etc/passwd"), (owner.group, "/etc/group")):
        if isinstance(name, str):
            selected.setdefault(owner.input, []).append((path, Selector(path, follow=True)))


def _deduplicated(selectors: list[tuple[str, Selector]]) -> tuple[Selector, ...]:
    """Return selectors without plain paths below others, in BuildKit's order: that of the op's paths."""
    rows: list[tuple[str, Selector]] = []
    for follow in (False, True):
        paths = [path for path, selector in selectors if selector.plain and selector.follow is follow]
        rows += [(path, Selector(join_path("/", path), follow=follow)) for path in _outermost(paths)]
    rows += [(path, selector) for path, selector in selectors if not selector.plain]
    return tuple(selector for _, selector in sorted(rows, key=lambda row: row[0].encode("utf-8", "surrogateescape")))


def _outermost(paths: list[str]) -> list[str]:
    """Return paths without those below others, each once and sorted; a single path stays as it is."""
    unique = set(paths)
    return sorted(
        (
            path
            for path in unique
            if not any(path != other and path.startswith(other.rstrip("/") + "/") for other in unique)
        ),
        key=lambda path: path.encode("utf-8", "surrogateescape"),
    )
