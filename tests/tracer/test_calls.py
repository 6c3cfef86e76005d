"""Single calls under the tracer: paths, files of processes, programs, copies on write, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import tracer

from .conftest import AS_USER, ENVIRONMENT, Machine

pytestmark = pytest.mark.xdist_group("tracer")


def test_it_says_quickly_that_it_works(program: tracer.Tracer) -> None:
    assert tracer.probe(program) == ""


def test_paths_stay_in_the_root(machine: Machine) -> None:
    machine.sh(
        "mkdir -p /t/in && cd /t && ln -s /etc abs && ln -s ../../../../../etc rel && ln -s l2 loop && ln -s loop l2"
    )
    assert (
        machine.sh("cd /t && cat abs/hostname.none rel/debian_version 2>/dev/null || true; pwd").splitlines()[-1]
        == "/t"
    )
    names = machine.sh("ls -di /etc /t/abs/. /t/rel/. /../../etc /t/in/../../etc | cut -d' ' -f1").split()
    assert len(set(names)) == 1
    assert "Too many levels" in machine.sh("cat /t/loop 2>&1; true")
    assert machine.sh("readlink /t/abs; readlink -f /t/rel").split() == ["/etc", "/etc"]
    assert machine.sh("cd /t/in && mv /t/in /t/moved && /bin/pwd").strip() == "/t/moved"
    assert machine.sh("mkdir /t/gone; cd /t/gone && rmdir /t/gone; /bin/pwd 2>&1; true").startswith("/bin/pwd: ")


def test_long_paths(machine: Machine) -> None:
    script = """
import os
name = "n" * 255
os.makedirs("/long"); os.chdir("/long")
for _ in range(15): os.mkdir(name); os.chdir(name)
open("deep", "w").write("here")
path = "/long/" + "/".join([name] * 15) + "/deep"
print(len(path), open(path).read(), os.getcwd() == os.path.dirname(path), len(os.readlink("/proc/self/cwd")) > 3800)
try: os.mkdir("n" * 256)
except OSError as error: print(error.errno)
try: open("/long/" + "x/" * 3000)
except OSError as error: print(error.errno)
print(end="", flush=True); os.execv("/bin/cat", ["cat", path])
"""
    assert machine.python(script, changes="").split() == ["3850", "here", "True", "True", "36", "36", "here"]


def test_what_proc_tells_is_the_tree_s(machine: Machine) -> None:
    said = machine.sh(
        "cd /usr && readlink /proc/self/exe /proc/self/cwd /proc/self/root /proc/$$/exe; cat /proc/self/comm"
    ).split()
    assert said == ["/usr/bin/readlink", "/usr", "/", "/usr/bin/dash", "cat"]
    assert machine.sh(
        "exec 3</etc/passwd; readlink /proc/self/fd/3; head -c4 /dev/fd/3; head -c4 /proc/self/root/etc/passwd"
    ).split() == [
        "/etc/passwd",
        "rootroot",
    ]
    assert machine.sh(f"test -e /proc/{os.getpid()} || echo hidden") == "hidden\n"
    assert machine.sh("sh -c 'echo to-stdout > /dev/stdout' | cat; echo x | cat /dev/stdin").split() == [
        "to-stdout",
        "x",
    ]
    assert (
        machine.sh("sh -c 'rm -f /tmp/n; exec 3>/tmp/n 4</tmp/n; rm /tmp/n; echo d >&3; cat /proc/self/fd/4'") == "d\n"
    )


def test_scripts_and_interpreters(machine: Machine) -> None:
    script = r"""
