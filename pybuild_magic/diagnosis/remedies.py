"""The lines to paste: changes to a container, a hub, a pod or a machine that provide what is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .facts import Facts
from .findings import FEW_FILES, FIRST_ID, IDS, LAST_ID, Finding, Want

_APPARMOR, _CLONE, _MOST = (
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.unprivileged_userns_clone",
    "user.max_user_namespaces",
)
_IN_CONTAINER = {
    *(Want.NAMESPACES, Want.APPARMOR, Want.PROC, Want.PRIVILEGES, Want.VOLUME),
    *(Want.EXEC, Want.FILES, Want.PROCESSES, Want.MEMORY, Want.SHM),
}
"""The needs that only the person who starts the container can meet."""
_MOUNT = "/var/lib/pybuild"
"""The mount point of a pod's volume, in which everybody may make directories."""
_STORE = f"{_MOUNT}/store"
MANY_FILES = FEW_FILES * 64
_INSTALL = "apt-get update && apt-get install -y"
_BY_THE_NODE = "# the node decides about open files and processes (podPidsLimit of its kubelet)"
_ADDED = "# added to the values that are there: an assignment replaces them"


class Remedy(msgspec.Struct, frozen=True):
    """Lines for one place."""

    title: str
    """The place, and the effect."""
    lines: str


def remedies(facts: Facts, findings: Sequence[Finding]) -> tuple[Remedy, ...]:
    """Return the remedies that fit the machine, for all needs."""
    wants = {want for finding in findings for want in finding.wants}
    return (*_machine(facts, wants), *_container(facts, wants), *_image(facts, wants), *_here(facts, wants))


def _machine(facts: Facts, wants: set[Want]) -> Iterator[Remedy]:
    """Yield kernel settings for an administrator. In a container they are the machine's."""
    if Want.NAMESPACES not in wants:
        return
    settings = facts.system.settings
    lines: list[str] = []
    if settings.get(_CLONE) == 0:
        lines.append(f"sysctl -w {_CLONE}=1")
    if settings.get(_MOST) == 0:
        lines.append(f"sysctl -w {_MOST}=65536")
    if settings.get(_APPARMOR) == 1:
        lines.append(f"sysctl -w {_APPARMOR}=0")
    if lines:
        where = "on the machine, as root; in /etc/sysctl.d it lasts" if not facts.system.container else "on the node"
        yield Remedy(f"sysctl, {where}: user namespaces", "\n".join(lines))
    if settings.get(_APPARMOR) == 1 and not facts.system.container:
        yield Remedy("AppArmor, /etc/apparmor.d/pybuild: for this Python only, instead of the sysctl", _profile())


def _profile() -> str:
    import sys

    program = re.sub(r'([][{}*?^"\\])', r"\\\1", str(Path(sys.executable).resolve()))  # all that patterns are made of
    head = "abi <abi/4.0>,\ninclude <tunables/global>"
    return f'{head}\nprofile pybuild "{program}" flags=(unconfined) {{\n  userns,\n}}'


def _container(facts: Facts, wants: set[Want]) -> Iterator[Remedy]:
    """Yield options for the person who starts the container."""
    requested = wants & _IN_CONTAINER
    if not requested or not facts.system.container:
        return
    words = ", ".join(want.value for want in Want if want in requested)
    if facts.system.container == "kubernetes":
        if facts.system.hub:
            yield Remedy(f"KubeSpawner, in jupyterhub_config.py: {words}", _kube_spawner(requested))
        yield Remedy(f"Pod: {words}", _pod(requested))
        return
    if facts.system.hub:
        yield Remedy(f"DockerSpawner, in jupyterhub_config.py: {words}", _docker_spawner(requested, facts))
    program = "podman" if facts.system.container == "podman" else "docker"
    flags = _docker_flags(requested, facts)
    lines = [" ".join([f"{program} run", *flags, "IMAGE"])] * bool(flags)
    lines += ["# leave out --security-opt no-new-privileges"] * (Want.PRIVILEGES in requested)
    yield Remedy(f"{program} run, added to its present flags: {words}", "\n".join(lines))


def _tmpfs(wants: set[Want], facts: Facts) -> str:
    """Return the tmpfs that needs to allow programs, with its options, which Docker leaves without `exec`."""
    store = facts.store
    if Want.EXEC not in wants or store.kind != "tmpfs":
        return ""
    kept = [word for word in store.options if word.partition("=")[0] in ("size", "mode", "uid", "gid")]
    return f"{store.mount}:{','.join(['exec', *kept])}"


