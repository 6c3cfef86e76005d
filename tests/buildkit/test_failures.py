"""Everything that can go wrong with a daemon ends in one clear error, and nothing of ours runs afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic.api.run import open_session
from pybuild_magic.builders import embedded_builder
from pybuild_magic.builders.buildkit.convert import disk_usage
from pybuild_magic.builders.buildkit.session.tokens import Registries
from pybuild_magic.builders.failures import place_of
from pybuild_magic.builders.proto.control_pb2 import UsageRecord
from pybuild_magic.builders.proto.session_pb2 import FetchTokenRequest
from pybuild_magic.builders.settings import BuilderSettings, configure, settings
from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import BuildError, ExportError, Interrupted, RunError, UnsupportedError
from pybuild_magic.exporters.directory import DirectoryWriter
from pybuild_magic.images.load import load_image
from pybuild_magic.net.grpc.rpc import UNAUTHENTICATED, GrpcError
from pybuild_magic.net.grpc.stream import Call
from pybuild_magic.notebook import store_commands
from pybuild_magic.request.parse import parse_options
from pybuild_magic.store.usage import DiskUsage
from tests.descriptors import garbage_kept, opened
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine

from . import certificates
from .lab import Lab, Proxy, children, container_builder, left_behind, stand_in, tls_proxy, unix_proxy

SLOW = "FROM busybox\nRUN echo started; sleep 60\n"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = children()
    yield
    assert left_behind() == []
    until = time.monotonic() + 5
    while children() - before and time.monotonic() < until:
        time.sleep(0.02)
    assert children() - before == set()


@pytest.fixture
def quick() -> Iterator[None]:
    """Timeouts that a test can wait for."""
    old = settings()
    configure(connect_timeout=1.5, silence_timeout=8.0)
    yield
    configure(**{name: getattr(old, name) for name in BuilderSettings.__struct_fields__})


@pytest.fixture
def proxy(engine: Engine, tmp_path: Path) -> Iterator[Proxy]:
    with tls_proxy(engine, tmp_path / "certs") as running:
        yield running


def during_a_build(lab: Lab, act: Callable[[Cancel], object], dockerfile: str = SLOW) -> tuple[BaseException, float]:
    """Run a build, do something once a step of it has printed, and return what it raised and how long after that."""
    from pybuild_magic.builders import choose
    from pybuild_magic.request.solve_request import compile_request

    options = parse_options(
        ["--builder", lab.builder, "--no-cache", "-o", "type=cacheonly"], dockerfile=dockerfile, context="-"
    )
    builder = choose(lab.builder)
    session, cancel, started = open_session(options, builder.driver), Cancel(), threading.Event()
    request = compile_request(options, builder.driver, session=session.id)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            builder.solve(request, session, lambda status: started.set() if status.logs else None, cancel)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(60)
    act(cancel)
    begun = time.monotonic()
    thread.join(60)
    assert raised, "the build did not fail"
    return raised[0], time.monotonic() - begun


def test_an_interrupt_ends_the_build_here_and_on_the_daemon(lab: Lab, engine: Engine) -> None:
    mark = f"sleep 61.{os.getpid()}{time.time_ns() % 1000}"
    error, seconds = during_a_build(lab, Cancel.cancel, f"FROM busybox\nRUN echo started; {mark}\n")
    assert isinstance(error, Interrupted)
    assert seconds < 20
    deadline = time.monotonic() + 20
    while mark in subprocess.run(["ps", "axo", "args"], capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < deadline, "the daemon goes on"
        time.sleep(0.1)


def test_a_failing_command_has_its_code_its_place_and_its_last_lines(lab: Lab) -> None:
    with pytest.raises(RunError) as caught:
        lab.build("FROM busybox\n\nRUN echo one; echo two >&2; exit 7\n", "--no-cache -o type=cacheonly")
    assert caught.value.exit_code == 7
    assert caught.value.location is not None
    assert str(caught.value.location) == "Dockerfile:3"
    assert "exit 7" in caught.value.location.excerpt()
    assert set(caught.value.logs) == {"one", "two"}


def test_who_wants_to_look_into_a_step_that_failed_is_told_that_it_is_not_kept(docker: Lab) -> None:
    with pytest.raises(RunError) as caught:
        docker.build("FROM busybox\nRUN exit 7\n", "--debug --no-cache -o type=cacheonly")
    assert "BuildKit keeps nothing" in caught.value.render()
    for look in (caught.value.diff, lambda: caught.value.files, lambda: caught.value.run("true")):
        with pytest.raises(UnsupportedError, match="BuildKit keeps nothing"):
            look()
    with pytest.raises(UnsupportedError, match="was not kept"):
        pybuild_magic.run(caught.value, "true")


def test_builds_that_share_the_step_that_fails_have_its_place_each(proxy: Proxy, tmp_path: Path) -> None:
    # An engine resolves FROM otherwise than a remote buildkitd: other digests, but the same step.
    def fail(builder: str) -> BuildError:
        with pytest.raises(RunError) as caught:
            dockerfile = f"FROM busybox\nENV A=b\nRUN : {tmp_path.name} $A; sleep 0.5; \\\n exit 7\n"
            Lab(builder, "", tmp_path).build(dockerfile, "--no-cache -o type=cacheonly")
        return caught.value

    with ThreadPoolExecutor(2) as pool:
        errors = list(pool.map(fail, ["docker://", proxy.address()]))
    assert [str(error.location) for error in errors] == ["Dockerfile:3"] * 2


def test_a_step_has_a_place_only_where_one_instruction_shows_it() -> None:
    dockerfile = "FROM a\nrun one\nRUN two\nFROM b\nRUN two\n"
    assert str(place_of("[stage-1 2/2] RUN one", dockerfile, "D")) == "D:2"
    assert place_of("[stage-1 2/2] RUN two", dockerfile, "D") is None
    assert str(place_of("[b 3/3] COPY x /v1/x", "FROM a AS b\nCOPY x y$V\nCOPY x /$V/${F:-f}\n", "D")) == "D:3"
    assert place_of("[stage-1 2/2] RUN three", dockerfile, "D") is None
    assert place_of("RUN one", "RUN <<", "D") is None


@pytest.mark.parametrize(
    ("dockerfile", "message", "line"),
    [
        ("FROM busybox\nRUNN x\n", "unknown instruction: RUNN", 2),
        ("FROM busybox\nCOPY missing /\n", '"/missing": not found', 2),
        ("FROM nowhere.invalid/x\n", "failed to resolve source metadata", 1),
        ("FROM busybox\nCOPY --from=nope /a /\n", "nope", 2),
    ],
)
def test_what_a_dockerfile_does_wrong_is_told_with_its_line(
    docker: Lab, dockerfile: str, message: str, line: int
) -> None:
    with pytest.raises(BuildError) as caught:
        docker.build(dockerfile, "-o type=cacheonly", {})
    assert message in caught.value.message
    assert caught.value.location is not None
    assert caught.value.location.start == line


def test_a_proxy_that_is_killed_ends_the_build(proxy: Proxy, tmp_path: Path) -> None:
    lab = Lab(proxy.address(), "tcp", tmp_path)
    error, seconds = during_a_build(lab, lambda _: proxy.process.kill())
    assert "broke during the build" in str(error)
    assert seconds < 5


def test_a_bridge_command_that_is_killed_ends_the_build(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in container_builder(engine, tmp_path / "box").items():
        monkeypatch.setenv(name, value)

    def kill(_: Cancel) -> None:
        for pid in children():
            if b"dial-stdio" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.killpg(pid, 9)

    error, seconds = during_a_build(Lab("buildx://box", "buildx", tmp_path), kill)
    assert "broke during the build" in str(error)
    assert seconds < 5


def test_a_daemon_that_falls_silent_counts_as_gone(proxy: Proxy, tmp_path: Path, quick: None) -> None:
    lab = Lab(proxy.address(), "tcp", tmp_path)
    error, seconds = during_a_build(lab, lambda _: proxy.process.send_signal(19))  # SIGSTOP: connected, and dumb
    assert "broke during the build: it stopped responding" in str(error)
    assert seconds < 15


class Listener:
    """A daemon that accepts connections and does what a test says with them."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()
        self.accepted: list[socket.socket] = []

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self.socket.accept()
            except OSError:
                return
            self.accepted.append(one)
            self._answer(one)

    def close(self) -> None:
        self.socket.close()
        for one in self.accepted:
            one.close()


