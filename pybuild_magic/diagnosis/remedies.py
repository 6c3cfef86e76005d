"""The lines to paste: changes to a container, a hub, a pod or a machine that provide what is missing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .causes import APPARMOR, FIRST_ID, IDS, LAST_ID, TRACING, missing_capabilities, other_group, settings_to_change
from .facts import Facts
from .finding import Finding, Want
from .findings import FEW_FILES

_IN_CONTAINER = {
    *(Want.NAMESPACES, Want.APPARMOR, Want.CAPABILITIES, Want.PROC, Want.PRIVILEGES, Want.VOLUME, Want.TEMPORARY),
    *(Want.GROUP, Want.EXEC, Want.FILES, Want.PROCESSES, Want.MEMORY, Want.SHM),
}
"""The needs that only the person who starts the container can meet."""
_MOUNT = "/var/lib/pybuild"
"""The mount point of a pod's volume, or of a container's tmpfs, in which everybody may make directories."""
_STORE = f"{_MOUNT}/store"
MANY_FILES = FEW_FILES * 64
_INSTALL = "apt-get update && apt-get install -y"
_ONCE = {"fsGroupChangePolicy": "OnRootMismatch"}
"""A pod's setting by which the volumes that have the group already are left as they are."""
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
    where = "on the node" if facts.system.container else "on the machine, as root; in /etc/sysctl.d it lasts"
    values = settings_to_change(facts) if Want.KERNEL in wants else {}
    if values:
        lines = "\n".join(f"sysctl -w {name}={value}" for name, value in values.items())
        yield Remedy(f"sysctl, {where}: namespaces", lines)
    if APPARMOR in values and not facts.system.container:
        yield Remedy("AppArmor, /etc/apparmor.d/pybuild: for this Python only, instead of the sysctl", _profile())
    if Want.TRACING in wants:
        lines = f"sysctl -w {TRACING}=1"
        if facts.system.settings[TRACING] > 2:
            lines = f"echo {TRACING}=1 > /etc/sysctl.d/99-pybuild.conf\nreboot"
        yield Remedy(f"sysctl, {where}: tracing", lines)


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
            yield Remedy(f"KubeSpawner, in jupyterhub_config.py: {words}", _kube_spawner(requested, facts))
        yield Remedy(f"Pod: {words}", _pod(requested, facts))
        return
    if facts.system.hub:
        yield Remedy(f"DockerSpawner, in jupyterhub_config.py: {words}", _docker_spawner(requested, facts))
    program = "podman" if facts.system.container == "podman" else "docker"
    yield Remedy(
        f"{program} run, added to its present flags: {words}",
        " ".join([f"{program} run", *_docker_flags(requested, facts), "IMAGE"]),
    )


def _security_options(wants: set[Want]) -> list[str]:
    options = ["seccomp=unconfined"] * (Want.NAMESPACES in wants)
    options += ["apparmor=unconfined"] * (Want.APPARMOR in wants)
    options += ["no-new-privileges=false"] * (Want.PRIVILEGES in wants)
    return options


def _has_volume(wants: set[Want], facts: Facts) -> bool:
    """Return whether a volume over the home is offered for the store.

    A new volume takes its owner from the directory of the image that it covers, so that has to be the user's. Where it
    is not, a tmpfs is offered.
    """
    in_memory = Want.EXEC in wants and facts.store.kind == "tmpfs"
    return bool(wants & {Want.VOLUME, Want.EXEC}) and not in_memory and facts.system.has_home


def _tmpfs(wants: set[Want], facts: Facts) -> dict[str, str]:
    """Return the tmpfs mounts, each with its options: Docker leaves them without `exec`."""
    store, mounts = facts.store, dict[str, str]()
    if Want.EXEC in wants and store.kind == "tmpfs":
        kept = [word for word in store.options if word.partition("=")[0] in ("size", "mode", "uid", "gid")]
        mounts[store.mount] = ",".join(["exec", *kept])
    elif wants & {Want.VOLUME, Want.EXEC} and not facts.system.has_home:
        mounts[_MOUNT] = "exec,mode=1777"
    if Want.TEMPORARY in wants:
        mounts["/tmp"] = "mode=1777"
    return mounts


