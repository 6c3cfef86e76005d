"""Takes away from this Linux what macOS or Windows lack, before pybuild_magic is imported.

The names are those that CPython's documentation of `os`, `socket`, `signal` and `time` does not give the platform.
Where a platform has a function that does less, the function is wrapped: for pybuild_magic, and for what the standard
library does on its behalf in `pathlib` and `shutil`; the rest of the standard library was made for the system it is on.

What cannot be had here: text mode of the C library, mandatory byte locks, names that differ in case only, drive
letters, rights to make symbolic links, the resolution of time stamps, and the sockets of Windows.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import selectors
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_LINUX_ONLY = {
    "os": r"""O_(PATH|TMPFILE|DIRECT|NOATIME|RSYNC|LARGEFILE)|copy_file_range|preadv|pwritev|RWF_\w+|splice|SPLICE_\w+
        |(get|set|list|remove)xattr|XATTR_\w+|memfd_create|MFD_\w+|eventfd\w*|EFD_\w+|timerfd\w*|TFD_\w+|pidfd_open
        |P_PIDFD|PIDFD_\w+|posix_fadvise|posix_fallocate|POSIX_FADV_\w+|fdatasync|pipe2|sched_(get|set)\w+
        |sched_(param|rr_get_interval)|SCHED_(BATCH|IDLE|RESET_ON_FORK)|setns|unshare|CLONE_\w+|[gs]etres[ug]id
        |getrandom|GRND_\w+""",
    "socket": r"""SOCK_(CLOEXEC|NONBLOCK)|MSG_(CMSG_CLOEXEC|NOSIGNAL|MORE|CONFIRM|ERRQUEUE)|SO_(PEERCRED|PASSCRED|MARK)
        |SCM_CREDENTIALS|AF_(NETLINK|VSOCK|PACKET|ALG|CAN|TIPC|QIPCRTR)|TCP_(CORK|QUICKACK|USER_TIMEOUT|INFO)""",
    "signal": r"pidfd_send_signal|sigtimedwait|sigwaitinfo|SIG(PWR|POLL|STKFLT|RTMIN|RTMAX|CLD)",
    "time": r"CLOCK_(BOOTTIME|TAI)|pthread_getcpuclockid",
}
_UNIX_ONLY = {
    "os": r"""O_(DSYNC|SYNC|NDELAY|NONBLOCK|NOCTTY|CLOEXEC|ASYNC|DIRECTORY|NOFOLLOW|ACCMODE)|pread|pwrite|readv|writev
        |sendfile|ctermid|[gs]ete?[ug]id|getgrouplist|[gs]etgroups|[gs]etpgid|[gs]etpgrp|[gs]etpriority|PRIO_\w+
        |initgroups|setre[ug]id|getsid|setsid|uname|fchmod|fchown|fchdir|fpathconf|fstatvfs|statvfs|pathconf|get_blocking
        |set_blocking|lockf|F_\w+|openpty|login_tty|posix_openpt|tc[gs]etpgrp|chroot|l?chown|mkfifo|mknod|major|minor
        |makedev|fork|forkpty|killpg|nice|posix_spawnp?|register_at_fork|wait([34]|id)?|W[A-Z]+|P_(PID|PGID|ALL)
        |sched_\w+|SCHED_\w+|confstr\w*|sysconf\w*|getloadavg|sync|RTLD_\w+|ST_\w+|CLD_\w+|geteuid""",
    "socket": r"AF_UNIX|SCM_\w+|CMSG_\w+|(send|recv)_fds|MSG_(DONTWAIT|EOR|WAITALL)|SO_REUSEPORT|sethostname",
    "signal": r"""SIG(KILL|HUP|USR1|USR2|ALRM|CHLD|STOP|CONT|PIPE|QUIT|TSTP|TTIN|TTOU|URG|WINCH|IO|PROF|VTALRM|SYS|TRAP
        |XCPU|XFSZ|BUS)|SIG_(BLOCK|UNBLOCK|SETMASK)|alarm|[gs]etitimer|ITIMER_\w+|pause|pthread_\w+|sig(wait|pending)
        |siginterrupt""",
    "time": r"tzset|clock_(gettime|settime|getres)\w*|CLOCK_\w+|pthread_getcpuclockid",
}
"""Beyond those of `_LINUX_ONLY`."""
_UNIX_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "crypt", "syslog")
_DIR_FD = ("access", "chmod", "link", "lstat", "mkdir", "open", "readlink", "rename", "replace", "rmdir", "scandir")
_DIR_FD += ("stat", "symlink", "unlink", "remove", "utime")
_OTHERS = ("asyncio.runners", "importlib.metadata", "multiprocessing.connection", "ssl", "tarfile", "zipfile")
_OTHERS += ("anywidget", "ipywidgets", "isal.igzip_threaded", "platformdirs", "urllib3", "zlib_ng.zlib_ng", "zstandard")
_OTHERS += ("grpc", "google.protobuf.descriptor_pb2", "cryptography.x509", "hpack")
_KERNEL = ("/proc/", "/sys/")
_BINARY = 0x8000
_TRANSPARENT = ("pathlib", "pathlib._local", "pathlib._abc", "pathlib._os", "shutil", "contextlib", __name__)


def simulate(platform: str) -> None:
    """Make this process as much like `platform` (darwin or win32; linux changes nothing) as it goes."""
    if platform == "linux":
        return
    _import_others()
    _as_elsewhere()
    sys.addaudithook(_no_kernel_files)
    warnings.filterwarnings("error", category=EncodingWarning, module=r"pybuild_magic")
    if platform == "darwin":
        os.sendfile = _sendfile_of_darwin  # type: ignore[assignment]
    else:
        _as_windows()
    _take_away(_LINUX_ONLY)
    sys.platform = platform


def _import_others() -> None:
    """All that others have made, and the standard library, bind their functions before these are taken away."""
    for name in _OTHERS:
        with suppress(ImportError):
            importlib.import_module(name)
    importlib.import_module("IPython.core.interactiveshell").InteractiveShell.instance()


def _as_elsewhere() -> None:
    """Let the standard library do without what is taken away."""
    selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[misc,assignment]
    shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]
    tempfile._O_TMPFILE_WORKS = False  # type: ignore[attr-defined]
    os.stat = _stat_of_elsewhere(os.stat)  # type: ignore[assignment]
    kill, pair, unix = os.kill, socket.socketpair, socket.AF_UNIX
    subprocess.Popen.kill = lambda self: kill(self.pid, 9)  # type: ignore[method-assign]
    socket.socketpair = lambda family=unix, *rest: pair(family, *rest)  # type: ignore[assignment,misc]


def _take_away(names: dict[str, str]) -> None:
    for module, pattern in names.items():
        gone = re.compile(re.sub(r"\s+", "", pattern))
        for name in [name for name in vars(sys.modules[module]) if gone.fullmatch(name)]:
            delattr(sys.modules[module], name)


def _caller() -> str:
    """The module that calls a wrapped function, or for which the standard library does it."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _TRANSPARENT:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def _ours() -> bool:
    return _caller().startswith(("pybuild_magic", "tests.portability"))


