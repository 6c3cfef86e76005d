"""The jobs that the builder sends to its helper (marshalled, so plain dicts, lists and bytes)."""

from __future__ import annotations

from typing import TypedDict


class MountJob(TypedDict):
    """A mount beside the root: `kind` as llb's MountType; paths are absolute ones of the machine."""

    kind: str
    dest: str
    readonly: bool
    device: bool
    """Whether it is a device that may be opened."""
    compared: bool
    """Whether its changes are kept; then the images in `lower` are reported."""
    lower: list[str]
    """bind: layer directories, bottom first; [] for scratch."""
    upper: str
    work: str
    """bind: the directory for writes, which are discarded afterwards; "" when read-only."""
    source: str
    """cache: directory; ssh: socket; bind of a copied tree: its directory. "" otherwise."""
    layers: bool
    """Whether `source` is made from layers, rather than a directory of the machine."""
    kept: bool
    """Whether the owners of the files in `source` are remembered in a table beside it."""
    selector: str
    size: int
    options: str
    """tmpfs: additional mount options."""
    data: bytes
    mode: int
    uid: int
    gid: int


class ProcessJob(TypedDict):
    """A process, in whichever sandbox."""

    args: list[str]
    env: list[str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]
    network: str
    ulimits: list[tuple[str, int, int]]
    insecure: bool
    capabilities: list[str] | None
    """Root's capabilities; None for the default of a RUN. With ALL, only those that there are here."""
    terminal: list[int]
    """Rows and columns of the process's terminal; [] for pipes."""


class RunJob(ProcessJob):
    """A process, and the file systems that it sees."""

    lower: list[str]
    upper: str
    work: str
    root: str
    """A directory that is the whole root, where there is no overlay, or that the tracer fills from `lower`."""
    mounts: list[MountJob]
    hostname: str
    hosts: bytes
    resolv: bytes
    shm_size: int
    readonly_root: bool
    hooks: list[tuple[str, list[str], list[str], bool]]
    """Hooks: path, argv, environment, and whether the program is one of the image."""
    root_cwd: bool
    """Whether a working directory that has to be made belongs to root instead of the process's user."""
    init: bool
    """Whether an init process reaps processes and forwards signals."""
    started: bool
    """Whether the last descriptor is a pipe to be closed when the process has begun."""
    cgroups: list[str]
    """The files through which the process joins its cgroups."""
    runtime: str
    """Path of an OCI runtime; "" for the built-in sandbox."""
    tracer: str
    """Path of the tracer, where there are no namespaces; "" without one. It uses the next four fields."""
    proot: str
    """Path of proot, where it replaces the tracer; "" without it. It uses `tmp` and `memory`."""
    owners: str
    """The table of owners of the tracer or the `keeper`."""
    told: str
    """The file in which the tracer records the changes."""
    keeper: str
    """Path of the tracer that remembers owners inside of namespaces; "" without one."""
    tmp: str
    """A directory of this run, on disk."""
    memory: str
    """A directory of this run, in memory."""
    spare: str
    """A file that takes room, which a tracer removes when its tables find none."""


class EnterJob(ProcessJob):
    """An additional process for a running sandbox."""

    cgroups: list[str]
    runtime: str
    """Path of the OCI runtime that runs the sandbox; "" for the built-in sandbox."""
    tracer: str
    """Path of the sandbox's tracer, if it has one."""


EntryRow = tuple[str, str, int, int, int, int, int, str, int, int, int, int, "dict[str, bytes] | None"]
"""Path, type, mode, uid, gid, mtime (ns), size, link, blob (its number), offset, devmajor, devminor, xattrs."""


class ExtractJob(TypedDict):
    """Files to write below `root`, an empty directory. `overlay`: deletions become overlayfs's whiteouts."""

    root: str
    blobs: list[str]
    entries: list[EntryRow]
    record: str
    """The file for a record of the extracted entries, for a later comparison; "" for none."""
    owners: str
    """The file for the table of owners of a traced root."""
    lazy: str
    """The file for the table of names and contents that the tracer makes later (see `lazy`); "" to make all now."""
    tars: list[str]
    """The paths of `blobs` from the directory in which that table will be."""
    remembered: bool
    """Whether a tracer remembers owners, devices and capabilities, which files cannot have here."""


class ChangesJob(TypedDict):
    """The search for changes: in `upper` against the stack `lower`, or in the tree `root` against its `record`."""

    lower: list[str]
    upper: str
    root: str
    record: str
    blobs: list[str]
    stubs: list[str]
    """Mount points to remove first, if they are still empty."""
    owners: str
    """The tracer's table; "" for none."""
    before: str
    """The table of owners before, by path; "" for the tracer's own, by inode, beside `owners`."""
    told: str
    """The file in which the tracer recorded the changes; "" for none."""
    contents: bool
    """Whether the files are opened and sent along."""


class OpenJob(TypedDict):
    """Changed files of a process, to be opened and sent one after the other."""

    changes: ChangesJob
    paths: list[str]
