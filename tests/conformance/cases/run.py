"""RUN: what a process finds, what it leaves in the layer, and what it must not."""

from ..case import File, group

case = group("run", {"f": "f\n", "s.sh": File("#!/bin/sh\necho script > /out\n", mode=0o755)})

# What is left
case("write", "FROM busybox\nRUN echo hi > /hi\n")
case("nothing", "FROM busybox\nRUN true\n")
case("nothing_after_something", "FROM busybox\nRUN touch /x\nRUN true\nRUN cat /x\n")
case("delete", "FROM busybox\nRUN rm /etc/nsswitch.conf\n")
case("delete_own", "FROM busybox\nRUN touch /x && rm /x\n")
case("delete_dir", "FROM busybox\nRUN mkdir /d && touch /d/a /d/b\nRUN rm -r /d\n")
case("delete_and_make_file", "FROM busybox\nRUN mkdir /d && touch /d/a\nRUN rm -r /d && touch /d\n")
case("delete_and_make_dir", "FROM busybox\nRUN touch /d\nRUN rm /d && mkdir /d && touch /d/x\n")
case("replace_dir", "FROM busybox\nRUN mkdir /d && touch /d/a /d/b\nRUN rm -r /d && mkdir /d && touch /d/c\n")
case("replace_dir_same_file", "FROM busybox\nRUN mkdir /d && touch /d/a /d/b\nRUN rm -r /d && mkdir /d && touch /d/a\n")
case("replace_dir_empty", "FROM busybox\nRUN mkdir /d && touch /d/a /d/b\nRUN rm -r /d && mkdir /d\n")
case(
    "replace_dir_deep",
    "FROM busybox\nRUN mkdir -p /d/e/f && touch /d/e/f/a /d/x\nRUN rm -r /d/e && mkdir -p /d/e/g && touch /d/e/g/b\n",
)
case("replace_by_link", "FROM busybox\nRUN mkdir /d && touch /d/a\nRUN rm -r /d && ln -s /etc /d\n")
case("delete_many", "FROM busybox\nRUN rm -r /home /usr/sbin /etc/passwd /etc/group /var\n")
case("rename", "FROM busybox\nRUN mv /etc/nsswitch.conf /etc/n\n")
case("rename_dir", "FROM busybox\nRUN mkdir /d && touch /d/a /d/b\nRUN mv /d /e\n")
case("rename_over", "FROM busybox\nRUN mv /etc/group /etc/passwd\n")
case("copy_up_same", "FROM busybox\nRUN cp /etc/passwd /p && cat /p > /etc/passwd\n")
case("append", "FROM busybox\nRUN echo x >> /etc/passwd\n")
case("touch_existing", "FROM busybox\nRUN touch /etc/passwd\n")
case("chmod", "FROM busybox\nRUN chmod 600 /etc/passwd\n")
case("chmod_dir", "FROM busybox\nRUN chmod 700 /etc\n")
case("chmod_and_back", "FROM busybox\nRUN chmod 600 /etc/passwd && chmod 644 /etc/passwd\n")
case("chmod_recursive", "FROM busybox\nRUN mkdir -p /d/e && touch /d/f /d/e/g\nRUN chmod -R a-w /d\n")
case("chown", "FROM busybox\nRUN touch /a && chown 1000:100 /a\nRUN chown daemon /a\n")
case(
    "chown_recursive",
    "FROM busybox\nRUN mkdir -p /d/e && touch /d/f && ln -s f /d/l\nRUN chown -R 5:6 /d && chown -h 7 /d/l\n",
)
case("links", "FROM busybox\nRUN echo a > /a && ln /a /b && ln -s a /c\nRUN ln /a /d\n")
case("link_to_base", "FROM busybox\nRUN ln /etc/passwd /p\n")
case("link_to_base_changed", "FROM busybox\nRUN ln /etc/passwd /p && echo x >> /p\n")
case("links_removed", "FROM busybox\nRUN echo a > /a && ln /a /b && ln /a /c\nRUN rm /a\n")
case("links_one_written", "FROM busybox\nRUN echo a > /a && ln /a /b\nRUN echo b >> /b\n")
case("links_in_dirs", "FROM busybox\nRUN mkdir /x /y && echo a > /y/1 && ln /y/1 /x/2 && ln /y/1 /z\n")
case("symlink_changed", "FROM busybox\nRUN ln -s a /l\nRUN ln -sf b /l\n")
case("special", "FROM busybox\nRUN mkfifo -m 600 /p && mknod /n c 1 3 && mknod -m 640 /b b 7 9\n")
case(
    "device_like_whiteout", "FROM busybox\nRUN mknod /w c 0 0\n", note="A 0:0 device is what overlayfs calls a deletion"
)
case(
    "setuid",
    "FROM busybox\nRUN touch /s /g && chmod 4755 /s && chmod 2755 /g && mkdir -m 1777 /t && mkdir -m 2755 /u\n",
)
case(
    "sparse", "FROM busybox\nRUN truncate -s 300000 /h && dd if=/dev/zero of=/s bs=1 count=1 seek=100000 2>/dev/null\n"
)
case("names_long", "FROM busybox\nRUN n=$(printf '%0150d' 1) && touch /$n && mkdir -p /$n.d/$n && ln -s $n$n /l\n")
case("names_odd", """FROM busybox\nRUN touch '/a b' "$(printf '/new\\nline')" '/ü' /-x '/back\\\\slash'\n""")
case("names_not_utf8", "FROM busybox\nRUN touch \"$(printf '/caf\\351')\" && mkdir \"$(printf '/d\\377')\"\n")
case("names_whiteout", "FROM busybox\nRUN touch /x\nRUN touch /.wh.x\n")
case(
    "times",
    "FROM busybox\nRUN touch -d @5 /old && touch -d @2000000000 /new && touch -h -d @7 /etc && mkdir /d && touch -d @9 /d\n",
    epoch=1_500_000_000,
)
case(
    "times_nanoseconds",
    'FROM debian\nRUN python3 -c \'import os; open("/n","w"); os.utime("/n", ns=(1,1234567890123456789))\'\n',
    epoch=1_500_000_000,
)
case(
    "xattrs",
    'FROM debian\nRUN python3 -c \'import os; open("/x","w"); os.setxattr("/x","user.a",b"b"); os.mkdir("/d"); os.setxattr("/d","user.c",b"\\xff")\'\n',
)
case(
    "capability",
    'FROM debian\nRUN python3 -c \'import os; open("/x","w"); os.setxattr("/x","security.capability",bytes.fromhex("0100000200040000000000000000000000000000"))\'\n',
)
case(
    "capability_changed",
    'FROM debian\nRUN touch /x\nRUN python3 -c \'import os; os.setxattr("/x","security.capability",bytes.fromhex("0100000200040000000000000000000000000000"))\'\n',
)
case("in_tmp", "FROM busybox\nRUN echo x > /tmp/x && mkdir /var/tmp\n")
case("in_dev_proc_sys", "FROM busybox\nRUN echo x > /dev/shm/x; touch /dev/y; true\n")
case("many_files", "FROM busybox\nRUN for i in $(seq 120); do mkdir -p /d/$((i%9)); echo $i > /d/$((i%9))/$i; done\n")
case("etc_hosts_written", "FROM busybox\nRUN echo '1.2.3.4 x' >> /etc/hosts; echo x > /etc/resolv.conf; true\n")
case(
    "etc_hosts_existing",
    "FROM busybox\nCOPY f /etc/hosts\nCOPY f /etc/resolv.conf\nCOPY f /etc/hostname\nRUN echo y > /etc/hostname\n",
)
case("etc_hosts_removed_before", "FROM busybox\nRUN rm -rf /etc; true\nRUN touch /x\n")
case("etc_hosts_is_link", "FROM busybox\nRUN ln -s /else/hosts /etc/h2\nRUN touch /x\n")
case("mount_points_kept", "FROM busybox\nRUN rmdir /proc /sys /dev; true\nRUN touch /x\n")
case("no_mount_points", "FROM scratch\nCOPY --from=busybox /bin /bin\nRUN echo x > /x\n")
case("no_etc", "FROM scratch\nCOPY --from=busybox /bin /bin\nRUN cat /etc/hosts > /dev/null; ls / > /list\n")
case("tree_moved", "FROM busybox\nRUN mkdir -p /a/b/c && touch /a/b/c/d\nRUN mv /a/b /b && rmdir /a\n")