def _files(facts: Facts) -> int:
    """Return the limit of open files to offer: an engine without privileges cannot raise the container's hard limit."""
    hard = facts.limits.files_hard
    return min(hard, MANY_FILES) if hard > FEW_FILES else MANY_FILES


def _docker_flags(wants: set[Want], facts: Facts) -> list[str]:
    """Return the flags of `docker run`.

    A new volume takes its owner from the directory of the image that it covers: the home is the user's.
    """
    home = facts.system.home
    flags: list[str] = []
    if Want.NAMESPACES in wants:
        flags.append("--security-opt seccomp=unconfined")
    if Want.APPARMOR in wants:
        flags.append("--security-opt apparmor=unconfined")
    if Want.PROC in wants:
        flags.append("--security-opt systempaths=unconfined")
    if tmpfs := _tmpfs(wants, facts):
        flags.append(f"--tmpfs {tmpfs}")
    elif wants & {Want.VOLUME, Want.EXEC}:
        flags += [f"-v pybuild-home:{home}", f"-e PYBUILD_HOME={home}/.pybuild"]
    if Want.FILES in wants:
        flags.append(f"--ulimit nofile={_files(facts)}")
    flags += ["--pids-limit 4096"] * (Want.PROCESSES in wants)
    # With a --memory-swap that is there already, Docker would refuse more memory than that.
    flags += ["--memory 4g --memory-swap 8g"] * (Want.MEMORY in wants)
    flags += ["--shm-size 64m"] * (Want.SHM in wants)
    return flags


def _docker_spawner(wants: set[Want], facts: Facts) -> str:
    home = facts.system.home
    options: dict[str, Any] = {}
    security = ["seccomp=unconfined"] * (Want.NAMESPACES in wants)
    security += ["apparmor=unconfined"] * (Want.APPARMOR in wants)
    if security:
        options["security_opt"] = security
    if Want.PROCESSES in wants:
        options["pids_limit"] = 4096
    if Want.SHM in wants:
        options["shm_size"] = "64m"
    if Want.FILES in wants:
        options["ulimits"] = [{"name": "nofile", "soft": _files(facts), "hard": _files(facts)}]
    if tmpfs := _tmpfs(wants, facts):
        options["tmpfs"] = dict([tmpfs.split(":", 1)])
    lines = [f"c.DockerSpawner.extra_host_config = {json.dumps(options)}"] if options else []
    if Want.PROC in wants:
        # `systempaths=unconfined` is a word of Docker's command line for these two, which Docker's API refuses.
        lines.append('c.DockerSpawner.extra_create_kwargs = {"host_config": {"MaskedPaths": [], "ReadonlyPaths": []}}')
    if wants & {Want.VOLUME, Want.EXEC} and not tmpfs:
        lines.append(f'c.DockerSpawner.volumes = {{"home-{{username}}": "{home}"}}')
        lines.append(f'c.DockerSpawner.environment = {{"PYBUILD_HOME": "{home}/.pybuild"}}')
    lines += ['c.DockerSpawner.mem_limit = "4G"'] * (Want.MEMORY in wants)
    lines = [_ADDED, *lines] if lines else []
    if Want.PRIVILEGES in wants:
        lines.append("# leave no-new-privileges out of c.DockerSpawner.extra_host_config['security_opt']")
    return "\n".join(lines)


def _security(wants: set[Want]) -> dict[str, Any]:
    """Return the securityContext of a container."""
    context: dict[str, Any] = {}
    if Want.NAMESPACES in wants:
        context["seccompProfile"] = {"type": "Unconfined"}
    if Want.APPARMOR in wants:
        context["appArmorProfile"] = {"type": "Unconfined"}
    if Want.PROC in wants:
        context["procMount"] = "Unmasked"
    if Want.PRIVILEGES in wants:
        context["allowPrivilegeEscalation"] = True
    return context


def _kube_spawner(wants: set[Want]) -> str:
    lines: list[str] = []
    context = _security(wants)
    if context.pop("allowPrivilegeEscalation", False):
        lines.append("c.KubeSpawner.allow_privilege_escalation = True")
    if context:
        lines.append(f"c.KubeSpawner.container_security_context = {json.dumps(context)}")
    if Want.PROC in wants:
        lines.append('c.KubeSpawner.extra_pod_config = {"hostUsers": False}')
    volumes, mounts = _volumes(wants)
    if volumes:
        lines.append(f"c.KubeSpawner.volumes = {json.dumps(volumes)}")
        lines.append(f"c.KubeSpawner.volume_mounts = {json.dumps(mounts)}")
    if wants & {Want.VOLUME, Want.EXEC}:
        lines.append(f'c.KubeSpawner.environment = {{"PYBUILD_HOME": "{_STORE}"}}')
    lines += ['c.KubeSpawner.mem_limit = "4G"'] * (Want.MEMORY in wants)
    node = [_BY_THE_NODE] * bool(wants & {Want.FILES, Want.PROCESSES})
    return "\n".join([*node, *([_ADDED, *lines] if lines else [])])


