"""What makes a step run again, and what does not: each pair is a build, a change, and the build after it."""

from __future__ import annotations

from .case import Dir, File, Link, Tar
from .pair import LATER, pair

# The same again

pair("same", "COPY {name} d\nRUN cat d/f\nENV A=1\nWORKDIR w\nRUN pwd", tree={"f": "f\n", "d/g": "g\n"})
pair(
    "same_from_stage",
    "COPY --from={name}_s /o o\nRUN ls o",
    before="FROM {base} AS {name}_s\nRUN mkdir /o && echo {name} >/o/f",
)
pair("same_link", "COPY --link {name}/f f\nRUN cat f", tree={"f": "{token} same\n"})
pair(
    "same_mounts",
    "RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --mount=source={name},target=/m ls /m",
    tree={"f": "f\n"},
)

# Files of the context

FILE = {"f": "f\n"}
COPIED = "COPY {name}/f f"
pair("file_time", COPIED + "\nRUN cat f", tree=FILE, changes={"f": File("f\n", mtime=LATER)})
pair("file_content", COPIED + "\nRUN cat f", tree=FILE, changes={"f": "changed\n"})
pair("file_mode", COPIED, tree=FILE, changes={"f": File("f\n", mode=0o755)})
pair("file_owner", COPIED, tree=FILE, changes={"f": File("f\n", uid=7, gid=8)})
pair("file_xattr", COPIED, tree=FILE, changes={"f": File("f\n", xattrs={"user.x": b"y"})})
pair("file_beside_it", COPIED, tree={**FILE, "g": "g\n"}, changes={"g": "changed\n", "h": "new\n"})
pair("file_to_link", COPIED, tree=FILE, changes={"f": Link("g"), "g": "f\n"})
pair("file_of_another_name", "COPY {name}/f x", "COPY {name}/g x", tree={**FILE, "g": "f\n"})
pair("file_of_another_dir", "COPY {name}/f x", "COPY {name}/d/f x", tree={**FILE, "d/f": "f\n"})

TREE = {"d/a": "a\n", "d/b/c": "c\n", "d/l": Link("a"), "d/empty": Dir()}
COPIED_DIR = "COPY {name}/d d"
pair(
    "dir_same_files_newer",
    COPIED_DIR,
    tree=TREE,
    changes={"d/a": File("a\n", mtime=LATER), "d/b/c": File("c\n", mtime=LATER)},
)
pair("dir_file_added", COPIED_DIR, tree=TREE, changes={"d/new": "new\n"})
pair("dir_file_removed", COPIED_DIR, tree=TREE, changes={"d/a": None})
pair("dir_empty_dir_added", COPIED_DIR, tree=TREE, changes={"d/other": Dir()})
UNSEEN = "BuildKit is not told of the new mode of a directory that it has received before; ours sees it"
pair("dir_mode", COPIED_DIR, tree=TREE, changes={"d/empty": Dir(0o700)}, note=UNSEEN)
pair("dir_link_elsewhere", COPIED_DIR, tree=TREE, changes={"d/l": Link("b")})
pair(
    "glob_other_file",
    "COPY {name}/*.txt ./",
    tree={"a.txt": "a\n", "b": "b\n"},
    changes={"b": "changed\n", "c": "new\n"},
)
pair("glob_file_added", "COPY {name}/*.txt ./", tree={"a.txt": "a\n"}, changes={"b.txt": "b\n"})
pair(
    "glob_of_another_dir",
    "COPY {name}/a/*.txt ./",
    "COPY {name}/b/*.txt ./",
    tree={"a/x.txt": "x\n", "a/y.txt": "y\n", "b/x.txt": "x\n", "b/y.txt": "y\n"},
)
pair("glob_to_name", "COPY {name}/*.txt ./", "COPY {name}/a.txt ./", tree={"a.txt": "a\n"})
pair(
    "link_followed_elsewhere",
    "COPY {name}/l x",
    tree={"a": "a\n", "b": "a\n", "l": Link("a")},
    changes={"l": Link("b")},
)
pair("excluded_file", "COPY --exclude=*.o {name} d", tree={"a": "a\n", "x.o": "x\n"}, changes={"x.o": "changed\n"})
pair(
    "excluded_otherwise", "COPY --exclude=*.o {name} d", "COPY --exclude=x.o {name} d", tree={"a": "a\n", "x.o": "x\n"}
)
pair(
    "archive_times",
    "ADD {name}/a.tar ./",
    tree={"a.tar": Tar({"f": "f\n"})},
    changes={"a.tar": Tar({"f": File("f\n", mtime=5)})},
)
pair("two_sources_order", "COPY {name}/a {name}/b ./", "COPY {name}/b {name}/a ./", tree={"a": "a\n", "b": "b\n"})
pair(
    "ignored_file",
    "FROM {base}\nCOPY . d",
    whole=True,
    tree={".dockerignore": "*.o\n", "a": "a\n", "x.o": "x\n"},
    changes={"x.o": "changed\n", "y.o": "y\n"},
)
pair(
    "ignored_otherwise",
    "FROM {base}\nCOPY a* d/",
    whole=True,
    tree={".dockerignore": "*.o\n", "a": "a\n", "x.o": "x\n"},
    changes={".dockerignore": "x.o\n# z\n"},
)