cd /tmp
printf '#!/bin/sh\necho "$0" "$@"\n' > one && printf '#! /tmp/one first  \n' > two
printf '#!/usr/bin/env python3\nimport sys; print(sys.argv)\n' > three
printf '#!/none\n' > four; printf 'echo plain\n' > five; chmod +x one two three four five
./one a b; /tmp/two c; PATH=/tmp:$PATH three d; ./four 2>/dev/null || echo $?; ./five
cp one six; chmod 644 six; ./six 2>/dev/null || echo $?
"""
    assert machine.sh(script).splitlines() == [
        "./one a b",
        "/tmp/one first /tmp/two c",
        "['/tmp/three', 'd']",
        "127",
        "plain",
        "126",
    ]
    machine.run("none-such", code=127)
    machine.run("/etc/passwd", code=126)
    machine.run("sh", "-c", "exit 3", code=3)
    machine.run("sh", "-c", "kill -SEGV $$", code=128 + signal.SIGSEGV)


STATIC = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <errno.h>
static void *thread(void *n) {
	struct stat st;
	for (int i = 0; i < 50; i++) if (stat("/etc/passwd", &st)) _exit(9);
	return n;
}
int main(int argc, char **argv) {
	char self[4096] = "", text[5] = "";
	if (argc > 1) { printf("child %s\n", argv[1]); return 0; }
	readlink("/proc/self/exe", self, sizeof self - 1);
	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT};
	int etc = open("/etc", O_RDONLY | O_DIRECTORY);
	int fd = syscall(SYS_openat2, etc, "/../passwd", &how, sizeof how);
	read(fd, text, 4);
	how.resolve = RESOLVE_BENEATH;
	int out = syscall(SYS_openat2, etc, "/passwd", &how, sizeof how);
	printf("%s %s %d\n", self, text, out < 0 ? errno : 0);
	pthread_t threads[30];
	for (int n = 0; n < 30; n++) pthread_create(&threads[n], 0, thread, 0);
	for (int n = 0; n < 30; n++) pthread_join(threads[n], 0);
	for (int n = 0; n < 40; n++) if (!vfork()) { execl("/proc/self/exe", "x", "again", (char *)0); _exit(1); }
	int status, good = 0;
	while (wait(&status) > 0) good += !status;
	int watch = inotify_init(), got = inotify_add_watch(watch, "/tmp/", IN_CREATE) > 0;
	close(open("/tmp/watched", O_CREAT | O_WRONLY, 0600)); unlink("/tmp/watched");
	char event[512]; got += read(watch, event, sizeof event) > 0;
	int self_fd = open("/tmp/static", O_PATH);
	char *args[] = {"x", "by-fd", 0};
	printf("%d %d %ld %ld\n", good, got, syscall(425, 1, 0), syscall(SYS_ptrace, 0, 0, 0, 0));
	fflush(stdout);
	syscall(SYS_execveat, self_fd, "", args, args + 2, AT_EMPTY_PATH);
	return 1;
}
"""


def test_a_static_program_with_threads_and_vfork(machine: Machine, place: Path) -> None:
    source = place / "static.c"
    source.write_text(STATIC)
    target = ["-target", f"{os.uname().machine}-linux-musl"]
    for flags in (["-static"], ["-static", "-no-pie"]):
        compiler = [sys.executable, "-m", "ziglang", "cc", *target]
        subprocess.run([*compiler, *flags, "-o", place / "static", source], check=True, capture_output=True)
        (machine.root / "tmp/static").unlink(missing_ok=True)
        (machine.root / "tmp/static").write_bytes((place / "static").read_bytes())
        (machine.root / "tmp/static").chmod(0o755)
        lines = machine.run("/tmp/static").splitlines()
        assert lines[0] == "/tmp/static root 18"
        assert lines.count("child again") == 40
        assert lines[-2:] == ["40 2 -1 -1", "child by-fd"]


def test_three_hundred_processes(machine: Machine) -> None:
    script = "for i in $(seq 300); do sh -c 'sleep 1; test -e /etc/passwd && echo x' & done; wait"
    assert machine.sh(script).count("x") == 300


def test_sockets_and_fifos(machine: Machine) -> None:
    script = """
import os, socket
os.makedirs("/tmp/" + "s" * 60, exist_ok=True); path = "/tmp/" + "s" * 60 + "/socket"
server = socket.socket(socket.AF_UNIX); server.bind(path); server.listen()
client = socket.socket(socket.AF_UNIX); client.connect(path); client.send(b"hello"); print(server.accept()[0].recv(5))
os.chdir(os.path.dirname(path)); socket.socket(socket.AF_UNIX).connect("socket")
os.unlink("socket"); os.mkfifo("fifo")
if not os.fork():
    open("fifo", "w").write("through"); os._exit(0)
print(open("fifo").read())
"""
    assert machine.python(script).split() == ["b'hello'", "through"]


