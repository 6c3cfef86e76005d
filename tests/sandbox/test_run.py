"""What a process in a sandbox sees, may do, and how its end is told."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import RunSpec, Sandbox
from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import BuildError, UsageError
from pybuild_magic.llb.ops import NetMode
from pybuild_magic.store import SYMLINK, Entry, Store

from .conftest import IDENTITY, ROOTLESS, Box, directory, file, kernel_ids, owned, untraced


def test_the_exit_code_is_the_process_s_own(box: Box) -> None:
    assert [box.run(f"exit {code}").code for code in (0, 1, 3, 255)] == [0, 1, 3, 255]


@untraced
def test_a_command_that_is_missing_is_127_and_one_that_cannot_be_run_126(box: Box) -> None:
    missing = box.run(("nosuch", "thing"))
    assert missing.code == 127
    assert "nosuch" in missing.outcome.error
    assert "nosuch" in missing.stderr
    assert box.run(("/no/such",)).code == 127
    assert box.run(("/etc/passwd",)).code == 126


def test_a_process_that_a_signal_ends_is_128_and_the_signal(box: Box) -> None:
    assert box.run("sh -c 'kill -9 $$'; exit $?").code == 137


def test_stdout_and_stderr_come_apart_and_as_they_are_written(box: Box) -> None:
    times: list[tuple[float, int, bytes]] = []
    outcome = box.sandbox.run(
        RunSpec(("sh", "-c", "echo one; sleep 0.4; echo two >&2; sleep 0.4; echo three"), box.snapshot),
        lambda stream, data: times.append((time.monotonic(), stream, data)),
        Cancel(),
    )
    box.sandbox.discard(outcome)
    assert [(stream, data) for _, stream, data in times] == [(1, b"one\n"), (2, b"two\n"), (1, b"three\n")]
    assert times[1][0] - times[0][0] > 0.2
    assert times[2][0] - times[1][0] > 0.2


def test_all_output_arrives_however_much_there_is(box: Box) -> None:
    assert len(box.run("dd if=/dev/zero bs=1M count=8 2>/dev/null | tr '\\0' x").stdout) == 8 << 20


def test_stdin_is_empty(box: Box) -> None:
    assert box.run("cat; echo done").stdout == "done\n"


def test_what_an_on_output_raises_comes_out_and_ends_the_process(box: Box) -> None:
    def refuse(_stream: int, _data: bytes) -> None:
        raise ValueError("enough")

    started = time.monotonic()
    with pytest.raises(ValueError, match="enough"):
        box.sandbox.run(RunSpec(("sh", "-c", "echo x; sleep 60"), box.snapshot), refuse, Cancel())
    assert time.monotonic() - started < 5


def test_environment_is_given_path_and_home_are_added(box: Box) -> None:
    env = dict(line.split("=", 1) for line in box.run(("env",), env=("A=1", "B=x=y")).lines)
    assert env == {
        "A": "1",
        "B": "x=y",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
    }
    env = box.run(("env",), env=("PATH=/bin", "HOME=/elsewhere")).lines
    assert sorted(env) == ["HOME=/elsewhere", "PATH=/bin"]
    assert "HOME=/home/user" in box.run(("env",), user="user").lines
    assert "HOME=/" in box.run(("env",), user="77:78").lines


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups"),
    [
        ("", "0", "0", {"0"}),
        ("user", "1000", "1001", {"1001", "2000"}),
        ("user:other", "1000", "2001", {"2001"}),
        ("1000", "1000", "1001", {"1001", "2000"}),
        ("7:8", "7", "8", {"8"}),
        ("0:0", "0", "0", {"0"}),
    ],
)
def test_the_user_is_looked_up_in_the_image(builtin: Box, user: str, uid: str, gid: str, groups: set[str]) -> None:
    ran = builtin.run("id -u; id -g; id -G", user=user)
    assert ran.lines[:2] == [uid, gid]
    assert set(ran.lines[2].split()) == groups


def test_a_user_is_refused_what_owners_and_modes_refuse(box: Box) -> None:
    if not owned(box):
        pytest.skip("one id stands for all, and is not to remember others")
    base = box.layer(directory("shut", 0o700), file("secret", b"s", mode=0o600))
    ran = box.run(
        "cat /secret; ls /shut; echo > /new; echo >> /secret; mkdir /d; mv /secret /s; [ -w /etc ] && echo can",
        user="user",
        snapshot=(*box.snapshot, base.diff_id),
    )
    assert ran.stdout == "", ran
    assert ran.stderr.lower().count("permission denied") == 6, ran


def test_a_user_without_an_entry_is_an_error(builtin: Box) -> None:
    with pytest.raises(BuildError, match="unable to find user nobodyatall"):
        builtin.run("true", user="nobodyatall")


@kernel_ids
def test_a_user_other_than_root_runs_without_capabilities(box: Box) -> None:
    ran = box.run("id -u; grep CapEff /proc/self/status; touch /home/user/x && echo wrote; pwd", user="user")
    assert ran.lines[:2] == ["1000", "CapEff:\t0000000000000000"]
    assert ran.lines[2] == "wrote"


@kernel_ids
def test_root_has_docker_s_default_capabilities_and_may_gain_no_more(box: Box) -> None:
    status = dict(
        line.split(":\t", 1) for line in box.run("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status").lines
    )
    assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "00000000a80405fb"  # but CAP_NET_RAW
    assert status["CapInh"] == status["CapAmb"] == "0000000000000000"
    assert status["NoNewPrivs"] == "0"  # as BuildKit has it: sudo works in a RUN
    assert status["Seccomp"] == "2"


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /tmp",
        "umount /proc",
        "unshare -U true",
        "unshare -r true",
        "hostname other",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "touch /sys/x",
        "touch /etc/resolv.conf",
        "mknod /tmp/d b 8 0 && head -c1 /tmp/d | grep ." if ROOTLESS else "chroot /proc/1/root /bin/true && false",
    ],
)
def test_what_a_container_may_not_do_fails(builtin: Box, command: str) -> None:
    assert builtin.run(command).code != 0


@untraced
def test_the_machine_is_hidden(box: Box) -> None:
    ran = box.run(
        "for f in /proc/kcore /proc/keys /proc/timer_list; do [ ! -e $f ] || head -c1 $f | wc -c; done;"
        "ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : ; echo end"
    )
    assert {line for line in ran.lines if line} <= {"0", "end"}


@untraced
def test_only_its_own_processes_are_there(box: Box) -> None:
    assert box.run("echo $$; ls /proc | grep -cE '^[0-9]+$'").lines[0] == "1"
    assert int(box.run("ls /proc | grep -cE '^[0-9]+$'").stdout) <= 5


@untraced
def test_devices_are_the_usual_ones(box: Box) -> None:
    names = box.run("ls /dev").stdout.split()
    assert set(names) >= {
        *("null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "ptmx"),
        *("fd", "stdin", "stdout", "stderr"),
    }
    assert not [name for name in names if name.startswith(("sd", "vd", "nvme", "mem", "kvm"))]
    ran = box.run("echo x > /dev/null; head -c2 /dev/zero | wc -c; head -c3 /dev/urandom | wc -c; ls /dev/pts")
    assert ran.lines == ["2", "3", "ptmx"]


@untraced
def test_shared_memory_has_the_size_asked_for(box: Box) -> None:
    def size(**spec: int) -> str:
        return box.run("df -k /dev/shm | awk 'NR==2{print $2}'", **spec).stdout.strip()

    assert size() == "65536"
    assert size(shm_size=16 << 20) == "16384"


def test_limits_are_set(box: Box) -> None:
    ran = box.run("ulimit -Sn; ulimit -Hn; ulimit -c", ulimits=(("nofile", 100, 200), ("core", 0, 0)))
    assert ran.lines == ["100", "200", "0"]


@untraced
def test_hostname_hosts_and_resolver_are_buildkit_s(box: Box) -> None:
    ran = box.run("hostname; cat /etc/hosts", extra_hosts=(("some.where", "10.1.2.3"),))
    assert ran.lines == [
        "buildkitsandbox",
        "127.0.0.1\tlocalhost buildkitsandbox",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.1.2.3\tsome.where",
    ]
    assert box.run("hostname", hostname="mine").stdout == "mine\n"
    assert box.run("cat /etc/resolv.conf").stdout == Path("/etc/resolv.conf").read_text()


def test_umask_and_signals_are_the_defaults(box: Box) -> None:
    assert box.run("umask").stdout == "0022\n"
    ran = box.run(("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"))
    assert ran.lines == ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]


def test_no_descriptor_of_ours_is_open(box: Box) -> None:
    assert box.run("ls /proc/self/fd").stdout.split() == ["0", "1", "2", "3"]  # 3 is the one that ls reads


def _devices(text: str = "") -> set[str]:
    """Return the names in /proc/net/dev, this process's or the given one."""
    lines = (text or Path("/proc/net/dev").read_text()).splitlines()[2:]
    return {line.partition(":")[0].strip() for line in lines}