# The words of the instruction

pair("copy_destination", "COPY {name}/f a", "COPY {name}/f b", tree=FILE)
pair("copy_chmod", "COPY --chmod=600 {name}/f f", "COPY --chmod=644 {name}/f f", tree=FILE)
pair("copy_to_add", "COPY {name}/f f", "ADD {name}/f f", tree=FILE)
pair("copy_spelling", "COPY {name}/f f", "copy  \\\n  # comment\n  ./{name}//f \\\n  ./f", tree=FILE)
pair("heredoc_delimiter", "COPY <<EOF f\none\nEOF", "COPY <<END f\none\nEND")
pair("run_words", "RUN echo one\nRUN true", "RUN echo  one\nRUN true")
pair("run_comment", "RUN echo one && \\\n  true", "RUN echo one && \\\n# comment\n  true")
pair("run_form", "RUN echo one", 'RUN ["/bin/sh", "-c", "echo one"]')
pair("step_inserted", "RUN echo one\nRUN echo three", "RUN echo one\nRUN echo two\nRUN echo three")

# Variables and settings

pair("arg_used", "ARG A1\nRUN echo $A1", flags="--build-arg A1=1", flags_then="--build-arg A1=2")
pair(
    "arg_declared",
    "ARG A2\nRUN true\nCOPY {name}/f f",
    flags="--build-arg A2=1",
    flags_then="--build-arg A2=2",
    tree=FILE,
)
pair("arg_declared_later", "RUN true\nARG A3", flags="--build-arg A3=1", flags_then="--build-arg A3=2")
pair("arg_undeclared", "RUN true", flags="--build-arg A4=1", flags_then="--build-arg A4=2")
pair("arg_default", "ARG A5=1\nRUN true", "ARG A5=2\nRUN true")
pair("arg_default_to_flag", "ARG A6=1\nRUN true", flags_then="--build-arg A6=1")
pair(
    "arg_in_copy",
    "ARG A8\nCOPY {name}/$A8 f\nRUN true",
    flags="--build-arg A8=f",
    flags_then="--build-arg A8=g",
    tree={**FILE, "g": "g\n"},
)
pair("arg_global", "ARG G1\nRUN true", head="ARG G1=1", head_then="ARG G1=2")
pair("arg_global_not_taken", "RUN true", head="ARG G2=1", head_then="ARG G2=2")
pair("arg_proxy", "RUN true", flags="--build-arg NO_PROXY=a", flags_then="--build-arg NO_PROXY=b")
pair("env_order", "ENV D=1 E=2\nRUN true", "ENV E=2 D=1\nRUN true")
pair("env_as_arg", "ENV E=1\nRUN true", "ARG E=1\nRUN true")
pair("label", "LABEL a=b\nRUN true", "LABEL a=c\nRUN true")
pair("config_only", "CMD a\nEXPOSE 80\nRUN true", 'ENTRYPOINT ["b"]\nVOLUME /v\nSTOPSIGNAL 9\nONBUILD RUN x\nRUN true')
pair("user", "USER 1\nCOPY {name}/f f\nRUN true", "USER 2\nCOPY {name}/f f\nRUN true", tree=FILE)
pair("workdir", "WORKDIR a\nRUN true\nCOPY {name}/f f", "WORKDIR b\nRUN true\nCOPY {name}/f f", tree=FILE)
pair("run_network", "RUN echo {name}", "RUN --network=none echo {name}")

