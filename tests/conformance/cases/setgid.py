"""Set-group-ID directories, which hand down their group, and to directories their bit: to what, and through what."""

from ..case import Dir, File, Hard, Link, Special, Tar, group

TREE = {
    "a": "a\n",
    "strict": File("strict\n", mode=0o2711),
    "owned": File("owned\n", uid=5, gid=6),
    "dir/b": "b\n",
    "dir/sub/c": File("c\n", mode=0o600),
    "dir/link": Link("b"),
    "dir/bit": Dir(0o2770, gid=9),
    "dir/bit/d": "d\n",
    "pipes/p": Special("p"),
    "rootfs.tar": Tar(
        {
            "x/y/deep": "deep",
            "x/z": Dir(0o750, 3, 4),
            "x/z/f": File("f", uid=7, gid=8),
            "l": Link("x"),
            "h": Hard("x/z/f"),
        }
    ),
    "bits.tar": Tar({"d": Dir(0o2755, 1, 2), "d/new/f": "f", "d/e": Dir(0o755, 1, 2)}),
}
case = group("setgid", TREE)

BASE = "FROM busybox\nRUN mkdir /srv && chgrp 100 /srv && chmod 2775 /srv\n"

case("file", BASE + "COPY a /srv/\n")
case("file_in_made", BASE + "COPY a /srv/app/a\n")
case("file_in_made_deep", BASE + "COPY a owned strict /srv/x/y/z/\n")
case("dir", BASE + "COPY dir /srv\n")
case("dir_new", BASE + "COPY dir /srv/new\n")
case("dir_new_deep", BASE + "COPY dir /srv/x/new/\n")
case("dirs", BASE + "COPY dir pipes /srv/x/\n")
case("dir_merged", BASE + "RUN mkdir -p /srv/dir/sub && chmod 2700 /srv/dir/sub\nCOPY dir /srv/dir\n")
case("root_is_not", BASE + "COPY a /other/a\n")
case("chmod", BASE + "COPY --chmod=750 a /srv/app/a\nCOPY --chmod=711 dir /srv/d\nCOPY --chmod=g+w dir /srv/x/d\n")
case("chmod_bit", BASE + "COPY --chmod=2755 dir /srv/d\nCOPY --chmod=2755 a /srv/x/a\nCOPY a /srv/d/more/a\n")
case("chown", BASE + "COPY --chown=1:2 a /srv/app/a\nCOPY --chown=3 dir /srv/x/d\nCOPY --chown=:4 dir /srv/y/d\n")
case("chown_and_chmod", BASE + "COPY --chown=1:2 --chmod=700 a /srv/app/a\nCOPY a /srv/app/sub/a\n")
case("link", BASE + "COPY --link a /srv/app/a\nCOPY --link dir /srv/d\n")
case("through_link", BASE + "RUN ln -s srv/app /alias\nCOPY a /alias/x/a\n")
case("exclude", BASE + "COPY --exclude=**/b dir /srv/x/d\n")
case("glob", BASE + "COPY d*/s* /srv/x/\n")
case("heredoc", BASE + "COPY <<one <<two /srv/app/\n1\none\n2\ntwo\nCOPY <<EOF /srv/y/file\nx\nEOF\n")
case("heredoc_chmod", BASE + "COPY --chmod=640 --chown=5:6 <<EOF /srv/app/file\nx\nEOF\n")
case("workdir", BASE + "WORKDIR /srv/a/b\nCOPY a ./\nWORKDIR c\n")
case("workdir_and_user", BASE + "USER 1000:1001\nWORKDIR /srv/a\nRUN touch f && mkdir d\n")
case("run", BASE + "RUN cd /srv && mkdir -p a/b && touch a/f && ln -s f a/l && mkfifo a/p\nCOPY a /srv/a/b/c/\n")
case("add", BASE + "ADD rootfs.tar /srv/\n")
case("add_new", BASE + "ADD rootfs.tar /srv/x/new/\n")
case("add_chown", BASE + "ADD --chown=1:2 rootfs.tar /srv/x/\n")
case("add_chmod", BASE + "ADD --chmod=755 rootfs.tar /srv/x/\n")
case("add_bits", BASE + "ADD bits.tar /\nADD bits.tar /srv/\nADD bits.tar /srv/d/\n")
case("add_http", BASE + "ADD {http}/file.txt /srv/app/\nADD {http}/file.txt /srv/\n")
case("add_git", BASE + "ADD {git}#main /srv/app\n")
case(
    "copy_from",
    BASE + "FROM busybox\nCOPY --from=0 /srv /copied\nCOPY --from=0 / /all\nCOPY a /copied/x/a\nCOPY a /all/srv/x/a\n",
)
case(
    "mount",
    BASE
    + "RUN --mount=type=cache,target=/srv/cache/x touch /srv/cache/x/f\nRUN --mount=type=tmpfs,target=/srv/t true\n",
)
case(
    "sticky_and_setuid",
    "FROM busybox\nRUN mkdir /srv && chgrp 100 /srv && chmod 7777 /srv\nCOPY a /srv/app/a\nWORKDIR /srv/w\n",
)
case("group_root", "FROM busybox\nRUN mkdir /srv && chmod 2755 /srv\nCOPY a /srv/app/a\n")