@untraced
def test_without_a_network_there_is_loopback_alone(box: Box) -> None:
    ran = box.run(
        "ls /sys/class/net; ip addr show lo | grep -c 'inet 127.0.0.1'; cat /proc/net/dev | wc -l", network=NetMode.NONE
    )
    assert ran.lines[-2:] == ["1", "3"]
    before = _devices()
    hosts = box.run("cat /proc/net/dev", network=NetMode.HOST).stdout
    after = _devices()  # an engine beside this test makes and removes some
    assert before & after <= _devices(hosts) <= before | after


def test_the_working_directory_is_made_with_the_user_as_owner(builtin: Box) -> None:
    ran = builtin.run("pwd; stat -c %u:%g:%a . ..", cwd="/deep/er", user="user", keep=True)
    assert ran.lines == ["/deep/er", "1000:1001:755", "1000:1001:755"]
    layer = builtin.sandbox.commit(ran.outcome)
    assert [(entry.path, entry.uid, entry.gid) for entry in layer.index] == [
        ("deep", 1000, 1001),
        ("deep/er", 1000, 1001),
    ]


def test_a_working_directory_behind_a_link_stays_inside(box: Box) -> None:
    link = box.layer(Entry("out", SYMLINK, 0o777, link="../../../../tmp"))
    assert box.run("pwd -P", cwd="/out", snapshot=(*box.snapshot, link.diff_id)).stdout == "/tmp\n"


