"""System calls that are missing from Python's `os`: namespaces, mounts, capabilities, safe path lookup."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import time

from .light import signal

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
MS_SLAVE = 0x8_0000
MS_RELATIME = 0x20_0000
MS_STRICTATIME = 0x100_0000
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
SECCOMP_MODE_FILTER = 2

_CLONE = {"x86_64": 56, "ppc64le": 120, "s390x": 120}
_CLONE_ELSEWHERE = 220

_AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10
_OPEN_ATTEMPTS = 4096

# System calls newer than Linux 5.0 have the same number on every architecture.
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_CLOSE_RANGE = 436
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217, "armv7l": 218}
_SYS_RT_SIGACTION = {"x86_64": 13, "aarch64": 134, "riscv64": 134, "ppc64le": 173, "s390x": 174, "armv7l": 174}

_ATTRIBUTES = (
    (MS_RDONLY, MOUNT_ATTR_RDONLY),
    (MS_NOSUID, MOUNT_ATTR_NOSUID),
    (MS_NODEV, MOUNT_ATTR_NODEV),
    (MS_NOEXEC, MOUNT_ATTR_NOEXEC),
)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, action: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{action}: {os.strerror(number)}")
    return result


TOO_MANY = "no more namespaces are allowed (the sysctls user.max_*_namespaces limit them)"
"""The meaning of `errno.EUSERS`, which stands for Linux's ENOSPC where namespaces are made: it is not about room."""


def unshare(flags: int) -> None:
    """Replace the namespaces that `flags` name with new ones."""
    if _libc.unshare(flags) < 0:
        raise _refused("unshare")


def _refused(action: str) -> OSError:
    number = ctypes.get_errno()
    if number == errno.ENOSPC:
        return OSError(errno.EUSERS, TOO_MANY)
    return OSError(number, f"{action}: {os.strerror(number)}")


def has_cgroup2() -> bool:
    """Return whether the machine has the unified cgroup hierarchy (a cgroup namespace over the old one is
    confusing).
    """
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def setns(fd: int, flags: int) -> None:
    """Enter the namespace that `fd` stands for."""
    _check(_libc.setns(fd, flags), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system. Paths are strings in the form of `os.fsdecode`."""
    _check(
        _libc.mount(
            os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, os.fsencode(options) or None
        ),
        f"mount {kind or source} on {target}",
    )


def umount(target: str, flags: int = 0) -> None:
    """Unmount a file system."""
    _check(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def mount_at(target: int, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount a new file system of `kind` on the directory `target`, a descriptor. Changes the working directory."""
    os.fchdir(target)
    mount(kind, ".", kind, flags, options)


def bind(source: int, target: int, flags: int = 0, *, recursive: bool = True) -> None:
    """Show `source` at `target` too, with MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC of `flags` added.

    Both are descriptors, so that changing the paths that led to them has no effect.
    """
    empty = ctypes.c_char_p(b"")
    tree = _check(
        _libc.syscall(
            ctypes.c_long(_SYS_OPEN_TREE),
            ctypes.c_int(source),
            empty,
            ctypes.c_uint(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)),
        ),
        "open_tree",
    )
    try:
        is_set = not flags or _set_attributes(tree, flags, recursive=recursive)
        result = _libc.syscall(
            ctypes.c_long(_SYS_MOVE_MOUNT),
            ctypes.c_int(tree),
            empty,
            ctypes.c_int(target),
            empty,
            ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
        )
        _check(result, "move_mount")
        if not is_set:
            _remount(tree, flags)
    finally:
        os.close(tree)


def move(source: str, target: int) -> None:
    """Move the mount at the path `source`, with those below it, to the descriptor `target`."""
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOVE_MOUNT),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(source)),
        ctypes.c_int(target),
        ctypes.c_char_p(b""),
        ctypes.c_uint(MOVE_MOUNT_T_EMPTY_PATH),
    )
    _check(result, f"move the mount {source}")


def make_readonly(mount_fd: int) -> None:
    """Make the mount whose root is `mount_fd` read-only."""
    if not _set_attributes(mount_fd, MS_RDONLY, recursive=False):
        _remount(mount_fd, MS_RDONLY)


def _set_attributes(mount_fd: int, flags: int, *, recursive: bool) -> bool:
    """Add `flags` to a mount, and to those below it when `recursive`; return False before Linux 5.12, which cannot do
    it.
    """
    attributes = sum(new for old, new in _ATTRIBUTES if flags & old)
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(mount_fd),
        ctypes.c_char_p(b""),
        ctypes.c_uint(AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)),
        ctypes.c_char_p(request),
        ctypes.c_size_t(len(request)),
    )
    if result < 0 and ctypes.get_errno() == errno.ENOSYS:
        return False
    _check(result, "mount_setattr")
    return True


