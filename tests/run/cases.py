"""What `docker run` and ours do alike: each case is the words after `run`, a few of them with an image of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

IMAGE = "pybuild-run-cases"

DOCKERFILE = r"""
FROM busybox
RUN mkdir -p /etc /data /home/user && echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd \
 && echo 'user:x:1000:1001::/home/user:/bin/sh' >> /etc/passwd \
 && printf 'root:x:0:\nuser:x:1001:\nextra:x:2000:user\n' > /etc/group \
 && echo kept > /data/file && echo 'echo hello' > /noexec && printf 'nonsense' > /broken && chmod +x /broken \
 && chown -R 1000:1001 /home/user
ENV A=image B=image
VOLUME /data /new
WORKDIR /work
"""

DEVICES = """
cdiVersion: 0.7.0
kind: pybuild-tests.example/dev
containerEdits:
  env: [EVERY=device]
devices:
  - name: zero
    containerEdits:
      deviceNodes: [{path: /dev/tests/zero, hostPath: /dev/zero}]
  - name: edits
    containerEdits:
      env: [VISIBLE=edits, PATH_OF_IT=/usr/lib/os-release]
      mounts: [{hostPath: /usr/lib/os-release, containerPath: /given/os-release, options: [ro, nosuid, nodev, bind]}]
      hooks: [{hookName: createContainer, path: /bin/true}]
"""
"""A CDI specification, of what every machine has."""
DEVICE_SEEN = """
ls -R /dev/tests /given 2> /dev/null; test -c /dev/tests/zero && head -c 3 /dev/tests/zero | wc -c
test -s /given/os-release && ! touch /given/os-release 2> /dev/null && echo given
echo $EVERY $VISIBLE $PATH_OF_IT; id -G"""


@dataclass(frozen=True)
class Case:
    """Words after `run`; `stdin` is what the process reads; only what `streams` names is compared."""

    name: str
    words: tuple[str, ...]
    stdin: bytes | None = None
    stderr: bool = True


def _sh(name: str, script: str, *flags: str, stdin: bytes | None = None, stderr: bool = True) -> Case:
    return Case(name, (*flags, IMAGE, "sh", "-c", script), stdin, stderr)


def _bare(name: str, *words: str) -> Case:
    """Of one that is not started, the words of the engine's error are its own."""
    return Case(name, words, None, stderr=False)


PLACE, VOLUME = "PLACE", "VOLUME"
"""In words: a directory that the engine and this machine have alike, and the beginning of the names of volumes."""
FILES = {"sub/x": b"x\n", "file": b"content\n", "a b/y": b"y\n", "c,d/z": b"z\n"}
"""What is in it, and below `env`, what env-files are read."""
ENV_FILES = {
    "plain": b"X=1\nY=2 3\n",
    "comments": b"# c\n  # d\nX=1 # no\n\n   \nZ=#x\n",
    "quotes": b"X=\"q\"\nY='q'\n",
    "export": b"export X=1\n",
    "bom": b"\xef\xbb\xbfX=1\n",
    "crlf": b"X=1\r\nY=2\r\n",
    "indented": b"   X=1\n\tY=2\n",
    "trailing": b"X=1  \n",
    "bare": b"TESTED\nNOT_THERE\nA\n",
    "no_name": b"=1\n",
    "space": b"A B=1\n",
    "latin": b"X=\xff\n",
    "null": b"X=a\0b\n",
    "no_end": b"X=1",
    "twice": b"X=1\nX=2\n",
    "separators": "X=a\u2028b\x0cc\x0bd\x1ce\n".encode(),
}
_ENV = "env | grep -v ^HOSTNAME | sort | od -c"
_LOOK = "ls /m; touch /m/.made; echo $?; rm -f /m/.made; stat -c '%u %g %a' /m"
"""What is made is hidden, for docker runs several cases in one directory at once."""
_TMPFS = "grep ' /m ' /proc/mounts | tr ', ' '\\n' | grep -E '^(r[ow]|no|rel)'; stat -c '%u %g %a' /m"
_TMPFS += "; df -k /m | awk '{print $2}'"
_DNS = "grep -v '^#' /etc/resolv.conf | grep ."
_GROUPS = "id -G | tr ' ' '\\n' | sort -nu"
_CAP = "grep Cap /proc/self/status"


