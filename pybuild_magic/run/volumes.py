"""Volumes of a process, from the machine, the store or memory: `-v`, `--mount` and `--tmpfs` as in `docker run`."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from ..builders.embedded.sandbox import SandboxMount
from ..errors import UsageError
from ..llb.ops import MountType
from ..portable import kind_of, user_path
from ..request.flags import truth
from ..request.values import parse_size, split_csv

_PROPAGATION = ("rprivate", "private", "rslave", "slave", "rshared", "shared")
_CONSISTENCY = ("consistent", "cached", "delegated", "default")
_OPTIONS = (("rw", "ro"), ("z", "Z"), _PROPAGATION, ("nocopy",), _CONSISTENCY)
"""The options of `-v`, by kind: docker run takes one of each, too."""
_RECURSIVE = ("enabled", "disabled", "writable", "readonly")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TMPFS = re.compile(
    r"mode=0?[0-7]{1,4}|(uid|gid)=\d+|size=\d+[kmgt%]?|(nr_inodes|nr_blocks)=\d+[kmgt]?|(no)?(exec|suid|dev|atime|diratime)"
    r"|rw|ro|defaults|relatime|strictatime",
    re.IGNORECASE,
)


class Volume(msgspec.Struct, frozen=True):
    """A mount at the absolute path `target`.

    `source` is a file or directory of the machine, or the name of a volume of the store if `named`; "" is memory, or,
    if `named`, a volume that ends with the process.
    """

    target: str
    source: str = ""
    readonly: bool = False
    named: bool = False
    copy: bool = True
    """Whether an empty volume gets the files that the image has at the target."""
    create: bool = False
    """Whether a missing directory is created, as `-v` does and `--mount` does not."""
    subpath: str = ""
    """The directory or file of a named volume that is shown, instead of all of it."""
    options: str = ""
    """Of memory, as mount(8) takes them."""
    repeatable: bool = False
    """Whether another one like it at the target takes its place, as for `--tmpfs`."""


def parse_volume(value: str) -> Volume:
    """Parse the value of `-v [SOURCE:]PATH[:OPTIONS]`. Raises UsageError."""
    parts = value.split(":")
    if len(parts) == 1 and value.startswith("/"):
        return Volume(_target(value, value), named=True)
    options = _options(parts.pop(), value) if len(parts) == 3 else []
    if len(parts) != 2 or not all(parts):
        raise UsageError(
            f"-v {value} is not SOURCE:PATH[:ro].", hint="A path alone is a volume that ends with the process: -v /PATH"
        )
    source, target = parts
    target = _target(target, value)
    is_named = not source.startswith(("/", ".", "~"))
    misplaced = [word for word in options if word == "nocopy" or word in _PROPAGATION]
    if misplaced and is_named != (misplaced[0] == "nocopy"):
        kind = "named volume" if is_named else "path of this machine"
        raise UsageError(f"-v {value}: {misplaced[0]} means nothing for a {kind}.", hint="Leave it out.")
    if is_named:
        name = check_volume_name(source, hint=f"A path on this machine begins with . or /: -v ./{source}:{target}")
        return Volume(target, name, readonly="ro" in options, named=True, copy="nocopy" not in options)
    return Volume(target, source, readonly="ro" in options, create=True)


def _options(text: str, value: str) -> list[str]:
    words = text.split(",")
    kinds: list[tuple[str, ...]] = []
    for word in words:
        kind = next((kind for kind in _OPTIONS if word in kind), None)
        if kind is None:
            raise UsageError(f"-v {value} has an unknown option {word!r}.", hint="The most common one is ro.")
        if kind in kinds:
            raise UsageError(f"-v {value} has two of {', '.join(kind)}.", hint="Leave one of them out.")
        kinds.append(kind)
    return words


def check_volume_name(name: str, hint: str = "") -> str:
    """Return the name of a volume unchanged. Raises UsageError for an invalid name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a volume: use letters, digits, _, . and -.", hint=hint)
    return name


