"""COPY's flags: --chown, --chmod, --link, --exclude, --parents, --from."""

from ..case import Dir, File, Link, group

TREE = {
    "a.txt": "a\n",
    "b.md": File("b\n", mode=0o600),
    "x.sh": File("x\n", mode=0o754),
    "dir/c.txt": File("c\n", mode=0o640),
    "dir/sub/d.txt": "d\n",
    "dir/sub/e.md": "e\n",
    "dir/link": Link("c.txt"),
    "dir/strict": Dir(mode=0o700),
}
case = group("copy_flags", TREE)

# --chown
case("chown_numbers", "FROM scratch\nCOPY --chown=1000:1001 a.txt dir /d/\n")
case("chown_user_number", "FROM scratch\nCOPY --chown=1000 dir /d\n")
case("chown_group_number", "FROM scratch\nCOPY --chown=:1001 a.txt /d\n")
case("chown_names", "FROM busybox\nCOPY --chown=daemon:users a.txt /d\n")
case("chown_user_name", "FROM busybox\nCOPY --chown=nobody dir /d\n")
case("chown_name_and_number", "FROM busybox\nCOPY --chown=nobody:7 a.txt /1\nCOPY --chown=7:users a.txt /2\n")
case("chown_group_name", "FROM busybox\nCOPY --chown=:users a.txt /d\n")
case("chown_unknown_user", "FROM busybox\nCOPY --chown=ghost a.txt /d\n")
case("chown_unknown_group", "FROM busybox\nCOPY --chown=root:ghosts a.txt /d\n")
case("chown_name_on_scratch", "FROM scratch\nCOPY --chown=daemon a.txt /d\n")
case("chown_new_user", "FROM busybox\nRUN echo 'me:x:42:43::/:/bin/sh' >> /etc/passwd\nCOPY --chown=me a.txt /d\n")
case(
    "chown_new_user_and_group",
    "FROM busybox\nRUN echo me:x:1000:1001::/: >> /etc/passwd && echo me:x:1001: >> /etc/group\nCOPY --chown=me:me dir /home/me/app\n",
)
case("chown_passwd_link", "FROM busybox\nRUN mv /etc/passwd /p && ln -s /p /etc/passwd\nCOPY --chown=daemon a.txt /d\n")
case(
    "chown_copied_passwd",
    "FROM scratch\nCOPY passwd /etc/\nCOPY --chown=x a.txt /\n",
    {"passwd": "x:x:9:8::/:\n", "a.txt": "a"},
)
case("chown_variable", "FROM busybox\nARG O=1:2\nCOPY --chown=${O} a.txt /d\n")
case("chown_made_folders", "FROM scratch\nCOPY --chown=1:2 a.txt /x/y/z\nCOPY --chown=3:4 dir/sub /x/q/r/\n")
case("chown_not_existing_folders", "FROM busybox\nCOPY --chown=1:2 a.txt /etc/new/a\nCOPY --chown=1:2 dir /etc\n")
case("chown_empty", "FROM busybox\nCOPY --chown= a.txt /d\n")
case("chown_colon", "FROM busybox\nCOPY --chown=: a.txt /d\n")
case("user_does_not_chown", "FROM busybox\nUSER nobody\nWORKDIR /w\nCOPY a.txt .\n")
case("chown_big", "FROM scratch\nCOPY --chown=4294967294:2147483648 a.txt /d\n")
case("chown_octal_like", "FROM busybox\nCOPY --chown=0010:010 a.txt /d\n")
case("chown_negative", "FROM busybox\nCOPY --chown=-1 a.txt /d\n")