def _all(kind: str, script: str, flag: str, *values: str, more: tuple[str, ...] = ()) -> Iterator[Case]:
    """A case for each value of a flag; of a value that is refused, only the exit code is compared."""
    for value in values:
        yield _sh(f"{kind}_{value}", script, flag, value, *more)


FORMS: tuple[Case, ...] = (
    *_all("env", _ENV, "-e", "TESTED", "TESTED_EMPTY", "A", "A B=1", "X= a  b ", "X=a\nb", "", "=x", "PATH", "HOME="),
    *(_sh(f"env_file_{name}", _ENV, "--env-file", f"{PLACE}/env/{name}") for name in ENV_FILES),
    _sh("env_file_then_flag", _ENV, "--env-file", f"{PLACE}/env/plain", "-e", "X=e"),
    _sh("env_files", _ENV, "--env-file", f"{PLACE}/env/plain", "--env-file", f"{PLACE}/env/twice"),
    _sh("env_file_directory", _ENV, "--env-file", PLACE),
    *_all("user", "id; echo $HOME", "-u", *("", "user:", "1000:", ":user", ":2000", "4321:extra", "user:2000", "-1")),
    *_all("user", "id", "-u", "2147483648", "1000:-1", "a:b:c", "01000", "user:nosuch"),
    *_all("workdir", "pwd; ls", "-w", "", "etc", "/etc/../data", "/data/", "/.", "/etc/passwd", "/proc", "/dev/shm"),
    _sh("workdir_in_tmpfs", "pwd; stat -c '%u %a' .", "-w", "/t/sub", "--tmpfs", "/t"),
    _sh("workdir_read_only", "pwd", "-w", "/zz/y", "--read-only"),
    *_all(
        "volume",
        _LOOK,
        "-v",
        *(f"{PLACE}/sub:/m{options}" for options in ("", ":ro", ":rw", ":z", ":Z", ":ro,z", ":rprivate", ":private")),
        *(f"{PLACE}/sub:/m:{options}" for options in ("cached", "delegated", "consistent", "bad", "ro,rw", "ro,ro")),
        *(f"{PLACE}/sub:/m:{options}" for options in ("z,Z", "rslave,rprivate", "nocopy", "RO", "ro,", "exec")),
        *(f"{PLACE}/{path}:/m:ro" for path in ("a b", "c,d", "sub/../sub", "new")),
        *(f"{PLACE}/sub:{path}:ro" for path in ("/x/../m", "/m/", "m", "/", "/..")),
        *("/m", "/m:ro", "", f"{VOLUME}-1:/m", f"{VOLUME}-2:/m:ro", "a/b:/m", "_a:/m", f"{VOLUME}-3:/m:rshared"),
        "/a:/b:ro:x",
    ),
    _sh("volume_file", "cat /m; echo w > /m", "-v", f"{PLACE}/file:/m:ro"),
    _sh("volume_file_below", "cat /q/w/e", "-v", f"{PLACE}/file:/q/w/e:ro"),
    _bare("volume_file_on_directory", "-v", f"{PLACE}/file:/data", IMAGE, "true"),
    _bare("volume_directory_on_file", "-v", f"{PLACE}/sub:/etc/passwd", IMAGE, "true"),
    _sh("volume_in_volume", "ls -d /m/file /m/sub/*", "-v", f"{PLACE}:/m:ro", "-v", f"{PLACE}/sub:/m/sub"),
    _sh("volumes_at_one_path", "ls /m", "-v", f"{PLACE}:/m", "-v", f"{PLACE}/sub:/m"),
    _sh("volume_of_no_source", "ls /data; touch /data/x; echo $?", "-v", "/data"),
    _sh("volume_of_no_source_at_etc", "ls /etc | grep -v mtab; touch /etc/x; echo $?", "-v", "/etc"),
    _sh("volume_in_one_of_no_source", "ls /etc /etc/m | grep -v mtab", "-v", "/etc", "-v", f"{PLACE}/sub:/etc/m"),
    _sh("volume_filled", "ls /data; cat /data/file", "-v", f"{VOLUME}-4:/data"),
    _sh("volume_not_filled", "ls /data", "-v", f"{VOLUME}-5:/data:nocopy"),
    _sh(
        "volume_owner",
        "stat -c '%u %g %a' /home/user; touch ~/x; echo $?",
        "-v",
        f"{VOLUME}-6:/home/user",
        "-u",
        "user",
    ),
    *_all(
        "mount",
        _LOOK,
        "--mount",
        *(f"type=bind,src={PLACE}/sub,dst=/m{rest}" for rest in ("", ",ro", ",readonly", ",bind-propagation=rprivate")),
        *(f"type=bind,source={PLACE}/sub,target=/m,bind-propagation={word}" for word in ("bad", "")),
        *(f"type=bind,source={PLACE}/sub,target=/m,bind-recursive={word}" for word in ("enabled", "bad", "readonly")),
        f"type=bind,source={PLACE}/sub,target=/m,readonly,bind-propagation=rprivate,bind-recursive=readonly",
        *(f"type=bind,source={PLACE}/sub,destination=/m,{word}" for word in ("consistency=cached", "volume-nocopy")),
        *(f"type=bind,source={PLACE}/sub,destination=/m,{word}" for word in ("tmpfs-size=1m", "volume-driver=local")),
        f"TYPE=BIND,SRC={PLACE}/sub,DST=/m,RO",
        f'type=bind,"src={PLACE}/c,d",dst=/m,ro',
        *(f"type=bind,src={path},dst=/m" for path in (f"{PLACE}/nosuch", "relative", "")),
        *("type=bind,dst=/m", f"type=bind,src={PLACE}", f"src={PLACE},dst=/m", "type=npipe,src=a,dst=/m", ""),
        *("type=volume,dst=/m", "dst=/m", "type=volume,source=,dst=/m,readonly", "type=volume,src=/abs,dst=/m"),
        *("type=tmpfs,dst=/m,src=/x", "type=tmpfs", "type=bind, src=/x,dst=/m", "type=,dst=/m", "type=tmpfs,dst=/"),
        f"type=volume,src={VOLUME}-7,dst=/m,volume-driver=local",
    ),
    *(
        _sh(f"mount_volume_{word}", "ls /data", "--mount", f"type=volume,src={VOLUME}-{8 + number},dst=/data,{word}")
        for number, word in enumerate(("volume-nocopy", "volume-nocopy=false", "volume-nocopy=x", "readonly=1"))
    ),
    *_all(
        "mount_tmpfs",
        _TMPFS,
        "--mount",
        *(f"type=tmpfs,dst=/m,tmpfs-size={size}" for size in ("1m", "1048576", "0", "x", "-1", "1.5m", "50%")),
        *(f"type=tmpfs,dst=/m,tmpfs-mode={mode}" for mode in ("700", "0700", "1770", "8", "x", "", "7777", "0o700")),
        *("type=tmpfs,dst=/m,readonly", "type=tmpfs,dst=/m,exec", "type=tmpfs,dst=/m,tmpfs-size=4k,tmpfs-mode=755"),
    ),
    *_all(
        "tmpfs",
        _TMPFS,
        "--tmpfs",
        "m",
        "",
        "/",
        *(f"/m:{word}" for word in ("rw", "ro", "exec", "suid", "nosuid", "nodev", "size=1m", "size=64k", "size=1024")),
        *(f"/m:{word}" for word in ("size=50%", "size=x", "size=-1", "size=1m,size=2m", "mode=700", "mode=1777")),
        *(f"/m:{word}" for word in ("mode=x", "uid=1000,gid=1001,mode=750", "uid=user", "nr_inodes=10k", "bad")),
        *(f"/m:{word}" for word in ("nr_blocks=100", "noatime", "relatime", "nodiratime", "strictatime", "defaults")),
    ),
    _sh("tmpfs_twice", "df -k /m | awk '{print $2}'", "--tmpfs", "/m:size=1m", "--tmpfs", "/m:size=2m"),
    _sh("tmpfs_on_a_directory", "stat -c '%u %g %a' /data", "--tmpfs", "/data"),
    _sh("tmpfs_on_a_home", "stat -c '%u %g %a' /home/user", "--tmpfs", "/home/user"),
    _sh("mount_tmpfs_on_a_directory", "stat -c '%u %g %a' /data", "--mount", "type=tmpfs,dst=/data"),
    _sh("tmpfs_below", "stat -c '%u %a' /p /p/q; touch /p/q/x; echo $?", "--tmpfs", "/p/q", "-u", "user"),
    _sh("tmpfs_of_dev", "df -k /dev/shm | awk '{print $2}'", "--tmpfs", "/dev/shm:size=1m"),
    *_all(
        "shm",
        "df -k /dev/shm | awk '{print $2}'",
        "--shm-size",
        *("1M", "64k", "4096", "1.5m", "0", "-1", "", "x", "1mb", "8MiB", "1 m", "1b", "1kk", "0.5k"),
    ),
    *_all("ulimit", "ulimit -n; ulimit -Hn", "--ulimit", "nofile=-1", "nofile", "nofile=1:2:3", "nofile=unlimited"),
    *_all("ulimit", "ulimit -n; ulimit -Hn", "--ulimit", "NOFILE=1", "nofile= 100", "nofile=1e3", "as=1", "nofile="),
    _sh("ulimits", "ulimit -n; ulimit -Hn", "--ulimit", "nofile=100:200", "--ulimit", "nofile=300:400"),
    *(
        _sh(f"ulimit_{value}", f"ulimit -{letter}; ulimit -H{letter}", "--ulimit", value)
        for letter, value in zip(
            "ctdflserix",
            (
                *("core=-1:-1", "cpu=10", "data=1000000000", "fsize=100000", "memlock=65536", "stack=8388608:16777216"),
                *("nice=5", "rtprio=3", "sigpending=100", "locks=10"),
            ),
            strict=True,
        )
    ),
    *_all(
        "add_host",
        "grep -v $HOSTNAME /etc/hosts",
        "--add-host",
        *("ex:1.2.3.4", "ex=1.2.3.4", "ex:::1", "ex=::1", "ex=[::1]", "ex:[::1]", "ex", "ex:", "ex=", ":1.2.3.4", ""),
        *("ex:1.2.3", "ex:256.1.1.1", "ex:01.2.3.4", "ex two:1.2.3.4", "ex:localhost", "ex=1.2.3.4=5", "ex:fe80::1%lo"),
        *("ex:host-gateway1", "ex:HOST-GATEWAY"),
    ),
    _sh("add_hosts", "grep -v $HOSTNAME /etc/hosts", "--add-host", "ex:1.2.3.4", "--add-host", "ex:1.2.3.5"),
    _sh("add_host_gateway", "grep -c ex /etc/hosts", "--add-host", "ex:host-gateway"),
    _sh("hosts_written", "for f in hosts resolv.conf hostname; do echo x >> /etc/$f && tail -1 /etc/$f; done"),
    _sh("hosts_read_only", "for f in hosts resolv.conf hostname; do echo x >> /etc/$f; done", "--read-only"),
    _sh("hosts_of_a_user", "cd /etc; stat -c '%u %g %a' hosts resolv.conf hostname; echo x >> hosts", "-u", "user"),
    _sh("hosts_without_network", "cat /etc/hosts", "--network", "none", "-h", "box", "--add-host", "ex:1.2.3.4"),
    *_all("dns", _DNS, "--dns", "1.1.1.1", " 1.1.1.1", "2001:db8::1", "x", "", "01.1.1.1", "fe80::1%eth0"),
    _sh("dns_servers", _DNS, *(word for number in "12341" for word in ("--dns", f"1.1.1.{number}"))),
    _sh("dns_of_one_on_the_machine", _DNS, "--dns", "1.1.1.1", "--network", "host"),
    _sh("dns_of_one_without_network", _DNS, "--dns", "1.1.1.1", "--dns-search", "ex.com", "--network", "none"),
    *_all(
        "dns_search",
        f"{_DNS} | grep -v nameserver",
        "--dns-search",
        *("ex.com", "ex.com.", ".", " .", "a", "a-b.c", "-a.b", "a b", "", "1.2", "ex_.com", "ex.com .", "münchen.de"),
    ),
    _sh("dns_searches", f"{_DNS} | grep search", "--dns-search", "a.b", "--dns-search", "c", "--dns-search", "a.b"),
    _sh("dns_search_none_and_one", f"{_DNS} | grep search", "--dns-search", ".", "--dns-search", "a.b"),
    *_all("dns_option", f"{_DNS} | grep -v nameserver", "--dns-option", "ndots:2", "", "a b", "bad:1"),
    _sh("dns_options", _DNS, "--dns", "1.1.1.1", "--dns-option", "ndots:2", "--dns-opt", "rotate"),
    *_all("group_add", _GROUPS, "--group-add", *("extra", "2000", "0", "root", "4321", "nosuch", "-1", "2147483648")),
    *_all("group_add", _GROUPS, "--group-add", "02000", " extra", "extra:x", more=("-u", "user:7")),
    _sh("groups_added", _GROUPS, "--group-add", "extra", "--group-add", "7", "--group-add", "extra", "-u", "user"),
    *_all("attach", "echo out; echo err >&2; exit 3", "-a", *("stdout", "STDERR", "Stdin", "bad", "")),
    _sh("attach_both", "echo out; echo err >&2", "-a", "stdout", "--attach", "stderr"),
    _sh("attach_with_input", "cat; echo err >&2", "-i", "-a", "stdout", stdin=b"line\n"),
    _sh("attach_terminal", "echo out; echo err >&2", "-t", "-a", "stdout"),
    *_all("label", "true", "-l", "a=b", "a", "a=b=c", "a b=c", "", "=x", "a ="),
    _sh("label_file", "true", "--label-file", f"{PLACE}/env/comments"),
    _sh("label_file_no_name", "true", "--label-file", f"{PLACE}/env/no_name"),
    _sh("label_file_missing", "true", "--label-file", f"{PLACE}/nosuch"),
    *_all("cpu_quota", "true", "--cpu-quota", *("50000", "0", "-1", "1000", "999", "5", "x", "1.5", "+50000")),
    *_all("cpu_period", "true", "--cpu-period", *("50000", "0", "1000", "5", "-1", "x", "1000001")),
    *_all("cpu_shares", "true", "-c", *("512", "2", "0", "1", "-1", "x", "262144", "300000")),
    *_all("cpuset_cpus", "grep Cpus_allowed_list /proc/self/status", "--cpuset-cpus", *("0", "", "99", "x", "0-")),
    *_all("cpuset_mems", "true", "--cpuset-mems", "0", "", "99", "x"),
    _sh("cpus_and_quota", "true", "--cpus", "1", "--cpu-quota", "50000"),
    _sh("cpu_quota_and_period", "true", "--cpu-quota", "25000", "--cpu-period", "50000"),
    *_all("memory_swap", "true", "--memory-swap", *("40m", "32m", "10m", "-1", "0", "x", "-2"), more=("-m", "32m")),
    *_all("memory_swap_alone", "true", "--memory-swap", "40m", "-1", "0"),
    _sh(
        "swap_too_little",
        "dd if=/dev/zero of=/dev/null bs=100M count=1 2> /dev/null; echo $?",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
    ),
    *_all("restart", "true", "--restart", "no", ""),
    *_all("held_anyway", "true", *("--ipc", "private", "shareable", "")),
    _sh(
        "held_anyway",
        "true",
        "--log-driver",
        "json-file",
        "--security-opt",
        "label=disable",
        "--sig-proxy=true",
        "--no-healthcheck",
        "-q",
        "--oom-kill-disable=false",
        "--userns",
        "",
        "--volume-driver",
        "local",
    ),
    *_all(
        "hostname",
        "hostname; hostname -f; cat /etc/hostname; echo $HOSTNAME; grep $HOSTNAME /etc/hosts | cut -f 2-",
        "-h",
        *("box", "box.example.com", "UPPER", "a_b", "-x", "x" * 64, "x" * 65, "b/x"),
    ),
    _sh("hostname_and_variable", "echo $HOSTNAME; hostname", "-e", "HOSTNAME=x", "-h", "y"),
    *_all("network", "ls /sys/class/net | wc -l", "--network", "none", "name=none", "NONE", "nosuch", "container:x"),
    _sh("net", "ls /sys/class/net", "--net", "none"),
    *_all("cap_add", _CAP, "--cap-add", "all", "CAP_ALL", "sys_ptrace", "BAD", "", more=("--network", "none")),
    *_all("cap_drop", _CAP, "--cap-drop", "chown", "cap_chown", "all", "BAD", "SYS_PTRACE", more=("--network", "none")),
    _sh("cap_all_but", _CAP, "--cap-add", "ALL", "--cap-drop", "CHOWN"),
    _sh("cap_all_and_none", _CAP, "--cap-add", "ALL", "--cap-drop", "ALL"),
    _sh("cap_dropped_and_added", _CAP, "--cap-drop", "CHOWN", "--cap-add", "CHOWN", "--network", "none"),
    _sh("cap_added_for_a_user", _CAP, "-u", "user", "--cap-add", "SYS_PTRACE", "--network", "none"),
    _sh("privileged_but", _CAP, "--privileged", "--cap-drop", "CHOWN"),
    _sh("read_only_new_mount_point", "ls -d /m/n/o", "--read-only", "--tmpfs", "/m/n/o"),
    _sh("read_only_false", "touch /x && echo ok", "--read-only=false"),
    *_all(
        "stop_signal",
        "true",
        "--stop-signal",
        *("term", "15", "64", "0", "BAD", "", "RTMIN+3", "SIGRTMIN+15", "RTMIN+16", "RTMAX", "RTMAX-1", "RTMAX-15"),
    ),
    *_all("stop_timeout", "true", "--stop-timeout", "0", "-1", "x", "", "-5", "010"),
    *_all("pids_limit", "true", "--pids-limit", "0", "-1", "-5", "1.5", "x"),
    *_all("cpus", "true", "--cpus", "0", "0.01", "x", ".5", "1e-1"),
    *_all("pull", "true", "--pull", "never", "missing", "x", ""),
    _bare("pull_never_of_nothing", "--pull=never", "nosuch9", "true"),
    *_all("platform", "true", "--platform", "linux/amd64", "LINUX/AMD64", "linux", "", "x/y/z/w"),
    Case("entrypoint_words", ("--entrypoint", "echo a", IMAGE, "b"), None, stderr=False),
    Case("entrypoint_none_at_all", ("--entrypoint", "", IMAGE, "echo", "x")),
    Case("entrypoint_relative", ("-w", "/", "--entrypoint", "bin/busybox", IMAGE, "echo", "x")),
    Case("entrypoint_last", ("--entrypoint", "echo", "--entrypoint", "printf", IMAGE, "x")),
    Case("dashes", ("--", IMAGE, "echo", "x")),
    _bare("command_empty", IMAGE, ""),
    _sh("init_signal", "trap 'echo t; exit 4' TERM; kill -TERM 1; sleep 1", "--init"),
    _sh("init_kill_first", "kill -9 1; echo a", "--init"),
    _sh("init_ignored", "trap '' TERM; kill -TERM 1; sleep 0.2; echo still", "--init"),
    _sh("init_segv", "kill -SEGV $$", "--init", stderr=False),
    _sh("init_left_behind", "setsid sh -c 'sleep 0.3; echo late' & exit 0", "--init"),
    _sh("init_false", "echo $$", "--init=false"),
    _sh("left_behind", "(sleep 0.5; echo late) & exit 0"),
    _sh("tty_written", "echo x > /dev/tty", "-t"),
    _sh("no_tty_written", "echo x > /dev/tty; echo $?"),
    _sh("tty_owner", "stat -c '%U %a' $(tty)", "-t"),
    _sh("tty_exit", "printf 'a\\nb'; exit 7", "-t"),
    _sh("stdin_line", "read a; echo $a", "-i", stdin=b"line\nrest\n"),
)