def _no_kernel_files(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _check_name(arguments[0])


def _check_name(path: Any) -> None:
    if isinstance(path, str | os.PathLike) and str(path).startswith(_KERNEL) and _ours():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _stat_of_elsewhere(function: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
    def call(path: Any, **options: Any) -> os.stat_result:
        _check_name(path)
        return function(path, **options)

    return call


_sendfile = os.sendfile


def _sendfile_of_darwin(out: int, source: int, offset: int, count: int, *rest: Any) -> int:
    if not stat.S_ISSOCK(os.fstat(out).st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    return _sendfile(out, source, offset, count)


def _as_windows() -> None:
    flock, kinds = _locks()
    _take_away(_UNIX_ONLY)
    for name in _UNIX_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    fake: Any = types.ModuleType("msvcrt")
    fake.LK_UNLCK, fake.LK_LOCK, fake.LK_NBLCK = 0, 1, 2

    def locking(fd: int, mode: int, size: int) -> None:
        flock(fd, kinds[mode])

    fake.locking = locking
    sys.modules["msvcrt"] = fake
    os.O_BINARY = _BINARY  # type: ignore[attr-defined]
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    for name in ("sendmsg", "recvmsg", "recvmsg_into"):
        setattr(socket.socket, name, property(lambda _, name=name: (_ for _ in ()).throw(AttributeError(name))))
    os.supports_dir_fd.clear()
    os.supports_fd.clear()
    os.supports_follow_symlinks = {os.stat}  # type: ignore[assignment]
    for name in _DIR_FD:
        setattr(os, name, _without_dir_fd(getattr(os, name)))
    os.listdir = _without_descriptors(os.listdir)  # type: ignore[assignment]
    os.scandir = _without_descriptors(os.scandir)  # type: ignore[assignment]
    os.utime = _without_descriptors(_without_follow(os.utime))  # type: ignore[assignment]
    os.chmod = _without_descriptors(_without_follow(os.chmod))  # type: ignore[assignment]
    os.link = _without_follow(os.link)  # type: ignore[assignment]
    os.open = _open(os.open)  # type: ignore[assignment]
    os.rename = _renaming(os.rename, replace=False)  # type: ignore[assignment]
    os.replace = _renaming(os.replace, replace=True)  # type: ignore[assignment]
    os.unlink = _unlinking(os.unlink)  # type: ignore[assignment]
    os.remove = os.unlink
    os.supports_follow_symlinks = {os.stat}  # type: ignore[assignment]
    for name in ("dup", "read", "write", "fdopen"):
        setattr(os, name, _without_sockets(getattr(os, name)))


def _locks() -> tuple[Callable[[int, int], None], tuple[int, int, int]]:
    import fcntl

    return fcntl.flock, (fcntl.LOCK_UN, fcntl.LOCK_EX, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _without_dir_fd(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        given = [key for key in ("dir_fd", "src_dir_fd", "dst_dir_fd") if options.get(key) is not None]
        if given and _ours():
            raise NotImplementedError(f"{given[0]} unavailable on this platform")
        return function(*args, **options)

    return call


def _without_follow(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        if options.get("follow_symlinks") is False and _ours():
            raise NotImplementedError("follow_symlinks unavailable on this platform")
        return function(*args, **options)

    return call


def _without_descriptors(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any = ".", *args: Any, **options: Any) -> Any:
        if isinstance(path, int) and _ours():
            raise TypeError("path should be string, bytes, os.PathLike or None, not int")
        return function(path, *args, **options)

    return call


def _without_sockets(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(fd: int, *args: Any, **options: Any) -> Any:
        if _ours() and stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return function(fd, *args, **options)

    return call


def _open(function: Callable[..., int]) -> Callable[..., int]:
    def call(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        if _ours():
            assert flags & _BINARY, f"{path} is opened without O_BINARY: Windows would change its line ends"
            if os.path.isdir(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return function(path, flags & ~_BINARY, mode, **options)

    return call


def _in_use(path: Any) -> bool:
    """Whether this process has the file, or a file below the directory, open."""
    try:
        name = os.path.realpath(os.path.dirname(os.path.abspath(path))) + "/" + os.path.basename(path)
    except TypeError:
        return False
    for fd in os.listdir("/proc/self/fd"):
        try:
            found = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if found == name or found.startswith(f"{name}/"):
            return True
    return False


def _busy(path: Any) -> PermissionError:
    return PermissionError(errno.EACCES, "The process cannot access the file because it is being used", str(path))


def _renaming(function: Callable[..., None], *, replace: bool) -> Callable[..., None]:
    def call(source: Any, target: Any, **options: Any) -> None:
        if _ours():
            for path in (source, target):
                if _in_use(path):
                    raise _busy(path)
            if os.path.lexists(target) and (not replace or os.path.isdir(target)):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        function(source, target, **options)

    return call


def _unlinking(function: Callable[..., None]) -> Callable[..., None]:
    def call(path: Any, **options: Any) -> None:
        if _ours() and _in_use(path):
            raise _busy(path)
        function(path, **options)

    return call
