"""The tasks: what people build, and what has to come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Made = tuple[str, str | None]
"""Owner and mode as `0:0 644`, and the content (None: whatever it is)."""


@dataclass(frozen=True)
class Task:
    """One build in a place, or something about it."""

    name: str
    about: str
    dockerfile: str
    files: Mapping[str, str] = field(default_factory=dict)
    """The context."""
    makes: Mapping[str, Made] = field(default_factory=dict)
    """Path -> what the result has there; anything that is not named here must not be in it."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    ran: Mapping[str, str] = field(default_factory=dict)
    """The expected outcome of `run`, by the names that `inside.run` gives."""
    quick: bool = False
    """Whether CI does it in every place."""
    slow: bool = False
    """Only in the places that stand for a rung."""
    kind: str = "build"
    """`build`; `told` (works, or an error says at once that it cannot); `fail` (has to fail); `cancel`; `run` (a
    process on an image, with `%build run`); `background` (a process that runs on, and is killed); `kernel` (of
    Jupyter, in an image that has this container's packages, `local`); `advice` (about commands that fail, each a file);
    `shared` (external caches, attestations and locks); `doctor` (tells the truth about RUN, and what to change); `home`
    (keeps the store small); `left` (looks for anything that the others have left behind)."""


_COPY = """\
FROM scratch
COPY --chown=3:4 --chmod=640 a.txt /made/
COPY tree /made/tree
"""

_ECHO = """\
FROM places-debian AS work
RUN echo "by $(id -u):$(id -g)" > /made.txt
FROM scratch
COPY --from=work /made.txt /
"""

_USERS = """\
FROM places-debian AS work
RUN groupadd --gid 77 crew && useradd --uid 1234 --create-home --groups crew ann
RUN mkdir /srv/app && touch /srv/app/one && ln -s one /srv/app/two && chown -R ann:crew /srv/app && chmod 2770 /srv/app
COPY --chown=ann:crew --chmod=600 a.txt /srv/app/
RUN stat -c '%u:%g' /srv/app /srv/app/a.txt > /srv/app/seen && chown 7:8 /srv/app/seen
USER ann
RUN touch /srv/app/three && cat /srv/app/a.txt > /dev/null && id -un > /home/ann/who && ! touch /root/no 2> /dev/null
USER root
RUN su ann -c 'id -u; id -Gn' > /srv/app/by-su
FROM scratch
COPY --from=work /srv/app /home/ann/who /
"""

_SHARED = """\
FROM places-debian AS work
RUN echo one > /one
COPY package.json /node_modules/left/
RUN cat /one > /two
FROM scratch
COPY --from=work /two /
COPY --from=work /node_modules /node_modules
"""

_KERNEL = """\
FROM places-debian
COPY --from=local /lib /usr/local/lib
COPY --from=local /share/jupyter /usr/local/share/jupyter
ENV WHERE=image
"""

_SUDO = """\
FROM places-debian AS work
RUN useradd --uid 1234 ann && echo 'ann ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ann && chmod 440 /etc/sudoers.d/ann
USER ann
RUN sudo sh -c 'id -u > /made.txt && chown 5:6 /made.txt' && sudo -u '#1234' id -u > /tmp/again
FROM scratch
COPY --from=work /made.txt /tmp/again /
"""

_MOUNTS = """\
FROM places-debian AS other
RUN mkdir /other && echo other > /other/file
FROM places-debian AS work
RUN --mount=type=cache,target=/cache echo one >> /cache/lines
RUN --mount=type=cache,target=/cache echo two >> /cache/lines && cp /cache/lines /lines
RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /token-size
RUN --mount=type=bind,target=/context --mount=type=bind,from=other,source=/other,target=/other,rw \\
    cat /context/a.txt /other/file > /bound && touch /other/more && ! touch /context/no 2> /dev/null
RUN --mount=type=tmpfs,target=/scratch touch /scratch/file && ls /scratch > /seen
RUN ls -A /scratch /cache /context /other /run/secrets 2> /dev/null | grep -v : | tr -d '\\n' > /left
FROM scratch
COPY --from=work /lines /token-size /bound /seen /left /
"""

_APT = """\
FROM places-debian AS work
RUN apt-get update && apt-get install -y libcap2-bin && apt-get install -y iputils-ping openssh-client cron
RUN getcap /bin/ping | tr -s ' ' > /caps && dpkg --audit > /audit
FROM scratch
COPY --from=work /bin/ping /usr/bin/ssh-agent /usr/bin/crontab /caps /audit /
COPY --from=work /var/spool/cron /cron
"""