def _home(wants: set[Want], facts: Facts) -> str:
    """Return PYBUILD_HOME; "" where it stays."""
    if _has_volume(wants, facts):
        return f"{facts.system.home}/.pybuild"
    return _STORE if _MOUNT in _tmpfs(wants, facts) else ""


def _files(facts: Facts) -> int:
    """Return the limit of open files to offer: an engine without privileges cannot raise the container's hard limit."""
    hard = facts.limits.files_hard
    return min(hard, MANY_FILES) if hard > FEW_FILES else MANY_FILES


def _docker_flags(wants: set[Want], facts: Facts) -> list[str]:
    """Return the flags of `docker run`."""
    flags = [f"--security-opt {option}" for option in _security_options(wants)]
    flags += ["--security-opt systempaths=unconfined"] * (Want.PROC in wants)
    flags += [f"--cap-add {name}" for name in _capabilities(wants, facts)]
    flags += [f"--tmpfs {path}:{options}" for path, options in _tmpfs(wants, facts).items()]
    flags += [f"-v pybuild-home:{facts.system.home}"] * _has_volume(wants, facts)
    if home := _home(wants, facts):
        flags.append(f"-e PYBUILD_HOME={home}")
    if Want.FILES in wants:
        flags.append(f"--ulimit nofile={_files(facts)}")
    flags += ["--pids-limit 4096"] * (Want.PROCESSES in wants)
    # With a --memory-swap that is there already, Docker would refuse more memory than that.
    flags += ["--memory 4g --memory-swap 8g"] * (Want.MEMORY in wants)
    flags += ["--shm-size 64m"] * (Want.SHM in wants)
    return flags


def _capabilities(wants: set[Want], facts: Facts) -> list[str]:
    return list(missing_capabilities(facts)) if Want.CAPABILITIES in wants else []


def _docker_spawner(wants: set[Want], facts: Facts) -> str:
    options: dict[str, Any] = {}
    if security := _security_options(wants):
        options["security_opt"] = security
    if capabilities := _capabilities(wants, facts):
        options["cap_add"] = capabilities
    if Want.PROCESSES in wants:
        options["pids_limit"] = 4096
    if Want.SHM in wants:
        options["shm_size"] = "64m"
    if Want.FILES in wants:
        options["ulimits"] = [{"name": "nofile", "soft": _files(facts), "hard": _files(facts)}]
    if tmpfs := _tmpfs(wants, facts):
        options["tmpfs"] = tmpfs
    lines = [f"c.DockerSpawner.extra_host_config = {json.dumps(options)}"] if options else []
    if Want.PROC in wants:
        # `systempaths=unconfined` is a word of Docker's command line for these two, which Docker's API refuses.
        lines.append('c.DockerSpawner.extra_create_kwargs = {"host_config": {"MaskedPaths": [], "ReadonlyPaths": []}}')
    if _has_volume(wants, facts):
        lines.append(f'c.DockerSpawner.volumes = {{"home-{{username}}": "{facts.system.home}"}}')
    if home := _home(wants, facts):
        lines.append(f'c.DockerSpawner.environment = {{"PYBUILD_HOME": "{home}"}}')
    lines += ['c.DockerSpawner.mem_limit = "4G"'] * (Want.MEMORY in wants)
    return "\n".join([_ADDED, *lines])