# How it is run
case("exec_form", 'FROM busybox\nRUN ["touch", "/a b", "/$HOME"]\n')
case("exec_form_path", 'FROM busybox\nENV PATH=/x:/bin\nCOPY s.sh /x/mine\nRUN ["mine"]\n')
case("script", "FROM busybox\nCOPY s.sh /\nRUN /s.sh\n")
case("workdir", "FROM busybox\nWORKDIR /w/x\nRUN pwd > p && echo $PWD >> p\n")
case("user", "FROM busybox\nUSER nobody\nRUN id > /tmp/id; echo $HOME >> /tmp/id\n")
case("user_numbers", "FROM busybox\nUSER 1234:5678\nRUN id > /tmp/id; echo $HOME >> /tmp/id\n")
case("user_number_known", "FROM busybox\nUSER 1\nRUN id > /tmp/id; echo $HOME >> /tmp/id\n")
case(
    "user_groups",
    "FROM busybox\nRUN echo me:x:1000:1001::/home/me: >> /etc/passwd && echo me:x:1001: >> /etc/group && echo g1:x:11:me,x >> /etc/group && echo g2:x:12:x,me >> /etc/group\nUSER me\nRUN id -u > /tmp/id; id -g >> /tmp/id; id -G >> /tmp/id; echo $HOME >> /tmp/id\n",
)
case(
    "user_with_group_no_extra",
    "FROM busybox\nRUN echo me:x:1000:1001::/: >> /etc/passwd && echo g1:x:11:me >> /etc/group\nUSER me:users\nRUN id > /tmp/id\n",
)
case("user_unknown", "FROM busybox\nUSER ghost\nRUN true\n")
case("user_unknown_group", "FROM busybox\nUSER root:ghosts\nRUN true\n")
case("user_cannot_write", "FROM busybox\nUSER nobody\nRUN touch /x\n")
case("user_number_without_passwd", "FROM scratch\nCOPY --from=busybox /bin /bin\nUSER 5:6\nRUN true\n")
case(
    "user_number_without_etc",
    "FROM scratch\nCOPY --from=busybox /bin /bin\nUSER 5\nRUN true\n",
    instead="FROM scratch\nCOPY --from=busybox /bin /bin\nUSER 5:0\nRUN true\n",
    note="The engine's BuildKit takes a missing /etc/passwd for an error; later ones, as ours, take group 0",
)
case("env", "FROM busybox\nENV A=1 B='x y'\nRUN env | sort > /e\n")
case("env_no_path", "FROM scratch\nCOPY --from=busybox /bin /bin\nRUN env | sort > /e\n")
case("env_home_given", "FROM busybox\nENV HOME=/mine\nRUN echo $HOME ~ > /h\n")
case("stdin_closed", "FROM busybox\nRUN cat > /x; echo $? >> /x; [ -t 1 ]; echo $? >> /x\n")
case("umask", "FROM busybox\nRUN umask > /u && mkdir /d && touch /f\n")
case("pid", "FROM busybox\nRUN echo $$ > /p; echo /proc/[0-9]* > /c; cat /proc/1/comm > /one\n")
case("hostname", "FROM busybox\nRUN hostname > /h\n")
case("hosts_file", "FROM busybox\nRUN cat /etc/hosts > /h\n")
case("hosts_flag", "FROM busybox\nRUN cat /etc/hosts > /h\n", flags="--add-host a.example=1.2.3.4 --add-host b:::1")
case(
    "capabilities",
    "FROM busybox\nRUN grep Cap /proc/self/status > /c\n",
    note="A RUN shares the machine's network, whose packets it must not read: no CAP_NET_RAW",
)
case(
    "capabilities_user",
    "FROM busybox\nUSER nobody\nRUN grep Cap /proc/self/status > /tmp/c\n",
    note="A RUN shares the machine's network, whose packets it must not read: no CAP_NET_RAW",
)
case("capabilities_without_network", "FROM busybox\nRUN --network=none grep Cap /proc/self/status > /c\n")
case(
    "sockets",
    """FROM debian
RUN python3 - <<EOT > /s
import socket
for family in {*range(50)} - {socket.AF_PACKET, 44}:  # both need CAP_NET_RAW
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
        print(family)
    except OSError as error:
        print(family, error.errno)
EOT
""",
)
case(
    "standard_streams",
    "FROM busybox\nUSER nobody\nRUN for n in 0 1 2; do stat -L -c '%F %u %a' /proc/self/fd/$n; done > /tmp/s\n",
)
case("workdir_is_a_descriptor", "FROM busybox\nWORKDIR /proc/self/fd/7\nRUN true\n")
case("workdir_is_a_file", "FROM busybox\nRUN touch /f && ln -s f /l\nWORKDIR /l\nRUN true\n")
case("mount_on_a_descriptor", "FROM busybox\nRUN --mount=type=tmpfs,target=/proc/self/fd/7 true\n")
case("no_new_privileges", "FROM busybox\nRUN grep NoNewPrivs /proc/self/status > /c\n")
case("seccomp", "FROM busybox\nRUN grep Seccomp: /proc/self/status > /c\n")
case(
    "dev",
    "FROM busybox\nRUN ls -l /dev | awk '{print $1, $3, $4, $5, $6, $NF}' | grep -vE 'total|kcore' | sed 's/[A-Z][a-z][a-z]//' > /l; ls /dev/pts /dev/mqueue /dev/shm >> /l\n",
)
case(
    "mounts",
    "FROM busybox\nRUN awk '{print $2}' /proc/mounts | grep -E '^/(dev$|dev/[pms]|proc|etc|sys$|sys/firmware)' | sort > /m\n",
)
case(
    "mounts_of_devices",
    "FROM busybox\nRUN awk '{print $2, $4}' /proc/mounts | grep -E '^/dev(|/null) ' > /m\n",
    note="No file system that a RUN can write to opens devices: those of /dev are mounted, as BuildKit's rootless are",
)
case(
    "mount_options",
    "FROM busybox\nRUN awk '{print $2, $4}' /proc/mounts | grep -E '^/(proc|dev/shm|dev/mqueue|sys) ' | sort > /m\n",
)
case(
    "proc_masked",
    "FROM busybox\nRUN wc -c < /proc/kcore > /k; ls /proc/acpi /proc/scsi > /a 2>/dev/null; cat /proc/timer_list > /t 2>/dev/null; true\n",
)
case("sys_readonly", "FROM busybox\nRUN (echo x > /proc/sys/kernel/hostname) 2> /e; mkdir /sys/x 2>> /e; true\n")
case("cannot_mount", "FROM busybox\nRUN mount -t tmpfs none /tmp 2> /e; hostname x 2>> /e; true\n")
case("shm_size", "FROM busybox\nRUN df -k /dev/shm | awk 'NR>1 {print $2}' > /s\n", flags="--shm-size 8m")
case("shm_size_default", "FROM busybox\nRUN df -k /dev/shm | awk 'NR>1 {print $2}' > /s\n")
case("ulimit", "FROM busybox\nRUN ulimit -n > /u; ulimit -Hn >> /u\n", flags="--ulimit nofile=100:200")
case("network_none", "FROM busybox\nRUN --network=none ip -o link | awk '{print $2}' > /n\n")
case(
    "network_none_flag",
    "FROM busybox\nRUN ip -o link | awk '{print $2}' > /n; cat /etc/hosts >> /n\n",
    flags="--network none",
)
case("network_bad", "FROM busybox\nRUN --network=foo true\n")
case("network_host_refused", "FROM busybox\nRUN --network=host true\n")
case(
    "security_insecure_refused",
    "FROM busybox\nRUN --security=insecure true\n",
    says=("unknown flag: --security", "security.insecure is not allowed"),
    note="The engine's Dockerfile front end is older than --security",
)
case("background_process", "FROM busybox\nRUN (sleep 300; touch /late) & echo done > /x\n")
case("clock", "FROM busybox\nRUN [ $(date +%s) -gt 1600000000 ] && date -d @0 -u > /d\n")