def test_binds(machine: Machine, place: Path) -> None:
    (place / "dir").mkdir()
    (place / "dir/f").write_text("bound")
    (place / "file").write_text("a file")
    for path in place.rglob("*"):
        os.chown(path, machine.uid, machine.uid)
    binds = [
        tracer.Bind(str(place / "dir"), "/mnt/rw"),
        tracer.Bind(str(place / "dir"), "/mnt/ro", readonly=True),
        tracer.Bind(str(place / "file"), "/mnt/file", readonly=True),
    ]
    script = """
cat /mnt/rw/f /mnt/ro/f /mnt/file; echo; echo new > /mnt/rw/g; cat /mnt/ro/g
for what in \\
  'echo > /mnt/ro/h' 'echo > /mnt/file' 'rm /mnt/ro/f' 'mkdir /mnt/ro/d' \\
  'chmod 600 /mnt/ro/f' 'touch /mnt/ro/f' 'ln -s x /mnt/ro/l'; do
  (eval "$what") 2>&1 | grep -c 'Read-only file system'; done
mv /mnt/rw /mnt/x 2>&1 | grep -c busy; ln /mnt/rw/f /mnt/y 2>&1 | grep -c cross-device
mv /mnt/rw/g /mnt/g && cat /mnt/g; rm /mnt/g
cd /mnt/rw && /bin/pwd && ls
"""
    said = machine.sh(script, binds=binds).splitlines()
    assert said[:2] == ["boundbounda file", "new"]
    assert said[2:11] == ["1"] * 9
    assert said[11:] == ["new", "/mnt/rw", "f"]


def test_chroot(machine: Machine) -> None:
    machine.sh("mkdir -p /jail/in && cp -a /bin/true /jail/")
    script = (
        "import os; os.chroot('/jail'); os.chdir('/'); print(os.getcwd(), os.listdir('..'), os.path.exists('/etc'))"
    )
    assert machine.python(script).strip() in ("/ ['in', 'true'] False", "/ ['true', 'in'] False")


def test_changes_are_told(machine: Machine) -> None:
    machine.sh("echo > /tmp/made; chmod 700 /srv; mv /tmp/made /tmp/moved; cat /etc/passwd; rm /tmp/moved")
    told = set(Path(machine.options["changes"]).read_bytes().split(b"\0"))
    assert {b"/tmp/made", b"/tmp/moved", b"/srv"} <= told
    assert b"/etc/passwd" not in told


@pytest.fixture(params=[signal.SIGTERM, signal.SIGKILL])
def ending(request: pytest.FixtureRequest) -> signal.Signals:
    return request.param


def test_nothing_is_left_when_the_tracer_ends(machine: Machine, ending: signal.Signals) -> None:
    mark = f"{time.time_ns()}"[-6:]
    sleep = f"sleep 9{mark}"
    process = machine.start(
        "sh", "-c", f"{sleep} & (setsid {sleep} &) ; trap '' TERM; setsid sh -c '{sleep}; :' & echo up; wait"
    )
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    wait_until(lambda: len(running(sleep)) >= 3)
    tracers = [pid for pid in running("--root") if str(machine.root) in cmdline(pid)]
    for pid in tracers:
        os.kill(pid, ending)
    process.communicate(timeout=60)
    wait_until(lambda: not running(sleep))
    assert process.returncode in (128 + ending, -ending)


def test_what_a_command_leaves_behind_ends_with_it(machine: Machine) -> None:
    mark = f"8{time.time_ns() % 10**6}"
    assert machine.sh(f"setsid sleep {mark} & echo done").strip() == "done"
    assert not running(f"sleep {mark}")


def cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def running(words: str) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if words in cmdline(pid) and not cmdline(pid).startswith(("sh -c", "setsid"))]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ids_alone(program: tracer.Tracer, image: Path, place: Path) -> None:
    """Rung 3: in a user namespace with one id, where paths are the kernel's."""
    root = place / "root"
    subprocess.run(["cp", "-a", image, root], check=True)
    subprocess.run(["chown", "-hR", "1000:1000", place], check=True)
    own = program.path.parent
    (root / "opt/tracer").mkdir()
    for name in ("tracer", "loader"):
        (root / "opt/tracer" / name).write_bytes((own / name).read_bytes())
        (root / "opt/tracer" / name).chmod(0o755)
    inside = (
        "useradd -m alice; touch /srv/f; chown -R alice:adm /srv/f; mknod /srv/d c 1 3; "
        "stat -c '%U:%G %F' /srv/f /srv/d; "
        "su alice -c 'id -un; echo > ~/own; stat -c %U ~/own; chown root ~/own' 2>&1"
    )
    words = [
        *AS_USER,
        "unshare",
        "-Urmpf",
        "sh",
        "-c",
        f'mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev; exec chroot {root} "$@"',
        "sh",
    ]
    words += ["/opt/tracer/tracer", "--ids", "--owners", "/opt/owners", "--", "sh", "-c", inside]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip("this machine has no user namespaces for ordinary users")
    said = done.stdout.splitlines()
    assert said[:4] == ["alice:adm regular empty file", "root:root character special file", "alice", "alice"], (
        done.stderr
    )
    assert "Operation not permitted" in said[4]