# --chmod
case("chmod_octal", "FROM scratch\nCOPY --chmod=600 dir a.txt /d/\n")
case("chmod_zero_prefix", "FROM scratch\nCOPY --chmod=0755 a.txt /d\n")
case("chmod_setuid", "FROM scratch\nCOPY --chmod=4755 a.txt /d\nCOPY --chmod=1755 dir /t\n")
case(
    "chmod_777_makes_dirs",
    "FROM scratch\nCOPY --chmod=777 dir /t\n",
    note="Docker's engine makes the directory under its own umask; buildkitd, as ours, under none",
)
case("chmod_zero", "FROM scratch\nCOPY --chmod=0 a.txt /d\n")
case("chmod_symbolic", "FROM scratch\nCOPY --chmod=u+x,g-r,o= . /d/\n")
case("chmod_symbolic_big_x", "FROM scratch\nCOPY --chmod=a+X . /d/\n")
case("chmod_symbolic_assign", "FROM scratch\nCOPY --chmod=u=rwX,go=rX . /d/\n")
case("chmod_symbolic_copy_bits", "FROM scratch\nCOPY --chmod=g=u,o=g . /d/\n")
case("chmod_symbolic_special", "FROM scratch\nCOPY --chmod=u+s,g+s,+t . /d/\n")
case("chmod_symbolic_bare", "FROM scratch\nCOPY --chmod=+x a.txt /d\nCOPY --chmod==rw x.sh /e\n")
case("chmod_symbolic_file", "FROM scratch\nCOPY --chmod=go+w a.txt b.md /x/y/\n")
case("chmod_made_folders", "FROM scratch\nCOPY --chmod=640 a.txt /x/y/z\n")
case("chmod_link", "FROM scratch\nCOPY --chmod=600 dir/link /l\nCOPY --chmod=711 dir /d\n")
case("chmod_bad", "FROM scratch\nCOPY --chmod=9999 a.txt /d\n")
case("chmod_bad_word", "FROM scratch\nCOPY --chmod=foo a.txt /d\n", says="invalid syntax")
case("chmod_too_big", "FROM scratch\nCOPY --chmod=77777 a.txt /d\n")
case("chmod_variable", "FROM scratch\nARG M=711\nCOPY --chmod=$M a.txt /d\n")
case("chmod_and_chown", "FROM scratch\nCOPY --chmod=711 --chown=5:6 dir /d\n")

# --link
case("link_file", "FROM busybox\nCOPY --link a.txt /d\n")
case("link_into_existing", "FROM busybox\nCOPY --link a.txt /etc/\nCOPY --link a.txt /tmp/\n")
case("link_deep", "FROM busybox\nCOPY --link a.txt /x/y/z\n")
case("link_dir", "FROM busybox\nCOPY --link dir /d\nCOPY --link dir/ /d/e/\n")
case("link_over_link", "FROM busybox\nRUN ln -s /etc /alias\nCOPY --link a.txt /alias/x\n")
case("link_relative", "FROM busybox\nWORKDIR /w\nCOPY --link a.txt b.md ./\n")
case("link_chown", "FROM busybox\nCOPY --link --chown=1000:1000 --chmod=600 dir /x/d\n")
case("link_then_run", "FROM busybox\nCOPY --link a.txt /d/\nRUN cat /d/a.txt > /d/b\nCOPY --link b.md /d/\n")
case("link_on_scratch", "FROM scratch\nCOPY --link . /\nCOPY --link a.txt /x/\n")
case("link_false", "FROM busybox\nCOPY --link=false a.txt /d\nCOPY --link=true a.txt /e\n")
case("link_bad", "FROM busybox\nCOPY --link=maybe a.txt /d\n")
case(
    "link_from",
    "FROM busybox AS b\nRUN mkdir /o && echo x > /o/x\nFROM scratch\nCOPY --link --from=b /o /d\nCOPY --link --from=b /o/x /y\n",
)
case("link_chown_name", "FROM busybox\nCOPY --link --chown=daemon a.txt /d\n")
case("link_dest_is_root", "FROM busybox\nCOPY --link dir /\n")
case("link_base_again", "FROM scratch AS one\nCOPY --link a.txt /a\nFROM one\nCOPY --link b.md /b\n")

