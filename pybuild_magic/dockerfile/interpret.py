"""From a parsed node to a typed instruction: flags, counts and values are checked, with BuildKit's messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypedDict

from ..errors import DockerfileError
from ..golang.duration import parse_duration
from ..golang.text import alike, did_you_mean, quote, strip
from ..untrusted.foreign import integer
from . import instructions as i
from .flags import NO_FLAGS, Flags, Kind, Table, parse_flags
from .heredoc import is_heredoc
from .mount import check_mount, parse_device
from .node import SyntaxNode

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_ONBUILD = re.compile(r"[\t\n\f\r ]*onbuild[\t\n\f\r ]*", re.IGNORECASE)
_MILLISECOND = 1_000_000
_INT32 = 2**31

_COPY_FLAGS: Table = {
    "chown": Kind.STRING,
    "from": Kind.STRING,
    "chmod": Kind.STRING,
    "link": Kind.BOOL,
    "exclude": Kind.STRINGS,
    "parents": Kind.BOOL,
}
_ADD_FLAGS: Table = {
    "chown": Kind.STRING,
    "chmod": Kind.STRING,
    "link": Kind.BOOL,
    "keep-git-dir": Kind.BOOL,
    "checksum": Kind.STRING,
    "unpack": Kind.BOOL,
    "exclude": Kind.STRINGS,
}
_RUN_FLAGS: Table = {
    "mount": Kind.STRINGS,
    "network": Kind.STRING,
    "security": Kind.STRING,
    "device": Kind.STRINGS,
}
_HEALTH_FLAGS: Table = dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), Kind.STRING)
_FROM_FLAGS: Table = {"platform": Kind.STRING}

FLAGS: Mapping[str, Table] = {
    "ADD": _ADD_FLAGS,
    "COPY": _COPY_FLAGS,
    "FROM": _FROM_FLAGS,
    "HEALTHCHECK": _HEALTH_FLAGS,
    "RUN": _RUN_FLAGS,
}
"""The flags of each instruction that has any."""


class _Common(TypedDict):
    keyword: str
    original: str
    location: i.SourceRange
    comments: tuple[str, ...]


class _Source(TypedDict):
    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[i.Heredoc, ...]


def interpret(node: SyntaxNode) -> i.Instruction:
    """Return the instruction of a node. Raises DockerfileError at the node's lines when it is invalid."""
    builder = _BUILDERS.get(node.keyword.lower())
    try:
        if builder is None:
            hint = did_you_mean(node.keyword, alike(node.keyword, _BUILDERS), case_sensitive=False)
            raise DockerfileError(f"unknown instruction: {node.keyword}{hint}")
        return builder(node)
    except DockerfileError as error:
        raise error.at(node.location) from None


def _common(node: SyntaxNode) -> _Common:
    return {
        "keyword": node.keyword,
        "original": strip(node.original),
        "location": node.location,
        "comments": node.comments,
    }


def _from(node: SyntaxNode) -> i.From:
    words = node.words
    alias = as_keyword = ""
    if len(words) == 3 and words[1].lower() == "as":
        as_keyword, alias = words[1:]
        if not _STAGE_NAME.fullmatch(alias.lower()):
            raise DockerfileError(
                f"invalid name for build stage: {quote(alias)}, name can't start with a number or contain symbols"
            )
    elif len(words) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    flags = parse_flags(node.flags, _FROM_FLAGS)
    name = alias.lower()
    return i.From(
        **_common(node),
        base=words[0],
        name=name,
        platform=flags.text("platform"),
        alias=alias,
        as_keyword=as_keyword,
        doc=_doc(node, name),
    )


def _arg(node: SyntaxNode) -> i.Arg:
    _at_least_one(node)
    args: list[i.ArgValue] = []
    for word in node.words:
        key, delimiter, value = word.partition("=")
        if delimiter and not key:
            raise DockerfileError("ARG names can not be blank")
        args.append(i.ArgValue(key, value if delimiter else None, _doc(node, key)))
    return i.Arg(**_common(node), args=tuple(args))


def _env(node: SyntaxNode) -> i.Env:
    return i.Env(**_common(node), env=_pairs(node))


def _label(node: SyntaxNode) -> i.Label:
    return i.Label(**_common(node), labels=_pairs(node))


def _maintainer(node: SyntaxNode) -> i.Maintainer:
    return i.Maintainer(**_common(node), maintainer=_only_word(node))


def _workdir(node: SyntaxNode) -> i.Workdir:
    return i.Workdir(**_common(node), path=_only_word(node))


def _user(node: SyntaxNode) -> i.User:
    return i.User(**_common(node), user=_only_word(node))


def _stop_signal(node: SyntaxNode) -> i.StopSignal:
    return i.StopSignal(**_common(node), signal=_only_word(node, flags=False))


def _expose(node: SyntaxNode) -> i.Expose:
    _at_least_one(node)
    parse_flags(node.flags, NO_FLAGS)
    return i.Expose(**_common(node), ports=tuple(sorted(node.words)))


def _volume(node: SyntaxNode) -> i.Volume:
    _at_least_one(node)
    parse_flags(node.flags, NO_FLAGS)
    volumes = tuple(map(strip, node.words))
    if not all(volumes):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return i.Volume(**_common(node), volumes=volumes)


def _shell(node: SyntaxNode) -> i.Shell:
    parse_flags(node.flags, NO_FLAGS)
    _at_least_one(node)
    if not node.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return i.Shell(**_common(node), shell=node.words)


