"""The values of `RUN --mount` and `RUN --device`: from comma-separated fields to typed data."""

from __future__ import annotations

import re

import msgspec

from ..errors import DockerfileError
from ..golang.parsebool import parse_bool
from ..golang.text import alike, did_you_mean, quote
from ..llb.ops import MountType, Sharing
from ..untrusted.foreign import LARGEST, number
from .instructions import Device, Expander

_KEYS = (
    *("type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid"),
    *("src", "dst", "destination", "ro", "rw", "readwrite", "env"),
)
MOUNT_TYPES = {kind.value: kind for kind in MountType}
SHARINGS = {mode.value: mode for mode in Sharing}
_FLAGS = frozenset({"readonly", "ro", "readwrite", "rw", "required"})
_UINT32 = 2**32
_FIELD = re.compile(r'(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^",]*))(?P<end>,|\Z)')
_OPENED = re.compile(r'"(?:[^"]|"")*')
_SIZE = re.compile(r"(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+) ?([a-z]*)", re.IGNORECASE)
_SIZE_SUFFIX = re.compile(r"b?|([kmgtp])(?:b|ib)?")


class Mount(msgspec.Struct, frozen=True):
    """A `--mount`, expanded. Fields that were not given are "", None or false.

    `id` is the cache's or the secret's; `size` is a tmpfs's limit in bytes, 0 for none; `env` is the name
    of a secret's variable, and "" asks for the secret's own name.
    """

    type: MountType = MountType.BIND
    from_: str = ""
    source: str = ""
    target: str = ""
    readonly: bool = False
    id: str = ""
    sharing: Sharing | None = None
    required: bool = False
    size: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str | None = None


def csv_fields(text: str) -> list[str]:
    """Return the fields of a CSV record. Raises DockerfileError where quotes do not follow RFC 4180."""
    if not text:
        raise DockerfileError("EOF")
    fields: list[str] = []
    position = 0
    while match := _FIELD.match(text, position):
        quoted: str | None = match["quoted"]
        fields.append(match["plain"] if quoted is None else quoted.replace('""', '"'))
        position = match.end()
        if not match["end"]:
            return fields
    fault, problem = text.index('"', position), 'bare " in non-quoted-field'
    if opened := _OPENED.match(text, position):
        problem = 'extraneous or missing " in quoted-field'
        unclosed = opened.end() == len(text)
        fault = text.rindex('"') + 1 if unclosed else opened.end()
    column = len(text[:fault].encode("utf-8", "surrogatepass")) + 1
    raise DockerfileError(f"parse error on line 1, column {column}: {problem}")


def check_mount(text: str) -> None:
    """Reject what is wrong before variables are known: malformed CSV, and a variable in `from`."""
    for field in _fields(text, "mounts"):
        key, _, value = field.partition("=")
        if key.lower() == "from" and "$" in value[:-1]:
            raise DockerfileError("'from' doesn't support variable expansion, define alias stage instead")


def mount_from(text: str) -> str:
    """Return the `from` of a mount before expansion, the stage or image that it needs; "" for none."""
    source = ""
    for field in _fields(text, "mounts"):
        key, _, value = field.partition("=")
        if key.lower() == "from":
            source = value
    return source


def parse_mount(text: str, expander: Expander) -> Mount:
    """Parse a `--mount` and expand each value; fields are read in order, so `type` comes first.

    Raises DockerfileError with BuildKit's words for an unknown or misplaced key and for a bad value.
    """
    mount = Mount()
    readonly: bool | None = None
    for field in _fields(text, "mounts"):
        key, delimiter, value = field.partition("=")
        key = key.lower()
        if not delimiter and key not in _FLAGS:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        value = expander(value) if delimiter else "true"
        if key in ("readonly", "ro"):
            readonly = _boolean(key, value)
        elif key in ("readwrite", "rw"):
            readonly = not _boolean(key, value)
        else:
            mount = _with_field(mount, key, value, field)
    _check_combination(mount)
    if readonly is None:
        readonly = mount.type not in (MountType.CACHE, MountType.TMPFS)
    return msgspec.structs.replace(mount, readonly=readonly)