def _volumes(wants: set[Want]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, str]] = []
    if wants & {Want.VOLUME, Want.EXEC}:
        volumes.append({"name": "pybuild", "emptyDir": {}})
        mounts.append({"name": "pybuild", "mountPath": _MOUNT})
    if Want.SHM in wants:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    return volumes, mounts


def _pod(wants: set[Want]) -> str:
    """Return the part of a pod's manifest, as YAML (JSON values are valid YAML)."""
    node = [_BY_THE_NODE] * bool(wants & {Want.FILES, Want.PROCESSES})
    if node and wants <= {Want.FILES, Want.PROCESSES}:
        return _BY_THE_NODE
    volumes, mounts = _volumes(wants)
    lines = ["spec:"]
    lines += ["  hostUsers: false"] * (Want.PROC in wants)
    if volumes:
        lines += ["  volumes:", *(f"  - {json.dumps(volume)}" for volume in volumes)]
    lines += ["  containers:", "  - name: notebook"]
    if context := _security(wants):
        lines.append("    securityContext:")
        lines += [f"      {name}: {json.dumps(value)}" for name, value in context.items()]
    if mounts:
        lines += ["    volumeMounts:", *(f"    - {json.dumps(mount)}" for mount in mounts)]
    if wants & {Want.VOLUME, Want.EXEC}:
        lines += ["    env:", f'    - {{"name": "PYBUILD_HOME", "value": "{_STORE}"}}']
    if Want.MEMORY in wants:
        lines.append('    resources: {"limits": {"memory": "4Gi"}}')
    return "\n".join([*node, *lines])


def _image(facts: Facts, wants: set[Want]) -> Iterator[Remedy]:
    """Yield what the image, or the machine, lacks for subordinate ids."""
    if Want.SUBORDINATE_IDS not in wants or facts.sandbox.ids < LAST_ID:
        return
    sandbox, contained = facts.sandbox, bool(facts.system.container)
    user = facts.system.user or str(facts.system.uid)
    lines = [f"echo {user}:{FIRST_ID}:{IDS} >> /etc/{name}" for name in sandbox.unassigned]
    if contained and not sandbox.capable:
        # In a container a set-user-ID newuidmap lacks CAP_SYS_ADMIN over the parent namespace.
        lines.insert(0, f"{_INSTALL} uidmap libcap2-bin")
        lines.append("chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap")
        lines.append("setcap cap_setuid=ep /usr/bin/newuidmap && setcap cap_setgid=ep /usr/bin/newgidmap")
    elif not sandbox.mapper:
        lines.insert(0, f"{_INSTALL} uidmap")
    if not lines:
        return
    if not contained:
        yield Remedy("Subordinate ids, as root", "\n".join(lines))
        return
    run = " \\\n && ".join(lines)
    if facts.system.container == "kubernetes" and Want.PROC in wants:
        run = f"{run}\n# A pod with hostUsers: false has {IDS} ids, too few for these: decide for one of the two."
    yield Remedy("Subordinate ids, at the end of the image's Dockerfile", f"USER root\nRUN {run}\nUSER {user}")


def _here(facts: Facts, wants: set[Want]) -> Iterator[Remedy]:
    """Yield the steps that need no administrator."""
    if wants & {Want.VOLUME, Want.EXEC, Want.ROOM} and not facts.system.container:
        yield Remedy("A different place for the store", "%env PYBUILD_HOME=/path/on/another/disk")
    if Want.FILES in wants and facts.limits.files_hard > facts.limits.files:
        yield Remedy("Open files, in the shell that starts Jupyter", f"ulimit -n {facts.limits.files_hard}")
    if Want.ROOM in wants:
        yield Remedy("Room", "%build gc --dry-run\n%build gc")
    if Want.WIDGETS in wants:
        yield Remedy("Widgets", "%pip install ipywidgets anywidget")
    if Want.EXTENSION in wants:
        yield Remedy("The extension", "%pip install --force-reinstall --no-deps pybuild_magic")
    if Want.NETWORK in wants:
        yield Remedy(
            "A mirror of registries, or a proxy",
            "%env PYBUILD_REGISTRY_MIRRORS=docker.io=https://mirror.example\n%env HTTPS_PROXY=http://proxy.example:3128",
        )
