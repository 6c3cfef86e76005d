"""Dockerfiles that the front end and BuildKit make the same of, or refuse in the same words."""

from __future__ import annotations

CASES: dict[str, str] = {
    "config": r"""
        FROM busybox
        LABEL org.example.a=b "c d"="e f" multi="line \
          two"
        MAINTAINER Some One <a@b.c>
        ENV A=1 B="two words" PATH=/opt:$PATH
        ENV legacy some value
        EXPOSE 80 443/tcp 8000-8003/UDP $A
        VOLUME /data /more
        VOLUME ["/x", "/with space"]
        STOPSIGNAL SIGTERM
        HEALTHCHECK --interval=1m30s --timeout=1500ms --start-period=2h --retries=3 CMD wget -q localhost
        USER 1000:1000
        CMD echo $A
        SHELL ["/bin/sh", "-ec"]
        ENTRYPOINT exec top -b
        CMD ["--help", "a\"b", "tab\there"]
        ONBUILD RUN echo later
        ONBUILD COPY a.txt /
        """,
    "entrypoint_resets_cmd": """
        FROM busybox AS base
        CMD ["inherited"]
        HEALTHCHECK CMD true
        LABEL x=1
        FROM base
        ENTRYPOINT ["sh"]
        HEALTHCHECK NONE
        LABEL y=2
        """,
    "args": """
        ARG GLOBAL=g
        ARG DERIVED=${GLOBAL}-d
        ARG UNDEFAULTED
        ARG IMAGE=busybox
        FROM ${IMAGE} AS base
        ARG GLOBAL
        ARG DERIVED
        ARG LOCAL=${GLOBAL:-none}x OTHER
        ARG GIVEN=default
        ENV FROM_ARG=$GIVEN
        RUN true $GLOBAL
        ARG TARGETPLATFORM
        ARG TARGETARCH
        RUN true "$TARGETARCH"
        FROM base
        RUN true ${LOCAL} $MISSING
        ARG LOCAL=again
        ENV GIVEN=env
        RUN true 'quoted $LOCAL'
        """,
    "workdirs": """
        FROM busybox
        WORKDIR /a//b/
        WORKDIR c/../d
        USER 1000:100
        WORKDIR /owned
        WORKDIR /
        RUN pwd
        USER root:nobody
        WORKDIR named
        ENV D=/from/env
        WORKDIR $D
        COPY a.txt .
        """,
    "copies": """
        FROM busybox AS src
        RUN mkdir /out && touch /out/x
        FROM busybox
        WORKDIR /w
        COPY a.txt b.txt ./
        COPY dir sub/dir/
        COPY --chown=daemon:staff --chmod=0644 *.txt /owned/
        COPY --chown=1000 --chmod=u+x,go-w f.sh /bin/f
        COPY --chown=:10 a.txt /g
        COPY --exclude=*.sh --exclude=b* . /excluded/
        COPY --from=src /out/. /copied/.
        COPY --from=0 /out /copied2
        COPY --from=busybox:latest /bin/sh /image/
        COPY ["a.txt", "/with space/"]
        COPY --link dir/c.txt /linked/
        COPY --link --chmod=600 --chown=1:1 a.txt /linked2
        COPY . "."
        """,
    "adds": """
        FROM scratch
        ADD archive.tar /a/
        ADD --unpack=false archive.tar /b/
        ADD --unpack archive.tar a.txt /c/
        ADD --chown=1:2 --link a.txt /d
        WORKDIR /e
        """,
    "heredocs": """
        FROM busybox
        ARG NAME=you
        COPY <<EOF <<-"RAW" /etc/
        hello $NAME "quoted" 'single' \\$escaped
        EOF
        \traw $NAME
        RAW
        COPY --chown=1:1 --chmod=700 <<script.sh a.txt /bin/
        #!/bin/sh
        script.sh
        RUN <<EOF
        echo one
        echo $NAME
        EOF
        RUN <<EOF
        #!/bin/sh
        echo shebang
        EOF
        RUN cat <<A - <<-B
        in a
        A
        \tin b
        B
        RUN <<EOF sh
        echo sh
        EOF
        """,
    "mounts": """
        FROM busybox AS tools
        RUN touch /tool
        FROM busybox
        WORKDIR /src
        RUN --mount=type=bind,source=dir,target=/ctx cat /ctx/c.txt
        RUN --mount=from=tools,source=/tool,target=tool,rw true
        RUN --mount=type=cache,target=/root/.cache --mount=type=cache,id=x,sharing=locked,target=y,uid=5,mode=0700 true
        RUN --mount=type=cache,target=/c,from=tools,source=/bin,ro,sharing=private true
        RUN --mount=type=tmpfs,target=/t,size=10m --mount=target=. true
        RUN --mount=type=secret,id=s,target=/s,mode=0440,uid=1 --mount=type=secret,id=t,env=T true $T
        RUN --mount=type=secret,id=u --mount=type=secret,target=/etc/v --mount=type=ssh true
        RUN --mount=type=ssh,id=k,target=/agent,gid=3 --network=none ["true"]
        """,
    "onbuild_of_a_stage": """
        FROM busybox AS base
        ONBUILD ARG V=1
        ONBUILD WORKDIR /onbuild
        ONBUILD COPY a.txt b.txt ./
        ONBUILD RUN echo $V
        FROM base AS next
        RUN echo own
        FROM next
        RUN true
        """,
    "unused_stages": """
        FROM busybox AS unused
        RUN false
        FROM busybox AS left
        RUN touch /left
        FROM busybox AS right
        RUN touch /right
        FROM scratch
        COPY --from=left /left /
        COPY --from=right /right /
        """,
    "scratch_only": "FROM scratch\nCOPY a.txt /\n",
    "nothing": "FROM scratch\nLABEL a=b\n",
    "base_alone": "FROM busybox\n",
    "escape": "# escape=`\nFROM busybox\nWORKDIR C`:x\nRUN echo `\n  two\n",
    "many_steps": "FROM busybox\n" + "".join(f"RUN true {i}\n" for i in range(10)),
    "comments_and_continuations": """
        from busybox as Build
        # a comment
        run echo one && \\
          # inside
          echo two \\

          && echo three
        copy \\
          a.txt \\
          /
        """,
    "platforms": """
        FROM --platform=$BUILDPLATFORM busybox AS build
        ARG TARGETOS TARGETARCH
        RUN true $TARGETOS/$TARGETARCH
        FROM --platform=linux/amd64 busybox
        COPY --from=build /bin/true /
        """,
    "scratch_run_mount": "FROM busybox AS b\nFROM scratch\nCOPY --from=b / /\nRUN --mount=type=cache,target=/c true\n",
}  # fmt: skip

