"""The names of vertices: `[linux/arm64 build 2/4] RUN make`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..errors import DockerfileError, UsageError
from ..oci import platform as platforms
from ..oci.platform import Platform
from .shell import Lexer
from .stages import StageState


def next_prefix(stage: StageState, platform: Platform | None, env: Mapping[str, str], *, multi_platform: bool) -> str:
    """Return `[platform stage X/Y] ` for the stage's next step; "" for a stage without a label.

    The platform is included in builds for several; `->arch` follows it when the stage's TARGET… variables show that it
    runs on one platform for another.
    """
    if not stage.steps:
        return ""
    stage.step += 1
    where = platform.full + _crossing(platform, env) + " " if multi_platform and platform else ""
    label = stage.label + " " if stage.label else ""
    return f"[{where}{label}{stage.step:{len(str(stage.steps))}}/{stage.steps}] "


def shown(original: str, lexer: Lexer, env: Mapping[str, str]) -> str:
    """Return the instruction as vertex names show it: variables expanded, the keyword in capitals."""
    try:
        text = lexer.process_word(original, env)
    except DockerfileError:
        text = original  # errors in it are reported where it is used
    keyword, space, rest = text.partition(" ")
    return keyword.upper() + space + rest


def _crossing(runs_on: Platform, env: Mapping[str, str]) -> str:
    target = _target(env)
    if target is None:
        return ""
    target = platforms.normalise(
        msgspec.structs.replace(
            target,
            os=target.os or runs_on.os,
            architecture=target.architecture or runs_on.architecture,
        )
    )
    if target.os != runs_on.os:
        return "->" + target.full
    if target.architecture == runs_on.architecture:
        return ""
    return "->" + "/".join(filter(None, (target.architecture, target.variant)))


def _target(env: Mapping[str, str]) -> Platform | None:
    fields: dict[str, str] = {}
    for name, value in env.items():
        match name:
            case "TARGETPLATFORM":
                try:
                    return platforms.parse(value)
                except UsageError:
                    continue
            case "TARGETOS":
                fields["os"] = value
            case "TARGETARCH":
                fields["architecture"] = value
            case "TARGETVARIANT":
                fields["variant"] = value
            case _:
                pass
    if not fields:
        return None
    return Platform(fields.get("architecture", ""), fields.get("os", ""), variant=fields.get("variant", ""))
