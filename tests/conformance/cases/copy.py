"""COPY from the context: what lands where, and with which metadata."""

from ..case import Dir, File, Hard, Link, Special, group

TREE = {
    "a.txt": "a\n",
    "b.txt": File("b\n", mode=0o600),
    "run.sh": File("#!/bin/sh\necho hi\n", mode=0o755),
    "owned": File("owned\n", uid=1000, gid=1001, mode=0o640),
    ".hidden": "hidden\n",
    "dir/c.txt": "c\n",
    "dir/sub/d.txt": File("d\n", mtime=5),
    "dir/sub/deep/e.log": "e\n",
    "dir/.dot/f": "f\n",
    "dir/strict": Dir(mode=0o711),
    "empty": Dir(mode=0o700),
    "link": Link("a.txt"),
    "dirlink": Link("dir"),
    "uplink/up": Link("../a.txt"),
    "hard1": "hard\n",
    "hard2": Hard("hard1"),
}
case = group("copy", TREE)

case("file_to_name", "FROM scratch\nCOPY a.txt /b\n")
case("file_to_dir", "FROM scratch\nCOPY a.txt /d/\n")
case("file_to_deep_name", "FROM scratch\nCOPY a.txt /x/y/z\n")
case("file_to_dot", "FROM scratch\nWORKDIR /w\nCOPY a.txt .\n")
case("file_to_relative", "FROM scratch\nWORKDIR /w\nCOPY a.txt x/y\nCOPY a.txt ./z/\nCOPY a.txt ../up\n")
case("file_to_dotted_dest", "FROM scratch\nCOPY a.txt /x/./y/../z/.\nCOPY a.txt /q/..\n")
case("file_above_root", "FROM scratch\nCOPY a.txt ../../../d\nCOPY a.txt /../e/\n")
case("source_from_root", "FROM scratch\nCOPY /a.txt /d/\nCOPY ./b.txt /d/\nCOPY ../../b.txt /e\n")
case("source_dotted", "FROM scratch\nCOPY dir/../a.txt dir/./c.txt /d/\n")
case("files_to_dir", "FROM scratch\nCOPY a.txt b.txt run.sh /d/\n")
case("file_twice", "FROM scratch\nCOPY a.txt a.txt /d/\nCOPY a.txt b.txt dir/c.txt dir/sub/d.txt ./\n")
case("dir_to_new_dir", "FROM scratch\nCOPY dir /d\n")
case("dir_to_new_dir_slash", "FROM scratch\nCOPY dir/ /d/\n")
case("dir_dot", "FROM scratch\nCOPY dir/. /d\n")
case("dir_to_deep_new_dir", "FROM scratch\nCOPY dir/sub /x/y/z\n")
case("dir_to_root", "FROM scratch\nCOPY dir /\n")
case("dirs_to_dir", "FROM scratch\nCOPY dir empty uplink /d/\n")
case("dir_and_file", "FROM scratch\nCOPY dir/sub a.txt /d/\n")
case("dir_onto_dir", "FROM scratch\nCOPY empty /d\nCOPY dir /d\n")
case("dir_mode_kept_when_there", "FROM busybox\nRUN mkdir -m 700 /d /d/sub && chown 5:6 /d /d/sub\nCOPY dir /d\n")
case("dir_into_tmp", "FROM busybox\nCOPY dir /tmp\nCOPY dir/ /root/\n")
case("empty_dir", "FROM scratch\nCOPY empty /e\n")
case("empty_dir_in_dir", "FROM scratch\nCOPY dir/strict /d/\n")
case("all", "FROM scratch\nCOPY . .\n")
case("all_into_busybox", "FROM busybox\nWORKDIR /src\nCOPY . .\n")
case("all_by_slash", "FROM scratch\nCOPY / /x\n")
case("empty_context", "FROM scratch\nCOPY . /x\n", {})
case("empty_context_to_root", "FROM busybox\nCOPY . .\n", {})
case("glob", "FROM scratch\nCOPY *.txt /d/\n")
case("glob_all", "FROM scratch\nCOPY * /d/\n")
case("glob_dot", "FROM scratch\nCOPY .* /d/\n")
case("glob_dirs", "FROM scratch\nCOPY d* /d/\n")
case("glob_one_match_no_slash", "FROM scratch\nCOPY a.* /d\n")
case("glob_question", "FROM scratch\nCOPY ?.txt /d/\n")
case("glob_class", "FROM scratch\nCOPY [ab].txt /d/\nCOPY [!ab]* /e/\nCOPY [^d-z]* /f/\n")
case("glob_middle", "FROM scratch\nCOPY dir/*/d.txt /d/\n")
case("glob_deep", "FROM scratch\nCOPY dir/**/*.txt /d/\n")
case("glob_double_star", "FROM scratch\nCOPY ** /d/\n")
case("glob_in_dir", "FROM scratch\nCOPY dir/* /d/\n")
case("glob_through_link", "FROM scratch\nCOPY dirlink/* /d/\n")
case("glob_escaped", "FROM scratch\nCOPY \\*.txt star\\*x /d/\n", {"*.txt": "star", "star*x": "x"})
case("glob_bracket_name", "FROM scratch\nCOPY arr[[]0].txt /d/\n", {"arr[0].txt": "x"})
case("glob_and_plain", "FROM scratch\nCOPY a.txt d*/sub /d/\n")
case("hardlinks", "FROM scratch\nCOPY hard1 hard2 /\n")
case("hardlinks_in_dir", "FROM scratch\nCOPY . /all/\n")
case(
    "hardlinks_across_dirs",
    "FROM scratch\nCOPY x /x\nCOPY . /all\n",
    {"x/one": "same\n", "y/two": Hard("x/one"), "x/three": Hard("x/one"), "z": Hard("x/one")},
)
case("link_followed", "FROM scratch\nCOPY link /l\n")
case("links_in_dir_kept", "FROM scratch\nCOPY uplink /l\n")
case("dirlink_followed", "FROM scratch\nCOPY dirlink /l\n")
case("dirlink_slash", "FROM scratch\nCOPY dirlink/ /l/\nCOPY dirlink/c.txt /c\n")
case("through_uplink", "FROM scratch\nCOPY uplink/up /u\n")
case("links", "FROM scratch\nCOPY . /d\n", {"abs": Link("/etc/passwd"), "out": Link("../../x"), "loop": Link("loop")})
case(
    "link_chain",
    "FROM scratch\nCOPY one /1\n",
    {"one": Link("two"), "two": Link("d/three"), "d/three": Link("../f"), "f": "f"},
)
case("link_absolute", "FROM scratch\nCOPY one /1\n", {"one": Link("/d/f"), "d/f": "f"})
case("link_out_of_context", "FROM scratch\nCOPY one /1\n", {"one": Link("../../../d/f"), "d/f": "f"})
case("link_dangling", "FROM scratch\nCOPY one /1\n", {"one": Link("nowhere")})
case("link_loop", "FROM scratch\nCOPY one /1\n", {"one": Link("two"), "two": Link("one")})
case("glob_of_links", "FROM scratch\nCOPY l* /d/\n", {"l1": Link("f"), "l2": Link("d"), "f": "f", "d/g": "g"})
case("missing", "FROM scratch\nCOPY nope /\n")
case("missing_of_two", "FROM scratch\nCOPY a.txt nope dir /x/\n")
case("missing_in_dir", "FROM scratch\nCOPY dir/nope /\n")
case("missing_glob", "FROM scratch\nCOPY nope* /\n")
case("missing_and_glob", "FROM scratch\nCOPY nope* a.txt /d/\n")
case("missing_is_placed", "FROM busybox\nRUN true\n\nCOPY \\\n  a.txt \\\n  nope \\\n  /x/\nRUN true\n")
case("file_with_slash", "FROM scratch\nCOPY a.txt/ /x\n")
case("several_to_file", "FROM scratch\nCOPY a.txt b.txt /d\n")
case("one_argument", "FROM scratch\nCOPY a.txt\n")
case("onto_file", "FROM busybox\nCOPY a.txt /etc/passwd\n")
case("file_onto_dir", "FROM busybox\nCOPY a.txt /etc\n")
case("dir_onto_file", "FROM busybox\nCOPY dir /etc/passwd\n")
case("file_below_file", "FROM busybox\nCOPY a.txt /etc/passwd/x\n")
case("dir_holds_dir_where_file", "FROM busybox\nRUN echo f > /etc/sub\nCOPY dir /etc/\n")
case("file_where_dir", "FROM busybox\nRUN mkdir /d /d/a.txt\nCOPY . /d/\n")
case("file_where_link", "FROM busybox\nRUN ln -s /etc/passwd /p\nCOPY a.txt /p\n")
case("file_where_links_in_dir", "FROM busybox\nRUN mkdir /d && ln -s /etc/passwd /d/a.txt\nCOPY . /d\n")
case("dest_dirlink", "FROM busybox\nRUN mkdir /real && ln -s real /alias\nCOPY a.txt /alias/\nCOPY dir /alias\n")
case("dest_below_dirlink", "FROM busybox\nRUN mkdir -p /real && ln -s /real /alias\nCOPY a.txt /alias/x/y\n")
case("dest_dangling_link", "FROM busybox\nRUN ln -s /gone /alias\nCOPY a.txt /alias\n")
case("dest_dangling_dirlink", "FROM busybox\nRUN ln -s /gone /alias\nCOPY a.txt /alias/\nCOPY dir /alias\n")
case("dest_link_up", "FROM busybox\nRUN ln -s ../../../etc /alias\nCOPY a.txt /alias/x\n")
case("dest_link_in_copied_dir", "FROM busybox\nRUN mkdir /d /e && ln -s /e /d/sub\nCOPY dir /d\n")
case("workdir_is_link", "FROM busybox\nRUN mkdir /real && ln -s /real /alias\nWORKDIR /alias/w\nCOPY a.txt .\n")
case("dest_var", "FROM scratch\nARG D=/dest\nENV E=x\nCOPY $E.txt ${D}/${E:-y}/\n", {"x.txt": "x"})
case("json_form", 'FROM scratch\nCOPY ["a.txt", "with space", "/d d/"]\n', {"a.txt": "a", "with space": "s"})
case("quoted_form", "FROM scratch\nCOPY \"with space\" '/d d'\n", {"with space": "s"})
case(
    "names_odd",
    "FROM scratch\nCOPY . /\n",
    {"a b": "1", "ü/ß€": "2", "new\nline": "3", "-dash": "4", "a\\b": "5", "~": "6"},
)
case(
    "names_long",
    "FROM scratch\nCOPY . /\n",
    {"n" * 150: "x", f"{'d' * 90}/{'e' * 90}/{'f' * 90}": "y", "l": Link("t" * 180)},
)
case(
    "names_not_utf8",
    "FROM scratch\nCOPY d /d\n",
    {"d/caf\udce9": "x", "d/\udcff\udcfe/y": "z"},
    note="BuildKit's protocol cannot carry a name that is not UTF-8; ours takes it as it is",
)
case(
    "names_upper_lower",
    "FROM scratch\nCOPY . /\n",
    {"A": "1", "a": "2", "aB/x": "3", "Ab/x": "4", "a.b": "5", "a-b": "6"},
)
case(
    "sorted_by_bytes",
    "FROM scratch\nCOPY . /\n",
    {"d/x": "", "d.x": "", "d-x": "", "d x": "", "dd": "", "D": "", "ä": "", "z": ""},
)
case("whiteout_names", "FROM busybox\nCOPY . /etc/\n", {".wh.passwd": "x", "plain": "y"})
case("opaque_name", "FROM busybox\nCOPY . /etc/\n", {".wh..wh..opq": "x"})
case("fifo", "FROM scratch\nCOPY . /\n", {"pipe": Special("p", mode=0o620), "f": "x"})
case("device", "FROM scratch\nCOPY . /\n", {"null": Special("c", 1, 3, 0o666), "loop": Special("b", 7, 5, 0o660)})
case("device_named", "FROM scratch\nCOPY null /dev/null\n", {"null": Special("c", 1, 3, 0o666)})
case("socket", "FROM scratch\nCOPY . /\n", {"sock": Special("s"), "f": "x"})
case(
    "setuid",
    "FROM scratch\nCOPY . /\n",
    {"s": File("x", mode=0o4755), "g": File("x", mode=0o2755), "t": Dir(0o1777), "u": Dir(0o2750)},
)
case(
    "modes",
    "FROM scratch\nCOPY . /\n",
    {f"m{mode:o}": File("", mode=mode) for mode in (0, 0o1, 0o222, 0o444, 0o777, 0o1644)},
)
case("sparse", "FROM scratch\nCOPY . /\n", {"big": File("end", sparse=200_000), "hole": File("", sparse=5000)})
case("empty_files", "FROM scratch\nCOPY . /\n", {"e1": "", "e2": File("", mode=0o755), "d/e3": ""})
case("sizes", "FROM scratch\nCOPY . /\n", {f"s{size}": b"x" * size for size in (1, 511, 512, 513, 32768, 65537)})
case(
    "xattrs",
    "FROM scratch\nCOPY . /\n",
    {
        "cap": File(
            "x", mode=0o755, xattrs={"security.capability": bytes.fromhex("0100000200040000000000000000000000000000")}
        ),
        "user": File("x", xattrs={"user.note": b"v"}),
        "trusted": File("x", xattrs={"trusted.t": b"v"}),
    },
)
case(
    "times",
    "FROM scratch\nCOPY . /\nCOPY d/old /renamed\nCOPY d /x/y\n",
    {
        "d/old": File("", mtime=1),
        "d/new": File("", mtime=2e9),
        "d/half": File("", mtime=1.5),
        "d": Dir(mtime=3),
        "l": Link("d", mtime=4),
    },
    epoch=1_500_000_000,
)
case(
    "times_before_1970",
    "FROM scratch\nCOPY . /\n",
    {"f": File("", mtime=-5), "g": File("", mtime=0)},
    epoch=1_500_000_000,
)
case("binary", "FROM scratch\nCOPY . /\n", {"b": bytes(range(256)) * 5, "crlf": "a\r\nb\r\n"})
case("many", "FROM scratch\nCOPY . /\n", {f"d{number % 7}/f{number:03}": str(number) for number in range(150)})
case("twice_the_same", "FROM scratch\nCOPY a.txt /x\nCOPY a.txt /x\nCOPY dir /x2\nCOPY dir /x2\n")
case("order_of_layers", "FROM scratch\nCOPY b.txt /x\nCOPY a.txt /x\nCOPY run.sh /d/\n")
case("to_proc_and_dev", "FROM busybox\nCOPY a.txt /dev/x\nCOPY a.txt /proc/y\nCOPY a.txt /sys/z\n")
case(
    "dockerfile_itself",
    "FROM scratch\nCOPY . /\n",
    {"Dockerfile": "FROM scratch\nCOPY . /\nENV A=b\n", "f": "f"},
    flags="-f {context}/Dockerfile",
)
