"""What `docker run` and ours do alike: each case is the words after `run`, a few of them with an image of its own."""

from __future__ import annotations

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


CASES: tuple[Case, ...] = (
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
