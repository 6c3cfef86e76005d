"""Volumes of a process, from the machine, the store or memory: `-v`, `--mount` and `--tmpfs` as in `docker run`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..builders.embedded.sandbox import SandboxMount
from ..errors import UsageError
from ..llb.ops import MountType
from ..portable import kind_of, user_path
from ..request.flags import truth
from ..request.values import parse_size, split_csv

_OPTIONS = ("rw", "ro", "z", "Z", "rprivate", "private", "rslave", "slave", "rshared", "shared", "nocopy")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TMPFS = re.compile(r"mode=0?[0-7]{1,4}|(uid|gid|nr_inodes)=\d+|rw|exec|noexec|nosuid|nodev|suid|dev")


class Volume(msgspec.Struct, frozen=True):
    """A mount at the absolute path `target`.

    `source` is a file or directory of the machine, or the name of a volume of the store if `named`; "" is memory.
    """

    target: str
    source: str = ""
    readonly: bool = False
    named: bool = False
    copy: bool = True
    """Whether an empty volume gets the files that the image has at the target."""
    create: bool = False
    """Whether a missing directory is created, as `-v` does and `--mount` does not."""
    size: int = 0
    options: str = ""


def parse_volume(value: str) -> Volume:
    """Parse the value of `-v SOURCE:PATH[:ro]`. Raises UsageError."""
    parts = value.split(":")
    options = parts.pop().split(",") if len(parts) == 3 else []
    if len(parts) != 2 or not all(parts):
        raise UsageError(
            f"-v {value} is not SOURCE:PATH[:ro].",
            hint="The volumes of the image are there already, and go with the process.",
        )
    source, target = parts
    unknown = [option for option in options if option not in _OPTIONS]
    if unknown:
        raise UsageError(f"-v {value} has an unknown option {unknown[0]!r}.", hint="The most common one is ro.")
    target = _target(target, value)
    if not source.startswith(("/", ".", "~")):
        name = check_volume_name(source, hint=f"A path on this machine begins with . or /: -v ./{source}:{target}")
        return Volume(target, name, readonly="ro" in options, named=True, copy="nocopy" not in options)
    return Volume(target, source, readonly="ro" in options, create=True)


def check_volume_name(name: str, hint: str = "") -> str:
    """Return the name of a volume unchanged. Raises UsageError for an invalid name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a volume: use letters, digits, _, . and -.", hint=hint)
    return name


def parse_mount(value: str) -> Volume:
    """Parse `--mount type=bind|volume,source=…,target=PATH[,readonly]` or `type=tmpfs,…`. Raises UsageError."""
    fields = _mount_fields(value)
    kind = fields.pop("type", "volume")
    source = next((fields.pop(key) for key in ("source", "src") if key in fields), "")
    target = next((fields.pop(key) for key in ("target", "destination", "dst") if key in fields), "")
    readonly = truth(fields.pop("readonly", "false"), "--mount readonly")
    if kind == "tmpfs" and not source:
        size = parse_size(fields.pop("tmpfs-size", "0"), "tmpfs-size")
        mode = fields.pop("tmpfs-mode", "1777")
        options = _checked(f"mode={mode},noexec", value)
        volume = Volume(_target(target, value), readonly=readonly, size=size, options=options)
    elif kind == "bind" and source:
        fields.pop("bind-propagation", None)
        volume = Volume(_target(target, value), source, readonly=readonly)
    elif kind == "volume" and source:
        copy = not truth(fields.pop("volume-nocopy", "false"), "--mount volume-nocopy")
        name = check_volume_name(source, hint="For a path on this machine, use type=bind.")
        volume = Volume(_target(target, value), name, readonly=readonly, named=True, copy=copy)
    else:
        raise UsageError(f"--mount {value}: use type=bind or type=volume with a source, or type=tmpfs.")
    if fields:
        raise UsageError(f"--mount {value} has an unknown key {next(iter(fields))!r}.")
    return volume


def _mount_fields(value: str) -> dict[str, str]:
    """Return the fields of a `--mount`: `key=value` pairs, except that `readonly` may stand alone."""
    pairs: dict[str, str] = {}
    for field in split_csv(value, "--mount"):
        key, equals, text = field.partition("=")
        key = {"ro": "readonly"}.get(key.lower(), key.lower())
        if not equals and key not in ("readonly", "volume-nocopy"):
            raise UsageError(f"--mount {value}: {field!r} is not a key=value pair.")
        pairs[key] = text if equals else "true"
    return pairs


def parse_tmpfs(value: str) -> Volume:
    """Parse the value of `--tmpfs PATH[:OPTIONS]`. Raises UsageError."""
    target, _, text = value.partition(":")
    words = [word for word in text.split(",") if word]
    size = next((parse_size(word.partition("=")[2], "--tmpfs size") for word in words if word.startswith("size=")), 0)
    readonly = "ro" in words
    words = [word for word in words if word != "ro" and not word.startswith("size=")]
    words += [] if {"exec", "noexec"} & {*words} else ["noexec"]
    return Volume(_target(target, value), readonly=readonly, size=size, options=_checked(",".join(words), value))


def _checked(options: str, value: str) -> str:
    for word in options.split(","):
        if not _TMPFS.fullmatch(word):
            raise UsageError(f"tmpfs {value} has an unknown option {word!r}.")
    return ",".join(word for word in options.split(",") if word not in ("rw", "nosuid", "nodev", "suid", "dev"))


def _target(target: str, value: str) -> str:
    if not target.startswith("/"):
        raise UsageError(f"{value}: the path in the container must be absolute.")
    return target


def to_mounts(
    volumes: tuple[Volume, ...], places: Mapping[str, Path] | None = None, snapshot: tuple[str, ...] = ()
) -> tuple[SandboxMount, ...]:
    """Return the mounts of a sandbox, outer ones first; at each path only the last. Raises UsageError.

    `places` are the directories of named volumes, which the caller holds (`named.held_volumes`); an empty one gets the
    files that `snapshot` has at its target.
    """
    by_target = {volume.target.rstrip("/"): volume for volume in volumes}
    return tuple(_mount(by_target[target], places or {}, snapshot) for target in sorted(by_target))


def _mount(volume: Volume, places: Mapping[str, Path], snapshot: tuple[str, ...]) -> SandboxMount:
    if volume.named:
        initial = snapshot if volume.copy else ()
        return SandboxMount(
            volume.target,
            snapshot=initial,
            selector=volume.target if initial else "",
            source=places[volume.source],
            readonly=volume.readonly,
            kept=True,
        )
    if not volume.source:
        return SandboxMount(
            volume.target, MountType.TMPFS, size=volume.size, options=volume.options, readonly=volume.readonly
        )
    path = user_path(volume.source).absolute()
    if not kind_of(path):
        if not volume.create:
            raise UsageError(f"The mount at {volume.target} shows {volume.source}, which does not exist.")
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"The directory {volume.source} cannot be made: {error.strerror or error}.") from error
    return SandboxMount(volume.target, source=path, readonly=volume.readonly)
