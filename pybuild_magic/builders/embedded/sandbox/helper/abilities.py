"""The abilities of this process on the system, each tried in a separate process, for `%build doctor`."""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import stat
import struct

from . import idmap, linux
from .light import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277, "ppc64le": 358, "s390x": 348}
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF_0000)
_SECONDS = 5
_ALLOWED, _UNKNOWN = 0, 254


def main(scratch: str) -> None:
    """Try everything in the empty directory `scratch`; write {name: "" or the system's error}, marshalled."""
    answer = {name: attempt(action, scratch) for name, action in _ABILITIES.items()}
    os.write(1, marshal.dumps(answer))


def attempt(action: Callable[[str], None], scratch: str) -> str:
    """Do `action` in a separate process: return "" when it was allowed, else the system's error."""
    child = os.fork()
    if child == 0:
        code = _UNKNOWN
        try:
            signal.alarm(_SECONDS)
            action(scratch)
            code = _ALLOWED
        except OSError as error:
            code = error.errno or _UNKNOWN
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == _ALLOWED:
        return ""
    if code == errno.EUSERS:
        return linux.TOO_MANY
    return os.strerror(code) if code in errno.errorcode else f"the attempt ended with {code}"


def own_mounts() -> None:
    """Try private mounts, in a user namespace if there is no other way."""
    try:
        linux.unshare(linux.CLONE_NEWNS)
    except OSError:
        uid, gid = os.geteuid(), os.getegid()
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
        idmap.write_map("/proc/self/setgroups", "deny")
        idmap.write_map("/proc/self/uid_map", f"0 {uid} 1")
        idmap.write_map("/proc/self/gid_map", f"0 {gid} 1")
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_SLAVE)


def user_namespace(_: str) -> None:
    """Try a user namespace."""
    linux.unshare(linux.CLONE_NEWUSER)


def mounts(_: str) -> None:
    """Try a mount namespace, and a mount in it."""
    own_mounts()


def new_proc(scratch: str) -> None:
    """Try to mount the /proc of a new PID namespace."""
    own_mounts()
    linux.unshare(linux.CLONE_NEWPID)
    reason = attempt(lambda place: linux.mount("proc", place, "proc"), scratch)
    if reason:
        raise PermissionError(errno.EPERM, reason)


def outer_proc(scratch: str) -> None:
    """Try to show the existing /proc at another path."""
    own_mounts()
    linux.mount("/proc", scratch, "", linux.MS_BIND | linux.MS_REC)


def pivot_root(scratch: str) -> None:
    """Try to change the root with pivot_root."""
    own_mounts()
    linux.mount("tmpfs", scratch, "tmpfs")
    os.chdir(scratch)
    linux.pivot_root(".", ".")


def chroot(scratch: str) -> None:
    """Try to change the root with chroot."""
    os.chroot(scratch)


def device(scratch: str) -> None:
    """Try to make a device node."""
    path = f"{scratch}/null-{os.getpid()}"
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.unlink(path)


def other_owner(scratch: str) -> None:
    """Try to give a file to another user."""
    path = f"{scratch}/file-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    try:
        os.chown(path, 12_345, 12_345)
    finally:
        os.unlink(path)


def trace(_: str) -> None:
    """Try to trace another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        if libc.ptrace(0, 0, None, None) < 0:  # PTRACE_TRACEME
            os._exit(ctypes.get_errno())
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    status = os.waitpid(child, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(status):
        raise OSError(os.waitstatus_to_exitcode(status), "ptrace")
    os.kill(child, signal.SIGKILL)


def notified_calls(_: str) -> None:
    """Try to have another process answer system calls."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    number = _SECCOMP.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "seccomp")
    buffer = ctypes.create_string_buffer(_ALLOW, len(_ALLOW))
    program = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 1, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    arguments = (ctypes.c_long(number), ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_NEW_LISTENER))
    if libc.syscall(*arguments, program) < 0:
        raise OSError(ctypes.get_errno(), "seccomp")


_ABILITIES = {
    "user_namespace": user_namespace,
    "mounts": mounts,
    "new_proc": new_proc,
    "outer_proc": outer_proc,
    "pivot_root": pivot_root,
    "chroot": chroot,
    "device": device,
    "other_owner": other_owner,
    "trace": trace,
    "notified_calls": notified_calls,
}