# Failure
case("fails", "FROM busybox\nRUN true\nRUN echo oops && exit 3\n")
case("fails_lines", "FROM busybox\nRUN true && \\\n  false\nCOPY f /\n")
case("fails_exec", 'FROM busybox\nRUN ["false"]\n')
case(
    "fails_not_found",
    'FROM busybox\nRUN ["nope"]\n',
    says="did not complete successfully: exit code: 1",
    note="The exit code is the shell's for a program that is not there or not executable; runc says 1",
)
case("fails_not_found_shell", "FROM busybox\nRUN nope\n")
case(
    "fails_no_shell",
    "FROM scratch\nRUN true\n",
    says="did not complete successfully: exit code: 1",
    note="The exit code is the shell's for a program that is not there or not executable; runc says 1",
)
case(
    "fails_not_executable",
    'FROM busybox\nRUN ["/etc/passwd"]\n',
    says="did not complete successfully: exit code: 1",
    note="The exit code is the shell's for a program that is not there or not executable; runc says 1",
)
case("fails_signal", "FROM busybox\nRUN kill -9 $$\n")
case("fails_heredoc", "FROM busybox\nRUN <<EOF\nset -e\ntrue\nexit 9\nEOF\n")
case("fails_in_stage", "FROM busybox AS a\nRUN exit 5\nFROM scratch\nCOPY --from=a / /\n")
case(
    "fails_long_command",
    "FROM busybox\nRUN echo one && echo two && echo three && echo four && echo five && echo six && false\n",
)
case("fails_quotes", "FROM busybox\nRUN echo \"a 'b'\" $HOME && sh -c 'exit 7'\n")
case("home_empty", "FROM busybox\nENV HOME=\nRUN echo $HOME > /h\n")