@pytest.mark.parametrize("scheme", ["tcp://127.0.0.1:{port}", "docker://127.0.0.1:{port}"])
def test_a_daemon_that_never_answers_is_given_up(tmp_path: Path, quick: None, scheme: str) -> None:
    listener = Listener(lambda _: None)
    begun = time.monotonic()
    try:
        with pytest.raises(BuildError, match=r"did not answer (within 1.5 seconds|in time)"):
            Lab(scheme.format(port=listener.port), "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")
    finally:
        listener.close()
    assert time.monotonic() - begun < 10


def test_something_that_is_no_buildkit_is_told_apart(tmp_path: Path, quick: None) -> None:
    listener = Listener(lambda one: one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n") or one.close())
    try:
        with pytest.raises(BuildError, match=r"cannot be reached|too old"):
            Lab(f"tcp://127.0.0.1:{listener.port}", "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")
        with pytest.raises(UnsupportedError, match="does not offer BuildKit's API"):
            Lab(f"docker://127.0.0.1:{listener.port}", "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:1", "cannot be reached: Connection refused"),
        ("unix:///nowhere/buildkitd.sock", "is not a socket"),
        ("docker:///nowhere/docker.sock", "cannot be reached: No such file or directory"),
        ("docker-container://no-such-container", "No such container"),
    ],
)
def test_a_daemon_that_is_not_there_is_told_in_one_sentence(
    tmp_path: Path, quick: None, address: str, message: str
) -> None:
    with pytest.raises(BuildError) as caught:
        Lab(address, "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")
    assert message in caught.value.message
    assert caught.value.hint