def _remount(mount_fd: int, flags: int) -> None:
    """Do the same for a single mount once it is attached, while the outer /proc is still reachable."""
    locked = os.fstatvfs(mount_fd).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("none", f"/proc/self/fd/{mount_fd}", "", MS_REMOUNT | MS_BIND | flags | locked)


def close_from(first: int) -> None:
    """Close `first` and all descriptors above it."""
    arguments = (ctypes.c_uint(first), ctypes.c_uint(0xFFFF_FFFF), ctypes.c_uint(0))
    if _libc.syscall(ctypes.c_long(_SYS_CLOSE_RANGE), *arguments) < 0:  # before Linux 5.9
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make a mount the root; libc has no function for this."""
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"pivot_root has no known number on {os.uname().machine}")
    result = _libc.syscall(
        ctypes.c_long(number),
        ctypes.c_char_p(os.fsencode(new_root)),
        ctypes.c_char_p(os.fsencode(put_old)),
    )
    _check(result, "pivot_root")


def open_in(root: int, path: str, flags: int, resolve: int) -> int:
    """Open `path` below the directory `root` with RESOLVE_* rules. Raises OSError.

    When a `..` is followed, Linux answers EAGAIN if anything was renamed or mounted meanwhile anywhere on the machine,
    and expects another attempt (openat2(2)). On a machine that never rests, attempts end after some seconds.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    result = -1
    for attempt in range(_OPEN_ATTEMPTS):
        result = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(root),
            ctypes.c_char_p(os.fsencode(path) or b"."),
            ctypes.c_char_p(how),
            ctypes.c_size_t(len(how)),
        )
        if result >= 0 or ctypes.get_errno() != errno.EAGAIN:
            break
        time.sleep(0.001 if attempt >= _OPEN_ATTEMPTS // 2 else 0)
    return _check(result, f"open {path}")


def default_signals() -> None:
    """Block no signal, and ignore none.

    libc's functions do not touch its two internal signals, and a parent that starts programs with posix_spawn (make
    does) passes one of them on ignored; so the kernel is asked directly where its call number is known.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if call := _SYS_RT_SIGACTION.get(os.uname().machine):
        default = ctypes.c_char_p(bytes(32))
        for number in (32, 33):
            _libc.syscall(ctypes.c_long(call), ctypes.c_int(number), default, ctypes.c_void_p(None), ctypes.c_size_t(8))


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """Change a property of this process."""
    return _check(_libc.prctl(option, a, b, c, d), f"prctl {option}")


def set_name(name: str) -> None:
    """Set the name of this process that `ps` shows."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    prctl(PR_SET_NAME, ctypes.addressof(buffer))


def set_seccomp(program: bytes) -> None:
    """Install a BPF filter, given as the bytes of its `struct sock_filter` array."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack(
        "=HxxxxxxQ" if ctypes.sizeof(ctypes.c_void_p) == 8 else "=HxxI", len(program) // 8, ctypes.addressof(buffer)
    )
    holder = ctypes.create_string_buffer(header, len(header))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(holder))


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this process's capability sets, each a 64-bit mask."""
    header = struct.pack("=Ii", 0x2008_0522, 0)
    data = b"".join(
        struct.pack(
            "=III",
            effective >> shift & 0xFFFF_FFFF,
            permitted >> shift & 0xFFFF_FFFF,
            inheritable >> shift & 0xFFFF_FFFF,
        )
        for shift in (0, 32)
    )
    _check(_libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(data)), "capset")


def permitted() -> int:
    """Return the mask of this process's permitted capabilities."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x2008_0522, 0), 8)
    data = ctypes.create_string_buffer(24)
    _check(_libc.capget(header, data), "capget")
    words = struct.unpack("=6I", data.raw)
    return words[1] | words[4] << 32


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace."""
    encoded = os.fsencode(name)
    _check(_libc.sethostname(ctypes.c_char_p(encoded), ctypes.c_size_t(len(encoded))), "sethostname")


def clone(flags: int) -> int:
    """Fork into new namespaces: `os.fork` cannot, and a second fork would cost as much again."""
    python = ctypes.pythonapi
    call = ctypes.PyDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    machine = os.uname().machine
    arguments = [flags | signal.SIGCHLD, 0]
    if machine == "s390x":
        arguments.reverse()
    number = _CLONE.get(machine, _CLONE_ELSEWHERE)
    python.PyOS_BeforeFork()
    pid = call(number, *[ctypes.c_long(argument) for argument in arguments], None, None, ctypes.c_long(0))
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise _refused("clone")
    return pid
