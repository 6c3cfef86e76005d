"""Git repositories as sources, over git's own daemon: refs, submodules, what is kept, and what is refused."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pybuild_magic.dockerfile.git_ref import parse_git_ref
from pybuild_magic.errors import Interrupted, SourceError
from pybuild_magic.session import SecretSource, SecretStore, Session
from pybuild_magic.store import DIR, SYMLINK, Store
from pybuild_magic.store.fsck import fsck

from .conftest import Build, Opened
from .servers import HTTPServer, Reply

ENV = {
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "a"), ("EMAIL", "a@b"))
    },
    "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "PATH": os.environ["PATH"],
}


@dataclass
class Repository:
    """A repository that git's daemon serves; `path` is its work tree."""

    path: Path
    url: str

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.path, env=ENV, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str = "m", **files: str) -> str:
        """Write files (`__` in a name is `/`, `_` is `.`) and commit them; the commit."""
        for name, content in files.items():
            path = self.path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-qm", message, "--allow-empty")
        return self.git("rev-parse", "HEAD")


@dataclass
class Daemon:
    root: Path
    port: int

    def repository(self, name: str) -> Repository:
        path = self.root / name
        path.mkdir()
        repository = Repository(path, f"git://127.0.0.1:{self.port}/{name}")
        repository.git("init", "-q", "-b", "trunk")
        return repository


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = tmp_path / "served"
    root.mkdir()
    command = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(
        [*command, f"--base-path={root}", str(root)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    yield Daemon(root, port)
    os.killpg(process.pid, 15)
    process.wait()


@pytest.fixture
def repository(daemon: Daemon) -> Repository:
    return daemon.repository("repo")


def source(build: Build, url: str) -> Opened:
    """The source that a Dockerfile's `ADD url` makes."""
    ref = parse_git_ref(url)
    assert ref is not None
    op = ref.source()
    return build.open(op.identifier, op.attrs)


def test_the_default_branch_becomes_a_layer(build: Build, repository: Repository) -> None:
    repository.commit(dir__file_txt="one", top="two")
    (repository.path / "run").write_text("#!/bin/sh\n")
    (repository.path / "run").chmod(0o755)
    (repository.path / "link").symlink_to("./dir/")
    repository.commit()
    opened = source(build, repository.url)
    assert opened.files() == {"dir/file.txt": b"one", "top": b"two", "run": b"#!/bin/sh\n"}
    tree = build.store.tree(opened.snapshot())
    assert [(e.path, e.type, e.mode, e.uid, e.gid, e.link) for e in tree.walk()] == [
        ("dir", DIR, 0o755, 0, 0, ""),
        ("dir/file.txt", "0", 0o644, 0, 0, ""),
        ("link", SYMLINK, 0o777, 0, 0, "./dir/"),
        ("run", "0", 0o755, 0, 0, ""),
        ("top", "0", 0o644, 0, 0, ""),
    ]


def test_refs_of_every_kind(build: Build, repository: Repository) -> None:
    first = repository.commit(f="1")
    repository.git("tag", "light")
    repository.git("tag", "-a", "heavy", "-m", "x")
    repository.git("branch", "side")
    second = repository.commit(f="2")
    repository.git("update-ref", "refs/pull/7/head", first)
    by_ref = {
        ref: source(build, f"{repository.url}#{ref}").files()["f"]
        for ref in (
            "trunk",
            "side",
            "light",
            "heavy",
            "refs/heads/side",
            "refs/tags/heavy",
            "refs/pull/7/head",
            first,
            second,
        )
    }
    assert by_ref == {ref: b"2" if ref in ("trunk", second) else b"1" for ref in by_ref}
    keys = {source(build, f"{repository.url}#{ref}").key() for ref in ("side", "light", "heavy", first)}
    assert len(keys) == 1, "all are one commit"
    for query in ("?tag=light", "?branch=side", f"?ref=trunk&checksum={second}"):
        source(build, repository.url + query).snapshot()


def test_a_branch_wins_over_a_tag_of_its_name(build: Build, repository: Repository) -> None:
    repository.commit(f="tag")
    repository.git("tag", "both")
    repository.commit(f="branch")
    repository.git("branch", "both")
    assert source(build, f"{repository.url}#both").files() == {"f": b"branch"}


def test_only_the_one_commit_is_fetched(build: Build, repository: Repository) -> None:
    for number in range(5):
        repository.commit(f=str(number))
    source(build, repository.url).snapshot()
    (kept,) = [path for path in (build.store.root / "cachemounts").iterdir() if path.is_dir()]
    listed = subprocess.run(["git", "rev-list", "--all"], cwd=kept, capture_output=True, text=True, env=ENV, check=True)
    assert len(listed.stdout.split()) == 1


def test_a_second_build_fetches_nothing_and_a_new_commit_is_noticed(store: Store, repository: Repository) -> None:
    repository.commit(f="1")
    one = source(Build(store, Session()), repository.url)
    key, snapshot = one.key(), one.snapshot()
    again = source(Build(store, Session()), repository.url)
    assert (again.key(), again.snapshot()) == (key, snapshot)
    repository.commit(f="2")
    later = source(Build(store, Session()), repository.url)
    assert later.key() != key
    assert later.files() == {"f": b"2"}
    repository.git("reset", "-q", "--hard", "HEAD~1")
    repository.commit(f="forced")
    assert source(Build(store, Session()), repository.url).files() == {"f": b"forced"}
    assert fsck(store) == []


def test_a_subdirectory_is_the_root(build: Build, repository: Repository) -> None:
    repository.commit(a__b__f="1", a__g="2", h="3")
    assert source(build, f"{repository.url}#trunk:a").files() == {"b/f": b"1", "g": b"2"}
    assert source(build, f"{repository.url}#:a/b").files() == {"f": b"1"}
    assert source(build, f"{repository.url}?subdir=a/b").key() != source(build, repository.url).key()


@pytest.mark.parametrize("path", ["nowhere", "h", "link", "link/b", ".git"])
def test_a_subdirectory_that_is_none_is_refused(build: Build, repository: Repository, path: str) -> None:
    repository.commit(h="3")
    (repository.path / "link").symlink_to("/etc")
    repository.commit()
    with pytest.raises(SourceError, match=f'no directory "{path}"'):
        source(build, f"{repository.url}#:{path}").snapshot()


def test_the_git_directory_is_kept_when_asked_for(build: Build, repository: Repository, tmp_path: Path) -> None:
    repository.commit(f="0")
    commit = repository.commit(f="1")
    repository.git("tag", "-a", "v1", "-m", "x")
    opened = source(build, f"{repository.url}?tag=v1&keep-git-dir=true")
    assert opened.key() != source(build, f"{repository.url}?tag=v1").key()
    for path, data in opened.files().items():
        (tmp_path / "out" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / path).write_bytes(data)
        assert os.fsencode(build.store.root) not in data
    for directory in ("refs/heads", "objects/info"):
        (tmp_path / "out/.git" / directory).mkdir(parents=True, exist_ok=True)

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=tmp_path / "out", env=ENV, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert git("rev-parse", "HEAD") == commit
    assert git("describe", "--tags") == "v1"
    assert git("config", "remote.origin.url") == repository.url
    assert git("status", "--porcelain", "--untracked-files=no") == ""
    assert git("rev-list", "--count", "HEAD") == "1"


def test_submodules_come_along_unless_not_wanted(build: Build, daemon: Daemon, repository: Repository) -> None:
    inner, outer = daemon.repository("inner"), repository
    inner.commit(deep="inside")
    outer.commit(f="1")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../inner", "sub/inner")
    outer.commit()
    files = source(build, outer.url).files()
    assert files["sub/inner/deep"] == b"inside"
    assert files["sub/inner/.git"].startswith(b"gitdir: ../"), "BuildKit leaves it too"
    assert "sub/inner/deep" not in source(build, f"{outer.url}?submodules=false").files()


def test_a_submodule_cannot_be_a_file_of_this_machine(build: Build, daemon: Daemon, repository: Repository) -> None:
    inner = daemon.repository("inner")
    inner.commit(deep="inside")
    repository.commit(f="1")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "sub")
    repository.commit()
    with pytest.raises(SourceError, match=r"could not be checked out: .*transport 'file' not allowed"):
        source(build, repository.url).snapshot()


def test_a_checksum_pins_the_commit(build: Build, repository: Repository) -> None:
    commit = repository.commit(f="1")
    for checksum in (commit, commit[:10]):
        assert source(build, f"{repository.url}?checksum={checksum}").files() == {"f": b"1"}
    with pytest.raises(SourceError, match=f"expected checksum to match {'0' * 40}, got {commit}"):
        source(build, f"{repository.url}?checksum={'0' * 40}").key()
    with pytest.raises(SourceError, match="invalid checksum 'zz'"):
        source(build, f"{repository.url}?checksum=zz").key()


def test_times_are_those_of_the_commit_when_asked_for(build: Build, repository: Repository) -> None:
    repository.commit(d__f="1")
    tree = build.store.tree(source(build, f"{repository.url}?mtime=commit").snapshot())
    assert {entry.mtime for entry in tree.walk()} == {1577836800 * 10**9}


def test_what_git_says_is_the_steps_log(build: Build, repository: Repository) -> None:
    commit = repository.commit(f="1")
    source(build, repository.url).snapshot()
    assert f"{commit}\trefs/heads/trunk" in build.logs
    assert f"From {repository.url}" in build.logs


def test_what_is_not_there_is_said_so(build: Build, daemon: Daemon, repository: Repository) -> None:
    repository.commit(f="1")
    with pytest.raises(SourceError, match="does not contain ref nobranch"):
        source(build, f"{repository.url}#nobranch").key()
    with pytest.raises(SourceError, match=r"could not be checked out|no longer has the commit"):
        source(build, f"{repository.url}#{'0' * 39}1").snapshot()
    with pytest.raises(SourceError, match=r"The Git repository git://.*/none could not be read: .*not exported"):
        source(build, f"git://127.0.0.1:{daemon.port}/none").key()


@pytest.mark.parametrize(
    ("identifier", "attrs"),
    [
        ("git://h/p#--upload-pack=touch /tmp/x", {}),
        ("git://h/p#a b", {}),
        ("git://h/p#x..y", {}),
        ("git://h/p#+refs/heads/*", {}),
        ("git://h/p", {"git.fullurl": "--upload-pack=x"}),
        ("git://h/p", {"git.fullurl": "file:///etc"}),
        ("git://h/p", {"git.fullurl": "ext::sh -c touch"}),
        ("git://h/p", {"git.fullurl": "ssh://-oProxyCommand=x/y"}),
        ("git://h/p", {"git.fullurl": "git@-oProxyCommand=x:y"}),
        ("git://h/p", {"git.fullurl": "https://h/\n[core]"}),
        ("git://h/p", {"git.fullurl": "/etc"}),
    ],
)
def test_options_and_other_protocols_are_refused(build: Build, identifier: str, attrs: dict[str, str]) -> None:
    with pytest.raises(SourceError, match=r"invalid git ref|is not a Git URL|there is no host|could not be read"):
        build.open(identifier, attrs).key()
    assert not Path("/tmp/x").exists()


@pytest.mark.parametrize(
    ("variable", "header"),
    [
        ("GIT_AUTH_TOKEN", "basic " + base64.b64encode(b"x-access-token:s3cret").decode()),
        ("GIT_AUTH_HEADER", "s3cret"),
        ("GIT_AUTH_TOKEN.{host}", "basic " + base64.b64encode(b"x-access-token:s3cret").decode()),
    ],
)
def test_secrets_authorize_https(store: Store, monkeypatch: pytest.MonkeyPatch, variable: str, header: str) -> None:
    monkeypatch.setenv("GIT_SECRET", "s3cret")
    with HTTPServer() as server:
        server.on("/private.git/info/refs", Reply(b"", 403), forever=True)
        name = variable.format(host=server.host)
        build = Build(store, Session(secrets=SecretStore((SecretSource(name, env="GIT_SECRET"),))))
        with pytest.raises(SourceError, match="could not be read") as caught:
            source(build, f"{server.url}/private.git").key()
        assert server.requests[-1].headers["Authorization"] == header
        assert "s3cret" not in str(caught.value) + build.logs


def test_ssh_needs_an_agent(build: Build) -> None:
    with pytest.raises(SourceError, match=r"has no SSH agent. Pass --ssh default"):
        source(build, "git@example.invalid:a/b.git").key()


@pytest.mark.parametrize("given", ["me:s3cret", "s3cret", "s3cret:x-oauth-basic"])
def test_credentials_of_urls_are_sent_and_neither_shown_nor_kept(build: Build, given: str) -> None:
    with HTTPServer() as server:
        with pytest.raises(SourceError) as caught:
            source(build, f"http://{given}@{server.host}/x.git").key()
        sent = "Basic " + base64.b64encode((given if ":" in given else f"{given}:").encode()).decode()
        assert server.requests[-1].headers["Authorization"] == sent
        assert "s3cret" not in str(caught.value) + build.logs
        assert f"http://{server.host}/x.git" in str(caught.value)


def test_interrupting_kills_git(build: Build) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Timer(0.4, build.cancel.cancel).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            source(build, f"git://127.0.0.1:{silent.getsockname()[1]}/x").key()
        assert time.monotonic() - began < 20


def test_a_file_that_would_be_a_whiteout_is_refused(build: Build, repository: Repository) -> None:
    (repository.path / ".wh..wh..opq").write_text("")
    repository.commit()
    with pytest.raises(SourceError, match="would be a whiteout"):
        source(build, repository.url).snapshot()
