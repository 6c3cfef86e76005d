"""ADD: local archives and what looks like one, downloads, Git repositories."""

import hashlib
import random
import tarfile

from ..case import Dir, File, Hard, Link, Special, Tar, compress, group, serve, tar

INSIDE = {
    "d": Dir(0o750, uid=3, gid=4, mtime=7),
    "d/f": File("f\n", mode=0o640, uid=1000, gid=1001, mtime=8),
    "l": Link("d/f", mtime=9),
    "h": Hard("d/f"),
    "s": File("s", mode=0o4755),
}
ODD = Tar({"p": Special("p"), "null": Special("c", 1, 3, 0o666), "e/": Dir(), "big": File(b"x" * 70_000)})
WHITEOUT = Tar({"etc/.wh.passwd": "", "etc/new": "n"})
case = group("add")

case("file", "FROM scratch\nADD f d /x/\n", {"f": "f", "d/g": "g"})
case("tar", "FROM scratch\nADD a.tar /x/\n", {"a.tar": Tar(INSIDE)})
case("tar_no_slash", "FROM scratch\nADD a.tar /x\n", {"a.tar": Tar(INSIDE)})
case("tar_to_root", "FROM busybox\nADD a.tar /\n", {"a.tar": Tar(INSIDE)})
for kind in ("gz", "bz2", "xz", "zst"):
    case(f"tar_{kind}", "FROM scratch\nADD a /x/\n", {"a": Tar(INSIDE, kind)})