# Mounts

MOUNTED = "RUN --mount=source={name}/d,target=/m ls /m"
pair("bind_content", MOUNTED, tree=TREE, changes={"d/a": "changed\n"})
pair("bind_time", MOUNTED, tree=TREE, changes={"d/a": File("a\n", mtime=LATER)})
pair("bind_other_file", MOUNTED, tree=TREE, changes={"e": "e\n"})
pair(
    "bind_source_of_like_content",
    MOUNTED,
    "RUN --mount=source={name}/e,target=/m ls /m",
    tree={"d/a": "a\n", "e/a": "a\n"},
)
STAGE = "FROM {base} AS {name}_s\nRUN mkdir -p /o/p && echo {name} >/o/f"
pair(
    "bind_stage_like_content",
    "RUN --mount=from={name}_s,source=/o,target=/m ls /m",
    before=STAGE,
    before_then=STAGE + " && true",
)
pair(
    "bind_stage_other",
    "RUN --mount=from={name}_s,source=/o,target=/m ls /m",
    before=STAGE,
    before_then=STAGE + " && echo >/g",
)
pair(
    "cache_id",
    "RUN --mount=type=cache,target=/c,id=c1-{token} true",
    "RUN --mount=type=cache,target=/c,id=c2-{token} true",
)
pair("cache_sharing", "RUN --mount=type=cache,target=/c true", "RUN --mount=type=cache,target=/c,sharing=locked true")
pair("cache_target", "RUN --mount=type=cache,target=/c true", "RUN --mount=type=cache,target=/d true")
pair("cache_owner", "RUN --mount=type=cache,target=/c true", "RUN --mount=type=cache,target=/c,uid=5,mode=0700 true")
pair("tmpfs_size", "RUN --mount=type=tmpfs,target=/t,size=1m true", "RUN --mount=type=tmpfs,target=/t,size=2m true")
SECRET = "--secret id=s_{name},src={beside}/{name}/s"
SECRETS = {"s": "secret\n"}
pair(
    "secret_content",
    "RUN --mount=type=secret,id=s_{name} true",
    flags=SECRET,
    beside=SECRETS,
    beside_changes={"s": "other\n"},
)
pair(
    "secret_id",
    "RUN --mount=type=secret,id=s_{name},target=/s true",
    "RUN --mount=type=secret,id=t_{name},target=/s true",
    flags=SECRET + " --secret id=t_{name},src={beside}/{name}/s",
    beside=SECRETS,
)
pair(
    "secret_target",
    "RUN --mount=type=secret,id=s_{name},target=/s true",
    "RUN --mount=type=secret,id=s_{name},target=/t true",
    flags=SECRET,
    beside=SECRETS,
)
pair(
    "secret_env",
    "RUN --mount=type=secret,id=s_{name},env=S true",
    "RUN --mount=type=secret,id=s_{name},env=T true",
    flags=SECRET,
    beside=SECRETS,
)
pair("ssh_id", "RUN --mount=type=ssh true", "RUN --mount=type=ssh,id=other true")

# Stages

