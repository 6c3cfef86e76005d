"""The tracer of the aarch64 wheel, on an aarch64 Linux: it shows what that kernel's own means show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import arm, require, tool

from .conftest import REPOSITORY
from .test_calls import STATIC

pytestmark = pytest.mark.xdist_group("aarch64")

SECONDS = 900
"""Many times what it takes, because other tests use the processors too."""
WAYS = ("root", "user", "one-id")
"""Traced by root, by an ordinary user with nothing (rung 5), and in a user namespace with one id (rung 3)."""

APPLETS = (
    "cat chmod chown chroot echo head id ln ls mkdir mkfifo mknod mv pwd readlink rm seq sh sleep stat su touch wc"
)
SCENARIO = """set -e
exec 2>&1
id -u; id -G; pwd
mkdir -p /t/in; cd /t; echo a > f; ln f g; ln -s /etc/passwd l; echo secret > q; chmod 000 q; cat q
chown 5:6 f; chown -h 7:8 l; chmod 4755 f; mknod d c 1 3; mknod -m 640 e b 8 1; mkfifo p
stat -c '%n %F %u:%g %a %h %t:%T' * /etc/passwd
head -c 4 l; echo; mv f /moved; rm g; cat /moved; ls -d /* /t/*
readlink /proc/self/exe; cd in; /bin/pwd; cat ../../../../../etc/hostname
su ann -c 'id; touch /tmp/x; stat -c %u:%g /tmp/x; touch /etc/no; cat /t/q; chown 0 /tmp/x' || true
{ for i in $(seq 60); do { sleep 1; echo $i; } & done; wait; } | wc -l
printf '#!/bin/sh\\necho script "$0" "$1"\\n' > /s; chmod +x /s; /s arg; PATH=/ s again
chroot /t/.. /bin/busybox echo chrooted
cat /missing || echo $?
/calls
"""
CALLS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
int main(void) {
	unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20}, seen[64];
	close(open("/raw", O_CREAT | O_WRONLY, 0644));
	printf("%d", setxattr("/raw", "security.capability", capability, sizeof capability, 0));
	int size = getxattr("/raw", "security.capability", seen, sizeof seen);
	printf(" %d %d\n", size, size == sizeof capability && !memcmp(seen, capability, size));
	struct statx stx;
	statx(AT_FDCWD, "/moved", AT_SYMLINK_NOFOLLOW, STATX_ALL, &stx);
	printf("%u:%u %o\n", stx.stx_uid, stx.stx_gid, stx.stx_mode);
	int fd = open("/t", O_PATH | O_DIRECTORY);
	printf("%d %ld\n", fchownat(fd, "p", 9, 10, 0), syscall(SYS_renameat2, fd, "p", fd, "r", 1 /* RENAME_NOREPLACE */));
	struct stat st;
	fstatat(fd, "r", &st, 0);
	printf("%u:%u\n", st.st_uid, st.st_gid);
	gid_t groups[] = {4, 27};
	printf("%d %d %d\n", setgroups(2, groups), setresgid(1000, 1000, 1000), setresuid(1000, 1000, 1000));
	printf("%d %u %u\n", getgroups(2, groups), groups[1], getuid());
	printf("%d", open("/t/q", O_RDONLY)); printf(" %d", errno);
	printf(" %d", setresuid(0, 0, 0)); printf(" %d\n", errno);
	return 0;
}
"""
ENDINGS = {"exit 3": 3, "kill -SEGV $$": 139, "exec /missing": 127, "exec /etc/passwd": 126}
_TRACED = "--bind /proc:/proc --bind /dev:/dev --ids --cwd /"
SCRIPT = f"""
say() {{ echo; echo "== $1"; }}
mkdir /roots; mount -t tmpfs -o mode=755 tmpfs /roots
for way in native {" ".join(WAYS)}; do cp -a /image /roots/$way; mkdir -p /roots/$way/proc /roots/$way/dev; done
mkdir /roots/state; chown -hR 1000:1000 /roots/user /roots/one-id /roots/state
say probe; /tracer/tracer --probe; echo $?
say native
mount --bind /proc /roots/native/proc; mount --bind /dev /roots/native/dev
chroot /roots/native /bin/sh /scenario
say root; /tracer/tracer --root /roots/root {_TRACED} -- sh /scenario
user() {{ su user -c "$1"; }}
say user
user "setpriv --nnp /tracer/tracer --root /roots/user --owners /roots/state/owners {_TRACED} -- sh /scenario"
say one-id
cat > /one-id <<'E'
mount --rbind /proc /roots/one-id/proc; mount --rbind /dev /roots/one-id/dev
exec chroot /roots/one-id /tracer/tracer --ids --owners /owners -- sh /scenario
E
user "unshare -U -r -m sh /one-id"
for program in static pie; do
    say $program; user "/tracer/tracer --root /roots/user {_TRACED} -- /tmp/$program"
