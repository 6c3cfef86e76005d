"""Layers of base images that name a path twice, or lead through links: what RUN and COPY see of them."""

from __future__ import annotations

from typing import Any

from ..case import Dir, Hard, Layout, Link, Pairs, Special, Tar, Tree, group

case = group("layers")

LOOK = r"""
FROM busybox
COPY --from=base / /copied
RUN --mount=from=base,target=/base cd /base && find . | sort | while read -r path; do \
      stat -c '%n %F %a %u %g %h %s' "$path"; test ! -L "$path" || readlink "$path"; test ! -f "$path" || cat "$path"; \
    done | grep -v '^\. ' | sed -E 's/ directory ([0-9]+ [0-9]+ [0-9]+).*/ directory \1/' > /seen
"""
"""What RUN sees, what COPY copies, and what is beside the base's own files."""


def base(title: str, *layers: Tree | Pairs, dockerfile: str = LOOK, **fields: Any) -> None:
    """A case on a base image of `layers`."""
    flags = "--build-context base=oci-layout://{beside}/base"
    case(title, dockerfile, {"f": "f\n"}, flags=flags, beside={"base": Layout(layers)}, **fields)


def refused(title: str, *layers: Tree | Pairs, says: tuple[str, str]) -> None:
    """A case on a base image that cannot be unpacked."""
    base(title, *layers, dockerfile="FROM busybox\nCOPY --from=base / /x\n", says=says)


D = Dir()
base("dir_then_link", (("a", D), ("a/x", "x"), ("b", D), ("b/y", "y"), ("a", Link("b")), ("a/z", "z")))
base("link_then_dir", (("b", D), ("a", Link("b")), ("a", D), ("a/z", "z")))
base("dir_then_file", (("a", D), ("a/x", "x"), ("a", "file")))
base("file_then_dir", (("a", "file"), ("a", Dir(0o700)), ("a/x", "x")))
base("file_twice", (("a", "one"), ("b", "b"), ("a", "two!")))
base("dir_twice", (("a", Dir(0o700, 1, 2)), ("a/x", "x"), ("a", Dir(0o711, 3, 4))))
base("hardlink_then_file", (("a", "one"), ("b", Hard("a")), ("a", "two!")))
base("hardlink_then_dir", (("a", "one"), ("b", Hard("a")), ("a", D), ("a/x", "x")))
base("hardlink_then_link", (("a", "one"), ("b", Hard("a")), ("c", "c"), ("a", Link("c"))))
base("hardlink_metadata", (("a", "one"), ("d", D), ("d/b", Hard("a", 0o600)), ("c", Hard("d/b", 0o711))))
base("hardlink_to_later", (("a", "one"), ("a", "two!"), ("b", Hard("a"))))
base("hardlink_twice", (("a", "one"), ("b", "two!"), ("c", Hard("a")), ("c", Hard("b"))))
refused(
    "hardlink_to_itself",
    (("a", "one"), ("a", Hard("a"))),
    says=("/a: no such file or directory", 'a hardlink to "/a", which is not there'),
)
base("hardlink_through_link", (("d", D), ("d/a", "one"), ("l", Link("d")), ("b", Hard("l/a")), ("l/c", Hard("d/a"))))
base("hardlink_to_link", (("a", "one"), ("l", Link("a")), ("b", Hard("l"))))
refused(
    "hardlink_to_dir",
    (("a", D), ("b", Hard("a"))),
    says=("/b: operation not permitted", 'a hardlink to the directory "/a"'),
)
refused(
    "file_as_parent",
    (("a", "file"), ("a/x", "x")),
    says=("/a: not a directory", 'leads through "/a", which is not a directory'),
)
base("file_below_as_parent", {"a": "file"}, {"a/x": "x"})
base("pipe_then_dir", (("a", Special("p")), ("b", Hard("a")), ("a", D), ("a/x", "x")))
base("parents_missing", {"a/b/c": "c"})
base("parents_missing_of_below", {"a": Dir(0o700, 5, 6), "a/b": Dir(0o2775, 7, 8)}, {"a/b/c/d": "d"})
base("link_of_same_layer", (("usr", D), ("usr/bin", Dir(0o750)), ("sb", Link("usr/bin")), ("sb/x1", "x1")))
base("link_of_same_layer_absolute", (("usr", D), ("sb", Link("/usr/../../usr/bin")), ("sb/x1", "x1")))
base("link_of_same_layer_dangling", (("sb", Link("no/where")), ("sb/x1", "x1")))
refused(
    "link_loop",
    (("a", Link("b")), ("b", Link("a")), ("a/x", "x")),
    says=("too many links", "through too many symbolic links"),
)