pair("from_stage_like_content", "COPY --from={name}_s /o o", before=STAGE, before_then=STAGE + " && true")
pair("from_stage_content", "COPY --from={name}_s /o o", before=STAGE, before_then=STAGE + " && echo >/o/g")
pair("from_stage_other_file", "COPY --from={name}_s /o o", before=STAGE, before_then=STAGE + " && echo >/g")
pair("from_stage_mode", "COPY --from={name}_s /o o", before=STAGE, before_then=STAGE + " && chmod 700 /o/p")
pair("from_stage_time", "COPY --from={name}_s /o o", before=STAGE, before_then=STAGE + " && touch -d 2001-01-01 /o/f")
pair(
    "from_stage_link",
    "COPY --from={name}_s /o/l x",
    before=STAGE + " && ln -s f /o/l",
    before_then=STAGE + " && cp /o/f /o/g && ln -s g /o/l",
)
pair(
    "stage_renamed",
    "COPY --from={name}_s /o o",
    "COPY --from={name}_t /o o",
    before=STAGE,
    before_then=STAGE.replace("_s", "_t"),
)
pair(
    "stage_unused",
    "RUN true",
    before="FROM {base} AS {name}_u\nRUN echo one",
    before_then="FROM {base} AS {name}_u\nRUN echo two",
)
pair(
    "link_after_change",
    "RUN echo one\nCOPY --link {name}/f f",
    "RUN echo two\nCOPY --link {name}/f f",
    tree={"f": "{token} 1\n"},
)
pair("not_link_after_change", "RUN echo one\nCOPY {name}/f f", "RUN echo two\nCOPY {name}/f f", tree=FILE)
pair("link_content", "COPY --link {name}/f f\nRUN cat f", tree={"f": "{token} 2\n"}, changes={"f": "{token} changed\n"})
pair("link_to_not", "COPY --link {name}/f f\nRUN cat f", "COPY {name}/f f\nRUN cat f", tree={"f": "{token} 3\n"})

# From elsewhere

PAGE = {"f": ("{token} {name}\n", {"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2001 00:00:00 GMT"})}
pair("page_same", "ADD {http}/{name}/f f", pages=PAGE)
pair("page_content", "ADD {http}/{name}/f f", pages=PAGE, pages_then={"f": ("other {token} {name}\n", {"ETag": '"2"'})})
pair(
    "page_etag",
    "ADD {http}/{name}/f f",
    pages=PAGE,
    pages_then={"f": ("{token} {name}\n", {**PAGE["f"][1], "ETag": '"2"'})},
)
pair(
    "page_time",
    "ADD {http}/{name}/f f",
    pages=PAGE,
    pages_then={"f": ("{token} {name}\n", {"ETag": '"2"', "Last-Modified": "Tue, 02 Jan 2001 00:00:00 GMT"})},
)
pair(
    "page_plain_content",
    "ADD {http}/{name}/f f",
    pages={"f": ("{token} {name}\n", {})},
    pages_then={"f": ("other {token} {name}\n", {})},
)
pair("page_address", "ADD {http}/{name}/f f", "ADD {http}/{name}/f?x f", pages=PAGE)
pair("git_same", "ADD {git} r", commit={"f": "f\n"})
pair("git_branch_moved", "ADD {git}#main r", commit={"f": "f\n"}, commit_then={"f": "g\n"})
pair("git_other_dir", "ADD {git}#main:d r", commit={"d/f": "f\n"}, commit_then={"g": "g\n"})
pair(
    "image_same_name",
    "COPY --from={image:other} /o o\nRUN true",
    images={"other": "FROM {base}\nRUN mkdir /o && echo 1 >/o/f\n"},
    images_then={"other": "FROM {base}\nRUN mkdir /o && echo 2 >/o/f\n"},
)
pair(
    "base_changed",
    "RUN true",
    before="FROM {image:changed} AS {name}_s\nRUN true",
    images={"changed": "FROM {base}\nRUN echo 1 >/i\n"},
    images_then={"changed": "FROM {base}\nRUN echo 2 >/i\n"},
)

# Flags of the whole build