def _security(wants: set[Want], facts: Facts) -> dict[str, Any]:
    """Return the securityContext of a container."""
    context: dict[str, Any] = {}
    if capabilities := _capabilities(wants, facts):
        context["capabilities"] = {"add": capabilities}
    if Want.NAMESPACES in wants:
        context["seccompProfile"] = {"type": "Unconfined"}
    if Want.APPARMOR in wants:
        context["appArmorProfile"] = {"type": "Unconfined"}
    if Want.PROC in wants:
        context["procMount"] = "Unmasked"
    if Want.PRIVILEGES in wants:
        context["allowPrivilegeEscalation"] = True
    return context


def _kube_spawner(wants: set[Want], facts: Facts) -> str:
    lines: list[str] = []
    context = _security(wants, facts)
    if context.pop("allowPrivilegeEscalation", False):
        lines.append("c.KubeSpawner.allow_privilege_escalation = True")
    if context:
        lines.append(f"c.KubeSpawner.container_security_context = {json.dumps(context)}")
    if Want.GROUP in wants:
        lines.append(f"c.KubeSpawner.pod_security_context = {json.dumps(_ONCE)}")
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
    if Want.TEMPORARY in wants:
        volumes.append({"name": "tmp", "emptyDir": {}})
        mounts.append({"name": "tmp", "mountPath": "/tmp"})
    if Want.SHM in wants:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    return volumes, mounts


def _pod(wants: set[Want], facts: Facts) -> str:
    """Return the part of a pod's manifest, as YAML (JSON values are valid YAML)."""
    node = [_BY_THE_NODE] * bool(wants & {Want.FILES, Want.PROCESSES})
    if node and wants <= {Want.FILES, Want.PROCESSES}:
        return _BY_THE_NODE
    volumes, mounts = _volumes(wants)
    lines = ["spec:"]
    lines += ["  hostUsers: false"] * (Want.PROC in wants)
    lines += [f"  securityContext: {json.dumps(_ONCE)}"] * (Want.GROUP in wants)
    if wants <= {Want.GROUP, Want.FILES, Want.PROCESSES}:
        return "\n".join([*node, *lines])
    if volumes:
        lines += ["  volumes:", *(f"  - {json.dumps(volume)}" for volume in volumes)]
    lines += ["  containers:", "  - name: notebook"]
    if context := _security(wants, facts):
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
    system, sandbox, contained = facts.system, facts.sandbox, bool(facts.system.container)
    user = system.user or str(system.uid)
    lines = [f"echo {user}:{FIRST_ID}:{IDS} >> /etc/{name}" for name in sandbox.unassigned]
    if contained and not sandbox.capable:
        # In a container a set-user-ID newuidmap lacks CAP_SYS_ADMIN over the parent namespace.
        lines.insert(0, f"{_INSTALL} uidmap libcap2-bin")
        lines.append("chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap")
        lines.append("setcap cap_setuid=ep /usr/bin/newuidmap && setcap cap_setgid=ep /usr/bin/newgidmap")
    elif not sandbox.mapper:
        lines.insert(0, f"{_INSTALL} uidmap")
    if contained:
        lines += _entry(facts)
    if not lines:
        return
    if not contained:
        yield Remedy("Subordinate ids, as root", "\n".join(lines))
        return
    run = " \\\n && ".join(lines)
    if facts.system.container == "kubernetes" and Want.PROC in wants:
        run = f"{run}\n# A pod with hostUsers: false has {IDS} ids, too few for these: decide for one of the two."
    yield Remedy("Subordinate ids, at the end of the image's Dockerfile", f"USER root\nRUN {run}\nUSER {user}")


def _entry(facts: Facts) -> Iterator[str]:
    """Yield commands that make /etc/passwd of a container's image fit its user, as newuidmap demands."""
    system = facts.system
    if not system.user:
        yield f"echo {shlex.quote(f'pybuild:x:{system.uid}:{system.gid}::{system.home}:/bin/sh')} >> /etc/passwd"
    elif other_group(facts):
        if not system.group:
            yield f"groupadd --gid {system.gid} pybuild"
        yield f"usermod --gid {system.gid} {system.user}"


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