# Links of a layer below
USR: Tree = {"usr": D, "usr/bin": Dir(0o750, 3, 4), "usr/bin/tool": "tool", "sb": Link("usr/bin")}
base("link_below", USR, {"sb/x1": "x1"})
base("link_below_and_dir", USR, {"sb": Dir(0o711), "sb/x1": "x1"})
base("link_below_deep", USR, {"sb/new/deep/x1": "x1"})
base("link_below_in_another", {"usr": D, "usr/bin": Dir(0o750, 3, 4)}, {"sb": Link("usr/bin")}, {"sb/x1": "x1"})
base("link_below_absolute", {"usr/bin/tool": "tool", "sb": Link("/usr/bin")}, {"sb/x1": "x1"}, {"sb/x2": "x2"})
base("link_below_dangling", {"sb": Link("no/where")}, {"sb/x1": "x1"})
base("link_below_to_file", {"f": "f", "sb": Link("f")}, {"sb/x1": "x1"})
refused(
    "link_below_loop",
    {"a": Link("b"), "b": Link("a")},
    {"a/x": "x"},
    says=("too many links", "through too many symbolic links"),
)
base("link_below_opaque", USR, {"sb/.wh..wh..opq": "", "sb/x1": "x1"})
base("link_below_then_whiteout", USR, {"sb/x1": "x1"}, {".wh.sb": ""})
base("link_below_copied_into", USR, {"sb/x1": "x1"}, dockerfile="FROM base\nCOPY f /sb/\nCOPY f /sb/new/f\n")
refused(
    "hardlink_through_link_below",
    USR,
    {"usr/bin/x1": "x1", "y": Hard("sb/x1")},
    says=("link /sb/x1 /y: no such file or directory", 'a hardlink to "/sb/x1", which is not there'),
)

# Whiteouts
LOWER: Tree = {"d": D, "d/x": "x", "d/y": "y", "e": "e", "r": "r"}
base("whiteout_then_dir", LOWER, ((".wh.d", ""), ("d", Dir(0o700)), ("d/z", "z")))
base("file_then_dir_of_below", LOWER, (("d", "file"), ("d", Dir(0o700)), ("d/z", "z")))
base("whiteout_then_file", LOWER, ((".wh.d", ""), ("d", "now a file")))
base("whiteout_then_link", LOWER, (("n", D), (".wh.d", ""), ("d", Link("n")), ("d/z", "z")))
base("whiteout_of_nothing", LOWER, ((".wh.none", ""), ("d/.wh.none", "")))
base("whiteout_of_root", LOWER, ((".wh..wh..opq", ""), ("n", "n")))
base("opaque_last", LOWER, (("d", D), ("d/z", "z"), ("d/.wh..wh..opq", "")))
base("opaque_then_dir", LOWER, (("d/.wh..wh..opq", ""), ("d", Dir(0o700)), ("d/z", "z")))
base("opaque_then_file", LOWER, (("d/.wh..wh..opq", ""), ("d", "file")))
base("opaque_in_file", LOWER, (("e/.wh..wh..opq", ""),))
base("opaque_above_replaced", LOWER, {"d": "file"}, {"d/w": "w"})
base("whiteout_hardlinked", LOWER, (("n", "n"), (".wh.e", Hard("n"))))

# Devices
base("device_hardlinks", {"dev1": Special("c", 1, 3), "dev2": Hard("dev1"), "pipe": Special("p"), "p2": Hard("pipe")})
DEVICES = "mknod a c 1 3 && ln a b && mkfifo p && ln p q && mknod d b 7 3 && ln d e && ln e f"
case("device_hardlinks_made", f"FROM busybox\nRUN mkdir d && cd d && {DEVICES}\nRUN cd d && ln b c && ln q /r\n")
case(
    "device_hardlinks_copied", f"FROM busybox AS a\nRUN mkdir d && cd d && {DEVICES}\nFROM busybox\nCOPY --from=a d d\n"
)
case(
    "device_hardlinks_unpacked",
    "FROM busybox\nADD a.tar /x/\n",
    {"a.tar": Tar({"a": Special("c", 1, 3), "b": Hard("a"), "p": Special("p"), "q": Hard("p")})},
)
