"""The shapes of the jobs that the builder sends to its helper (marshalled, so plain dicts, lists and bytes)."""

from __future__ import annotations

from typing import TypedDict


class MountJob(TypedDict):
    """A mount beside the root: `kind` as llb's MountType; paths are the machine's own, absolute."""

    kind: str
    dest: str
    readonly: bool
    device: bool
    """Whether it is a device, which may be opened."""
    lower: list[str]
    """bind: layer directories, bottom first; [] for scratch."""
    upper: str
    work: str
    """bind: where writes go before they are thrown away; "" when read-only."""
    source: str
    """cache: directory; ssh: socket; bind of a copied tree: its directory. "" otherwise."""
    layers: bool
    """Whether `source` is made of layers, and not a directory of the machine."""
    kept: bool
    """Whether the owners of what is in `source` are remembered in a table beside it."""
    selector: str
    size: int
    options: str
    """tmpfs: more mount options; `exec` among them allows programs."""
    data: bytes
    mode: int
    uid: int
    gid: int


class ProcessJob(TypedDict):
    """A process, whichever sandbox it is in."""

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
    """Root's capabilities; None for those of a RUN."""
    terminal: list[int]
    """Rows and columns of the terminal that the process gets; [] for pipes."""


class RunJob(ProcessJob):
    """A process and the file systems it sees."""

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
    hooks: list[tuple[str, list[str], list[str]]]
    """Programs of the machine that prepare the root: path, argv, environment."""
    root_cwd: bool
    """Whether a working directory that has to be made is root's, and not the process's."""
    init: bool
    """Whether the first process is one that reaps, and passes signals on."""
    started: bool
    """Whether the last descriptor is a pipe that is to be closed when the process has begun."""
    cgroups: list[str]
    """The files by which it joins its cgroups."""
    runtime: str
    """Path of an OCI runtime; "" for the built-in sandbox."""
    tracer: str
    """Path of the tracer, where there are no namespaces; "" for none. Then the next four are used."""
    proot: str
    """Path of proot, where that stands in for the tracer; "" for none. Then `tmp` and `memory` are used."""
    owners: str
    """Its table of owners; that of `keeper`, too."""
    told: str
    """Where it tells what was changed."""
    keeper: str
    """Path of the tracer that remembers owners inside of namespaces; "" for none."""
    tmp: str
    """A directory of the run, on disk."""
    memory: str
    """A directory of the run, in memory."""


class EnterJob(ProcessJob):
    """One more process of the sandbox that is running."""

    cgroups: list[str]
    runtime: str
    """Path of the OCI runtime that the sandbox is run by; "" for the built-in one."""
    tracer: str
    """Path of the tracer, where the sandbox has one."""


EntryRow = tuple[str, str, int, int, int, int, int, str, int, int, int, int, "dict[str, bytes] | None"]
"""path, type, mode, uid, gid, mtime (ns), size, link, blob (its number), offset, devmajor, devminor, xattrs."""


class ExtractJob(TypedDict):
    """Files to write below `root`, an empty directory. `overlay`: deletions become overlayfs's whiteouts."""

    root: str
    blobs: list[str]
    entries: list[EntryRow]
    record: str
    """Where to write what was made, for a later comparison; "" for nowhere."""
    owners: str
    """Where the table of owners of a traced root is written."""
    remembered: bool
    """Whether a tracer remembers owners, devices and capabilities, which files cannot have here."""


class ChangesJob(TypedDict):
    """The job of finding changes: of `upper` against the stack `lower`, or of the tree `root` against its `record`."""

    lower: list[str]
    upper: str
    root: str
    record: str
    blobs: list[str]
    stubs: list[str]
    """Mount points to remove first, if they are empty still."""
    owners: str
    """The tracer's table; "" for none."""
    told: str
    """Where the tracer has told what changed; "" for nowhere."""
    contents: bool
    """Whether the files are opened and sent along."""


class OpenJob(TypedDict):
    """Files of what a process changed, to be opened and sent one after the other."""

    changes: ChangesJob
    paths: list[str]
