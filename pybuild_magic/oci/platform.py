"""Platforms (`linux/arm64/v8`): parsing, normal form and matching, by the rules of containerd/platforms."""

from __future__ import annotations

import platform as _host
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from ..errors import UsageError
from ..untrusted.foreign import number

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")
_OS = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?")
_KNOWN_OS = frozenset(
    [
        *("aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux"),
        *("nacl", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos"),
    ]
)
_KNOWN_ARCH = frozenset(
    [
        *("386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle"),
        *("mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv", "riscv64"),
        *("s390", "s390x", "sparc", "sparc64", "wasm"),
    ]
)
_ARM64_AS_V8 = {"v8": 0, "v9": 5}
"""The minor version of Armv8 that Armv9.0 (and Armv8.0 itself) includes."""

_HIGHEST = 99
"""The highest version of an architecture; a higher one in a document is ignored."""

T = TypeVar("T")


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """The system that an image runs on. Build one with `parse`, or `normalise` what a document says."""

    architecture: str
    os: str
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    variant: str = ""

    def __str__(self) -> str:
        """Return `os/architecture[/variant]`, as `docker buildx` writes it."""
        if not self.os:
            return "unknown"
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def full(self) -> str:
        """The same as `str`, with the version and features of the operating system: `windows(10.0.17763)/amd64`."""
        if not self.os:
            return "unknown"
        features = "".join("+" + _encode(feature) for feature in sorted(set(self.os_features)) if feature)
        options = _encode(self.os_version) + features
        name = f"{self.os}({options})" if options else self.os
        return "/".join(filter(None, (name, self.architecture, self.variant)))

    def document(self) -> dict[str, Any]:
        """Return the members of the OCI document, in the order of its Go type."""
        members: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            members["os.version"] = self.os_version
        if self.os_features:
            members["os.features"] = list(self.os_features)
        if self.variant:
            members["variant"] = self.variant
        return members


def _encode(option: str) -> str:
    for character, code in (("%", "%25"), ("+", "%2B"), ("(", "%28"), (")", "%29"), ("/", "%2F")):
        option = option.replace(character, code)
    return option


def _normal_os(os: str) -> str:
    os = os.lower()
    return {"": host().os, "macos": "darwin"}.get(os, os)


def _normal_arch(arch: str, variant: str) -> tuple[str, str]:
    arch, variant = arch.lower(), variant.lower()
    match arch:
        case "i386":
            return "386", ""
        case "x86_64" | "x86-64" | "amd64":
            return "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            if variant in ("8", "v8", "v8.0"):
                return "arm64", ""
            return "arm64", "v9" if variant in ("9", "9.0", "v9.0") else variant
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
        case "arm":
            if variant in ("", "7"):
                return "arm", "v7"
            return "arm", f"v{variant}" if variant in ("5", "6", "8") else variant
        case _:
            return arch, variant


def normalise(platform: Platform) -> Platform:
    """Return the normal form of `platform`: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`."""
    arch, variant = _normal_arch(platform.architecture, platform.variant)
    return Platform(
        os=_normal_os(platform.os),
        architecture=arch,
        variant=variant,
        os_version=platform.os_version,
        os_features=tuple(sorted(set(platform.os_features))),
    )


def parse(specifier: str) -> Platform:
    """Return the platform that `os`, `arch`, `os/arch` or `os/arch/variant` names. Raises UsageError.

    Missing parts are the host's: `linux` is Linux on the host's architecture. The result is not in normal form
    (`linux/arm64/v8` keeps its v8): code that compares platforms calls `normalise`.
    """
    parts = specifier.strip().split("/")
    if len(parts) > 3:
        raise _invalid(specifier, "it has more than three parts")
    match = _OS.fullmatch(parts[0])
    if match is None:
        raise _invalid(specifier, f'"{parts[0]}" is not an operating system')
    for part in parts[1:]:
        if _COMPONENT.fullmatch(part) is None:
            raise _invalid(specifier, f'"{part}" is not an architecture or variant')
    os = _normal_os(match[1])
    version = unquote(match[2] or "")
    features = tuple(unquote(feature) for feature in (match[3] or "").split("+") if feature)
    if len(parts) == 1:
        if os in _KNOWN_OS:
            own = host()
            variant = own.variant if own.architecture == "arm" and own.variant != "v7" else ""
            return Platform(own.architecture, os, version, features, variant)
        arch, variant = _normal_arch(parts[0], "")
        if arch not in _KNOWN_ARCH:
            raise _invalid(specifier, "it is neither an operating system nor an architecture")
        return Platform(arch, host().os, variant="" if (arch, variant) == ("arm", "v7") else variant)
    arch, variant = _normal_arch(parts[1], parts[2] if len(parts) == 3 else "")
    if len(parts) == 2 and (arch, variant) == ("arm", "v7"):
        variant = ""
    if len(parts) == 3 and (arch, variant) == ("arm64", ""):
        variant = "v8"
    return Platform(arch, os, version, features, variant)


def _invalid(specifier: str, reason: str) -> UsageError:
    return UsageError(
        f'"{specifier}" is not a platform: {reason}.', hint="A platform is os/arch[/variant]: linux/arm64."
    )


@cache
def host() -> Platform:
    """Return the default platform of images: Linux, on this machine's architecture.

    It is Linux on macOS and Windows too, where a virtual machine of the same architecture runs the images.
    """
    arch, variant = _normal_arch(_host.machine() or "amd64", "")
    machine = _host.machine().lower()
    if arch.startswith("armv"):
        arch, variant = "arm", arch[3:5]
    elif arch == "arm64":
        variant = "v8"
    elif machine in ("x86", "i486", "i586", "i686"):
        arch = "386"
    return Platform(arch, "linux", variant=variant)


def _versions(platform: Platform) -> list[tuple[str, str]]:
    """Return the (architecture, variant) pairs that run on `platform`, best first."""
    arch, variant = platform.architecture, platform.variant
    versions = [(arch, variant)]
    if arch == "amd64":
        if version := number(variant[1:], _HIGHEST):
            versions += [(arch, f"v{level}") for level in range(version - 1, 0, -1)]
        versions.append(("386", ""))
    elif arch == "arm" and (version := number(variant[1:], _HIGHEST)):
        versions += [(arch, f"v{level}") for level in range(version - 1, 4, -1)]
    elif arch == "arm64":
        name = variant or "v8"
        major, _, minor = name.partition(".")
        low = number(minor or "0", _HIGHEST)
        if major in _ARM64_AS_V8 and low is not None:
            versions = [(arch, f"{major}.{level}" if level else major) for level in range(low, -1, -1)]
            if major == "v9":
                versions += [(arch, f"v8.{level}" if level else "v8") for level in range(low + 5, -1, -1)]
            versions += [("arm", f"v{level}") for level in (8, 7, 6, 5)]
    return list(dict.fromkeys(_normal_arch(*pair) for pair in versions))


def _windows_build(platform: Platform) -> list[str]:
    """Return major, minor and build: a Windows image runs only on the build that it was made for."""
    return platform.os_version.split(".")[:3]


def rank(target: Platform, offered: Platform) -> int | None:
    """Return how well an image for `offered` runs on `target`: 0 is an exact match, more is worse, None is not at all.

    An amd64 host runs 386, arm64 runs arm/v8 and below, a later variant runs an earlier one.
    """
    target, offered = normalise(target), normalise(offered)
    if target.os != offered.os or not set(offered.os_features) <= set(target.os_features):
        return None
    if target.os == "windows" and _windows_build(target) != _windows_build(offered):
        return None
    try:
        return _versions(target).index((offered.architecture, offered.variant))
    except ValueError:
        return None


def matches(target: Platform, offered: Platform) -> bool:
    """Return whether an image for `offered` runs on `target`."""
    return rank(target, offered) is not None


def same(left: Platform, right: Platform) -> bool:
    """Return whether two platforms have the same normal form."""
    return normalise(left) == normalise(right)


def best(target: Platform, offers: Sequence[tuple[Platform, T]]) -> T | None:
    """Return the offer whose platform fits `target` best, the first of equals; None when none fits."""
    ranked = [
        (fit, position, thing)
        for position, (offered, thing) in enumerate(offers)
        if (fit := rank(target, offered)) is not None
    ]
    return min(ranked, key=lambda item: item[:2])[2] if ranked else None
