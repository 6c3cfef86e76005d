"""A token in a URL is used, and is in nothing that is shown or kept: every form of URL, looked for in every place."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from pybuild_magic.display import mime_bundle
from pybuild_magic.errors import BuildError
from pybuild_magic.notebook.commands import dry_run
from pybuild_magic.request.parse import parse_options
from pybuild_magic.untrusted.redaction import redact, redact_data, redact_url, split_credentials
from tests.conformance.server import serving
from tests.search import holders

from .lab import Home

TOKEN = "tok3n-s3cret"
USERS = [TOKEN, f"me:{TOKEN}", f"{TOKEN}:x-oauth-basic", f":{TOKEN}"]
PLACES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "git context": ("", "http://{}@{host}/git/repo.git#main", {}),
    "archive context": ("", "http://{}@{host}/context.tar", {}),
    "ADD": ("FROM scratch\nADD http://{}@{host}/file /\n", "-", {}),
    "ADD of a variable": ("FROM scratch\nARG U=http://{}@{host}/file\nADD $U /\n", "-", {}),
    "ADD of an argument": ("FROM scratch\nARG U\nADD $U /\n", "-", {"build_args": {"U": "http://{}@{host}/file"}}),
    "ADD of a repository": ("FROM scratch\nADD http://{}@{host}/git/repo.git /\n", "-", {}),
    "named git": ("FROM scratch\nCOPY --from=n f /\n", "-", {"build_contexts": {"n": "http://{}@{host}/git/repo.git"}}),
    "named file": ("FROM scratch\nCOPY --from=n context /\n", "-", {"build_contexts": {"n": "http://{}@{host}/file"}}),
    "proxy": (
        "FROM busybox\nRUN true\n",
        "-",
        {"build_args": {"HTTP_PROXY": "http://{}@{host}", "https_proxy": "{}@{host}"}},
    ),
    "missing git": ("", "http://{}@{host}/git/nope.git", {}),
    "missing ref": ("", "http://{}@{host}/git/repo.git#nope", {}),
    "missing file": ("FROM scratch\nADD http://{}@{host}/nope /\n", "-", {}),
    "wrong file": ("FROM scratch\nADD --checksum=sha256:" + "0" * 64 + " http://{}@{host}/file /\n", "-", {}),
    "missing context": ("", "http://{}@{host}/nope", {}),
    "unreachable": ("FROM scratch\nADD http://{}@127.0.0.1:1/x /\n", "-", {}),
    "no URL": ("FROM scratch\nADD http://{}@[::/x /\n", "-", {}),
    "no protocol": ("", "gopher://{}@{host}/x.git", {}),
    "no scheme": ("", "{}@{host}/x.git", {}),
    "builder": ("FROM scratch\nENV a=1\n", "-", {"builder": "tcp://{}@127.0.0.1:1"}),
    "unknown builder": ("FROM scratch\nENV a=1\n", "-", {"builder": "tpc://{}@127.0.0.1:1"}),
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a repository, an archive and a file are served."""
    root = tmp_path_factory.mktemp("served")
    work = root / "work"
    work.mkdir()
    (work / "f").write_text("content")
    (work / "Dockerfile").write_text("FROM scratch\nCOPY f /\n")
    identity = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main"]
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["commit", "-qm", "m"],
        ["clone", "-q", "--bare", ".", "../repo.git"],
    ):
        subprocess.run(["git", *identity, *command], cwd=work, check=True, capture_output=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(work / "f", "f")
        archive.add(work / "Dockerfile", "Dockerfile")
    pages: dict[str, tuple[bytes, dict[str, str]]] = {"/context.tar": (packed.getvalue(), {}), "/file": (b"x", {})}
    with serving(("127.0.0.1", 0), root, pages) as url:
        yield url.removeprefix("http://")


def filled(value: Any, user: str, host: str) -> Any:
    """`value` with the user information in place of `{}`."""
    if isinstance(value, str):
        return value.replace("{}", user).replace("{host}", host)
    return {key: filled(each, user, host) for key, each in value.items()}


@pytest.mark.parametrize(
    ("place", "user"), [(place, user) for place in PLACES for user in USERS[: 4 if "context" in place else 2]]
)
def test_a_token_is_nowhere(home: Home, host: str, capfd: pytest.CaptureFixture[str], place: str, user: str) -> None:
    dockerfile, context, options = (filled(part, user, host) for part in PLACES[place])
    seen: dict[str, str] = {}
    try:
        result = home.build(dockerfile or None, context, progress="plain", **{"tags": "x", **options})
    except BuildError as error:
        assert place not in list(PLACES)[: list(PLACES).index("missing git")], error
        seen["error"] = f"{error} {error.render()} {error!r} {error.args} {error._render_traceback_()}"
    else:
        seen["notebook"] = json.dumps(result.mime_bundle(), default=str)
        seen["without a kernel"] = json.dumps(mime_bundle(result.summary, None, None), default=str)
        seen["result"] = f"{result!r} {result.request} {result.metadata} {result.logs} {result.summary}"
        assert result.image is not None
        seen["config"] = json.dumps(result.image.config)
    for record in home.builder.history(10):
        seen["history"] = repr(record)
        seen["replay"] = "".join(map(repr, home.builder.replay(record))) if record.log else ""
    seen["printed"] = "".join(capfd.readouterr())
    seen["used"] = repr(home.builder.disk_usage())
    home.close()
    told = {name for name, text in seen.items() if TOKEN in text}
    kept = set(holders(home.root, TOKEN.encode()))
    assert (told, kept) == (set(), set())


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("place", [place for place in PLACES if "builder" not in place and place != "no URL"])
def test_a_dry_run_shows_no_token(host: str, place: str, user: str) -> None:
    dockerfile, context, options = (filled(part, user, host) for part in PLACES[place])
    flags = {"build_contexts": "--build-context", "build_args": "--build-arg"}
    words = [f"{flags[name]}={key}={value}" for name in flags for key, value in options.get(name, {}).items()]
    options = parse_options([*words, context], dockerfile=dockerfile or None)
    shown = dry_run(options)
    assert TOKEN not in repr(shown) + shown._repr_html_()
    assert "docker buildx build" in repr(shown)


def test_what_is_no_credential_stays() -> None:
    for text in (
        "docker-image://alpine@sha256:" + "0" * 64,
        "oci-layout://a@sha256:" + "0" * 64,
        "https://host/@scope/package",
        "see https://host and write to me@host",
        "git@github.com:a/b.git",
        "ssh://git@github.com/a/b",
        "FROM alpine:3@sha256:" + "0" * 64,
        "https://xxxxx:xxxxx@host",
    ):
        assert redact(text) == text
    assert redact_url("git@github.com:a/b.git") == "git@github.com:a/b.git"


def test_buildkits_form_is_kept() -> None:
    assert redact("https://user:password@host.tld/this:that") == "https://xxxxx:xxxxx@host.tld/this:that"
    assert redact("https://user@host.tld/this:that") == "https://xxxxx@host.tld/this:that"
    assert redact("https://:password@host.tld/this:that") == "https://:xxxxx@host.tld/this:that"
    assert (
        redact("a ssh://me:p@ss@h/ and HTTP_PROXY=u:p@h:1") == "a ssh://xxxxx:xxxxx@h/ and HTTP_PROXY=xxxxx:xxxxx@h:1"
    )
    assert redact_data({"build-arg:all_PROXY": "u:p@h", "context:x": "u@h/x.git", "a": ["http://u@h"]}) == {
        "build-arg:all_PROXY": "xxxxx:xxxxx@h",
        "context:x": "xxxxx@h/x.git",
        "a": ["http://xxxxx@h"],
    }
    assert split_credentials("HTTPS://u:p@h/x@y") == ("HTTPS://h/x@y", "u:p")
    assert split_credentials("https://h/x@y") == ("https://h/x@y", "")