def parse_device(text: str) -> Device:
    """Parse a `--device`: `vendor.com/class=name[,required]`."""
    name, required = "", False
    for field in _fields(text, "devices"):
        key, delimiter, value = field.partition("=")
        key = key.lower()
        if key == "required":
            required = _boolean(key, value) if delimiter else True
        elif key == "name" and delimiter:
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field
        elif not delimiter:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        else:
            raise _unexpected(key, field, ("name", "required"))
    return Device(name, required)


def _fields(text: str, subject: str) -> list[str]:
    try:
        return csv_fields(text)
    except DockerfileError as error:
        raise DockerfileError(f"failed to parse csv {subject}: {error.message}") from None


def _with_field(mount: Mount, key: str, value: str, field: str) -> Mount:
    match key:
        case "type":
            kind = value.lower()
            if kind not in MOUNT_TYPES:
                hint = did_you_mean(value, alike(value, MOUNT_TYPES), case_sensitive=True)
                raise DockerfileError(f"unsupported mount type {quote(value)}{hint}")
            changes = {"type": MOUNT_TYPES[kind]}
        case "from":
            changes = {"from_": value}
        case "source" | "src":
            changes = {"source": value}
        case "target" | "dst" | "destination":
            changes = {"target": value}
        case "id" | "env":
            changes = {key: value}
        case "required" if mount.type in (MountType.SECRET, MountType.SSH):
            changes = {"required": _boolean(key, value)}
        case "size" if mount.type == MountType.TMPFS:
            changes = {"size": _size(key, value)}
        case "required" | "size":
            raise DockerfileError(f"unexpected key '{key}' for mount type '{mount.type}'")
        case "sharing":
            mode = value.lower()
            if mode not in SHARINGS:
                hint = did_you_mean(value, alike(value, SHARINGS), case_sensitive=True)
                raise DockerfileError(f"unsupported sharing value {quote(value)}{hint}")
            changes = {"sharing": SHARINGS[mode]}
        case "mode":
            changes = {"mode": _number(key, value, 8)}
        case "uid" | "gid":
            changes = {key: _number(key, value, 10)}
        case _:
            raise _unexpected(key, field, _KEYS)
    return msgspec.structs.replace(mount, **changes)


def _check_combination(mount: Mount) -> None:
    if mount.type in (MountType.BIND, MountType.TMPFS):
        for key, value in (("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)):
            if value is not None:
                raise DockerfileError(f'{key} not allowed for "{mount.type}" type mounts')
    if mount.type == MountType.SECRET:
        if mount.from_:
            raise DockerfileError("secret mount should not have a from")
        if mount.sharing:
            raise DockerfileError("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise DockerfileError("both source and id can't be set")
    if mount.sharing and mount.type != MountType.CACHE:
        raise DockerfileError(f"invalid cache sharing set for {mount.type} mount")


def _unexpected(key: str, field: str, keys: tuple[str, ...]) -> DockerfileError:
    return DockerfileError(
        f"unexpected key '{key}' in '{field}'{did_you_mean(key, alike(key, keys), case_sensitive=True)}"
    )


def _boolean(key: str, value: str) -> bool:
    truth = parse_bool(value)
    if truth is None:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return truth


def _number(key: str, value: str, base: int) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    parsed = None
    if value and not value.strip(digits):
        parsed = int(value, 8) if base == 8 else number(value)
    if parsed is None or parsed >= _UINT32:
        raise DockerfileError(f"invalid value {value} for {key}")
    return parsed


def _size(key: str, value: str) -> int:
    match = _SIZE.fullmatch(value)
    suffix = _SIZE_SUFFIX.fullmatch(match[2].lower()) if match else None
    if not match or not suffix:
        raise DockerfileError(f"invalid value for {key}: {value}")
    power = "kmgtp".index(suffix[1]) + 1 if suffix[1] else 0
    size = float(match[1]) * 1024**power
    if size > LARGEST:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return int(size)
