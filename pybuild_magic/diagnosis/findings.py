"""Findings from the facts: a line for each thing examined, and the needs whose fulfilment would improve it."""

from __future__ import annotations

from collections.abc import Iterator

from ..builders.embedded.sandbox.doctor import SandboxFacts
from ..display.words import human_bytes
from . import causes
from .facts import Facts
from .finding import Finding, State, Want

FEW_FILES, FEW_PROCESSES = 1024, 256
LITTLE_MEMORY, LITTLE_ROOM, SMALL_SHM = 1 << 30, 2 << 30, 16 << 20
FEW_INODES = 100_000


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Return all findings in the order in which they are shown."""
    return (
        *_run(facts),
        *_rungs(facts),
        *_allowed(facts),
        *causes.kernel(facts),
        *_store(facts),
        *_temporary(facts),
        *_limits(facts),
        *_network(facts),
        *_front_end(facts),
    )


def _run(facts: Facts) -> Iterator[Finding]:
    sandbox = facts.sandbox
    if not sandbox.works:
        wants = tuple(_namespace_wants(facts)) if facts.system.platform == "linux" else ()
        text = f"does not work here: {sandbox.problem}{causes.dropped(facts)}"
        others = "" if facts.store.problem else "Builds without RUN work, and "
        yield Finding("RUN", State.BAD, f"{text} {others}--builder builds elsewhere.", wants)
        return
    selected = sandbox.selected
    how = f"works by {selected}" if selected else "works"
    masks = (Want.PROC,) if selected and selected.lacks and _is_proc_masked(facts) else ()
    if sandbox.unmapped:
        because, wants = causes.single_id(facts)
        yield Finding("RUN", State.FAIR, f"{how}: {sandbox.unmapped.rstrip('.')}.{because}", (*wants, *masks))
    elif selected and selected.number > 3:
        wants = tuple(_namespace_wants(facts))
        text = f"{how}.{causes.dropped(facts)}"
        yield Finding("RUN", State.FAIR if wants else State.GOOD, text, wants)
    else:
        yield Finding("RUN", State.FAIR if masks else State.GOOD, f"{how}.", masks)
    if sandbox.copied:
        yield Finding("Layers", State.FAIR, "are copied for each RUN, because proot cannot protect them from writes.")
    elif selected and selected.number > 3:
        text = "are linked: a process sees the layer's file until it writes, and then gets a copy"
        slow = sandbox.abilities.get("mounts") == "" and not sandbox.rungs[0].holds
        text += "; on a volume or a local disk they would be stacked, which is faster" if slow else ""
        yield Finding("Layers", State.FAIR if slow else State.GOOD, f"{text}.", (Want.VOLUME,) * slow)
    elif not sandbox.overlay:
        text = (
            f"are copied for each RUN: {facts.store.kind or 'the file system of the store'} does not support overlayfs."
        )
        yield Finding("Layers", State.FAIR, text, (Want.VOLUME,))
    else:
        how = "mounted where they lie" if sandbox.images else "stacked; each is written to a directory first, once"
        yield Finding("Layers", State.GOOD, f"are {how}.")
    if sandbox.works:
        yield _together(sandbox)


def _together(sandbox: SandboxFacts) -> Finding:
    """Describe what keeps a greedy RUN from taking the kernel down."""
    limits = sandbox.limits
    if not limits:
        text = f"no cgroup limits RUN ({sandbox.unlimited}); when memory runs out, it is killed before the kernel."
        return Finding("Protection", State.GOOD, text)
    most = [f"{human_bytes(limits.memory)} of memory"] if limits.memory else []
    most += [f"{limits.pids} processes"] if limits.pids else []
    text = f"all RUN steps together have at most {' and '.join(most)}."
    if sandbox.unlimited:
        text = f"{text.removesuffix('.')}; more cannot be limited here ({sandbox.unlimited})."
    return Finding("Protection", State.GOOD, text)


_ABILITIES = {
    "user_namespace": "user namespaces",
    "mounts": "mounts",
    "new_proc": "a /proc of its own",
    "outer_proc": "the outer /proc at another place",
    "pivot_root": "pivot_root",
    "chroot": "chroot",
    "device": "device nodes",
    "other_owner": "files of other users",
    "trace": "ptrace",
    "notified_calls": "answering system calls (seccomp)",
}


def _rungs(facts: Facts) -> Iterator[Finding]:
    """Yield the ways of running RUN; it is not a fault that a worse one does not work."""
    selected = facts.sandbox.selected
    for rung in facts.sandbox.rungs:
        if rung.holds:
            lacks = f" ({rung.lacks})" if rung.lacks else ""
            text = f"{rung.name}: works{', and is used' if rung == selected else ''}{lacks}."
        else:
            text = f"{rung.name}: {rung.why.rstrip('.')}."
        missed = not rung.holds and (selected is None or rung.number < selected.number)
        yield Finding(f"Rung {rung.number}", State.FAIR if missed else State.GOOD, text)


def _allowed(facts: Facts) -> Iterator[Finding]:
    """Report the system calls that were tried; a denied call is not a fault in itself."""
    abilities = facts.sandbox.abilities
    if not abilities:
        return
    allowed = [words for name, words in _ABILITIES.items() if abilities.get(name) == ""]
    refused = [f"{words} ({abilities[name]})" for name, words in _ABILITIES.items() if abilities.get(name)]
    yield Finding("Allowed", State.GOOD, f"{', '.join(allowed) or 'nothing'}.")
    if refused:
        yield Finding("Refused", State.GOOD if facts.sandbox.works else State.FAIR, f"{', '.join(refused)}.")


def _namespace_wants(facts: Facts) -> Iterator[Want]:
    abilities = facts.sandbox.abilities
    if facts.store.problem:
        return  # nothing was tried without a store
    if not abilities or abilities.get("mounts"):
        if causes.is_filter(facts):
            yield Want.NAMESPACES
        if facts.system.apparmor:
            yield Want.APPARMOR
        if causes.missing_capabilities(facts):
            yield Want.CAPABILITIES
        if facts.store.kind == "overlay":
            yield Want.VOLUME  # else the next thing to be told
    if _is_proc_masked(facts):
        yield Want.PROC


def _is_proc_masked(facts: Facts) -> bool:
    """Return whether parts of the container's /proc are hidden, so that a new one, which has them, is denied."""
    return facts.system.masked and bool(facts.sandbox.abilities.get("new_proc"))


