"""Packages of Linux distributions: the databases of dpkg, apk and rpm."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping

from ...store import Entry
from ..purl import purl
from . import rpmdb
from .package import Files, Package, UnreadableError, text_of

_LICENCE = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.MULTILINE)
_RPM_FORMS = {"rpmdb.sqlite": rpmdb.sqlite_headers, "Packages": rpmdb.berkeley_headers}
_RPM_TAGS = {1000: "name", 1001: "version", 1002: "release", 1003: "epoch", 1014: "licence", 1022: "arch"}
_RPM_ENTRY = struct.Struct(">IIII")
_MOST_TAGS = 100_000


def os_release(files: Files) -> dict[str, str]:
    """Return the distribution's name and version, from its os-release file."""
    for path in ("etc/os-release", "usr/lib/os-release"):
        if entry := files.get(path):
            pairs = (line.partition("=") for line in text_of(files.read(entry)).splitlines() if "=" in line)
            return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
    return {}


def dpkg(entry: Entry, files: Files) -> Iterator[Package]:
    """Read `var/lib/dpkg/status`, or a file of `status.d`, which images without dpkg have."""
    own = os_release(files)
    whole = entry.name == "status"
    for fields in _stanzas(text_of(files.read(entry)), ": "):
        name, version = fields.get("Package", ""), fields.get("Version", "")
        installed = not whole or fields.get("Status", "").endswith(" installed")
        if name and version and installed:
            yield Package(
                "deb",
                name,
                version,
                _of(own, "deb", "debian", name, version, fields.get("Architecture", "")),
                _debian_licence(name, files),
                entry.path,
            )


def _debian_licence(name: str, files: Files) -> str:
    """Return the licences that a machine-readable copyright file lists."""
    entry = files.get(f"usr/share/doc/{name}/copyright")
    if entry is None:
        return ""
    text = text_of(files.read(entry))
    if not text.startswith("Format:") and "\nFormat:" not in text[:500]:
        return ""
    return " AND ".join(dict.fromkeys(match.strip() for match in _LICENCE.findall(text)))


def apk(entry: Entry, files: Files) -> Iterator[Package]:
    """Read `lib/apk/db/installed`."""
    own = os_release(files)
    for fields in _stanzas(text_of(files.read(entry)), ":"):
        name, version = fields.get("P", ""), fields.get("V", "")
        if name and version:
            where = _of(own, "apk", "alpine", name, version, fields.get("A", ""))
            yield Package("apk", name, version, where, fields.get("L", ""), entry.path)


def rpm(entry: Entry, files: Files) -> Iterator[Package]:
    """Read an rpm database; its name tells its format."""
    own = os_release(files)
    for header in _RPM_FORMS[entry.name](files.read(entry)):
        fields = _rpm_header(header)
        name, version = fields.get("name", ""), "-".join(filter(None, (fields.get("version"), fields.get("release"))))
        if name and version and name != "gpg-pubkey":
            where = _of(own, "rpm", "redhat", name, version, fields.get("arch", ""), epoch=fields.get("epoch", ""))
            yield Package("rpm", name, version, where, fields.get("licence", ""), entry.path)


def rpm_of_suse(entry: Entry, files: Files) -> Iterator[Package]:  # noqa: ARG001 - a Finder
    """Report a database in rpm's own format, which SUSE uses."""
    raise UnreadableError("is an rpm database in an unsupported format")


def _rpm_header(blob: bytes) -> dict[str, str]:
    """Return the wanted texts and numbers of a header."""
    count, size = struct.unpack_from(">II", blob)
    start = 8 + count * _RPM_ENTRY.size
    if count > _MOST_TAGS or start + size > len(blob):
        raise UnreadableError("has a damaged package")
    fields: dict[str, str] = {}
    for number in range(count):
        tag, kind, offset, _ = _RPM_ENTRY.unpack_from(blob, 8 + number * _RPM_ENTRY.size)
        name = _RPM_TAGS.get(tag)
        if name and kind == 4:
            fields[name] = str(struct.unpack_from(">I", blob, start + offset)[0])
        elif name:
            fields[name] = text_of(blob[start + offset : blob.index(b"\0", start + offset)])
    return fields


def _stanzas(text: str, separator: str) -> Iterator[dict[str, str]]:
    """Return the fields of each paragraph; continuation lines are left out."""
    for stanza in text.split("\n\n"):
        lines = (line.partition(separator) for line in stanza.splitlines() if line[:1].strip())
        if fields := {name: value.strip() for name, separator, value in lines if separator}:
            yield fields


def _of(
    release: Mapping[str, str], kind: str, vendor: str, name: str, version: str, arch: str, *, epoch: str = ""
) -> str:
    system = release.get("ID", "") or vendor
    distro = "-".join(filter(None, (system, release.get("VERSION_ID", ""))))
    return purl(kind, name, version, namespace=system, qualifiers={"arch": arch, "distro": distro, "epoch": epoch})