FLAGGED: dict[str, tuple[str, str, dict[str, str]]] = {
    "epoch": (
        "FROM busybox\nARG SOURCE_DATE_EPOCH\nWORKDIR /x\nCOPY a.txt .\nRUN true\nLABEL a=b\n",
        "",
        {"SOURCE_DATE_EPOCH": "1700000000"},
    ),
    "build_args_and_labels": (
        "ARG BASE\nFROM ${BASE:-scratch} AS out\nARG A=1\nARG B\nARG C\nLABEL l=file k=$A\nRUN true $A$B\n",
        "--build-arg BASE=busybox --build-arg A=2 --build-arg B=3 --build-arg UNUSED=4 --label l=flag --label m=n",
        {},
    ),
    "proxies": (
        "FROM busybox\nRUN true\nARG HTTPS_PROXY\nRUN true $HTTPS_PROXY\n",
        "--build-arg http_proxy=http://p:1 --build-arg HTTPS_PROXY=http://p:2 --build-arg no_proxy=a,b",
        {},
    ),
    "process_settings": (
        "FROM busybox\nRUN true\nRUN --mount=type=cache,target=/c true\n",
        "--add-host Some.Host:1.2.3.4 --add-host six:::1 --ulimit nofile=1000:2000 --shm-size 8m --network none"
        " --build-arg BUILDKIT_SANDBOX_HOSTNAME=box --build-arg BUILDKIT_CACHE_MOUNT_NS=ns",
        {},
    ),
    "target": (
        "FROM busybox AS one\nRUN true 1\nFROM one AS Two\nARG TARGETSTAGE\nRUN true $TARGETSTAGE\nFROM two\n",
        "--target two",
        {},
    ),
    "one_platform": ("FROM busybox\nARG TARGETPLATFORM\nRUN true $TARGETPLATFORM\n", "--platform linux/amd64", {}),
    "named_directory": (
        "FROM busybox\nCOPY --from=more /c.txt /x/\nRUN --mount=from=more,target=/m true\nCOPY --from=more sub /y/\n",
        "--build-context more={context}/dir",
        {},
    ),
    "named_stage": (
        "FROM busybox AS replaced\nRUN false\nFROM busybox\nCOPY --from=replaced c.txt /x/\n",
        "--build-context replaced={context}/dir",
        {},
    ),
    "resolved_names": (
        "FROM busybox:1.0\nRUN true\n",
        "--build-context busybox:1.0=docker-image://busybox:latest",
        {},
    ),
}
"""By name: the Dockerfile, the flags, the environment."""

REFUSED = [
    ("FROM busybox AS base\n", "--target bse"),
    ("FROM busybox AS base\n", "--target 0"),
    ("FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\nRUN true\nCOPY --from=a / /\n", ""),
    ("FROM busybox AS a\nCOPY --from=b / /\nFROM busybox AS b\n", "--target a"),
    ("FROM busybox\nCOPY --from=3 / /\n", ""),
    ("FROM busybox\nCOPY --from=0 / /\n", ""),
    ("FROM busybox\nCOPY --from=$X / /\n", ""),
    ("FROM busybox\nFROM ${NOPE}\n", ""),
    ("FROM --platform=${TARGETPLATFROM} busybox\n", ""),
    ("FROM UPPER\n", ""),
    ("FROM busybox\nSTOPSIGNAL SIGFOO\n", ""),
    ("FROM busybox\nEXPOSE 80/foo\n", ""),
    ("FROM busybox\nEXPOSE 99999\n", ""),
    ("FROM busybox\nEXPOSE 1:2:3:4\n", ""),
    ("FROM busybox\nEXPOSE 8000-8001:1-9\n", ""),
    ("FROM busybox\nCOPY --chmod=9999 a.txt /\n", ""),
    ("FROM busybox\nCOPY https://example.com/x /\n", ""),
    ("FROM busybox\nCOPY git@example.com:x.git /\n", ""),
    ("FROM busybox\nADD --checksum=sha256:1 a.txt /\n", ""),
    ("FROM busybox\nADD https://example.com/x.git?nope=1 /\n", ""),
    ("FROM busybox\nRUN --mount=target=/ true\n", ""),
    ("FROM busybox\nRUN --mount=type=ssh,source=x true\n", ""),
    ("FROM busybox\nRUN --mount=type=cahe,target=/x true\n", ""),
    ("FROM busybox AS a\nRUN --mount=from=b,target=/b true\nFROM busybox AS b\n", "--target a"),
    ("FROM busybox\nENV A=${B:?no}\n", ""),
    ('FROM busybox\nARG A="b\n', ""),
    ("FROM busybox\nADD --keep-git-dir=true https://a.b/c.git?keep-git-dir=false /\n", ""),
]
"""Each a Dockerfile and flags."""
