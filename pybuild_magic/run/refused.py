"""The flags of `docker run`, and of the commands around it, that have no place here: why, and what to do instead.

They are known so that a line written for Docker is answered with its reason. Neither help nor completion shows them.
"""

from __future__ import annotations

from ..request.flags import Flag, Kind

_NETWORK = "is not available: a process has the machine's own network, or none"
_OPEN = "is not needed: what a process listens on is open on the machine"
_DISK = "is not available: the speed of disks is not limited here"
_NAMESPACES = "is not available: a process always has namespaces of its own"
_REAL_TIME = "is not available: real-time shares exist only in the cgroups of version 1"
_OOM = "is not available: when memory runs out, a process ends before the notebook"
_LOG = "is not available: with -d the output goes to a log of the store, and otherwise to you"
_BESIDE = "%build exec NAME COMMAND runs another process beside one with -d."


def refused(
    name: str, why: str, instead: str = "Leave it out.", *, kind: Kind = Kind.MANY, short: str = "", same: str = ""
) -> Flag:
    """Return the row of a flag; `same` are the values, with commas between, that ask for what holds anyway."""
    metavar = "" if kind is Kind.BOOL else "VALUE"
    doc = f"Not {why.removeprefix('is not ')}"
    return Flag(name, kind, metavar, doc, short, refused=why, instead=instead, same=("", *same.split(",")))


REFUSED: tuple[Flag, ...] = (
    refused("annotation", "is not available: annotations are for an OCI runtime", "Use --label."),
    *(
        refused(name, _DISK, same="0")
        for name in (
            *("blkio-weight", "blkio-weight-device", "device-read-bps", "device-read-iops"),
            *("device-write-bps", "device-write-iops"),
        )
    ),
    refused("cpu-rt-period", _REAL_TIME, "Use --cpus or --cpu-shares.", same="0"),
    refused("cpu-rt-runtime", _REAL_TIME, "Use --cpus or --cpu-shares.", same="0"),
    refused("detach-keys", "is not available: a process in the foreground ends with its command", "Start it with -d."),
    refused("device-cgroup-rule", "is not needed: no cgroup restricts devices", "Add the device with --device."),
    refused(
        "disable-content-trust",
        "is not available: there is no server of signatures to ask",
        "Name the image by its digest: NAME@sha256:...",
        kind=Kind.BOOL,
        same="true",
    ),
    refused("domainname", "is not available: there is no NIS", "Use --hostname with the full name."),
    refused("expose", _OPEN),
    refused("ip", _NETWORK),
    refused("ip6", _NETWORK),
    refused("link", _NETWORK, "Connect to localhost, or give it a name with --add-host NAME:127.0.0.1."),
    refused("link-local-ip", _NETWORK),
    refused("mac-address", _NETWORK),
    refused("network-alias", _NETWORK, "Use --add-host NAME:127.0.0.1."),
    refused("ipc", _NAMESPACES, "Use --shm-size for more shared memory.", same="private,shareable"),
    refused("pid", _NAMESPACES, _BESIDE),
    refused("uts", _NAMESPACES, "Use --hostname."),
    refused("userns", _NAMESPACES, "Use -u USER."),
    refused("cgroupns", _NAMESPACES, same="private"),
    refused("isolation", "is not available: it is for Windows", same="default"),
    refused("kernel-memory", "is not available: Linux no longer limits it alone", "Use --memory.", same="0"),
    refused("memory-reservation", "is not available: limits are hard ones here", "Use --memory.", same="0"),
    refused("memory-swappiness", "is not available: it belongs to the machine", "Use --memory-swap.", same="-1"),
    refused("log-driver", _LOG, "%build logs NAME shows it.", same="json-file,local"),
    refused("log-opt", _LOG, "%build logs NAME shows it."),
    refused("oom-kill-disable", _OOM, "Use --memory.", kind=Kind.BOOL, same="false"),
    refused("oom-score-adj", _OOM, "Use --memory.", same="0"),
    refused("publish", _OPEN, "Leave it out, and connect to the port of the process.", short="p"),
    refused("publish-all", _OPEN, kind=Kind.BOOL, short="P", same="false"),
    refused("restart", "is not available: nothing starts a process again when it has ended",
             "Repeat it in the command, for example: sh -c 'until COMMAND; do sleep 1; done'", same="no"),
    refused("runtime", "is not available: the sandbox is built in", same="runc,io.containerd.runc.v2"),
    refused(
        "security-opt",
        "is not available: every process has the same filter of system calls",
        "Use --cap-drop, --cap-add and -u, or --privileged.",
        same="apparmor=unconfined,label=disable,label:disable,no-new-privileges=false,no-new-privileges:false",
    ),
    refused(
        "sig-proxy",
        "is not available: a process in the foreground does not outlive its command",
        "Start it with -d.",
        kind=Kind.BOOL,
        same="true",
    ),
    refused("storage-opt", "is not available: there is no storage driver", "%build du shows what the store holds."),
    refused("sysctl", "is not available: the settings of Linux belong to the machine", "Ask whoever runs it."),
    refused(
        "use-api-socket",
        "is not available: there is no Docker engine",
        "Mount the socket of one with -v /var/run/docker.sock:/var/run/docker.sock.",
        kind=Kind.BOOL,
        same="false",
    ),
    refused("volume-driver", "is not available: volumes are directories of the store", same="local"),
    refused(
        "volumes-from",
        "is not available: volumes without a name end with their process",
        "Give both the same named volume: -v NAME:/PATH",
    ),
)  # fmt: skip
"""Those of `docker run`."""

REFUSED_BY_EXEC: tuple[Flag, ...] = (
    refused(
        "detach",
        "is not available: nobody would take the output",
        "Let a shell start it: sh -c 'COMMAND > /tmp/log 2>&1 &'",
        kind=Kind.BOOL,
        short="d",
        same="false",
    ),
    refused("detach-keys", "is not available: a process of exec ends with its command"),
)
"""Those of `docker exec`."""