case("tar_odd", "FROM scratch\nADD a.tar /x/\n", {"a.tar": ODD})
case("tar_xattrs", "FROM scratch\nADD a.tar /x/\n", {"a.tar": Tar({"f": File("x", xattrs={"user.a": b"b"})})})
case(
    "tar_gnu",
    "FROM scratch\nADD a.tar /x/\n",
    {"a.tar": Tar({"n" * 150: "x", "l": Link("t" * 150)}, format=tarfile.GNU_FORMAT)},
)
case("tar_ustar", "FROM scratch\nADD a.tar /x/\n", {"a.tar": Tar(INSIDE, format=tarfile.USTAR_FORMAT)})
case("tar_no_parents", "FROM scratch\nADD a.tar /x/\n", {"a.tar": Tar({"q/r/s": "deep"})})
case("tar_dot_names", "FROM scratch\nADD a.tar /x/\n", {"a.tar": Tar({"./": Dir(0o700), "./f": "f", "./g/": Dir()})})
case("tar_root_entry", "FROM busybox\nADD a.tar /tmp/\n", {"a.tar": Tar({".": Dir(0o700, uid=9), "f": "f"})})
case("tar_absolute", "FROM scratch\nADD a.tar /x/\n", {"a.tar": Tar({"/abs/f": "f"})})
case(
    "tar_up",
    "FROM scratch\nADD a.tar /x/\n",
    {"a.tar": Tar({"../up": "f"})},
    says=("invalid entry name", "leads out of the root"),
)
case(
    "tar_link_out",
    "FROM scratch\nADD a.tar /x/\n",
    {"a.tar": Tar({"l": Link("../../etc"), "l/f": "f"})},
    says="path escapes from parent",
)
case("tar_link_absolute", "FROM scratch\nADD a.tar /x/\n", {"a.tar": Tar({"l": Link("/etc/passwd")})})
case("tar_hardlink_missing", "FROM scratch\nADD a.tar /x/\n", {"a.tar": Tar({"h": Hard("nope")})})
case(
    "tar_hardlink_out",
    "FROM busybox\nADD a.tar /x/\n",
    {"a.tar": Tar({"h": Hard("../etc/passwd")})},
    says=("invalid hardlink target", "leads out of the root"),
)
case(
    "tar_twice_same_name",
    "FROM scratch\nADD a.tar /x/\n",
    {"a.tar": tar(Tar({"f": "1"})).rstrip(b"\0").ljust(1024, b"\0") + tar(Tar({"f": "2"}))},
)
case(
    "tar_dir_becomes_file",
    "FROM scratch\nADD a.tar b.tar /x/\n",
    {"a.tar": Tar({"d/f": "1"}), "b.tar": Tar({"d": "file"})},
)
case(
    "tar_file_becomes_dir",
    "FROM scratch\nADD a.tar b.tar /x/\n",
    {"a.tar": Tar({"d": "file"}), "b.tar": Tar({"d/": Dir(), "d/f": "1"})},
)
case("tar_over_base", "FROM busybox\nADD a.tar /etc/\n", {"a.tar": Tar({"passwd": "new", "group": Link("passwd")})})
case("tar_whiteouts", "FROM busybox\nADD a.tar /\n", {"a.tar": WHITEOUT})
case("tar_empty", "FROM scratch\nADD a.tar /x/\nCOPY f /\n", {"a.tar": Tar(), "f": "f"})
case(
    "tar_times",
    "FROM scratch\nADD a.tar /x/\n",
    {"a.tar": Tar({**INSIDE, "t": File("", mtime=1.25), "n": File("", mtime=2e9)})},
    epoch=1_500_000_000,
)
case("tar_chown", "FROM busybox\nADD --chown=5:6 a.tar /x/\n", {"a.tar": Tar(INSIDE)})
case("tar_chmod", "FROM busybox\nADD --chmod=711 a.tar /x/\n", {"a.tar": Tar(INSIDE)})
case("tar_link", "FROM busybox\nADD --link a.tar /x/\n", {"a.tar": Tar(INSIDE)})
case("tar_glob", "FROM scratch\nADD *.tar f /x/\n", {"a.tar": Tar({"1": "1"}), "b.tar": Tar({"2": "2"}), "f": "f"})
case("tar_in_dir", "FROM scratch\nADD d /x/\n", {"d/a.tar": Tar(INSIDE)})
case("tar_by_link", "FROM scratch\nADD l /x/\n", {"a.tar": Tar(INSIDE), "l": Link("a.tar")})
case("tar_copied_not_unpacked", "FROM scratch\nCOPY a.tar /x/\n", {"a.tar": Tar(INSIDE)})
case("tar_unpack_false", "FROM scratch\nADD --unpack=false a.tar /x/\n", {"a.tar": Tar(INSIDE)})
case("tar_unpack_true", "FROM scratch\nADD --unpack=true a.tar f /x/\n", {"a.tar": Tar(INSIDE), "f": "f"})
case("tar_dest_link", "FROM busybox\nRUN mkdir /r && ln -s /r /x\nADD a.tar /x/\n", {"a.tar": Tar(INSIDE)})
case("tar_dest_file", "FROM busybox\nADD a.tar /etc/passwd\n", {"a.tar": Tar(INSIDE)})
case(
    "tar_inner_link_in_dest",
    "FROM busybox\nRUN mkdir /x /r && ln -s /r /x/d\nADD a.tar /x/\n",
    {"a.tar": Tar({"d/f": "f"})},
)
case("gz_alone", "FROM scratch\nADD f.gz /x/\n", {"f.gz": compress(b"hello", "gz")})
case("not_tar", "FROM scratch\nADD a.tar /x/\n", {"a.tar": "this is no tar\n"})
case(
    "tar_truncated",
    "FROM scratch\nADD a.tar /x/\n",
    {"a.tar": tar(Tar({"f": b"x" * 3000}))[:2000]},
    says=("unexpected EOF", "truncated"),
)
case(
    "tar_gz_truncated",
    "FROM scratch\nADD a.tgz /x/\n",
    {"a.tgz": tar(Tar({"f": random.Random(1).randbytes(9000)}, "gz"))[:4000]},
    says=("unexpected EOF", "ends too early"),
)
case("tar_zeros", "FROM scratch\nADD a.tar /x/\n", {"a.tar": b"\0" * 1024})
case("zip", "FROM scratch\nADD a.zip /x/\n", {"a.zip": b"PK\x05\x06" + b"\0" * 18})
case("dir", "FROM scratch\nADD d /x\n", {"d/f": "f"})
case("missing", "FROM scratch\nADD nope /x\n", {})