_BUILD_ESSENTIAL = """\
FROM places-debian AS work
RUN apt-get update && apt-get install -y build-essential
COPY hello.c /
RUN gcc -O2 -o /hello /hello.c && /hello > /made.txt
FROM scratch
COPY --from=work /made.txt /
"""

_PIP = """\
FROM places-debian AS work
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir numpy pandas
RUN /opt/venv/bin/python -c "import pandas as p; print(p.DataFrame({'a': [1, 2]}).a.sum())" > /made.txt
FROM scratch
COPY --from=work /made.txt /
"""

_COMPILE = """\
FROM places-tools AS go
COPY hello.go /src/
RUN cd /src && CGO_ENABLED=0 go build -o /hello-go hello.go
FROM places-tools AS c
COPY hello.c /src/
RUN gcc -static -O2 -o /hello-c /src/hello.c
FROM places-debian AS work
COPY --from=go /hello-go /usr/local/bin/
COPY --from=c /hello-c /usr/local/bin/
RUN hello-go > /go.txt && hello-c > /c.txt
FROM scratch
COPY --from=work /go.txt /c.txt /
"""

_NPM = """\
FROM places-tools AS work
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund --loglevel=error
RUN node -p 'require("semver").inc("1.2.3", "minor")' > /made.txt && node_modules/.bin/semver 1.0.0 >> /made.txt
FROM scratch
COPY --from=work /made.txt /
"""

_HELLO_C = '#include <stdio.h>\nint main(void) { puts("hello from C"); return 0; }\n'
_HELLO_GO = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello from Go") }\n'

_PACKAGE = '{"name": "app", "version": "1.0.0", "dependencies": {"semver": "7.6.3"}}\n'
_LOCK = """\
{"name": "app", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {
  "": {"name": "app", "version": "1.0.0", "dependencies": {"semver": "7.6.3"}},
  "node_modules/semver": {"version": "7.6.3", "bin": {"semver": "bin/semver.js"}, "engines": {"node": ">=10"}}
}}
"""


def _text(content: str, owner: str = "0:0", mode: str = "644") -> Made:
    return f"{owner} {mode}", content


def _file(owner: str = "0:0", mode: str = "644") -> Made:
    return f"{owner} {mode}", None