def _run(node: SyntaxNode) -> i.Run:
    flags = parse_flags(node.flags, _RUN_FLAGS)
    devices = tuple(parse_device(device) for device in flags.all("device"))
    mounts = flags.all("mount")
    for mount in mounts:
        check_mount(mount)
    network = flags.text("network", "default")
    if network not in ("default", "none", "host"):
        raise DockerfileError(f"invalid network mode {quote(network)}")
    security = flags.text("security", "sandbox")
    if security not in ("sandbox", "insecure"):
        raise DockerfileError(f"security {quote(security)} is not valid")
    return i.Run(
        **_common(node),
        args=node.words,
        shell=not node.json,
        heredocs=node.heredocs,
        mounts=mounts,
        network=network,
        security=security,
        devices=devices,
    )


def _cmd(node: SyntaxNode) -> i.Cmd:
    parse_flags(node.flags, NO_FLAGS)
    return i.Cmd(**_common(node), args=node.words, shell=not node.json)


def _entrypoint(node: SyntaxNode) -> i.Entrypoint:
    parse_flags(node.flags, NO_FLAGS)
    return i.Entrypoint(**_common(node), args=node.words, shell=not node.json)


def _copy(node: SyntaxNode) -> i.Copy:
    _needs_destination(node)
    flags = parse_flags(node.flags, _COPY_FLAGS)
    return i.Copy(
        **_common(node),
        **_source(node),
        from_=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.boolean("link") is True,
        parents=flags.boolean("parents") is True,
        exclude=flags.all("exclude"),
    )


def _add(node: SyntaxNode) -> i.Add:
    _needs_destination(node)
    flags = parse_flags(node.flags, _ADD_FLAGS)
    return i.Add(
        **_common(node),
        **_source(node),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.boolean("link") is True,
        exclude=flags.all("exclude"),
        keep_git_dir=flags.boolean("keep-git-dir"),
        checksum=flags.text("checksum"),
        unpack=flags.boolean("unpack"),
    )


def _healthcheck(node: SyntaxNode) -> i.Healthcheck:
    _at_least_one(node)
    kind, command = node.words[0].upper(), node.words[1:]
    if kind == "NONE":
        if command:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return i.Healthcheck(**_common(node), test=("NONE",))
    flags = parse_flags(node.flags, _HEALTH_FLAGS)
    if kind != "CMD":
        raise DockerfileError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    if not command:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    return i.Healthcheck(
        **_common(node),
        test=("CMD" if node.json else "CMD-SHELL", *command),
        interval=_interval(flags, "interval"),
        timeout=_interval(flags, "timeout"),
        start_period=_interval(flags, "start-period"),
        start_interval=_interval(flags, "start-interval"),
        retries=_retries(flags.text("retries")),
    )


def _onbuild(node: SyntaxNode) -> i.Onbuild:
    _at_least_one(node)
    parse_flags(node.flags, NO_FLAGS)
    trigger = strip(node.words[0]).upper()
    if trigger == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{trigger} isn't allowed as an ONBUILD trigger")
    expression = _ONBUILD.sub("", node.original, count=1)
    documents = "".join(f"\n{heredoc.data}{heredoc.name}" for heredoc in node.heredocs)
    return i.Onbuild(**_common(node), expression=expression + documents)


_BUILDERS: dict[str, Callable[[SyntaxNode], i.Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
KEYWORDS = tuple(_BUILDERS)
"""Every instruction, in lower case."""


def _pairs(node: SyntaxNode) -> tuple[i.KeyValue, ...]:
    parse_flags(node.flags, NO_FLAGS)
    name = node.keyword.upper()
    if not node.pairs:
        raise DockerfileError(f"{name} requires at least one argument")
    if not all(pair.key for pair in node.pairs):
        raise DockerfileError(f"{name} names can not be blank")
    return tuple(i.KeyValue(pair.key, pair.value, pair.delimited) for pair in node.pairs)


def _source(node: SyntaxNode) -> _Source:
    *words, destination = node.words
    if is_heredoc(destination):
        raise DockerfileError(f"{node.keyword.upper()} cannot accept a heredoc as a destination")
    data = {heredoc.name: heredoc.data for heredoc in node.heredocs}
    sources: list[str] = []
    heredocs: list[i.Heredoc] = []
    for word in words:
        if h := is_heredoc(word):
            heredocs.append(i.Heredoc(h.name, data.get(h.name, ""), h.expand, h.chomp, h.fd))
        else:
            sources.append(word)
    return {"sources": tuple(sources), "destination": destination, "heredocs": tuple(heredocs)}


def _interval(flags: Flags, name: str) -> int:
    text = flags.text(name)
    nanoseconds = parse_duration(text) if text else 0
    if nanoseconds and nanoseconds < _MILLISECOND:
        raise DockerfileError(f'Interval "{name}" cannot be less than 1ms')
    return nanoseconds


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise DockerfileError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    value = integer(text, -_INT32, _INT32 - 1)
    if value is None:
        raise DockerfileError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    if value < 0:
        raise DockerfileError(f"--retries cannot be negative ({value})")
    return value


def _doc(node: SyntaxNode, name: str) -> str:
    """Return the comment line above that begins with the name, without the name."""
    for line in node.comments:
        if name and line.startswith(f"{name} "):
            return line[len(name) + 1 :]
    return ""


def _at_least_one(node: SyntaxNode) -> None:
    if not node.words:
        raise DockerfileError(f"{node.keyword.upper()} requires at least one argument")


def _only_word(node: SyntaxNode, *, flags: bool = True) -> str:
    if len(node.words) != 1:
        raise DockerfileError(f"{node.keyword.upper()} requires exactly one argument")
    if flags:
        parse_flags(node.flags, NO_FLAGS)
    return node.words[0]


def _needs_destination(node: SyntaxNode) -> None:
    if len(node.words) < 2:
        raise DockerfileError(
            f"{node.keyword.upper()} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