@untraced
def test_insecure_has_every_capability(builtin: Box) -> None:
    ran = builtin.run("mount -t tmpfs none /tmp && echo mounted", insecure=True)
    assert ran.stdout == "mounted\n"


@untraced
def test_a_read_only_root_cannot_be_written(box: Box) -> None:
    assert box.run("touch /x", readonly_root=True).code != 0


def test_runs_at_once_do_not_meet(box: Box) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def one(number: int) -> str:
        return box.run(f"echo {number} > /x; sleep 0.1; cat /x").stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(16))) == [f"{number}\n" for number in range(16)]


def test_an_image_whose_proc_is_a_link_is_refused(builtin: Box) -> None:
    bad = builtin.layer(Entry("proc", SYMLINK, 0o777, link="/etc"))
    with pytest.raises(BuildError, match=r"/proc"):
        builtin.run("true", snapshot=(bad.diff_id,))


def test_scratch_is_a_root_file_system_too(box: Box) -> None:
    assert box.run(("/nothing",), snapshot=()).code == 127


def test_a_runtime_that_does_not_exist_is_named(store: Store) -> None:
    with pytest.raises(UsageError, match="podman"):
        Sandbox(store, "podman")


def test_arguments_that_are_not_text_arrive_as_they_are(box: Box) -> None:
    raw = b"\xff\xfe".decode("utf-8", "surrogateescape")
    chunks: list[bytes] = []
    spec = RunSpec(("printf", "%s", raw), box.snapshot)
    outcome = box.sandbox.run(spec, lambda _, data: chunks.append(data), Cancel())
    box.sandbox.discard(outcome)
    assert b"".join(chunks) == b"\xff\xfe"


def test_the_identity_is_what_the_test_run_claims(builtin: Box) -> None:
    """Guards the rootless runs of this file: they would prove nothing as root."""
    ranges = builtin.run("cat /proc/self/uid_map").stdout.split()
    count = {"root": "4294967295", "traced": "4294967295", "single": "1", "range": "65536"}[IDENTITY]
    assert count in ranges, json.dumps(ranges)
    assert file("x")[0].path == "x"