CASES: tuple[Case, ...] = (
    *FORMS,
    _sh("exit_0", "true"),
    _sh("exit_1", "exit 1"),
    _sh("exit_42", "exit 42"),
    _sh("exit_125", "exit 125"),
    _sh("exit_255", "exit 255"),
    _bare("not_found", IMAGE, "nosuch"),
    _bare("not_found_path", IMAGE, "/bin/nosuch"),
    _bare("directory", IMAGE, "/etc"),
    _bare("not_executable", IMAGE, "/noexec"),
    _bare("exec_format", IMAGE, "/broken"),
    _sh("signal_kill_init", "sleep 1 & kill -9 $!; wait $!; echo $?", "--init", stderr=False),
    _sh("signal_child", "sh -c 'kill -15 $$'; echo $?", stderr=False),
    _sh("signal_segv", "sh -c 'kill -11 $$'; echo $?", stderr=False),
    _sh("signal_self_init", "kill -15 $$", "--init"),
    _sh("signal_kill_self_init", "kill -9 $$", "--init"),
    _sh("signal_usr1_init", "kill -USR1 $$", "--init"),
    _sh("signal_ignored_by_first", "kill -15 $$; echo still"),
    _sh("pid_first", "echo $$"),
    _sh("pid_init", "test $$ != 1 && echo not first", "--init"),
    _sh("init_reaps", "(sleep 0.1 &); sleep 0.5; cat /proc/[0-9]*/stat | grep -c ') Z '; true", "--init"),
    _sh("zombie_of_first", "sh -c 'sleep 0.1 & exec true'; sleep 0.4; echo done"),
    _sh("streams", "echo out; echo err >&2"),
    _sh("stdin_empty", "cat; echo end"),
    _sh("stdin_given", "cat; echo end", "-i", stdin=b"one\ntwo\n"),
    _sh("stdin_large", "wc -c", "-i", stdin=b"x" * 300_000),
    _sh("stdin_unread", "echo early", "-i", stdin=b"x" * 300_000),
    _sh("tty_name", "tty", "-t"),
    _sh("tty_newlines", "echo a; echo b", "-t"),
    _sh("tty_stderr_too", "echo err >&2", "-t"),
    _sh("tty_term", "echo $TERM", "-t"),
    _sh("no_tty", "tty; echo ${TERM-unset}"),
    _sh("tty_console", "test -c /dev/console && echo there", "-t"),
    _sh("env_of_image", "echo $A $B"),
    _sh("env_set", "echo $A $B", "-e", "A=flag"),
    _sh("env_last", "echo $A", "-e", "A=1", "-e", "A=2"),
    _sh("env_empty", "echo [${A-unset}]", "-e", "A="),
    _sh("env_equals", "echo $A", "-e", "A=x=y"),
    _sh("env_unset", "echo [${A-unset}]", "-e", "A"),
    _sh("env_path", "echo $PATH"),
    _sh("env_path_set", "/bin/busybox env | /bin/busybox grep ^PATH", "-e", "PATH=/bin"),
    _sh("env_home", "echo $HOME"),
    _sh("env_home_user", "echo $HOME", "-u", "user"),
    _sh("env_home_set", "echo $HOME", "-e", "HOME=/x"),
    _sh("env_hostname", 'test "$HOSTNAME" = "$(hostname)" && echo same'),
    _sh("hostname", "hostname; echo $HOSTNAME", "--hostname", "box"),
    _sh("user_root", "id"),
    _sh("user_name", "id", "-u", "user"),
    _sh("user_number", "id", "-u", "1000"),
    _sh("user_unknown_number", "id", "-u", "4321"),
    _sh("user_group", "id", "-u", "user:extra"),
    _sh("user_numbers", "id", "-u", "7:8"),
    _sh("user_name_number", "id", "-u", "user:8"),
    _sh("user_number_name", "id", "-u", "1000:extra"),
    _sh("user_home_written", "touch ~/x && echo done", "-u", "user"),
    _sh("user_root_refused", "touch /x", "-u", "user"),
    _sh("user_tty", "test -w $(tty) && echo mine", "-t", "-u", "user"),
    _sh("workdir_of_image", "pwd"),
    _sh("workdir_set", "pwd", "-w", "/etc"),
    _sh("workdir_made", "stat -c '%u %g %a' .", "-w", "/a/b", "-u", "user"),
    _sh("read_only", "touch /x", "--read-only"),
    _sh("read_only_tmpfs", "touch /t/x && echo done", "--read-only", "--tmpfs", "/t"),
    _sh("read_only_volume", "touch /data/x && echo done", "--read-only"),
    _sh("read_only_dev", "echo > /dev/null && echo done", "--read-only"),
    _sh("volume_of_image", "cat /data/file; touch /data/more; ls /data"),
    _sh("volume_new", "ls -a /new; touch /new/x && echo done"),
    _sh("tmpfs_mode", "stat -c %a /t", "--tmpfs", "/t"),
    _sh("tmpfs_mode_set", "stat -c %a /t", "--tmpfs", "/t:mode=700"),
    _sh("tmpfs_noexec", "cp /bin/busybox /t/echo; /t/echo a; echo $?", "--tmpfs", "/t", stderr=False),
    _sh("tmpfs_exec", "cp /bin/busybox /t/echo; /t/echo a", "--tmpfs", "/t:exec"),
    _sh("tmpfs_size", "df -k /t | tail -1 | awk '{print $2}'", "--tmpfs", "/t:size=1m"),
    _sh("mount_tmpfs", "touch /t/x && echo done", "--mount", "type=tmpfs,target=/t,tmpfs-size=1048576"),
    *(
        _sh(f"mount_{word}", "touch /t/x; echo $?", "--mount", f"type=tmpfs,target=/t,{word}", stderr=False)
        for word in ("readonly", "ro", "ro=t", "readonly=TRUE", "ro=F", "readonly=0", "RO=1", "ro,ro=false")
    ),
    *(
        _bare(f"mount_{word}", "--mount", f"type=tmpfs,target=/t,{word}", IMAGE, "true")
        for word in ("readonly=yes", "readonly=", "ro=tRUE", "bogus", " ro")
    ),
    _sh("shm_size", "df -k /dev/shm | tail -1 | awk '{print $2}'", "--shm-size", "8m"),
    _sh("shm_default", "df -k /dev/shm | tail -1 | awk '{print $2}'"),
    _sh("ulimit", "ulimit -n; ulimit -Hn", "--ulimit", "nofile=100:200"),
    _sh("umask", "umask"),
    _sh("add_host", "grep example /etc/hosts | awk '{print $1, $2}'", "--add-host", "example:10.1.2.3"),
    _sh("no_network", "ls /sys/class/net", "--network", "none"),
    _sh("entrypoint_image_keeps", "echo $0 $@"),
    Case("entrypoint", ("--entrypoint", "echo", IMAGE, "a", "b")),
    Case("entrypoint_alone", ("--entrypoint", "pwd", IMAGE)),
    Case("entrypoint_none", ("--entrypoint", "", IMAGE, "echo", "a")),
    _sh("cap_default", "grep CapEff /proc/self/status", "--network", "none"),
    _sh("cap_drop_all", "grep CapEff /proc/self/status", "--cap-drop", "ALL"),
    _sh("cap_drop_add", "grep CapEff /proc/self/status", "--cap-drop", "ALL", "--cap-add", "CHOWN"),
    _sh("cap_add", "grep CapEff /proc/self/status", "--cap-add", "SYS_PTRACE", "--network", "none"),
    _sh("cap_drop", "chown 1 /etc/passwd; echo $?", "--cap-drop", "CHOWN", stderr=False),
    _sh("cap_user", "grep CapEff /proc/self/status", "-u", "user"),
    _sh("dev", "ls /dev | sort | tr '\\n' ' '"),
    _sh("proc_sys_readonly", "echo 1 > /proc/sys/kernel/panic", stderr=False),
    _sh("memory", "dd if=/dev/zero of=/dev/null bs=100M count=1 2> /dev/null; echo $?", "--memory", "32m"),
    _sh("memory_enough", "dd if=/dev/zero of=/dev/null bs=10M count=1 2> /dev/null; echo $?", "-m", "64m"),
    _sh("pids", "(for i in $(seq 20); do sleep 0.5 & done; echo all) 2> /dev/null; echo $?", "--pids-limit", "8"),
    _sh("cpus", "echo done", "--cpus", "0.5"),
    _bare("memory_unknown", "--memory", "x", IMAGE, "true"),
    _bare("cpus_unknown", "--cpus", "many", IMAGE, "true"),
    _sh("device_path", "head -c 3 /dev/ours | wc -c; stat -c %t:%T /dev/ours", "--device", "/dev/zero:/dev/ours"),
    _sh("device", DEVICE_SEEN, "--device", "pybuild-tests.example/dev=zero"),
    _sh("device_edits", DEVICE_SEEN, "--device", "pybuild-tests.example/dev=edits"),
    _sh(
        "devices",
        DEVICE_SEEN,
        *("--device", "pybuild-tests.example/dev=zero", "--device", "pybuild-tests.example/dev=edits"),
    ),
    _sh("device_env", DEVICE_SEEN, "-e", "VISIBLE=flag", "--device", "pybuild-tests.example/dev=edits"),
    _sh("device_user", DEVICE_SEEN, "-u", "user", "--device", "pybuild-tests.example/dev=edits"),
    _bare("device_missing", "--device", "pybuild-tests.example/dev=none", IMAGE, "true"),
    _bare("unknown_user", "-u", "nobody9", IMAGE, "true"),
    _bare("unknown_group", "-u", "user:nogroup9", IMAGE, "true"),
    _bare("relative_workdir", "-w", "x", IMAGE, "true"),
    _bare("unknown_flag", "--nosuch", IMAGE, "true"),
    _bare("mount_missing", "--mount", "type=bind,source=/nosuch9,target=/x", IMAGE, "true"),
)