def parse_mount(value: str) -> Volume:
    """Parse `--mount type=bind|volume,source=…,target=PATH[,readonly]` or `type=tmpfs,…`. Raises UsageError."""
    fields = _mount_fields(value)
    kind = fields.pop("type", "volume").lower()
    source = next((fields.pop(key) for key in ("source", "src") if key in fields), "")
    target = next((fields.pop(key) for key in ("target", "destination", "dst") if key in fields), "")
    readonly = truth(fields.pop("readonly", "false"), "--mount readonly")
    if kind == "tmpfs" and not source:
        size = parse_size(fields.pop("tmpfs-size", "0"), "tmpfs-size")
        mode = [f"mode={fields.pop('tmpfs-mode')}"] if "tmpfs-mode" in fields else []
        options = (*((f"size={size}",) if size else ()), *mode, "noexec")
        volume = Volume(_target(target, value), readonly=readonly, options=_checked(options, value))
    elif kind == "bind" and source:
        _one_of(fields.pop("bind-propagation", ""), _PROPAGATION, "bind-propagation")
        _one_of(fields.pop("consistency", ""), _CONSISTENCY, "consistency")
        recursive = fields.pop("bind-recursive", "enabled")
        _one_of(recursive, _RECURSIVE, "bind-recursive")
        if recursive in ("writable", "readonly") and not readonly:
            raise UsageError(f"--mount bind-recursive={recursive} needs readonly beside it.")
        if recursive in ("disabled", "writable"):
            raise UsageError(
                f"--mount bind-recursive={recursive} is not available: what is mounted below is shown, too.",
                hint="Leave it out.",
            )
        volume = Volume(_target(target, value), source, readonly=readonly)
    elif kind == "volume":
        copy = not truth(fields.pop("volume-nocopy", "false"), "--mount volume-nocopy")
        _one_of(fields.pop("volume-driver", ""), ("local",), "volume-driver")
        name = source and check_volume_name(source, hint="For a path on this machine, use type=bind.")
        subpath = fields.pop("volume-subpath", "")
        if not source and (readonly or subpath):
            raise UsageError(f"--mount {value}: a volume without a source is empty, and must be writable and whole.")
        volume = Volume(_target(target, value), name, readonly=readonly, named=True, copy=copy, subpath=subpath)
    else:
        raise UsageError(f"--mount {value}: use type=bind or type=volume with a source, or type=tmpfs.")
    if fields:
        raise UsageError(f"--mount {value}: a mount of type {kind} takes no {next(iter(fields))!r} here.")
    return volume


def _one_of(word: str, known: tuple[str, ...], key: str) -> None:
    if word and word not in known:
        raise UsageError(f"--mount {key}={word} is not available; use {', '.join(known)}.")


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
    words = tuple(word for word in text.split(",") if word)
    words += () if {"exec", "noexec"} & {*words} else ("noexec",)
    options = _checked(words, value)
    return Volume(_target(target, value), readonly="ro" in words, options=options, repeatable=True)


def _checked(words: Sequence[str], value: str) -> str:
    for word in words:
        if not _TMPFS.fullmatch(word):
            raise UsageError(f"tmpfs {value} has an unknown option {word!r}.")
    return ",".join(word for word in words if word not in ("ro", "rw", "defaults"))


def _target(target: str, value: str) -> str:
    if not target.startswith("/"):
        raise UsageError(f"{value}: the path in the container must be absolute.")
    if posixpath.normpath(target).strip("/") == "":
        raise UsageError(f"{value}: nothing can be mounted at / itself.", hint="Name a directory below it.")
    return posixpath.normpath("/" + target.lstrip("/"))


def distinct(volumes: Iterable[Volume]) -> tuple[Volume, ...]:
    """Return one volume for each target. Raises UsageError for two at one target, unless they are repeatable."""
    by_target: dict[str, Volume] = {}
    for volume in volumes:
        before = by_target.get(volume.target, volume)
        if before is not volume and not (before.repeatable and volume.repeatable):
            raise UsageError(f"There are two mounts at {volume.target}.", hint="Leave one of them out.")
        by_target[volume.target] = volume
    return tuple(by_target.values())


def to_mounts(
    volumes: tuple[Volume, ...], places: Mapping[str, Path] | None = None, snapshot: tuple[str, ...] = ()
) -> tuple[SandboxMount, ...]:
    """Return the mounts of a sandbox, outer ones first, for all volumes but those that end with the process.

    `places` are the directories of named volumes, which the caller holds (`named.held_volumes`); an empty one gets the
    files that `snapshot` has at its target. Raises UsageError.
    """
    kept = {volume.target: volume for volume in volumes if volume.source or not volume.named}
    return tuple(_mount(kept[target], places or {}, snapshot) for target in sorted(kept))


def _mount(volume: Volume, places: Mapping[str, Path], snapshot: tuple[str, ...]) -> SandboxMount:
    if volume.named:
        initial = snapshot if volume.copy and not volume.subpath else ()
        return SandboxMount(
            volume.target,
            snapshot=initial,
            selector=volume.target if initial else "",
            source=_below(places[volume.source], volume),
            readonly=volume.readonly,
            kept=True,
        )
    if not volume.source:
        return SandboxMount(volume.target, MountType.TMPFS, options=volume.options, readonly=volume.readonly)
    path = user_path(volume.source).absolute()
    if not kind_of(path):
        if not volume.create:
            raise UsageError(f"The mount at {volume.target} shows {volume.source}, which does not exist.")
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"The directory {volume.source} cannot be made: {error.strerror or error}.") from error
    return SandboxMount(volume.target, source=path, readonly=volume.readonly)


def _below(place: Path, volume: Volume) -> Path:
    """Return the part of a named volume that is shown. Raises UsageError for one that is missing, or elsewhere."""
    path = (place / volume.subpath).resolve()
    if not path.is_relative_to(place.resolve()) or not kind_of(path):
        raise UsageError(
            f"The volume {volume.source} has no {volume.subpath}.",
            hint="volume-subpath is a path in the volume that a process made before.",
        )
    return path
