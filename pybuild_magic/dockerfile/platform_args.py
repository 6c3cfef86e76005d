"""The variables that exist in every build without an ARG: platforms, the target's name, and proxies for RUN."""

from __future__ import annotations

from collections.abc import Mapping

from ..oci.platform import Platform

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


def platform_args(build: Platform, target: Platform, stage: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return BUILDPLATFORM … TARGETSTAGE, for FROM and for ARGs of these names; `overrides` are build args.

    `stage` is the name of the stage being built, "" when it has none.
    """
    values = {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": target.full,
        "TARGETOS": target.os,
        "TARGETOSVERSION": target.os_version,
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }
    return {name: overrides.get(name, value) for name, value in values.items()}


def proxy_env(build_args: Mapping[str, str]) -> tuple[str, ...]:
    """Return `NAME=value` for each proxy build arg, in upper and lower case, which only RUN sees.

    They are part of neither the image nor a cache key, so a build behind a proxy makes the same image.
    """
    values = {name.lower(): build_args[name] for name in sorted(build_args) if name.lower() in _PROXIES}
    return tuple(
        f"{spelling}={values[name]}" for name in _PROXIES if values.get(name) for spelling in (name.upper(), name)
    )