# Downloads
DATA = b"downloaded\n"
SUM = hashlib.sha256(DATA).hexdigest()
ARCHIVE = tar(Tar(INSIDE, "gz"))
serve("file.txt", DATA)
serve("dated.txt", DATA, Last_Modified="Wed, 21 Oct 2015 07:28:00 GMT", ETag='"x"')
serve("named", DATA, Content_Disposition='attachment; filename="given.txt"')
serve("evil", DATA, Content_Disposition='attachment; filename="../../evil"')
serve("a.tar.gz", ARCHIVE)
serve("", DATA)
serve("d/", DATA)
serve("a%20b", DATA)
http = group("add_http", {"f": "f"})
http("file", "FROM scratch\nADD {http}/file.txt /x/\n")
http("to_name", "FROM scratch\nADD {http}/file.txt /y\n")
http("mode", "FROM scratch\nADD --chmod=644 --chown=1:2 {http}/file.txt /y\n")
http("last_modified", "FROM scratch\nADD {http}/dated.txt /x/\n", epoch=1_600_000_000)
http("no_last_modified", "FROM scratch\nADD {http}/file.txt /x/\n", epoch=1_600_000_000)
http("disposition", "FROM scratch\nADD {http}/named /x/\n")
http("disposition_evil", "FROM scratch\nADD {http}/evil /x/\n")
http("query", "FROM scratch\nADD {http}/file.txt?a=b /x/\n")
http("escaped_name", "FROM scratch\nADD {http}/a%20b /x/\n")
http("no_name", "FROM scratch\nADD {http}/ /x/\n")
http("no_name_to_name", "FROM scratch\nADD {http}/ /x\n")
http("name_of_dir", "FROM scratch\nADD {http}/d/ /x/\n")
http("not_unpacked", "FROM scratch\nADD {http}/a.tar.gz /x/\n")
http("unpacked", "FROM scratch\nADD --unpack=true {http}/a.tar.gz /x/\n")
http("checksum", f"FROM scratch\nADD --checksum=sha256:{SUM} {{http}}/file.txt /x/\n")
http("checksum_wrong", f"FROM scratch\nADD --checksum=sha256:{SUM[::-1]} {{http}}/file.txt /x/\n", says=SUM)
http("checksum_bad", "FROM scratch\nADD --checksum=sha256:abc {http}/file.txt /x/\n")
http("checksum_local", f"FROM scratch\nADD --checksum=sha256:{SUM} f /x/\n")
http("checksum_several", f"FROM scratch\nADD --checksum=sha256:{SUM} {{http}}/file.txt {{http}}/dated.txt /x/\n")
http("missing", "FROM scratch\nADD {http}/nope /x/\n", says="404")
http("with_local", "FROM scratch\nADD {http}/file.txt f /x/\n")
http("link", "FROM busybox\nADD --link {http}/file.txt /x/\n")
http("variable", "FROM scratch\nARG U={http}\nADD $U/file.txt /x/\n")
http("copy_refuses", "FROM scratch\nCOPY {http}/file.txt /x/\n")
http("context_tar", "FROM scratch\nCOPY . /x\n", source="{http}/a.tar.gz", flags="")
git = group("add_git")
git("repository", "FROM scratch\nADD {git} /r\n")
git("branch", "FROM scratch\nADD {git}#other /r\n")
git("tag", "FROM scratch\nADD {git}#v1 /r\n")
git("light_tag", "FROM scratch\nADD {git}#light:sub /r/\n")
git("commit", "FROM scratch\nADD {git}#{tagged} /r\n")
git("subdir", "FROM scratch\nADD {git}#:sub/deep /r\n")
git("query", "FROM scratch\nADD {git}?branch=other&subdir=sub /r\n")
git("query_tag", "FROM scratch\nADD {git}?tag=v1 /r\n")
git("query_unknown", "FROM scratch\nADD {git}?what=v1 /r\n")
git("missing_ref", "FROM scratch\nADD {git}#nope /r\n", says="does not contain ref nope")
git("missing_subdir", "FROM scratch\nADD {git}#:nope /r\n", says="nope")
git("checksum", "FROM scratch\nADD --checksum={commit} {git}#main /r\n")
# Of no commit that there is: what BuildKit has checked out of a commit it takes for any ref, unseen.
git(
    "checksum_wrong",
    f"FROM scratch\nADD --checksum={'5a' * 20} {{git}}#apart /r\n",
    says="expected checksum to match",
)
git("chown", "FROM scratch\nADD --chown=1:2 --chmod=700 {git} /r\n")
git("link", "FROM scratch\nADD --link {git} /r\n")
git(
    "context",
    "FROM scratch\nCOPY . /r\n",
    source="{git}#main:sub",
    note="With an epoch, later front ends, as ours, ask for the commit's time; the exported bytes are the same",
)
