"""What a session offers a real BuildKit: contexts in all their forms, secrets, agents, layouts, credentials."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.builders import embedded_builder
from pybuild_magic.builders.buildkit.session.tokens import Registries
from pybuild_magic.errors import BuildError
from tests.services.baseimages import BaseImage
from tests.services.registry import PASSWORD, USERNAME, Registry

from .lab import Lab

LIST = "FROM busybox\nCOPY . /c\nRUN cd /c && find . -mindepth 1 | sort\n"


def listed(lab: Lab, words: str, context: object, dockerfile: str = LIST) -> list[str]:
    result = lab.build(dockerfile, f"--no-cache --progress none -o type=cacheonly {words}", context)  # type: ignore[arg-type]
    log = next(text for name, text in result.logs.items() if "find" in name)
    return log.splitlines()


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_directory_is_sent_without_what_it_ignores(lab: Lab) -> None:
    files = {"a": "1", "keep/b": "2", "skip/c": "3", "skip/not": "4", ".dockerignore": "skip\n!skip/not\n"}
    context = tree(lab.home / "context", files)
    assert listed(lab, "", str(context)) == ["./.dockerignore", "./a", "./keep", "./keep/b", "./skip", "./skip/not"]


def test_a_dict_is_a_context_that_never_touches_the_disk(lab: Lab) -> None:
    files = {"a.txt": "one", "dir/b.bin": b"\0\1", ".dockerignore": "*.log", "x.log": "no"}
    assert listed(lab, "", files) == ["./.dockerignore", "./a.txt", "./dir", "./dir/b.bin"]
    assert sorted(path.name for path in lab.home.iterdir() if path.name not in ("certs", "box", "home")) == []


def test_changed_content_of_a_dict_is_seen_though_size_and_time_are_the_same(lab: Lab) -> None:
    dockerfile = "FROM busybox\nCOPY a /a\nRUN echo find; cat /a\n"
    for text in ("one", "two"):
        assert listed(lab, "", {"a": text}, dockerfile) == ["find", text]


def test_an_unchanged_directory_is_not_sent_again(lab: Lab) -> None:
    context = tree(lab.home / "context", {f"f{i}": "x" * 1000 for i in range(50)})

    def transferred() -> int:
        from pybuild_magic.builders import choose

        sizes: list[int] = []
        result = lab.build("FROM scratch\nCOPY . /\n", "-o type=cacheonly", str(context))
        builder = choose(lab.builder)
        ref = result.request.ref
        record = next(record for record in builder.history(200) if record.ref == ref)
        for message in builder.replay(record):
            sizes += [one.current for one in message.statuses if "transferring context" in one.id]
        return max(sizes)

    assert transferred() > 50_000
    assert transferred() < 10_000
    (context / "f7").write_text("y" * 2000)
    assert 2000 < transferred() < 15_000


def test_named_contexts_are_directories_images_and_layouts(lab: Lab, busybox_layout: BaseImage) -> None:
    more = tree(lab.home / "more", {"hello": "from more"})
    dockerfile = "FROM base\nCOPY --from=more hello /h\nCOPY --from=tools /bin/busybox /tool\nRUN echo find; cat /h\n"
    words = f"--build-context more={more} --build-context base=oci-layout://{busybox_layout.path}"
    words += " --build-context tools=docker-image://busybox"
    assert listed(lab, words, "-", dockerfile) == ["find", "from more"]


def test_an_image_of_the_embedded_store_is_a_base(lab: Lab, busybox_layout: BaseImage) -> None:
    words = f"-t mine --build-context busybox=oci-layout://{busybox_layout.path}"
    Lab("embedded", "", lab.home).build("FROM busybox\nCOPY a /mine\n", words, {"a": "my own"})
    assert embedded_builder().store.images.get("docker.io/library/mine:latest")
    dockerfile = "FROM base\nRUN echo find; cat /mine\n"
    assert listed(lab, "--build-context base=oci-layout://mine", "-", dockerfile) == ["find", "my own"]


def test_an_archive_is_a_context_with_its_owners(lab: Lab) -> None:
    with tarfile.open(lab.home / "context.tar.gz", "w:gz") as archive:
        for name, uid in (("a", 7), ("dir/b", 8)):
            info = tarfile.TarInfo(name)
            info.uid, info.size = uid, 0
            archive.addfile(info)
    dockerfile = "FROM busybox\nCOPY . /c\nRUN cd /c && find . -type f -exec stat -c '%n %u' {} ';' | sort\n"
    assert listed(lab, "", str(lab.home / "context.tar.gz"), dockerfile) == ["./a 7", "./dir/b 8"]


def test_a_dockerfile_of_the_disk_has_its_own_ignore_file(lab: Lab) -> None:
    context = tree(
        lab.home / "context", {"a": "", "b": "", "sub/My.Dockerfile": LIST, "sub/My.Dockerfile.dockerignore": "b\nsub"}
    )
    words = f"-f {context}/sub/My.Dockerfile"
    result = lab.build(None, f"--no-cache -o type=cacheonly {words}", str(context))
    assert next(log for name, log in result.logs.items() if "find" in name).split() == ["./a"]


def test_executables_links_and_odd_names_arrive(lab: Lab) -> None:
    context = tree(lab.home / "context", {"run me.sh": "#!/bin/sh\n", "ünï/ß": "x"})
    (context / "run me.sh").chmod(0o4755)
    (context / "link").symlink_to("run me.sh")
    os.link(context / "run me.sh", context / "zlink")
    dockerfile = "FROM busybox\nCOPY . /c\nRUN cd /c && find . -mindepth 1 -exec stat -c '%n %a %h %F' {} ';' | sort\n"
    assert listed(lab, "", str(context), dockerfile) == [
        "./link 777 1 symbolic link",
        "./run me.sh 4755 2 regular file",
        "./zlink 4755 2 regular file",
        "./ünï 755 2 directory",
        "./ünï/ß 644 1 regular file",
    ]


def test_secrets_come_from_files_and_variables(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.home / "token").write_text("from file")
    monkeypatch.setenv("TOKEN", "from env")
    mounts = "--mount=type=secret,id=f --mount=type=secret,id=e,env=E"
    dockerfile = f"FROM busybox\nRUN {mounts} echo find; cat /run/secrets/f; echo; echo $E\n"
    words = "--secret id=f,src=token --secret id=e,env=TOKEN"
    assert listed(lab, words, "-", dockerfile) == ["find", "from file", "from env"]


def test_a_secret_that_is_not_given_fails_a_step_that_requires_it(lab: Lab) -> None:
    with pytest.raises(BuildError, match="secret nothing: not found") as caught:
        lab.build("FROM busybox\nRUN --mount=type=secret,id=nothing,required true\n", "-o type=cacheonly")
    assert caught.value.location is not None
    assert caught.value.location.start == 2


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """An SSH agent with one key, whose comment is `test-key`."""
    path = f"{tmp_path}/agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        while not Path(path).exists():
            time.sleep(0.01)
        key = tmp_path / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test-key", "-f", key], check=True)
        subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, "SSH_AUTH_SOCK": path})
        yield path
    finally:
        process.kill()
        process.wait()


ASK_AGENT = r"""FROM debian
RUN --mount=type=ssh <<EOF python3
import os, socket
agent = socket.socket(socket.AF_UNIX)
agent.connect(os.environ["SSH_AUTH_SOCK"])
agent.sendall(b"\0\0\0\1\x0b")  # SSH_AGENTC_REQUEST_IDENTITIES
answer = agent.recv(65536)
print("find", answer[4], b"test-key" in answer)
EOF
"""


@pytest.mark.usefixtures("debian")
def test_a_step_talks_to_the_users_agent(lab: Lab, agent: str) -> None:
    result = lab.build(ASK_AGENT, f"--no-cache -o type=cacheonly --ssh default={agent}", "-")
    assert "find 12 True" in "".join(result.logs.values())


def test_a_build_without_an_agent_that_a_step_requires_fails(lab: Lab) -> None:
    with pytest.raises(BuildError, match=r"unset ssh forward key default|no SSH key"):
        lab.build("FROM busybox\nRUN --mount=type=ssh,required true\n", "-o type=cacheonly")


def login(host: str, password: str = PASSWORD) -> str:
    """What `docker login` writes."""
    return json.dumps({"auths": {host: {"auth": base64.b64encode(f"{USERNAME}:{password}".encode()).decode()}}})


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_credentials_of_docker_login_open_a_registry(
    docker: Lab, kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry: Registry = request.getfixturevalue(f"{kind}_registry")
    name = f"{registry.host}/made:1"
    with pytest.raises(BuildError, match=r"401|denied|authorization|no basic auth"):
        docker.build("FROM busybox\n", f"-t {name} --push")
    config = tmp_path / "login"
    config.mkdir()
    (config / "config.json").write_text(login(registry.host))
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    asked: list[str] = []
    passwords = Registries.credentials
    monkeypatch.setattr(Registries, "credentials", lambda self, call: asked.append("them") or passwords(self, call))
    result = docker.build("FROM busybox\n", f"-t {name} --push")
    assert registry.blob_path(result.metadata["containerimage.digest"]).exists()
    # Where a token will do, the daemon does not get the password.
    assert bool(asked) is (kind == "basic")


def test_a_token_is_fetched_once_and_signed_for_by_who_has_the_password(
    docker: Lab, token_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert token_registry.tokens is not None
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", login(token_registry.host))
    result = docker.build("FROM busybox\nLABEL a=1\n", f"-t {token_registry.host}/made:1 --push")
    granted = len(token_registry.tokens.granted)
    again = docker.build("FROM busybox\nLABEL a=1\n", f"-t {token_registry.host}/made:1 --push --pull=false")
    assert again.image is not None
    assert result.image is not None
    assert again.image.config == result.image.config
    assert len(token_registry.tokens.granted) == granted
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", login(token_registry.host, "wrong"))
    with pytest.raises(BuildError, match=r"refused the credentials|401|denied|authorization"):
        docker.build("FROM busybox\nLABEL a=2\n", f"-t {token_registry.host}/made:1 --push")


@pytest.mark.parametrize("builder", ["docker://", "embedded"])
def test_a_token_server_that_is_down_is_told_in_a_sentence(
    builder: str, docker: Lab, token_registry: Registry, tmp_path: Path
) -> None:
    assert token_registry.tokens is not None
    token_registry.tokens.stop()
    host = token_registry.tokens.url.split("/")[2]
    with pytest.raises(BuildError) as caught:
        Lab(builder, "", tmp_path).build(f"FROM {token_registry.host}/base:1\n", "-o type=cacheonly")
    message = str(caught.value)
    assert f"its token server did not answer: {host} cannot be connected to (Connection refused)" in message
    assert "Error" not in message


def test_ten_builds_at_once_share_one_connection(docker: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from pybuild_magic.builders.buildkit import connect

    opened: list[str] = []
    original = connect.Connection._open  # pyright: ignore[reportPrivateUsage]

    def counting(self: connect.Connection) -> object:
        opened.append(self.address.text)
        return original(self)

    monkeypatch.setattr(connect.Connection, "_open", counting)

    def one(number: int) -> str:
        dockerfile = f"FROM busybox\nCOPY a /a\nRUN cat /a && sleep 2 && echo {number}\n"
        result = docker.build(dockerfile, "--no-cache -o type=cacheonly", {"a": f"file {number}\n"})
        return "".join(result.logs.values())

    with ThreadPoolExecutor(10) as pool:
        logs = list(pool.map(one, range(10)))
    for number, log in enumerate(logs):
        assert f"file {number}\n" in log
    assert len(opened) == 1


def test_a_socket_in_the_context_does_not_end_the_build(docker: Lab) -> None:
    context = tree(docker.home / "context", {"a": "x"})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(context / "sock"))
        assert listed(docker, "", str(context)) == ["./a", "./sock"]
