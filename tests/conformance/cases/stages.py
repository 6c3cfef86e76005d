"""Several stages: COPY --from, FROM of a stage, targets, stages that nobody needs, named contexts."""

from ..case import File, Layout, Link, group

TREE = {"a.txt": "a\n", "dir/b": "b\n"}
case = group("stages", TREE)
OUT = "FROM busybox AS out\nRUN mkdir /o && echo x > /o/x && ln -s x /o/l && ln /o/x /o/h && mkdir -m 700 /o/d && chown 3:4 /o/d\n"

case("from_name", OUT + "FROM scratch\nCOPY --from=out /o /c\n")
case("from_name_upper", OUT + "FROM scratch\nCOPY --from=OUT /o /c\n")
case("from_number", OUT + "FROM scratch\nCOPY --from=0 /o/ /c/\n")
case("from_image", "FROM scratch\nCOPY --from=busybox:latest /etc/passwd /etc/group /etc/\n")
case("from_image_dir", "FROM scratch\nCOPY --from=busybox /etc /etc\n")
case("from_image_glob", "FROM scratch\nCOPY --from=busybox /bin/a* /bin/\n")
case("from_link", OUT + "FROM scratch\nCOPY --from=out /o/l /c\n")
case("from_relative", OUT + "FROM scratch\nCOPY --from=out o/x /c\nCOPY --from=out ./o/../o/x /e\n")
case("from_root", OUT + "FROM scratch\nCOPY --from=out / /all\n")
case("from_glob", OUT + "FROM scratch\nCOPY --from=out /o/* /c/\nCOPY --from=out /*/x /e/\n")
case("from_hardlinks", OUT + "FROM scratch\nCOPY --from=out /o/x /o/h /c/\nCOPY --from=out /o /d\n")
case(
    "from_absolute_link",
    OUT
    + "RUN ln -s /o/x /abs && ln -s /o /absdir\nFROM scratch\nCOPY --from=out /abs /1\nCOPY --from=out /absdir /2\nCOPY --from=out /absdir/x /3\n",
)
case("from_missing_file", OUT + "FROM scratch\nCOPY --from=out /nope /\n")
case("from_missing_stage", OUT + "FROM scratch\nCOPY --from=uot /o /\n", says="(did you mean out?)")
case("from_itself", "FROM busybox AS me\nCOPY --from=me /a /b\n")
case("from_number_too_big", OUT + "FROM scratch\nCOPY --from=7 /o /\n")
case("from_chown", OUT + "FROM busybox\nCOPY --from=out --chown=daemon:users /o /c\n")
case(
    "from_chown_resolves_here",
    "FROM busybox AS out\nRUN echo 'me:x:5:5::/:' >> /etc/passwd && touch /f\nFROM busybox\nCOPY --from=out --chown=me /f /f\n",
)
case(
    "from_special",
    "FROM busybox AS out\nRUN mkdir /o && mknod /o/n c 1 3 && mkfifo /o/p && touch /o/s && chmod 4711 /o/s\nFROM scratch\nCOPY --from=out /o /\n",
)
case("from_deleted", OUT + "RUN rm /o/x\nFROM scratch\nCOPY --from=out /o /\n")
case("from_opaque", OUT + "RUN rm -r /o && mkdir /o && touch /o/new\nFROM scratch\nCOPY --from=out /o /\n")
case(
    "from_context_name",
    "FROM scratch\nCOPY --from=more . /m\nCOPY a.txt /\n",
    flags="--build-context more={beside}/m",
    beside={"m/f": File("f", mode=0o700), "m/l": Link("f")},
)
case(
    "from_context_over_stage",
    "FROM busybox AS more\nRUN false\nFROM scratch\nCOPY --from=more f /\n",
    flags="--build-context more={beside}/m",
    beside={"m/f": "f"},
)
case(
    "from_context_ignored_file",
    "FROM scratch\nCOPY --from=more . /m\n",
    flags="--build-context more={beside}/m",
    beside={"m/f": "f", "m/g": "g", "m/.dockerignore": "g\n"},
)
case(
    "context_image",
    "FROM base\nCOPY a.txt /\n",
    flags="--build-context base=docker-image://busybox:latest",
    note="BuildKit resolves the image of a named context again when it builds; ours builds the one that it resolved",
)
case(
    "context_layout",
    "FROM base\nCOPY a.txt /\n",
    flags="--build-context base=oci-layout://{beside}/base",
    beside={"base": Layout(({"bin/": Link("x")},), {"Env": ["A=1"], "User": "5"})},
)
case(
    "stage_of_stage",
    "FROM busybox AS a\nENV A=1\nWORKDIR /w\nFROM a AS b\nENV B=$A\nCOPY a.txt .\nFROM b\nRUN echo $A$B > c\n",
)
case("unused_stage_fails", "FROM busybox AS bad\nRUN false\nFROM scratch\nCOPY a.txt /\n")
case("unused_stage_no_image", "FROM nowhere.invalid/x AS bad\nFROM scratch\nCOPY a.txt /\n")
case("target", "FROM scratch AS one\nCOPY a.txt /1\nFROM scratch AS two\nCOPY a.txt /2\n", flags="--target one")
case("target_upper", "FROM scratch AS One\nCOPY a.txt /1\nFROM scratch AS two\nCOPY a.txt /2\n", flags="--target oNE")
case("target_number", "FROM scratch AS one\nCOPY a.txt /1\nFROM scratch AS two\nCOPY a.txt /2\n", flags="--target 0")
case("target_missing", "FROM scratch AS one\nCOPY a.txt /1\n", flags="--target on")
case("target_missing_far", "FROM scratch AS one\nCOPY a.txt /1\n", flags="--target something")
case(
    "same_name_twice",
    "FROM scratch AS x\nCOPY a.txt /1\nFROM scratch AS x\nCOPY a.txt /2\nFROM scratch\nCOPY --from=x . /\n",
)
case("stage_shadows_image", "FROM scratch AS busybox\nCOPY a.txt /only\nFROM busybox\nCOPY dir /\n")
case(
    "later_stage", "FROM scratch\nCOPY --from=later /a.txt /\nFROM scratch AS later\nCOPY a.txt /\n", flags="--target 0"
)
case("name_bad", "FROM scratch AS 1x\nCOPY a.txt /\n")
case("name_reserved", "FROM scratch AS scratch\nCOPY a.txt /\n")
case("name_context", "FROM scratch AS context\nCOPY a.txt /\n")
case("from_arg", "ARG B=busybox\nARG V\nFROM ${B}:${V:-latest}\nCOPY a.txt /\n")
case("from_empty_arg", "FROM ${NOTHING}\nCOPY a.txt /\n")
case("from_as_arg", "ARG N=x\nFROM scratch AS $N\nCOPY a.txt /\n")
case("from_platform_same", "FROM --platform=linux/amd64 busybox\nRUN uname > /u\n")
case(
    "from_platform_build",
    "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETPLATFORM BUILDPLATFORM\nRUN echo $TARGETPLATFORM $BUILDPLATFORM > /p\n",
)
case(
    "from_platform_other",
    "FROM --platform=linux/arm64 busybox\nCOPY a.txt /\n",
    note="What the engine's containerd says of an image without the platform",
)
case(
    "from_platform_bad",
    "FROM --platform=lin$x/ux/a/b busybox\n",
    says='failed to parse platform lin$x/ux/a/b: "lin/ux/a/b"',
)
case(
    "from_digest",
    "FROM busybox@sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
    says="busybox@sha256:0000",
)
case("from_name_bad", "FROM BusyBox\n")
case("from_no_args", "FROM\n")
case("from_three_words", "FROM busybox as\n")
case("from_words", "FROM busybox AS x y\n")
case("from_lower_as", "from busybox as x\ncopy a.txt /\n")
case("only_args", "ARG A=1\n")
case("no_stage", "COPY a.txt /\n")
case("empty_file", "\n# nothing\n", raw=True)
case("platform_one", "FROM scratch\nARG TARGETARCH\nCOPY a.txt /$TARGETARCH\n", flags="--platform linux/arm64")
case(
    "platform_variant",
    "FROM scratch\nARG TARGETPLATFORM TARGETVARIANT\nENV P=$TARGETPLATFORM V=$TARGETVARIANT\nCOPY a.txt /\n",
    flags="--platform linux/arm/v7",
)
case(
    "platform_several",
    "FROM scratch\nARG TARGETARCH\nENV X=$TARGETARCH\nCOPY a.txt /$TARGETARCH\n",
    flags="--platform linux/amd64,linux/arm64,linux/arm/v6",
)
case(
    "platform_several_with_tools",
    "FROM --platform=$BUILDPLATFORM busybox AS tools\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\nFROM scratch\nCOPY --from=tools /arch /\n",
    flags="--platform linux/amd64,linux/arm64",
)
case("platform_other_os", "FROM scratch\nCOPY a.txt /\n", flags="--platform darwin/arm64")