def _store(facts: Facts) -> Iterator[Finding]:
    store = facts.store
    if store.problem:
        yield Finding("Store", State.BAD, store.problem, (Want.VOLUME,))
        return
    missing = [words for there, words in ((store.xattrs, "extended attributes"), (store.locks, "locks")) if not there]
    text = f"{store.root} on {store.kind or 'an unknown file system'}"
    text += f", which has no {' and no '.join(missing)}" if missing else ""
    state, wants = (State.GOOD, ()) if store.locks else (State.BAD, (Want.VOLUME,))
    # An overlayfs mount has flags of its own; a copy for each RUN has those of the store.
    if store.noexec and not facts.sandbox.overlay:
        text += ", from which no program may be run (noexec)"
        state, wants = State.FAIR, (Want.EXEC,)
    yield Finding("Store", state, f"{text}.", wants)
    if store.regrouped >= 0:
        text = f"the cluster gave every file of the volume to the group {store.regrouped} when the pod started, which "
        text += "takes long, and costs the layers that were extracted before."
        yield Finding("fsGroup", State.FAIR, text, (Want.GROUP,))
    if not store.size:
        return
    text = f"{human_bytes(store.free)} of {human_bytes(store.size)} are free"
    text += f", the quota is {human_bytes(store.quota)}" if store.quota else ""
    text += f"; the store is kept below {human_bytes(store.limit)} ({store.why})."
    memory = facts.limits.memory if store.kind == "tmpfs" else 0
    text += f" It is memory, of which this place has {human_bytes(memory)}." if 0 < memory < store.size else ""
    little = store.free < LITTLE_ROOM or 0 < memory < LITTLE_ROOM or 0 <= store.inodes < FEW_INODES
    text += f" Only {store.inodes} more files can be created." if 0 <= store.inodes < FEW_INODES else ""
    yield Finding("Room", State.FAIR if little else State.GOOD, text, (Want.ROOM,) if little else ())