done
say endings
for command in {" ".join(f"'{command}'" for command in ENDINGS)}; do
    /tracer/tracer --root /roots/root {_TRACED} -- sh -c "$command" 2> /dev/null; echo $?
done
say end
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the console shows of each part of SCRIPT."""
    require(lambda: tool("qemu-system-aarch64"))
    programs, place = require(arm.programs), tmp_path_factory.mktemp("programs")
    build = [sys.executable, REPOSITORY / "native" / "build.py", "aarch64"]
    built = Path(subprocess.run(build, check=True, capture_output=True, text=True).stdout.strip())
    files = {f"tracer/{name}": (0o100755, (built / name).read_bytes()) for name in ("tracer", "loader")}
    image = {"etc/hostname": b"image\n", "etc/group": b"root:x:0:\nann:x:1234:\ncrew:x:77:ann\n"}
    image["etc/passwd"] = b"root:x:0:0::/root:/bin/sh\nann:x:1234:1234::/tmp:/bin/sh\n"
    files |= {f"image/{path}": (0o100644, content) for path, content in image.items()}
    files |= {f"image/{path}": row for path, row in files.items() if path.startswith("tracer/")}
    files["image/scenario"] = (0o100755, SCENARIO.encode())
    files["etc/passwd"] = (0o100644, b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    files["image/root"] = files["image/tmp"] = (0o41777, b"")
    for name in arm.LIBRARIES:
        files[f"image/lib/{name}"] = (0o100755, (programs / name).read_bytes())
    files["image/bin/busybox"] = (0o100755, (programs / "busybox").read_bytes())
    files |= {f"image/bin/{name}": (0o120777, b"busybox") for name in APPLETS.split()}
    sources = (("calls", "image/calls", CALLS, []), ("static", "image/tmp/static", STATIC, ["-no-pie"]))
    for name, path, source, flags in (*sources, ("pie", "image/tmp/pie", STATIC, ["-static-pie"])):
        (place / f"{name}.c").write_text(source)
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-static", *flags]
        subprocess.run([*compiler, "-o", place / name, place / f"{name}.c"], check=True, capture_output=True)
        files[path] = (0o100755, (place / name).read_bytes())
    shown = require(lambda: arm.boot(files, SCRIPT, SECONDS))
    parts = [part.partition("\n") for part in shown.split("\n== ")[1:]]
    told = {name: text.strip().splitlines() for name, _, text in parts}
    assert {*told} == {"probe", "native", *WAYS, "static", "pie", "endings", "end"}, shown[-4000:]
    return told


def test_it_says_that_it_works(told: dict[str, list[str]]) -> None:
    assert told["probe"] == ["works", "0"]


@pytest.mark.parametrize("way", WAYS)
def test_it_shows_what_the_kernel_shows(told: dict[str, list[str]], way: str) -> None:
    assert told["native"][-1] == "-1 13 -1 1", "the scenario came to its end"
    assert told[way] == told["native"]


@pytest.mark.parametrize("program", ["static", "pie"])
def test_static_programs_with_threads_and_vfork(told: dict[str, list[str]], program: str) -> None:
    lines = told[program]
    assert lines[0] == f"/tmp/{program} root 18"
    assert lines.count("child again") == 40
    assert lines[-2:] == ["40 2 -1 -1", "child by-fd"]


def test_how_a_process_ends(told: dict[str, list[str]]) -> None:
    assert told["endings"] == [str(code) for code in ENDINGS.values()]
