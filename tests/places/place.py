"""The places: how `docker run` makes what laptops, hubs, pods and hardened clusters give to a notebook."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One way to run the product's container."""

    name: str
    about: str
    """In words, for the table."""
    rung: int
    """On which RUN is run there; 0 where it cannot be."""
    flags: tuple[str, ...] = ()
    """Of `docker run`."""
    variant: str = "base"
    """Which of the product's images; see `image.VARIANTS`."""
    store: str = "/store/pybuild"
    """PYBUILD_HOME; below /store, which is a volume unless the flags mount something else there, or elsewhere."""
    often: bool = False
    """Whether CI does all tasks here but the slow ones, and not the quick ones alone: no namespaces, as root and not,
    no_new_privileges, an id without an entry, masks, and no RUN at all."""
    copies: bool = False
    """Whether each RUN has a copy of all files, the deletion of which takes seconds on a loaded machine."""
    stands: bool = False
    """Whether the slow tasks run here: one such place a rung is enough."""


_USER = ("--user=1000:1000",)
_UNCONFINED = ("--security-opt=seccomp=unconfined",)
_UNMASKED = ("--security-opt=systempaths=unconfined",)
_NO_NEW_PRIVILEGES = ("--security-opt=no-new-privileges",)
_RESTRICTED = ("--cap-drop=ALL", *_NO_NEW_PRIVILEGES)
_SMALL = ("--memory=512m", "--memory-swap=512m", "--cpus=1", "--pids-limit=200", "--shm-size=1m")
_HOME = "/home/jovyan"

PLACES = {
    place.name: place
    for place in (
        Place("default-root", "Docker's defaults, root", 4, often=True, stands=True),
        Place("default-user", "Docker's defaults, uid 1000", 5, _USER, often=True),
        Place("pure", "Docker's defaults, uid 1000, with the pure wheel and proot", 5, _USER, "pure", copies=True),
        Place(
            "kubernetes-root",
            "seccomp unconfined (Kubernetes' default), root",
            2,
            _UNCONFINED,
            often=True,
            stands=True,
        ),
        Place(
            "kubernetes-user",
            "seccomp unconfined (Kubernetes' default), uid 1000",
            3,
            (*_UNCONFINED, *_USER),
            stands=True,
        ),
        Place(
            "unmasked-user", "seccomp unconfined and /proc unmasked, uid 1000", 3, (*_UNCONFINED, *_UNMASKED, *_USER)
        ),
        Place(
            "hub",
            "seccomp unconfined and no_new_privileges (zero-to-jupyterhub), uid 1000",
            3,
            (*_UNCONFINED, *_NO_NEW_PRIVILEGES, *_USER),
            often=True,
        ),
        Place(
            "restricted",
            "restricted pod: no capability, no_new_privileges, uid 1000",
            5,
            (*_RESTRICTED, *_USER),
            stands=True,
        ),
        Place(
            "random-uid",
            "restricted pod of OpenShift: a random uid with gid 0",
            5,
            (*_RESTRICTED, "--user=1234567:0"),
            often=True,
        ),
        Place(
            "read-only",
            "restricted pod, read-only root, tmpfs home",
            5,
            (*_RESTRICTED, *_USER, "--read-only", "--tmpfs=/tmp:mode=1777,exec", f"--tmpfs={_HOME}:uid=1000,exec"),
            store=f"{_HOME}/store",
        ),
        Place(
            "read-only-noexec",
            "the same with the tmpfs that Docker makes, from which nothing can be run",
            0,
            (*_RESTRICTED, *_USER, "--read-only", "--tmpfs=/tmp:mode=1777", f"--tmpfs={_HOME}:uid=1000"),
            store=f"{_HOME}/store",
            often=True,
        ),
        Place("sys-admin", "CAP_SYS_ADMIN added, root", 2, ("--cap-add=SYS_ADMIN",)),
        Place("privileged-root", "privileged, root", 1, ("--privileged",), stands=True),
        Place("privileged-user", "privileged, uid 1000", 3, ("--privileged", *_USER)),
        Place("subuid", "subordinate ids, newuidmap set-user-ID", 3, (*_UNCONFINED, *_USER), "subuid"),
        Place(
            "subuid-caps", "subordinate ids, newuidmap with file capabilities", 2, (*_UNCONFINED, *_USER), "filecaps"
        ),
        Place(
            "subuid-hub",
            "subordinate ids, file capabilities, no_new_privileges",
            3,
            (*_UNCONFINED, *_NO_NEW_PRIVILEGES, *_USER),
            "filecaps",
        ),
        Place(
            "small", "512 MB, one CPU, 200 processes, 1 MB of /dev/shm, uid 1000", 3, (*_UNCONFINED, *_USER, *_SMALL)
        ),
        Place("small-restricted", "the same in a restricted pod", 5, (*_RESTRICTED, *_USER, *_SMALL)),
        Place(
            "own-layer",
            "store on the container's own layer, uid 1000",
            5,
            (*_UNCONFINED, *_USER),
            store=f"{_HOME}/store",
        ),
        Place("own-layer-root", "store on the container's own layer, root", 4, store="/root/store"),
        Place("tmpfs", "store on a tmpfs, uid 1000", 3, (*_UNCONFINED, *_USER, "--tmpfs=/store:mode=1777,exec")),
        Place(
            "tmpfs-noexec",
            "store on a tmpfs without exec, uid 1000",
            3,
            (*_UNCONFINED, *_USER, "--tmpfs=/store:mode=1777"),
        ),
    )
}