def _temporary(facts: Facts) -> Iterator[Finding]:
    if not facts.system.temporary:
        text = "cannot be made ($TMPDIR, /tmp, /var/tmp and this directory are read-only or belong to others); some "
        yield Finding("Temporary files", State.FAIR, f"{text}commands need them, such as %bake.", (Want.TEMPORARY,))


def _limits(facts: Facts) -> Iterator[Finding]:
    limits = facts.limits
    rows = (
        ("Open files", limits.files, FEW_FILES, Want.FILES, str(limits.files)),
        ("Processes", limits.processes, FEW_PROCESSES, Want.PROCESSES, str(limits.processes)),
        ("Memory", limits.memory, LITTLE_MEMORY, Want.MEMORY, human_bytes(limits.memory)),
    )
    for subject, value, least, want, phrase in rows:
        if not value:
            continue
        few = value < least
        text = f"{phrase}, which large installations may exceed." if few else f"{phrase}."
        if subject == "Memory" and limits.cpus:
            text = text.removesuffix(".") + f"; {limits.cpus:g} CPU{'s' if limits.cpus != 1 else ''}."
        yield Finding(subject, State.FAIR if few else State.GOOD, text, (want,) if few else ())
    # A sandbox that can mount has a /dev/shm of its own.
    if 0 <= limits.shm < SMALL_SHM and (facts.sandbox.selected is None or facts.sandbox.selected.way.TRACED):
        text = f"{human_bytes(limits.shm)}: programs that share memory fail."
        yield Finding("/dev/shm", State.FAIR, text, (Want.SHM,))


def _network(facts: Facts) -> Iterator[Finding]:
    through = f" through {facts.proxy}" if facts.proxy else ""
    for reach in facts.reach:
        of = f" for {reach.domain}" if reach.domain and reach.host != reach.domain else ""
        subject = reach.host or "Registries"
        if reach.problem:
            text = f"cannot be reached{through}{of}: {reach.problem.rstrip('.')}."
            yield Finding(subject, State.FAIR, text, (Want.NETWORK,))
        else:
            yield Finding(subject, State.GOOD, f"answers{through}{of} within {reach.seconds * 1000:.0f} ms.")


def _front_end(facts: Facts) -> Iterator[Finding]:
    versions = {version.name: version.version for version in facts.versions}
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield Finding("Packages", State.GOOD, f"{there}.")
    missing = [name for name in ("ipywidgets", "anywidget") if name in versions and not versions[name]]
    if missing:
        text = f"{' and '.join(missing)} missing: builds are shown as text."
        yield Finding("Widgets", State.FAIR, text, (Want.WIDGETS,))
    own = versions.get("pybuild_magic", "")
    if facts.extension and own and facts.extension != own:
        text = f"is {facts.extension}, but pybuild_magic is {own}: install the same version and reload the page."
        yield Finding("JupyterLab extension", State.FAIR, text, (Want.EXTENSION,))
    elif facts.extension:
        yield Finding("JupyterLab extension", State.GOOD, f"{facts.extension}.")
    elif versions.get("jupyterlab"):
        text = "is not installed for this Python: cells have no colours and there is no side panel."
        yield Finding("JupyterLab extension", State.FAIR, text, (Want.EXTENSION,))
    else:
        text = (
            "JupyterLab is not installed in this Python. Where it is, `pip install pybuild_magic` adds the extension."
        )
        yield Finding("JupyterLab extension", State.GOOD, text)
