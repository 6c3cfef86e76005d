"""The tracer: a root, mounts and ids for a process tree where the kernel gives no namespaces (rungs 3 to 5).

A native program (`native/` in the sources, `bin/` beside this module), statically linked, that needs nothing but
ptrace and seccomp's user notification (Linux 5.14; calls are never answered twice from 5.19 on): no capability, no
namespace, `no_new_privs` is fine, Docker's default profile too. `find` finds it, `probe` says in a few milliseconds
whether it works here, `command` is the command line.

    tracer [--root DIR] [--bind SRC:DST[:ro]]... [--ids [--user UID:GID] [--groups GID,...]] [--owners FILE]
           [--lower DIR]... [--work DIR] [--cow] [--changes FILE] [--read-only] [--network none] [--hostname NAME]
           [--cwd DIR] -- COMMAND...

It runs COMMAND (looked for in $PATH, inside the root) with its own environment and descriptors 0 to 2, all others
closed, and exits with its code, 128+n for a signal, 127 and 126 when it cannot be started, 125 with a line on stderr
when the tracer itself cannot. When COMMAND ends, all that it left behind is killed, as with pid 1 of a namespace.
SIGTERM, SIGINT, SIGHUP and SIGQUIT kill everything at once; so do the end of the thread that started the tracer
(start it from one that stays) and its own end, whatever ended it.

`--root` translates paths. A bind is a directory or a file, shown where its path leads in the root; of two at one path
the last is seen. What is missing of the path is made, and of `--cwd`, which then belongs to the user; what was made for
a bind is not told as a change. There is no tmpfs: bind a scratch directory. Bind `/proc`, `/dev` (or single
devices), `/sys:ro`, `/etc/resolv.conf:ro`, `/etc/hosts:ro`; processes outside of the tree do not show by their
number in /proc. Without `--root`, with `--ids` alone, paths are the kernel's; only calls that open files, or tell or
change ids, stop.

    tracer --process PID --channel FD --owners FILE [--upper DIR] [--user UID:GID] [--groups GID,...] [--init]
    tracer --inside FD [--shown] [--cwd DIR] [--user UID:GID] [--network none] -- COMMAND...

is that for rung 3: the first, from outside, follows its child PID, pid 1 of the namespaces, which becomes the second
once its root is ready; FD is the end that each has of a socket pair. So COMMAND is pid 1 (with --init the child of
that), no process sees the tracer, and those that it is told of have their numbers in the /proc outside, whichever is
shown inside. The table is read by the paths in the root; FILE.before tells how it was. overlayfs shows other inodes
than it writes (a file that was copied up keeps the number of the lower one): for what is below DIR, its upper
directory, FILE has those on the disk; FILE.mounts has those that processes saw, of what is mounted there too.

`--door` is a descriptor of a socket of packets by which more processes come, as with `docker exec`: each message is
`PID UID GID`, the groups, the working directory and the path of a terminal to show (or nothing), each ended by NUL, and
has the tracer's end of the channel of a process that becomes `tracer --inside`, with `--shown` where the tracer shows
the root. They are killed with the first.

`--begun` is a descriptor of a pipe that is closed when COMMAND begins; where it cannot, what would go to stderr is
told there.

`--ids` lets processes believe to be root, or `--user`, with Docker's default capabilities: set-user-ID programs,
su, sudo, chown, devices (a stand-in: an empty file), capabilities of files, modes that would keep ourselves out. It
is remembered in the table of owners, by device and inode, which `--owners` reads at the start, when the file is
there, and replaces at the end: `helper/owners.py` reads and writes it. What is not in it is root's where it is ours
(`st_uid` of who runs the tracer). Processes with another id are refused what a file's remembered owner and mode
refuse; without `--root`, not what directories on the way there refuse.

`--lower` is a directory of a layer, bottom first, with its table of owners beside it (`../owners`, by path); whiteouts
are sockets, or devices 0:0, an opaque directory has a file `.wh..wh..opq`. The root starts empty; a directory is filled
when a process first looks into it: with hard links to the layers' regular files, on the same file system, and with
directories, links and pipes of its own. What nobody looks at costs nothing. The table `../lazy` has the names that
are made, in the layer's directory, when a process first looks into theirs, and the contents that are written when a
process opens their files (`helper/lazy.py`). `--cow`, which follows from it, copies a file of several names, which is
a layer's, before it is written, cut off, or given another mode, owner, time or xattr: in `--work`, a directory of the
root's file system. As overlayfs does under BuildKit, that parts the names which the image has for one file, a
directory of a layer cannot be renamed (EXDEV), and a copy leaves the times of its directory.
`--changes` are the paths in the root, each ended by NUL, that were made, removed, renamed, opened to write or whose
attributes were changed; a directory that was made or moved there ends with a slash, and all in it counts.

`--network none` refuses sockets of the Internet, those to the process itself too. `--hostname` is what uname tells.

Without `--root`, /proc has to be mounted. Files of the root must be the runner's own, directories with u+rwx, files
with u+r: put the layer's other owners and modes into the table, by path. On overlayfs the table cannot tell an inode
from a later one with its number by its time of birth; it follows what is removed instead.

It is no border of security. A RUN that wants to can do what the user who runs the tracer can: reach other paths by a
race, send signals to other processes of the user, use the network. It protects from mistakes, not from an enemy; use
it where the container around it is the border.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

_BIN = Path(__file__).parent / "bin"


PROOT_LACKS = (
    "by proot, as this installation has no tracer of its own: the owners, devices and capabilities that a RUN sets are "
    "lost, each RUN has a copy of all files, and nothing is read-only or cut off from the network"
)
"""The shortcomings of a RUN under proot, as a clause."""


class Tracer(msgspec.Struct, frozen=True):
    """A program that can show a process tree another root."""

    path: Path
    native: bool = True
    """Whether it is our own tracer; otherwise proot."""


class Bind(msgspec.Struct, frozen=True):
    """A file or directory of the machine, shown at a path of the root."""

    source: str
    target: str
    readonly: bool = False


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """The process to run, and the files that it sees; see the module's docstring."""

    args: Sequence[str]
    root: str = ""
    """"" leaves paths to the kernel."""
    binds: Sequence[Bind] = ()
    ids: bool = True
    uid: int = 0
    gid: int = 0
    groups: Sequence[int] = ()
    owners: str = ""
    lower: Sequence[str] = ()
    work: str = ""
    copy_on_write: bool = False
    changes: str = ""
    cwd: str = "/"


