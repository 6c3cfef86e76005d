"""FileOp: its actions, carried out on trees, and the changes written as one layer."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from ....cancel import Cancel
from ....errors import BuildError
from ....golang.match import has_wildcards
from ....llb.ops import (
    NO_INPUT,
    NO_OUTPUT,
    FileAction,
    FileCopy,
    FileMkdir,
    FileMkfile,
    FileOp,
    FileRm,
    FileSymlink,
)
from ....session.clutter import LARGE, look_at
from ....status.report import VertexReport
from ....store import (
    DIR,
    FILE,
    SYMLINK,
    Entry,
    LayerTree,
    LayerWriter,
    Store,
)
from ..context import ContextTree
from ..snapshot import Snapshot
from .contenthash import Selector
from .copying import Copier, CopyOptions, clean_path, expand, make_folders, resolve_source
from .mode import parse_mode
from .owner import FileReader, resolve_owner
from .unpacking import Unpacked, is_archive
from .upper import Content, FileOpError, Inode, Upper, join

_COPYING = "copying files"
_MANY = 16 << 20
"""The number of bytes from which a copy reports its progress."""

Input = LayerTree | ContextTree


def content_of(tree: Input) -> Callable[[Entry], Content]:
    """Return the content of a file of `tree` for a LayerWriter."""
    return tree.content if isinstance(tree, ContextTree) else tree.span


class FileOpRun:
    """One execution of a FileOp. `inputs` are the trees of the node's inputs; `report` receives the progress of large
    copies.
    """

    def __init__(
        self, store: Store, op: FileOp, inputs: Sequence[Input], cancel: Cancel, report: VertexReport | None = None
    ) -> None:
        self._store = store
        self._op = op
        self._inputs = inputs
        self._cancel = cancel
        self._now = time.time_ns()
        self._uppers: dict[int, Upper] = {}
        self._written: dict[int, Snapshot] = {}
        self._unpacked: list[Unpacked] = []
        self._report = report
        self._size = 0

    def run(self) -> list[Snapshot]:
        """Return the snapshot of each output. Raises `BuildError` for an action that is impossible on the file
        system.
        """
        count = len(self._inputs)
        outputs: dict[int, Snapshot] = {}
        try:
            for number, action in enumerate(self._op.actions):
                self._cancel.check()
                upper = self._start(action.input)
                self._act(upper, action)
                self._uppers[count + number] = upper
                if action.output != NO_OUTPUT:
                    outputs[action.output] = self._commit(count + number)
        finally:
            for unpacked in self._unpacked:
                unpacked.close()
        return [outputs[number] for number in sorted(outputs)]

    def _start(self, number: int) -> Upper:
        """Return the file system that an action changes: a new one on an input, or the one of an earlier action."""
        if number >= len(self._inputs) and self._uses(number) == 1 and number not in self._written:
            return self._uppers.pop(number)
        tree = self._tree(number)
        if isinstance(tree, ContextTree):
            raise BuildError("A local directory cannot be changed in place.")
        return Upper(tree, self._now)

    def _uses(self, number: int) -> int:
        return sum(number in (action.input, action.secondary_input) for action in self._op.actions)

    def _tree(self, number: int) -> Input:
        if number == NO_INPUT:
            return self._store.tree(())
        if number < len(self._inputs):
            return self._inputs[number]
        return self._store.tree(self._commit(number))

    def _commit(self, number: int) -> Snapshot:
        known = self._written.get(number)
        if known is None:
            upper = self._uppers[number]
            known = self._store.contents.find(upper.contents()) if self._size >= _MANY else None
            with LayerWriter(self._store, cancel=self._cancel, on_bytes=self._tell, known=known) as writer:
                upper.write(writer)
                layer = writer.finish()
            self._tell(self._size, done=True)
            known = self._written[number] = (*upper.base.diff_ids, layer.diff_id)
            upper.base.under(layer)
        return known

    def _tell(self, written: int, *, done: bool = False) -> None:
        """Report the number of copied bytes, if the copy takes long enough to be watched."""
        if self._report is not None and self._size >= _MANY:
            self._report.status(_COPYING, current=min(written, self._size - (not done)), total=self._size)

    def _act(self, upper: Upper, action: FileAction) -> None:
        change = action.action
        if isinstance(change, FileCopy):
            self._copy(upper, change, self._tree(action.secondary_input))
        elif isinstance(change, FileMkdir):
            _mkdir(upper, change, resolve_owner(change.owner, self._reader(upper)))
        elif isinstance(change, FileMkfile):
            _mkfile(upper, change, resolve_owner(change.owner, self._reader(upper)))
        elif isinstance(change, FileSymlink):
            _symlink(upper, change, resolve_owner(change.owner, self._reader(upper)))
        else:
            _remove(upper, change)

    def _reader(self, upper: Upper) -> FileReader:
        def read(number: int, path: str) -> bytes | None:
            if number >= len(self._inputs) and number not in self._written:
                return self._uppers.get(number, upper).read(self._store, path)
            tree = self._tree(number)
            entry = tree.get(resolve_source(tree, path, True))
            return tree.read(entry) if entry is not None and entry.type == FILE else None

        return read

    def _copy(self, upper: Upper, change: FileCopy, tree: Input) -> None:
        source, dest = clean_path(change.src), clean_path(change.dest)
        if not change.create_dest_path and upper.lookup(posixpath.dirname(upper.resolve(dest))) is None:
            raise FileOpError(f"failed to stat {change.dest}: no such file or directory")
        owner = resolve_owner(change.owner, self._reader(upper))
        options = CopyOptions(
            owner=owner,
            mode=None if change.mode == -1 or change.mode_str else change.mode,
            change_mode=parse_mode(change.mode_str) if change.mode_str else None,
            timestamp=_timestamp(change.timestamp),
            include=change.include_patterns,
            exclude=change.exclude_patterns,
            follow=change.follow_symlink,
            contents=change.dir_copy_contents,
            replace=change.always_replace_existing,
        )
        paths = [source]
        if change.allow_wildcard and has_wildcards(source):
            paths = ["/" + path for path in expand(tree, source, change.follow_symlink)]
            if not paths and not change.allow_empty_wildcard:
                raise FileOpError(f"{source} not found")
        copier = Copier(upper, tree, content_of(tree), options, self._cancel)
        for path in paths:
            if not (change.attempt_unpack and self._unpack(upper, tree, path, dest, options)):
                copier.copy(path, dest)
        self._size += copier.size
        if copier.size >= LARGE and isinstance(tree, ContextTree):
            self._tell_what(tree, paths)

    def _tell_what(self, tree: ContextTree, sources: Sequence[str]) -> None:
        """Describe a large copy of the context before it is written, and what could be excluded."""
        if self._report is None:
            return
        paths = [resolve_source(tree, path, True) for path in sources]
        entries = [entry for path in paths for entry in (tree.walk(path) if tree.is_dir(path) else [tree.get(path)])]
        clutter = look_at((entry.path, entry.size) for entry in entries if entry is not None and entry.type == FILE)
        self._report.log(f"Copying {clutter.sentence()}\n".encode("utf-8", "surrogateescape"))
        if clutter.ignorable and tree.root is not None:
            self._report.warn(
                f"The context contains files that an image seldom needs. {clutter.advice(tree.root)}",
                context=str(tree.root),
                ignorable=tuple(pattern for pattern, _ in clutter.ignorable),
            )

    def _unpack(self, upper: Upper, tree: Input, source: str, dest: str, options: CopyOptions) -> bool:
        entry = tree.get(resolve_source(tree, source, True))
        if entry is None or entry.type != FILE or not entry.size or not is_archive(lambda: tree.open(entry)):
            return False
        at = upper.resolve(dest)
        make_folders(upper, at, 0o755, options.owner, options.timestamp)
        unpacked = Unpacked(self._store.root / "work")
        self._unpacked.append(unpacked)
        with tree.open(entry) as file:
            unpacked.unpack(upper, at, file, options.owner, self._cancel)
        return True


def _mkdir(upper: Upper, change: FileMkdir, owner: tuple[int, int] | None) -> None:
    path = upper.resolve(change.path)
    timestamp = _timestamp(change.timestamp)
    if change.make_parents:
        make_folders(upper, path, change.mode & 0o777, owner, timestamp)
        return
    if upper.lookup(path) is not None:
        return
    folder, _, name = upper.parent(path)
    now = upper.now if timestamp is None else timestamp
    inode = Inode.within(folder, DIR, change.mode & 0o777, now, owner)
    upper.put(folder, name, inode)


def _mkfile(upper: Upper, change: FileMkfile, owner: tuple[int, int] | None) -> None:
    path = upper.resolve(change.path)
    folder, above, name = upper.parent(path)
    inode = upper.child(folder, above, name)
    if inode is None:
        inode = Inode.within(folder, FILE, change.mode & 0o777, upper.now, None)
        upper.put(folder, name, inode)
    elif inode.is_dir:
        raise FileOpError(f"open /{path}: is a directory")
    inode.content = change.data or None
    inode.size = len(change.data)
    inode.digest = b""
    inode.dirty = True
    inode.mtime = upper.now
    _finish(inode, owner, change.timestamp)


def _symlink(upper: Upper, change: FileSymlink, owner: tuple[int, int] | None) -> None:
    path = upper.resolve(change.newpath)
    folder, above, name = upper.parent(path)
    if upper.child(folder, above, name) is not None:
        raise FileOpError(f"symlink {change.oldpath} /{path}: file exists")
    inode = Inode.within(folder, SYMLINK, 0o777, upper.now, None)
    inode.link = change.oldpath
    upper.put(folder, name, inode)
    _finish(inode, owner, change.timestamp)


def _finish(inode: Inode, owner: tuple[int, int] | None, timestamp: int) -> None:
    if owner is not None:
        inode.uid, inode.gid = owner
    if timestamp != -1:
        inode.mtime = timestamp


def _remove(upper: Upper, change: FileRm) -> None:
    paths = [change.path]
    if change.allow_wildcard and has_wildcards(change.path):
        paths = expand(_UpperTree(upper), change.path, False)
    for path in paths:
        above, _, name = clean_path(path).rstrip("/").rpartition("/")
        if not name:
            raise FileOpError("rmPath: invalid empty path")
        above = upper.resolve(above)
        folder = upper.lookup(above)
        inode = None if folder is None else upper.child(folder, above, name)
        if folder is not None and inode is not None:
            upper.remove(folder, above, name)
        elif not change.allow_not_found:
            raise FileOpError(f"stat /{join(above, name)}: no such file or directory")


def _timestamp(value: int) -> int | None:
    return None if value == -1 else value


class _UpperTree:
    """An Upper with the interface that `expand` reads."""

    def __init__(self, upper: Upper) -> None:
        self._upper = upper

    def get(self, path: str) -> Entry | None:
        inode = self._upper.lookup(path)
        return None if inode is None else Entry(path, inode.type, inode.mode, link=inode.link)

    def children(self, path: str) -> list[Entry]:
        folder = self._upper.lookup(path)
        names = [] if folder is None else self._upper.names(folder, path)
        return [entry for name in names if (entry := self.get(join(path, name))) is not None]


def selectors(op: FileOp, inputs: int) -> dict[int, list[Selector]]:
    """Return the selectors of the inputs that a FileOp reads by content; the others count as a whole, by key."""
    by_input: dict[int, list[Selector]] = {}
    changed = {action.input for action in op.actions}
    for action in op.actions:
        change = action.action
        owner = None if isinstance(change, FileRm) else change.owner
        if owner is not None:
            for name, path in ((owner.user, "/etc/passwd"), (owner.group, "/etc/group")):
                if isinstance(name, str) and name and owner.input != NO_INPUT:
                    by_input.setdefault(owner.input, []).append(Selector(path, wildcard=True, follow=True))
        if isinstance(change, FileCopy) and action.secondary_input != NO_INPUT:
            by_input.setdefault(action.secondary_input, []).append(
                Selector(
                    posixpath.join("/", change.src),
                    change.allow_wildcard,
                    change.follow_symlink,
                    change.include_patterns,
                    change.exclude_patterns,
                    change.required_paths,
                )
            )
    return {
        number: _outermost(paths) for number, paths in by_input.items() if number < inputs and number not in changed
    }


def _outermost(selectors: list[Selector]) -> list[Selector]:
    """Return paths without plain ones below others, as BuildKit does: the copy itself then reports a missing one."""
    plain = {(selector.path, selector.follow) for selector in selectors if _is_plain(selector)}

    def covered(selector: Selector) -> bool:
        above = [*PurePosixPath(selector.path).parents]
        return _is_plain(selector) and any((str(path), selector.follow) in plain for path in above)

    return sorted({selector for selector in selectors if not covered(selector)})


def _is_plain(selector: Selector) -> bool:
    return not (selector.include or selector.exclude or (selector.wildcard and has_wildcards(selector.path)))