# --exclude
case("exclude", "FROM scratch\nCOPY --exclude=*.md . /d/\n")
case("exclude_several", "FROM scratch\nCOPY --exclude=*.md --exclude=dir/sub . /d/\n")
case("exclude_deep", "FROM scratch\nCOPY --exclude=**/*.md . /d/\n")
case("exclude_dir_source", "FROM scratch\nCOPY --exclude=sub dir /d/\n")
case("exclude_file_source", "FROM scratch\nCOPY --exclude=a.txt a.txt b.md /d/\n")
case("exclude_wildcard_source", "FROM scratch\nCOPY --exclude=*.md * /d/\n")
case("exclude_exception", "FROM scratch\nCOPY --exclude=dir/** --exclude=!dir/sub/d.txt . /d/\n")
case("exclude_all", "FROM scratch\nCOPY --exclude=* . /d/\n")
case("exclude_nothing", "FROM scratch\nCOPY --exclude=nothere . /d/\n")
case(
    "exclude_from",
    "FROM busybox AS b\nRUN mkdir -p /o/p && touch /o/a.x /o/b.y /o/p/c.x\nFROM scratch\nCOPY --from=b --exclude=**/*.x /o /d\n",
)
case("exclude_link", "FROM scratch\nCOPY --link --exclude=**/*.md . /d/\n")
case("exclude_leaves_empty_dirs", "FROM scratch\nCOPY --exclude=dir/sub/* . /d/\n")

# --parents
PARENTS = "The engine's Dockerfile front end is older than --parents; BuildKit built an equivalent Dockerfile"
case(
    "parents_file",
    "FROM scratch\nCOPY --parents dir/sub/d.txt /p/\n",
    instead="FROM scratch\nCOPY --exclude=a.txt --exclude=b.md --exclude=x.sh --exclude=dir/c.txt --exclude=dir/link --exclude=dir/strict --exclude=dir/sub/e.md . /p/\n",
    note=PARENTS,
)
case(
    "parents_dir",
    "FROM scratch\nCOPY --parents dir/sub /p/\n",
    instead="FROM scratch\nCOPY --exclude=a.txt --exclude=b.md --exclude=x.sh --exclude=dir/c.txt --exclude=dir/link --exclude=dir/strict . /p/\n",
    note=PARENTS,
)
case(
    "parents_pivot",
    "FROM scratch\nCOPY --parents ./dir/./sub/d.txt /p/\n",
    instead="FROM scratch\nCOPY --exclude=c.txt --exclude=link --exclude=strict --exclude=sub/e.md dir /p/\n",
    note=PARENTS,
)
case(
    "parents_glob",
    "FROM scratch\nCOPY --parents dir/*/*.md /p/\n",
    instead="FROM scratch\nCOPY --exclude=a.txt --exclude=b.md --exclude=x.sh --exclude=dir/c.txt --exclude=dir/link --exclude=dir/strict --exclude=dir/sub/d.txt . /p/\n",
    note=PARENTS,
)
case(
    "parents_double_star",
    "FROM scratch\nCOPY --parents **/*.txt /p/\n",
    instead="FROM scratch\nCOPY --exclude=b.md --exclude=x.sh --exclude=dir/link --exclude=dir/strict --exclude=dir/sub/e.md . /p/\n",
    note=PARENTS,
)

case("unknown_flag", "FROM busybox\nCOPY --chwon=1 a.txt /d\n")
case("unknown_flag_far", "FROM busybox\nCOPY --zzz a.txt /d\n")
case("flag_without_value", "FROM busybox\nCOPY --chown a.txt /d\n")
case("flag_twice", "FROM busybox\nCOPY --chown=1 --chown=2 a.txt /d\n")
case("flag_after_source", "FROM busybox\nCOPY a.txt --chown=1 /d/\n")
