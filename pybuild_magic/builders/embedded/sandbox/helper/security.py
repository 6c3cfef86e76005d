"""The restrictions of a sandbox's process: capabilities, hidden paths, and denied calls that need no capability."""

from __future__ import annotations

import os
import struct

from . import linux

CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
    "CAP_MKNOD": 27,
    "CAP_AUDIT_WRITE": 29,
    "CAP_SETFCAP": 31,
}
"""The capabilities that Docker and BuildKit leave to root in a container, with their numbers."""

_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE
"""
ALL_CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())
"""All capabilities, each at the index of its number."""

_OWN_NETWORK = "CAP_NET_RAW"
"""Capabilities that allow reading the packets of everything else on the network, including passwords and tokens on
loopback.
"""

# containerd's default specification, which BuildKit uses.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_NAMESPACE_FLAGS = (
    linux.CLONE_NEWNS
    | linux.CLONE_NEWCGROUP
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUSER
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWNET
)

# Docker's seccomp profile lists what is allowed. Beyond dropping capabilities, it only denies these calls, which need
# none: they reach other users' keys, the kernel's interpreters, or a user namespace in which the capabilities come
# back. A list of denied calls costs some twenty instructions a call instead of hundreds.
DENIED_CALLS = (
    "unshare",
    "setns",
    "add_key",
    "request_key",
    "keyctl",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "open_by_handle_at",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
)
_EVERYWHERE = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}
_CLONE3 = 435
_GENERIC = {
    "clone": 220,
    "socket": 198,
    "unshare": 97,
    "setns": 268,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "bpf": 280,
    "perf_event_open": 241,
    "userfaultfd": 282,
    "open_by_handle_at": 265,
}
_ARCHITECTURES: dict[str, dict[int, dict[str, int]]] = {
    "x86_64": {
        0xC000_003E: {
            "clone": 56,
            "socket": 41,
            "unshare": 272,
            "setns": 308,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "bpf": 321,
            "perf_event_open": 298,
            "userfaultfd": 323,
            "open_by_handle_at": 304,
        },
        0x4000_0003: {
            "clone": 120,
            "socket": 359,
            "unshare": 310,
            "setns": 346,
            "add_key": 286,
            "request_key": 287,
            "keyctl": 288,
            "bpf": 357,
            "perf_event_open": 336,
            "userfaultfd": 374,
            "open_by_handle_at": 342,
        },
    },
    "aarch64": {0xC000_00B7: _GENERIC},
    "riscv64": {0xC000_00F3: _GENERIC},
}
_NEW_CALLS = {"openat2": 437, "faccessat2": 439, "fchmodat2": 452}
"""Their numbers on every architecture."""
_STATX = {0xC000_003E: 332, 0x4000_0003: 383, 0xC000_00B7: 291, 0xC000_00F3: 291}
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CALL_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
_EPERM, _ENOSYS = 1, 38
_X32 = 0x4000_0000
_LAST: list[int] = []
_PROGRAM: list[bytes] = []
"""What the two functions below have found out, here and for all forked processes."""
_AF_VSOCK = 40
"""Sockets between the machine and a virtual machine, which no network namespace isolates."""


def allowed(network: str, names: list[str] | None) -> dict[str, int]:
    """Return root's capabilities; by default fewer on the machine's own network than on a private one ("none")."""
    if names is not None:
        return {name: number for number, name in enumerate(ALL_CAPABILITIES) if name in names}
    return {name: number for name, number in CAPABILITIES.items() if network == "none" or name != _OWN_NETWORK}


def drop_capabilities(allowance: dict[str, int]) -> int:
    """Keep no more than these capabilities, for this process and everything that it starts; return their mask."""
    mask = sum(1 << number for number in allowance.values())
    for number in range(last_capability() + 1):
        if not mask >> number & 1:
            linux.prctl(linux.PR_CAPBSET_DROP, number)
    return mask


def last_capability() -> int:
    """Return the number of the last capability that this Linux knows."""
    if not _LAST:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
            _LAST.append(int(file.read()))
    return _LAST[0]


def drop_rights() -> None:
    """Give up root's rights for good: no program that this process starts can regain them."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.capset(0, 0, 0)


def filter_calls() -> None:
    """Deny DENIED_CALLS with EPERM and, as Docker does, new namespaces through clone and AF_VSOCK; clone3 is ENOSYS.

    Needs CAP_SYS_ADMIN: no_new_privs stays off, as in BuildKit, so that sudo works in a RUN. On an architecture whose
    call numbers are unknown here, there is no filter.
    """
    if program := filter_program():
        linux.set_seccomp(program)


def filter_program() -> bytes:
    """Return the BPF program: an array of `struct sock_filter`, 8 bytes each."""
    if not _PROGRAM:
        _PROGRAM.append(_make_program())
    return _PROGRAM[0]


def _make_program() -> bytes:
    architectures = _ARCHITECTURES.get(os.uname().machine)
    if not architectures:
        return b""
    program = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for audit, numbers in architectures.items():
        section = [(_LOAD, 0, 0, _CALL_NUMBER)]
        if audit == 0xC000_003E:
            section += [(_JUMP_GREATER, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
        section += [(_JUMP_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
        for name in DENIED_CALLS:
            number = numbers.get(name, _EVERYWHERE.get(name, 0))
            section += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
        section += [
            (_JUMP_EQUAL, 0, 4, numbers["socket"]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_EQUAL, 0, 1, _AF_VSOCK),
            (_RETURN, 0, 0, _ERRNO | _EPERM),
            (_RETURN, 0, 0, _ALLOW),
            (_JUMP_EQUAL, 0, 3, numbers["clone"]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_BITS, 0, 1, _NAMESPACE_FLAGS),
            (_RETURN, 0, 0, _ERRNO | _EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]
        program += [(_JUMP_EQUAL, 0, len(section), audit), *section]
    program.append((_RETURN, 0, 0, _ERRNO | _ENOSYS))
    return _encoded(program)


def _encoded(program: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def hide_new_calls() -> None:
    """Answer calls with paths that proot 5.1 lets through untranslated as an older Linux does, so that C libraries make
    the calls that it knows. This sets no_new_privs.
    """
    program = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for audit, statx in _STATX.items():
        section = [(_LOAD, 0, 0, _CALL_NUMBER)]
        for number in (statx, *_NEW_CALLS.values()):
            section += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
        section.append((_RETURN, 0, 0, _ALLOW))
        program += [(_JUMP_EQUAL, 0, len(section), audit), *section]
    program.append((_RETURN, 0, 0, _ALLOW))
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.set_seccomp(_encoded(program))


def seccomp_profile() -> dict[str, object]:
    """Return the same filter as an OCI runtime's `linux.seccomp`."""
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": {"x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}.get(os.uname().machine, []),
        "syscalls": [
            {"names": list(DENIED_CALLS), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
            {
                "names": ["socket"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": _EPERM,
                "args": [{"index": 0, "value": _AF_VSOCK, "op": "SCMP_CMP_EQ"}],
            },
            *(
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": _EPERM,
                    "args": [{"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}],
                }
                for flag in (1 << bit for bit in range(32))
                if flag & _NAMESPACE_FLAGS
            ),
        ],
    }