TWO = """
FROM {base} AS a
RUN echo {token} {name}
FROM {base} AS b
WORKDIR /{name}
COPY --from=a /token t
COPY f f
RUN ls
"""
pair("no_cache", TWO, whole=True, tree={"f": "f\n"}, flags_then="--no-cache")
pair("no_cache_filter", TWO, whole=True, tree={"f": "f\n"}, flags_then="--no-cache-filter=a")
pair("platform_named", TWO, whole=True, tree={"f": "f\n"}, flags_then="--platform=linux/amd64")
pair(
    "platform_other",
    "FROM scratch AS s\nCOPY token f /\nFROM s\nWORKDIR /{name}",
    whole=True,
    tree={"f": "f\n", "token": "{token}"},
    flags_then="--platform=linux/arm64",
)
pair(
    "platforms",
    "FROM --platform=$BUILDPLATFORM {base} AS tools\nARG TARGETARCH\n"
    "RUN echo {token} {name} $TARGETARCH >/o\n"
    "FROM scratch\nCOPY --from=tools /o /o\nCOPY f /",
    whole=True,
    tree={"f": "f\n"},
    flags="--platform=linux/arm64",
    flags_then="--platform=linux/amd64,linux/arm64",
)
SETTINGS = "FROM {base}\nRUN echo {token} {name}\nCOPY f f"
pair(
    "add_host_address",
    SETTINGS,
    whole=True,
    tree={"f": "f\n"},
    flags="--add-host a:1.1.1.1",
    flags_then="--add-host a:2.2.2.2",
)
pair(
    "epoch",
    "FROM {base}\nRUN echo {token} {name}\nCOPY f f\nWORKDIR /w\nADD {http}/{name}/f g\nCOPY --from={base} /token t",
    whole=True,
    tree={"f": "f\n"},
    pages=PAGE,
    flags="--build-arg SOURCE_DATE_EPOCH=1",
    flags_then="--build-arg SOURCE_DATE_EPOCH=2",
)
pair(
    "named_context",
    "FROM {base}\nRUN echo {token} {name}\nCOPY --from=more f f\nRUN --mount=from=more,target=/m ls /m",
    whole=True,
    flags="--build-context more={beside}/{name}",
    beside={"f": "f\n"},
    beside_changes={"f": File("g\n", mtime=LATER)},
)
pair(
    "triggers",
    "FROM {image:onbuild}\nRUN echo {name}",
    whole=True,
    tree={"f": "f\n"},
    changes={"f": "changed\n"},
    images={"onbuild": "FROM {base}\nONBUILD COPY f f\nONBUILD RUN echo trigger\n"},
)
pair(
    "git_context",
    "",
    whole=True,
    source="{git}",
    commit={"Dockerfile": "FROM scratch\nWORKDIR /{token}/git_context\nCOPY f f\nCOPY d d\n", "f": "f\n", "d/g": "g\n"},
    commit_then={"f": "changed\n"},
)
PACKED = {"Dockerfile": "FROM scratch\nWORKDIR /{token}/http_context\nCOPY f f\nCOPY g g\n", "f": "packed\n"}
pair(
    "http_context",
    "",
    whole=True,
    source="{http}/{name}/c.tar",
    pages={"c.tar": (Tar({**PACKED, "g": "g\n"}), {})},
    pages_then={"c.tar": (Tar({**PACKED, "g": "h\n"}), {})},
)
pair(
    "file_elsewhere",
    "",
    whole=True,
    flags="-f {context}/dir/some.Dockerfile",
    tree={
        "dir/some.Dockerfile": "FROM {base} AS x\nFROM scratch\nWORKDIR /{token}/elsewhere\n"
        "COPY . .\nCOPY --from=x /token .\n",
        "dir/some.Dockerfile.dockerignore": "*.o\n",
    },
)
pair(
    "images_only",
    "FROM {base} AS a\nFROM {image:second} AS b\nFROM {image:third}\nCOPY --from=a /token /a\nCOPY --from=b /token /b",
    whole=True,
    images={"second": "FROM {base}\nCOPY token /2\n", "third": "FROM {base}\nCOPY token /3\n"},
)
pair(
    "several_exports",
    "FROM {base}\nRUN echo {name} >/x",
    whole=True,
    flags="--output=type=oci,dest={beside}/o.tar --output=type=local,dest={beside}/l"
    " --output=type=tar,dest={beside}/t.tar --output=type=docker,dest={beside}/d.tar",
)