TASKS = {
    task.name: task
    for task in (
        Task(
            "copy",
            "COPY only",
            _COPY,
            {"a.txt": "a\n", "tree/b.txt": "b\n"},
            {
                "made": _file("3:4", "640"),
                "made/a.txt": _text("a\n", "3:4", "640"),
                "made/tree": _file(mode="755"),
                "made/tree/b.txt": _text("b\n"),
            },
            quick=True,
        ),
        Task("told", "RUN works, or an error says what to do before anything is pulled", _ECHO, kind="told"),
        Task("echo", "RUN echo", _ECHO, makes={"made.txt": _text("by 0:0\n")}, quick=True),
        Task(
            "users",
            "useradd, chown -R, USER, su",
            _USERS,
            {"a.txt": "a\n"},
            {
                "one": _text("", "1234:77"),
                "two": ("1234:77 777", "-> one"),
                "a.txt": _text("a\n", "1234:77", "600"),
                "seen": _text("1234:77\n1234:77\n", "7:8"),
                "three": _text("", "1234:77"),
                "by-su": _text("1234\nann crew\n", "0:77"),
                "who": _text("ann\n", "1234:1234"),
            },
            quick=True,
        ),
        Task("sudo", "sudo", _SUDO, makes={"made.txt": _text("0\n", "5:6"), "again": _text("1234\n", "1234:1234")}),
        Task(
            "mounts",
            "cache, secret, bind and tmpfs mounts",
            _MOUNTS,
            {"a.txt": "a\n"},
            {
                "lines": _text("one\ntwo\n"),
                "token-size": _text("6\n"),
                "bound": _text("a\nother\n"),
                "seen": _text("file\n"),
                "left": _text(""),
            },
            secrets={"token": "s3cret"},
            quick=True,
        ),
        Task(
            "apt",
            "apt-get install of packages with groups, set-group-ID and capabilities",
            _APT,
            {},
            {
                "ping": _file(mode="755"),
                "ssh-agent": _file("0:102", "2755"),
                "crontab": _file("0:101", "2755"),
                "caps": _text("/bin/ping cap_net_raw=ep\n"),
                "audit": _text(""),
                "cron": _file(mode="755"),
                "cron/crontabs": _file("0:101", "1730"),
            },
        ),
        Task(
            "run",
            "%build run: exit code, input and output, -v, --diff, --commit",
            "FROM places-debian\n",
            {"a.txt": "a\n"},
            ran={
                "exit code": "7",
                "stdout": "a\ntyped\n0:0 buildbox\n",
                "stderr": "err\n",
                "changes": "D etc/issue, A srv/kept, A srv/kept/file",
                "written": "back\n, mine",
                "on what was kept": "1234:5\n1234:5 kept\ngone\nread-only\n",
                "without the program": "127",
                "a terminal": "/dev/pts/N 24 80\n",
                "an init": "3",
            },
            kind="run",
        ),
        Task(
            "shared",
            "an external cache, attestations, and a locked build that gives the same image again",
            _SHARED,
            {"package.json": '{"name": "left", "version": "1.0.0"}'},
            ran={"cached": "2", "packages": "left", "materials": "1", "digests": "1"},
            slow=True,
            kind="shared",
        ),
        Task(
            "background",
            "%build run -d: exec, stop, logs, and nothing left when its host is killed",
            "FROM places-debian\n",
            ran={
                "beside it": "0\n5:6\n/tmp\ntyped\n",
                "exit code": "3",
                "logs": "begun\nbye\n",
                "without the program": "127",
                "left": "",
            },
            kind="background",
        ),
        Task(
            "kernel",
            "a Jupyter kernel in an image: a cell, interrupt, restart, shutdown, and nothing left",
            _KERNEL,
            ran={
                "a cell": "0 image",
                "written": "mine",
                "interrupt": "KeyboardInterrupt",
                "restart": "NameError",
                "processes left": "",
                "directories left": "",
            },
            kind="kernel",
        ),
        Task(
            "advice",
            "the advice on mounts, a full /dev/shm and too many open files",
            "FROM places-debian\n",
            {
                "mount": "mount -t tmpfs none /mnt",
                "unshare": "unshare --mount true",
                "full /dev/shm": "dd if=/dev/zero of=/dev/shm/x bs=1M count=80",
                "shared memory": "python3 -c 'import multiprocessing.shared_memory as shared\n"
                "memory = shared.SharedMemory(create=True, size=80 << 20)\nmemory.buf[:] = bytes(80 << 20)'",
                "open files": "ulimit -n 64 && python3 -c '[open(\"/dev/null\") for _ in range(64)]'",
            },
            ran={
                "mount": "RUN --mount=type=tmpfs",
                "unshare": "RUN --mount=type=tmpfs",
                "full /dev/shm": "--shm-size=1g",
                "shared memory": "--shm-size=1g",
                "open files": "--ulimit nofile",
            },
            kind="advice",
        ),
        Task("doctor", "%build doctor", _ECHO, quick=True, kind="doctor"),
        Task("fail", "a RUN that fails", "FROM places-debian\nRUN echo before && exit 3\n", quick=True, kind="fail"),
        Task(
            "cancel",
            "cancelling within a second",
            "FROM places-debian\nRUN echo started && sleep 4242\n",
            quick=True,
            kind="cancel",
        ),
        Task(
            "build-essential",
            "apt-get install build-essential, and gcc",
            _BUILD_ESSENTIAL,
            {"hello.c": _HELLO_C},
            {"made.txt": _text("hello from C\n")},
            slow=True,
        ),
        Task("pip", "pip install numpy pandas", _PIP, {}, {"made.txt": _text("3\n")}, slow=True),
        Task(
            "compile",
            "Go and C in two stages",
            _COMPILE,
            {"hello.go": _HELLO_GO, "hello.c": _HELLO_C},
            {"go.txt": _text("hello from Go\n"), "c.txt": _text("hello from C\n")},
            slow=True,
        ),
        Task(
            "npm",
            "npm ci",
            _NPM,
            {"package.json": _PACKAGE, "package-lock.json": _LOCK},
            {"made.txt": _text("1.3.0\n1.0.0\n")},
            slow=True,
        ),
        Task(
            "home",
            "%build du, gc, prune, save, load, import, ignore, and automatic collection",
            "FROM places-debian\n",
            ran={
                "du": "Total ",
                "gc --dry-run": "Would free ",
                "gc": "Collected ",
                "after gc": '"1234:5\\nkept\\n"',
                "save": "Saved places-home:latest to kept.tar",
                "prune": "RUN stat -c %u:%g",
                "load": "Loaded places-home:latest the same",
                "after load": '"1234:5\\nkept\\n"',
                "import": "%build load kept.tar",
                "ignore": "Added .git",
                "by itself": "Collected ",
                "fsck": "The store is sound.",
            },
            kind="home",
        ),
        Task("left", "nothing left behind", "", quick=True, kind="left"),
    )
}