def find() -> Tracer | None:
    """Return the tracer of this installation; else `proot` on PATH; else None."""
    own = _BIN / platform.machine() / "tracer"
    if own.is_file():
        return Tracer(own)
    proot = shutil.which("proot")
    return Tracer(Path(proot), native=False) if proot else None


def probe(tracer: Tracer) -> str:
    """Return why it does not work here; "" when it does. Takes some milliseconds."""
    words = [str(tracer.path), "--probe"] if tracer.native else [str(tracer.path), "-0", "true"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"


def usable() -> tuple[Tracer | None, str]:
    """Return the tracer that works here; or None, with the reason."""
    program = find()
    if program is None:
        return None, "this installation has no tracer, and proot is not on PATH"
    reason = probe(program)
    return (None, f"proot: {reason}" if not program.native else reason) if reason else (program, "")


def command(tracer: Tracer, traced: Traced) -> list[str]:
    """Return the command line with which a native tracer runs `traced`."""
    words = [str(tracer.path)]
    if traced.root:
        words += ["--root", traced.root]
    for bind in traced.binds:
        words += ["--bind", f"{bind.source}:{bind.target}{':ro' if bind.readonly else ''}"]
    if traced.ids:
        words += ["--ids", "--user", f"{traced.uid}:{traced.gid}"]
        words += ["--groups", ",".join(map(str, traced.groups))] if traced.groups else []
    words += ["--owners", traced.owners] if traced.owners else []
    words += ["--cow"] if traced.copy_on_write else []
    words += [word for path in traced.lower for word in ("--lower", path)]
    words += ["--work", traced.work] if traced.work else []
    words += ["--changes", traced.changes] if traced.changes else []
    return [*words, "--cwd", traced.cwd, "--", *traced.args]
