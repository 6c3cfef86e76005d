"""Dockerfiles for the build checks, the errors and the outlines: each rule violated, kept, and at its edges."""

from __future__ import annotations

import msgspec


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile, with what a build of it is given."""

    dockerfile: str
    files: dict[str, str] = {}
    """The context."""
    args: dict[str, str] = {}
    target: str = ""
    platform: str = ""
    newer: str = ""
    """The BuildKit since which the answer is ours, which is then `rules`; "" when every one gives it."""
    rules: tuple[tuple[str, int], ...] = ()
    """(rule, first line) of what we find where the engine is older."""


def case(
    *lines: str,
    files: dict[str, str] | None = None,
    args: dict[str, str] | None = None,
    target: str = "",
    platform: str = "",
    newer: str = "",
    rules: tuple[tuple[str, int], ...] = (),
) -> Case:
    """A Dockerfile of these lines."""
    dockerfile = "\n".join(lines) + "\n"
    return Case(
        dockerfile=dockerfile,
        files=files or {},
        args=args or {},
        target=target,
        platform=platform,
        newer=newer,
        rules=rules,
    )


FOREIGN = "pybuild-foreign"
"""An image for a platform that no machine of ours has."""
IGNORE = {"a": "", "b": "", "dir/c": "", ".dockerignore": "a\ndir\n"}
COPY = "# check=experimental=CopyIgnoredFile"
DESCRIBED = "# check=experimental=InvalidDefinitionDescription"

CHECKS: dict[str, Case] = {
    # StageNameCasing, FromAsCasing
    "stage name casing": case("FROM busybox AS Base", "FROM Base"),
    "stage name lower": case("FROM busybox AS base-1.x_y", "FROM base-1.x_y"),
    "stage name casing in several": case("FROM busybox AS A", "FROM busybox AS bB", "FROM scratch AS c"),
    "as casing": case("FROM busybox as base"),
    "as casing in lower": case("from busybox AS base", "run true"),
    "as casing mixed": case("FROM busybox As base"),
    "as casing after mixed from": case("From busybox aS base"),
    "as casing in lower kept": case("from busybox as base", "run true"),
    # NoEmptyContinuation
    "empty continuation": case("FROM busybox", "RUN a && \\", "", "  b"),
    "empty continuations in two": case("FROM busybox", "RUN a \\", "", "b", "RUN c \\", "", "", "d", "CMD []"),
    "comment in a continuation": case("FROM busybox", "RUN a && \\", "  # comment", "  b"),
    "empty continuation at the end": case("FROM busybox", "RUN a \\", ""),
    "empty line in a heredoc": case("FROM busybox", "RUN <<E", "a", "", "b", "E"),
    # ConsistentInstructionCasing
    "casing of one": case("FROM busybox", "run true", "CMD []"),
    "casing of lower majority": case("from busybox", "RUN true", "cmd []", "user a"),
    "casing of a tie": case("from busybox", "RUN true"),
    "casing mixed": case("FROM busybox", "Run true", "Cmd []"),
    "casing all mixed": case("From busybox", "Run true"),
    "casing does not count global args": case("arg A=1", "FROM busybox", "RUN true"),
    "casing of onbuild": case("FROM busybox", "onbuild run true", "ONBUILD run true", "RUN true"),
    "casing in a second stage": case("FROM busybox AS a", "RUN true", "FROM a", "copy --from=a /x /y", "CMD []"),
    # DuplicateStageName, ReservedStageName
    "duplicate stage": case("FROM busybox AS a", "FROM scratch AS b", "FROM busybox AS a"),
    "duplicate in another case": case("FROM busybox AS a", "FROM busybox AS A"),
    "duplicate thrice": case("FROM busybox AS a", "FROM busybox AS a", "FROM busybox AS a"),
    "reserved scratch": case("FROM busybox AS scratch", "RUN true"),
    "reserved context": case("FROM busybox AS context"),
    "reserved is a whole name": case("FROM busybox AS scratch2"),
    # JSONArgsRecommended, MultipleInstructionsDisallowed
    "shell form": case("FROM busybox", "CMD echo hi", "ENTRYPOINT echo"),
    "exec form": case("FROM busybox", 'CMD ["echo", "hi"]', 'ENTRYPOINT ["echo"]'),
    "shell form with SHELL": case("FROM busybox", 'SHELL ["/bin/sh", "-e", "-c"]', "CMD echo hi"),
    "shell form before SHELL": case("FROM busybox", "CMD echo hi", 'SHELL ["/bin/sh", "-c"]'),
    "shell form that looks like json": case("FROM busybox", "CMD ['a']", 'ENTRYPOINT [ "a", ]'),
    "shell form with SHELL below": case("FROM busybox AS a", 'SHELL ["/bin/sh", "-c"]', "FROM a", "CMD a"),
    "shell form in lower": case("from busybox", "cmd echo hi"),
    "healthcheck in shell form": case("FROM busybox", "HEALTHCHECK CMD true"),
    "cmd twice": case("FROM busybox", 'CMD ["a"]', 'CMD ["b"]'),
    "cmd thrice": case("FROM busybox", 'CMD ["a"]', 'CMD ["b"]', "cmd []"),
    "entrypoint and healthcheck twice": case(
        "FROM busybox", "HEALTHCHECK NONE", 'ENTRYPOINT ["a"]', "HEALTHCHECK CMD a", 'ENTRYPOINT ["b"]'
    ),
    "cmd once a stage": case("FROM busybox AS a", 'CMD ["a"]', "FROM a", 'CMD ["b"]'),
    # MaintainerDeprecated
    "maintainer": case("FROM busybox", "MAINTAINER me", "maintainer you"),
    "maintainer label": case("FROM busybox", "LABEL org.opencontainers.image.authors=me"),
    # UndefinedArgInFrom, InvalidDefaultArgInFrom
    "undefined arg in from": case("FROM busybox${TAG}"),
    "undefined arg with a suggestion": case("ARG VERSION=latest", "FROM busybox:${VERSIO:-latest}"),
    "undefined platform arg": case("FROM --platform=${BUILDPLATFROM:-linux/amd64} busybox"),
    "arg without default in from": case("ARG TAG", "FROM busybox:${TAG}"),
    "arg without default but given": case("ARG TAG", "FROM busybox:${TAG}", args={"TAG": "latest"}),
    "arg with a default in from": case("ARG TAG=latest", "FROM busybox:${TAG}"),
    "arg that is empty in from": case("ARG BASE=", "FROM ${BASE}", args={"BASE": "busybox"}),
    "default value in from": case("ARG TAG", "FROM busybox:${TAG:-latest}"),
    "invalid default of an arg": case("ARG A=a:b:c", "FROM $A", args={"A": "busybox"}),
    "default made of another": case("ARG T=", "ARG A=busybox:$T", "FROM $A", args={"T": "latest"}),
    "platform variables in from": case("FROM --platform=$BUILDPLATFORM busybox AS a", "FROM a"),
    "undefined arg in an unused stage": case("FROM busybox${X} AS a", "FROM busybox"),
    # UndefinedVar
    "undefined variable": case("FROM busybox", "ENV A=$B", "USER $C", "WORKDIR /$D", "EXPOSE $E"),
    "undefined variable with a suggestion": case("FROM busybox", "ARG VERSION=1", "ENV A=$VERSOIN"),
    "undefined path": case("FROM busybox", "ENV PATH=$PAHT:/x"),
    "defined variables": case("FROM busybox", "ARG A", "ENV B=$A C=$PATH", "LABEL c=$C"),
    "undefined with a default": case("FROM busybox", "ENV A=${B:-b} C=${D-d} E=${F:+f}"),
    "undefined in one instruction twice": case("FROM busybox", "ENV A=$B C=$B D=$E$F"),
    "undefined in copy": case("FROM busybox", "COPY --chown=$X $Y /$Z", files={"a": ""}),
    "undefined in a heredoc": case("FROM busybox", "COPY <<E /x", "$A ${B:-b}", "E", "COPY <<'E' /y", "$A", "E"),
    "undefined in run is the shell's": case("FROM busybox", "RUN echo $A", 'CMD ["$A"]'),
    "undefined in a mount": case("FROM busybox", "RUN --mount=type=cache,target=/$A true"),
    "undefined default of an arg": case("FROM busybox", "ARG A=$B", "ARG C=${A}$D"),
    "overruled default of an arg": case("FROM busybox", "ARG A=$B", args={"A": "a"}),
    "variable of the stage below": case("FROM busybox AS a", "ARG X", "ENV Y=1", "FROM a", "ENV Z=$X$Y$W"),
    "variable of a global arg": case("ARG X=1", "FROM busybox", "ENV A=$X", "ARG X", "ENV B=$X"),
    "escaped dollar": case("FROM busybox", "ENV A=\\$B C='$D'"),
    "undefined with error": case("FROM busybox", "ENV A=${B:?missing}"),
    "sbom args": case("FROM busybox", "ENV A=$BUILDKIT_SBOM_SCAN_STAGE"),
    "undefined in unused stages": case("FROM busybox AS a", "ENV A=$B", "FROM scratch", "LABEL x=$y"),
    "undefined in unused stages with a target": case("FROM busybox AS a", "ENV A=$B", "FROM scratch AS b", target="b"),
    # WorkdirRelativePath
    "relative workdir": case("FROM busybox", "WORKDIR a", "WORKDIR b"),
    "relative after absolute": case("FROM busybox", "WORKDIR /a", "WORKDIR b"),
    "relative over a stage": case("FROM busybox AS a", "WORKDIR /a", "FROM a", "WORKDIR b"),
    "relative from a variable": case("FROM busybox", "ENV A=x", "WORKDIR $A/y", "FROM scratch", "WORKDIR ${Q:-/q}"),
    "relative over an image": case("FROM scratch AS a", "WORKDIR x", "FROM a AS b", "FROM busybox", "WORKDIR z"),
    # LegacyKeyValueFormat, SecretsUsedInArgOrEnv
    "legacy env": case("FROM busybox", "ENV A b c", "label d e", "ENV F=g"),
    "legacy onbuild": case("FROM busybox", "ONBUILD ENV A b", "FROM scratch"),
    "secrets": case(
        "ARG TOKEN",
        "FROM busybox",
        "ARG API_KEY=1 FOO",
        "ENV password=x MY_SECRET_KEY=y",
        "ENV GIT_AUTH_TOKEN=1",
        "ARG apikey",
    ),
    "no secrets": case("FROM busybox", "ARG PUBLIC_KEY monkey keys secrets", "ENV AUTHOR=me"),
    "no secrets but their files": case("FROM busybox", "ARG KEY_FILE TOKEN_VERSION", newer="0.28"),
    "secret with a value": case("FROM busybox", "ARG TOKEN", args={"TOKEN": "x"}),
    # FromPlatformFlagConstDisallowed, RedundantTargetPlatform
    "constant platform": case("FROM --platform=linux/amd64 busybox"),
    "constant platform in the name": case("FROM --platform=linux/amd64 busybox AS build-amd64"),
    "constant os in the name": case("FROM --platform=linux busybox AS a", "FROM --platform=linux busybox AS linux-a"),
    "constant alias of a platform": case("FROM --platform=linux/x86_64 busybox AS x86_64"),
    "platform of a variable": case("ARG P=linux/amd64", "FROM --platform=$P busybox"),
    "redundant platform": case("FROM --platform=$TARGETPLATFORM busybox", "FROM --platform=${TARGETPLATFORM} busybox"),
    "redundant platform with a default": case("FROM --platform=${TARGETPLATFORM:-linux/amd64} busybox"),
    "build platform": case("FROM --platform=$BUILDPLATFORM busybox", "FROM --platform=$TARGETOS/amd64 busybox"),
    # InvalidBaseImagePlatform
    "foreign image": case("FROM scratch AS a", f"FROM {FOREIGN}"),
    "foreign image by variable": case(f"ARG A={FOREIGN}", "FROM $A:latest AS a", "FROM a", "COPY --from=a / /"),
    # ExposeProtoCasing, ExposeInvalidFormat
    "expose": case("FROM busybox", "EXPOSE 80/TCP 81/tcp 82", "EXPOSE 1-3/Udp"),
    "expose invalid": case("FROM busybox", "EXPOSE 127.0.0.1:80:80 81:82 :83", "EXPOSE [::1]:5:6/SCTP"),
    "expose from a variable": case("FROM busybox", "ARG P=8080/TCP", "EXPOSE $P"),
    # CopyIgnoredFile
    "ignored": case(COPY, "FROM busybox", "COPY a b /x/", "ADD a /", "COPY dir/c /", "COPY dir /d/", files=IGNORE),
    "ignored with a dot": case(
        COPY, "FROM busybox", "COPY ./dir /d/", files=IGNORE, newer="0.27", rules=(("CopyIgnoredFile", 3),)
    ),
    "ignored by default": case("FROM busybox", "COPY a /", files=IGNORE, newer="0.27", rules=(("CopyIgnoredFile", 2),)),
    "ignored with exclusions": case(
        COPY, "FROM busybox", "COPY a /", files={"a": "", ".dockerignore": "a\n!b\n"}, newer="0.28"
    ),
    "ignored in a stage": case(COPY, "FROM busybox AS a", "FROM busybox", "COPY --from=a a /", files=IGNORE),
    "ignored by a pattern": case(
        COPY, "FROM busybox", "COPY x.log /", "COPY *.log /", files={"x.log": "", ".dockerignore": "*.log\n"}
    ),
    "ignored heredoc and url": case(COPY, "FROM busybox", "COPY <<a /a", "E", "a", files=IGNORE),
    "ignored root": case(COPY, "FROM busybox", "COPY . /", "COPY / /", files={"a": "", ".dockerignore": "*\n"}),
    "not ignored root": case(COPY, "FROM busybox", "COPY . /", files={"a": "", ".dockerignore": ".*\n"}, newer="0.32"),
    "nothing ignored": case(COPY, "FROM busybox", "COPY a /", files={"a": ""}),
    # InvalidDefinitionDescription
    "description": case(DESCRIBED, "# bad comment", "FROM busybox AS base", "# wrong", "ARG FOO=1", "# A b", "ARG A B"),
    "description right": case(DESCRIBED, "# base is it", "FROM busybox AS base", "# FOO is", "ARG FOO", "ARG BAR"),
    "description parted": case(DESCRIBED, "# x", "#", "FROM busybox AS base", "# y", "", "ARG FOO", "# z", "RUN a"),
    "description of several": case(DESCRIBED, "FROM busybox", "# x", "ARG A B"),
    "description unasked": case("# bad comment", "FROM busybox AS base", "# wrong", "ARG FOO=1"),
    "description of a nameless stage": case(DESCRIBED, "# a comment", "FROM busybox"),
    # the directive and the build arg
    "skip": case("# check=skip=StageNameCasing,FromAsCasing", "FROM busybox as Base", "MAINTAINER me"),
    "skip with spaces": case("# check=skip= StageNameCasing , FromAsCasing", "FROM busybox as Base"),
    "skip all": case("# check=skip=all", "FROM busybox as Base", "MAINTAINER me"),
    "skip all and experimental": case("# check=skip=all;experimental=all", "# x", "FROM busybox as base"),
    "skip unknown": case("# check=skip=Nonsense", "FROM busybox as base"),
    "experimental all": case("# check=experimental=all", "# x", "FROM busybox AS base"),
    "error": case("# check=error=true", "FROM busybox as base"),
    "error without violation": case("# check=error=true", "FROM busybox AS base"),
    "error of what is skipped": case("# check=skip=FromAsCasing;error=true", "FROM busybox as base"),
    "error false": case("# check=error=false", "FROM busybox as base"),
    "error in three parts": case("# check=experimental=all;skip=FromAsCasing;error=1", "# x", "FROM busybox as b"),
    "bad option": case("# check=nonsense=1", "FROM busybox as base"),
    "option without value": case("# check=skip", "FROM busybox as base"),
    "bad bool": case("# check=error=perhaps", "FROM busybox as base"),
    "check after a comment": case("# a comment", "# check=skip=all", "FROM busybox as base", newer="0.27"),
    "build arg": case(
        "# check=skip=all", "FROM busybox as base", args={"BUILDKIT_DOCKERFILE_CHECK": "skip=StageNameCasing"}
    ),
    "build arg with error": case("FROM busybox as base", args={"BUILDKIT_DOCKERFILE_CHECK": "error=true"}),
    "build arg skips all": case("FROM busybox as base", args={"BUILDKIT_DOCKERFILE_CHECK": "skip=all"}),
    "comment above an instruction": case(
        "FROM busybox",
        "# check=skip=JSONArgsRecommended",
        "CMD a",
        "# check=skip=UndefinedVar",
        "ENV A=$B",
        "ENV A=$B",
        newer="0.27",
        rules=(("UndefinedVar", 6),),
    ),
    # several at once, and with other builds
    "many": case(
        "from busybox AS Foo",
        "RUN echo $x",
        "workdir a",
        "CMD echo hi",
        "CMD echo ho",
        "EXPOSE 80/TCP 127.0.0.1:80:80",
        "ENV KEY a$b",
    ),
    "platform is not looked at": case(
        "FROM --platform=$TARGETPLATFORM busybox", "ARG TARGETARCH", "ENV A=$TARGETARCH$B", platform="linux/arm64"
    ),
    "warnings before an error": case("FROM busybox as a", "MAINTAINER me", "RUNN x", "MAINTAINER you"),
    "warnings before an error in lowering": case("FROM busybox", "CMD a", "STOPSIGNAL NONE", "CMD b"),
}

ERRORS: dict[str, Case] = {
    "unknown instruction": case("FROM busybox", "RUNN true"),
    "unknown instruction far": case("FROM busybox", "FOO true"),
    "unknown instruction in lower": case("FROM busybox", "copi a b"),
    "unknown instruction of anagram": case("FROM busybox", "ENTRYPIONT a"),
    "unknown flag": case("FROM busybox", "COPY --chow=1 a b"),
    "unknown flag far": case("FROM busybox", "COPY --nonsense a b"),
    "unknown flag of run": case("FROM busybox", "RUN --mont=type=cache true"),
    "unknown flag of from": case("FROM --plaform=linux busybox"),
    "unknown flag of add": case("FROM busybox", "ADD --keep-git-dri=true a b"),
    "unknown flag of healthcheck": case("FROM busybox", "HEALTHCHECK --intervall=1s CMD true"),
    "flag where there is none": case("FROM busybox", "WORKDIR --x /a"),
    "flag without a value": case("FROM busybox", "COPY --from a b"),
    "flag twice": case("FROM busybox", "COPY --from=a --from=b a b"),
    "flag not boolean": case("FROM busybox", "COPY --link=maybe a b"),
    "unknown stage": case("FROM busybox AS build", "FROM scratch AS out", target="buidl"),
    "unknown stage far": case("FROM busybox AS build", target="nonsense"),
    "stage index": case("FROM busybox", "COPY --from=7 /a /b"),
    "stage that comes later": case("FROM busybox AS a", "COPY --from=b /x /y", "FROM scratch AS b"),
    "stage of itself": case("FROM busybox AS a", "COPY --from=a /x /y"),
    "stage in a circle": case("FROM busybox AS a", "COPY --from=b /x /", "FROM busybox AS b", "COPY --from=a /x /"),
    "stage name": case("FROM busybox AS 1x"),
    "stage with two words": case("FROM busybox AS a b"),
    "no from": case("RUN true"),
    "only args": case("ARG A"),
    "only comments": case("# nothing"),
    "run before from": case("ARG A", "RUN true", "FROM busybox"),
    "from without image": case("FROM"),
    "from of an empty variable": case("ARG A", "FROM $A"),
    "from of an invalid name": case("FROM Busybox:Latest!"),
    "from of a bad platform": case("FROM --platform=a/b/c/d busybox"),
    "from of an empty platform": case("FROM --platform=$TARGETPLATFROM busybox"),
    "from with a bad substitution": case("FROM busybox:${x"),
    "copy one argument": case("FROM busybox", "COPY a"),
    "copy expanded from": case("FROM busybox", "ARG A=a", "COPY --from=$A /x /y"),
    "copy bad chmod": case("FROM busybox", "COPY --chmod=999 a b", files={"a": ""}),
    "copy a url": case("FROM busybox", "COPY https://example.invalid/x /"),
    "copy to a heredoc": case("FROM busybox", "COPY a <<E", "E"),
    "heredoc without end": case("FROM busybox", "COPY <<E /a", "x"),
    "arg without name": case("FROM busybox", "ARG =1"),
    "env without value": case("FROM busybox", "ENV A"),
    "env without equals": case("FROM busybox", "ENV A=1 B"),
    "env without name": case("FROM busybox", "ENV =1"),
    "label alone": case("FROM busybox", "LABEL"),
    "bad quotes": case("FROM busybox", 'ENV A="b'),
    "bad brace": case("FROM busybox", "ENV A=${b"),
    "bad modifier": case("FROM busybox", "ENV A=${b^^}"),
    "required variable": case("FROM busybox", "ENV A=${b:?is needed}"),
    "bad port": case("FROM busybox", "EXPOSE http"),
    "bad protocol": case("FROM busybox", "EXPOSE 80/icmp"),
    "bad signal": case("FROM busybox", "STOPSIGNAL SIGFOO"),
    "bad healthcheck": case("FROM busybox", "HEALTHCHECK true"),
    "bad interval": case("FROM busybox", "HEALTHCHECK --interval=soon CMD true"),
    "bad network": case("FROM busybox", "RUN --network=home true"),
    "bad mount type": case("FROM busybox", "RUN --mount=type=cach,target=/x true"),
    "bad mount key": case("FROM busybox", "RUN --mount=type=cache,taget=/x true"),
    "bad mount without target": case("FROM busybox", "RUN --mount=type=cache true"),
    "bad mount from": case("FROM busybox", "RUN --mount=from=b,target=/x true", "FROM scratch AS b"),
    "json of numbers": case("FROM busybox", "CMD [1]"),
    "shell not json": case("FROM busybox", "SHELL sh -c"),
    "onbuild onbuild": case("FROM busybox", "ONBUILD ONBUILD RUN true"),
    "onbuild from": case("FROM busybox", "ONBUILD FROM a"),
    "volume empty": case("FROM busybox", 'VOLUME [""]'),
    "workdir alone": case("FROM busybox", "WORKDIR"),
    "user of two words": case("FROM busybox", "USER"),
    "escape of a letter": case("# escape=x", "FROM busybox"),
    "directive twice": case("# escape=\\", "# escape=\\", "FROM busybox"),
    "multi-line instruction": case("FROM busybox", "COPY --chwon=1 \\", "  a \\", "  b"),
    "second stage": case("FROM busybox", "RUN true", "FROM scratch", "", "# comment", "COPPY a b", "CMD []"),
}

OUTLINES: dict[str, Case] = {
    "nothing": case("FROM busybox"),
    "args": case(
        "# VERSION is the version", "ARG VERSION=1", "ARG UNUSED=2", "ARG BASE=busybox", "# base is the base",
        "FROM ${BASE} AS base", "ARG VERSION", "# NAME is a name", "ARG NAME=x$VERSION", "ARG EMPTY", "ENV A=$NAME",
    ),
    "args of dependencies": case(
        "ARG A=latest", "ARG B=busybox:$A", "ARG C=$B", "FROM $C AS one", "ARG D=$A", "FROM scratch AS two",
        "ARG E=1", "FROM busybox", "COPY --from=two / /", "ARG F",
    ),
    "args given": case("ARG A=1", "FROM busybox", "ARG A", "ARG B=2", args={"A": "given", "B": "b", "C": "none"}),
    "target": case("FROM busybox AS a", "ARG A=1", "# b says", "FROM a AS b", "ARG B=1", "FROM b", target="b"),
    "platform args": case("FROM --platform=$BUILDPLATFORM busybox", "ARG TARGETARCH", "ARG TARGETOS=x"),
    "secrets and ssh": case(
        "FROM busybox AS a", "RUN --mount=type=secret,id=one,required true", "RUN --mount=type=secret,id=two true",
        "RUN --mount=type=ssh true", "RUN --mount=type=ssh,id=other,required=true true", "FROM a",
        "RUN --mount=type=secret,id=one true", "RUN --mount=type=secret,target=/run/three true",
    ),
    "arg again": case("ARG A=1", "ARG A=2$A", "FROM busybox", "ARG A=3", "ARG A"),
    "secret in another stage": case(
        "FROM busybox AS dep", "RUN --mount=type=secret,id=s true", "FROM scratch", "COPY --from=dep / /"
    ),
    "stages": case(
        "ARG B=busybox", "# first one", "FROM ${B} AS first", "# Second is second",
        "FROM --platform=$BUILDPLATFORM first AS Second", "RUN true", "FROM scratch",
    ),
    "named last": case("FROM busybox AS a", "# b is last", "FROM scratch AS b"),
}  # fmt: skip