def test_a_system_without_unix_sockets_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(UnsupportedError, match="a Unix socket, which Python does not support on this system"):
        Lab("docker://", "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")


def test_a_program_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="`kubectl`, which is not installed"):
        Lab("kube-pod://pod", "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")


def test_a_daemon_whose_certificate_is_of_another_authority_is_refused(proxy: Proxy, tmp_path: Path) -> None:
    other = certificates.make(tmp_path / "other")
    with pytest.raises(BuildError, match=r"certificate is not valid|TLS handshake"):
        Lab(proxy.address(cacert=str(other / "ca.pem")), "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")


def test_a_daemon_with_another_name_is_refused(proxy: Proxy, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot be reached"):
        Lab(proxy.address(servername="somebody-else"), "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")


def test_a_client_without_a_certificate_is_refused_by_the_daemon(proxy: Proxy, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot be reached"):
        Lab(proxy.address(cert="", key=""), "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    path = tmp_path / "small"
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", path]).returncode:
        pytest.skip("a small file system takes root")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.parametrize("output", ["type=tar,dest={}/out.tar", "type=local,dest={}/out", "type=oci,dest={}/out.tar"])
def test_a_full_disk_here_ends_in_an_error_and_leaves_nothing(lab: Lab, small_disk: Path, output: str) -> None:
    with pytest.raises(ExportError, match="No space left on device"):
        lab.build(
            "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=8\n",
            f"--provenance=false -o {output.format(small_disk)}",
        )
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_of_the_daemon_is_told(docker: Lab) -> None:
    dockerfile = "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m dd if=/dev/zero of=/t/x bs=1M count=4\n"
    with pytest.raises(RunError) as caught:
        docker.build(dockerfile, "-o type=cacheonly")
    assert any("No space left on device" in line for line in caught.value.logs)


def test_an_unwritable_destination_is_told(docker: Lab) -> None:
    with pytest.raises(ExportError, match=r"cannot be made|cannot be written"):
        docker.build("FROM scratch\nCOPY a /\n", "-o type=tar,dest=/proc/nowhere/out.tar", {"a": "x"})


HOSTILE = """FROM debian AS made
RUN python3 - <<EOF
import os
os.makedirs("/out/dir")
os.symlink("/tmp", "/out/tmp")
os.symlink("../../../../outside", "/out/dir/up")
open("/out/dir/set", "w").close()
os.chmod("/out/dir/set", 0o6755)
os.mkfifo("/out/fifo")
EOF
FROM scratch
COPY --from=made /out /
"""


@pytest.mark.usefixtures("debian")
def test_links_in_a_tree_are_made_and_never_followed(lab: Lab) -> None:
    out = lab.home / "out"
    (out / "dir").mkdir(parents=True)
    outside = lab.home / "outside"
    outside.mkdir()
    (out / "dir/set").symlink_to(outside / "victim")
    lab.build(HOSTILE, "-o out")
    lab.build(HOSTILE, "-o out")
    assert list(outside.iterdir()) == []
    assert (out / "tmp").readlink() == Path("/tmp")
    assert stat.S_ISFIFO((out / "fifo").lstat().st_mode)
    assert not (out / "dir/set").is_symlink()


@pytest.mark.parametrize(
    ("packets", "message"),
    [
        ([("../evil", 0o644, 3)], "is not a path|before its directory"),
        ([("a/../../evil", 0o644, 3)], "is not a path|before its directory"),
        ([("/etc/evil", 0o644, 3)], "before its directory"),
        ([("link", 1 << 27 | 0o777, 0, "/tmp"), ("link/evil", 0o644, 3)], "before its directory"),
        ([("hard", 0o644, 0, "../../etc/passwd")], "a hard link to a file that does not exist"),
        ([("odd", 1 << 31 | 1 << 27, 0)], "no known type"),
    ],
)
def test_a_hostile_daemon_writes_nothing_outside(
    tmp_path: Path, packets: list[tuple[str, int, int]], message: str
) -> None:
    """A daemon that sends what no honest one sends, straight into the receiver."""
    from pybuild_magic.builders.buildkit.session import filesend
    from pybuild_magic.builders.proto.session_pb2 import Packet, Stat

    class Daemon:
        def __init__(self) -> None:
            self.messages = [
                Packet(stat=Stat(path=path, mode=mode, size=size, linkname="".join(link))).SerializeToString()
                for path, mode, size, *link in packets
            ]
            self.messages.append(Packet().SerializeToString())

        def receive_all(self) -> list[bytes]:
            messages, self.messages = self.messages, list[bytes]()
            return messages

        def send(self, buffers: object) -> None:
            pass

    (tmp_path / "out").mkdir()
    receiver = filesend._Receiver(Daemon())  # type: ignore[arg-type]
    writer = DirectoryWriter(tmp_path / "out", receiver.content, Cancel())
    with pytest.raises(ExportError, match=message):
        writer.write(receiver.items())
    assert not (tmp_path / "evil").exists()
    shutil.rmtree(tmp_path / "out")


def test_a_command_in_place_of_kubectl_or_ssh_carries_a_build(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(engine, tmp_path / "bin", "kubectl", "ssh", "docker", "podman", "nerdctl")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    wanted = {
        "kube-pod://bk?context=c&namespace=n&container=k": "--context=c --namespace=n exec --container=k"
        " -i bk -- buildctl dial-stdio",
        "ssh://me@host:2222/run/bk.sock": "-o BatchMode=yes -o ConnectTimeout=15 -l me -p 2222 -- host buildctl"
        " --addr unix:///run/bk.sock dial-stdio",
        "docker-container://bk": "exec -i bk buildctl dial-stdio",
        "podman-container://bk": "exec -i bk buildctl dial-stdio",
        "nerdctl-container://bk?namespace=n": "--namespace=n exec -i bk buildctl dial-stdio",
    }
    for address, arguments in wanted.items():
        result = Lab(address, "", tmp_path).build("FROM busybox\nRUN echo hi\n", "--no-cache -o type=cacheonly", "-")
        assert any("hi" in log for log in result.logs.values())
        program = {"kube-pod": "kubectl"}.get(address.partition(":")[0], address.partition(":")[0].partition("-")[0])
        assert (tmp_path / f"{program}.args").read_text().split() == arguments.split()


def test_a_command_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    (tmp_path / "kubectl").write_text(f"#!{sys.executable}\nimport sys\nsys.exit('error: pods \"bk\" not found')\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BuildError, match='error: pods "bk" not found'):
        Lab("kube-pod://bk", "", tmp_path).build("FROM scratch\n", "-o type=cacheonly")


def test_a_daemon_that_does_not_say_what_it_can_do_is_not_waited_for_when_the_build_is_cancelled(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXY_STALLS_AT", "LLBBridge/Ping")
    cancel = Cancel()
    with unix_proxy(engine, tmp_path / "buildkitd.sock") as address:
        timer = threading.Timer(1, cancel.cancel)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            Lab(address, "unix", tmp_path).build("FROM scratch", "--resource memory=64m -o type=cacheonly", "-", cancel)
        assert time.monotonic() - began < 60  # of the 600 seconds that the answer may take


def test_a_token_server_that_is_not_there_is_a_status_of_grpc() -> None:
    class Asked(Call):
        def __init__(self) -> None:
            self.request = FetchTokenRequest(Host="127.0.0.1:1", Realm="http://127.0.0.1:1/token").SerializeToString()

        def receive(self, wait: float | None = None) -> bytes:
            return self.request

    with pytest.raises(GrpcError) as caught:
        Registries(None, Cancel()).fetch_token(Asked())
    assert caught.value.code == UNAUTHENTICATED


def test_an_image_of_the_store_that_a_daemon_reads_leaves_no_store_open(docker: Lab, busybox_layout: BaseImage) -> None:
    load_image(embedded_builder().store, busybox_layout.path, "left/open")
    counts: list[int] = []
    with garbage_kept():
        for number in range(3):
            docker.build(
                f"FROM base\nLABEL a={number}", "--build-context base=oci-layout://left/open -o type=cacheonly"
            )
            counts.append(opened("store.db"))
    assert counts[0] == counts[-1]


def test_a_record_that_was_never_used_is_not_shown_as_used_in_1970(monkeypatch: pytest.MonkeyPatch) -> None:
    class Daemon:
        name = "daemon"

        def disk_usage(self) -> DiskUsage:
            return disk_usage([UsageRecord(ID="x", Size=1)])

    monkeypatch.setattr(store_commands, "choose", Daemon)
    table = repr(store_commands.disk_usage([]))
    assert "never" in table and "1970" not in table
