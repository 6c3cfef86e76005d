"""The causes of a worse rung: the kernel's settings, dropped capabilities, and the user's entry in /etc/passwd."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from .facts import Facts
from .finding import Finding, State, Want

FIRST_ID, IDS = 100_000, 65_536
"""The subordinate ids that are offered: the first, and their number."""
LAST_ID = FIRST_ID + IDS

APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
CLONE = "kernel.unprivileged_userns_clone"
TRACING = "kernel.yama.ptrace_scope"
_NETWORKS = "user.max_net_namespaces"
_MOST = (
    *(f"user.max_{kind}_namespaces" for kind in ("user", "mnt", "pid", "ipc", "uts", "cgroup")),
    _NETWORKS,
)
SETTINGS = (APPARMOR, CLONE, TRACING, *_MOST)
"""The kernel's settings that decide about namespaces and tracing, by their names in sysctl."""
_CHILDREN_ONLY = 1
"""The highest value of `TRACING` with which a process can trace its children; with 3 it cannot be lowered again."""

_BITS = {"SETFCAP": 31, "SETGID": 6, "SETUID": 7}
_SYS_ADMIN = 21


def kernel(facts: Facts) -> Iterator[Finding]:
    """Yield what the kernel's settings deny."""
    if values := settings_to_change(facts):
        zero = [name for name in values if name in _MOST]
        texts = [f"{' and '.join(zero)} {'are' if len(zero) > 1 else 'is'} 0, so {_lost(facts)}"] if zero else []
        texts += [f"{CLONE} is 0, so only root can make user namespaces"] * (CLONE in values)
        texts += [f"{APPARMOR} is 1, so AppArmor denies mounts in user namespaces"] * (APPARMOR in values)
        yield Finding("Kernel", State.FAIR, f"{'; '.join(texts)}.", (Want.KERNEL,))
    if scope := tracing_scope(facts):
        text = "so nothing can be traced, until the machine starts again with a lower value"
        text = text if scope > 2 else "so only a process with the capability SYS_PTRACE can trace others"
        yield Finding("Tracing", State.FAIR, f"{TRACING} is {scope}, {text}.", (Want.TRACING,))


def _lost(facts: Facts) -> str:
    return "RUN --network=none fails" if _in_namespaces(facts) else "no namespaces can be made"


def _in_namespaces(facts: Facts) -> bool:
    sandbox = facts.sandbox
    return sandbox.works and sandbox.selected is not None and not sandbox.selected.way.TRACED


def settings_to_change(facts: Facts) -> dict[str, int]:
    """Return the kernel's settings that deny namespaces, with values that allow them."""
    settings = facts.system.settings
    zero = {name: 65_536 for name in _MOST if settings.get(name) == 0}
    if _in_namespaces(facts):
        return {_NETWORKS: zero[_NETWORKS]} if _NETWORKS in zero else {}
    if facts.sandbox.abilities.get("mounts") == "":
        return zero
    others = {CLONE: 1} if settings.get(CLONE) == 0 else {}
    others |= {APPARMOR: 0} if settings.get(APPARMOR) == 1 else {}
    return zero | others


def tracing_scope(facts: Facts) -> int:
    """Return the value of the setting that denies tracing; 0 where it does not, or where no tracer is needed."""
    sandbox, scope = facts.sandbox, facts.system.settings.get(TRACING, 0)
    needed = not sandbox.works or sandbox.selected is None or sandbox.selected.number > 2
    return scope if needed and scope > _CHILDREN_ONLY and sandbox.abilities.get("trace") else 0


def is_filter(facts: Facts) -> bool:
    """Return whether it is the filter of system calls that denies namespaces, as far as that can be known."""
    error = facts.sandbox.abilities.get("mounts", "")
    if error and error not in (os.strerror(errno.EPERM), os.strerror(errno.ENOSYS)):
        return False  # AppArmor or a setting
    others = settings_to_change(facts) or facts.system.apparmor or missing_capabilities(facts)
    return facts.system.filtered or not others


def missing_capabilities(facts: Facts) -> tuple[str, ...]:
    """Return the dropped capabilities without which there is a single id, or root can make no user namespace.

    Root maps its ids itself. Since Linux 5.12 that takes SETFCAP, too, because its own id is among them.
    """
    system, sandbox = facts.system, facts.sandbox
    if system.uid:
        needed, mask = ("SETGID", "SETUID"), system.bounding
        if not sandbox.unmapped or sandbox.ids < LAST_ID:
            return ()
    else:
        needed, mask = ("SETFCAP", "SETGID", "SETUID"), system.capabilities
        selected = sandbox.selected
        if mask >> _SYS_ADMIN & 1 or sandbox.ids < IDS or (sandbox.works and selected and selected.number < 3):
            return ()
    return tuple(name for name in needed if not mask >> _BITS[name] & 1)


def single_id(facts: Facts) -> tuple[str, tuple[Want, ...]]:
    """Return sentences on why there is a single id, beyond what the tools say, and the needs."""
    system, sandbox = facts.system, facts.sandbox
    missing = missing_capabilities(facts)
    texts = [dropped(facts)] if missing else []
    wants = [Want.CAPABILITIES] if missing else []
    if system.uid == 0 and missing:
        return "".join(texts), tuple(wants)
    wants = [Want.SUBORDINATE_IDS, *wants]
    if sandbox.ids < LAST_ID:
        return f" This container has {sandbox.ids} ids, too few to give some away.", tuple(wants)
    if system.no_new_privileges:
        texts.append(" no_new_privileges is set, with which newuidmap cannot work.")
        wants.append(Want.PRIVILEGES)
    if system.uid and not system.user:
        texts.append(f" newuidmap needs an entry in /etc/passwd, which the user {system.uid} does not have.")
    elif other_group(facts):
        texts.append(
            f" newuidmap needs the group of /etc/passwd, {system.login_gid}, but this process has {system.gid}."
        )
    return "".join(texts), tuple(wants)


def other_group(facts: Facts) -> bool:
    """Return whether the group of this process is not that of the user's entry, so that newuidmap refuses it."""
    system = facts.system
    return bool(system.uid and system.user) and system.login_gid not in (-1, system.gid)


def dropped(facts: Facts) -> str:
    """Return a sentence on the capabilities that are missing; "" when none is."""
    if not (missing := missing_capabilities(facts)):
        return ""
    names = " and ".join(", ".join(missing).rsplit(", ", 1))
    be = "capabilities {} are" if len(missing) > 1 else "capability {} is"
    who = "newuidmap cannot work" if facts.system.uid else "root cannot map user ids"
    return f" The {be.format(names)} dropped, without which {who}."
