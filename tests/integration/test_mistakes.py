"""What people get wrong, and the one sentence that each mistake is answered with, at its line of the Dockerfile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.api.run import open_session, run
from pybuild_magic.errors import BuildError, ContextError, DockerfileError, RunError, UnsupportedError, UsageError
from pybuild_magic.request.parse import parse_options

from .lab import Home, presentable

BASE = "FROM busybox\n"
FILES = {"x": "1", "y": "2"}

DOCKERFILES: dict[str, tuple[str, int, str]] = {
    # Syntax
    "empty": ("", 0, "the Dockerfile cannot be empty"),
    "only comments": ("# hi\n", 1, "file with no instructions"),
    "binary": ("\x00\x01\x02", 1, "unknown instruction"),
    "instruction": (f"{BASE}RUNN x\n", 2, "unknown instruction: RUNN (did you mean RUN?)"),
    "before FROM": ("RUN x\n", 1, "no build stage in current context"),
    "no stage": ("ARG a=1\n", 0, "contains no stages to build"),
    "FROM": ("FROM\n", 1, "FROM requires either one or three arguments"),
    "stage name": ("FROM busybox AS 0bad!\n", 1, 'invalid name for build stage: "0bad!"'),
    "COPY": (f"{BASE}COPY a\n", 2, "COPY requires at least two arguments"),
    "ENV": (f"{BASE}ENV a\n", 2, "ENV must have two arguments"),
    "heredoc": (f"{BASE}COPY <<E /x\nfoo\n", 2, "unterminated heredoc"),
    "quote": (f'{BASE}ENV a="b\n', 2, "unexpected end of statement while looking for matching double-quote"),
    "variable": (f"{BASE}ENV a=${{x:?must_be_given}}\n", 2, "x: must_be_given"),
    "long line": (f"{BASE}RUN {'x' * 70_000}\n", 1, "dockerfile line greater than max allowed size of 65535"),
    "directive twice": ("# escape=`\n# escape=`\nFROM busybox\n", 1, "only one escape parser directive can be used"),
    # Flags and values
    "flag": (f"{BASE}COPY --chmood=1 a b\n", 2, "unknown flag: --chmood (did you mean chmod?)"),
    "flag of FROM": ("FROM --platfrom=linux/amd64 busybox\n", 1, "unknown flag: --platfrom (did you mean platform?)"),
    "mount type": (f"{BASE}RUN --mount=type=bnd,target=/x true\n", 2, 'mount type "bnd" (did you mean bind?)'),
    "mount key": (f"{BASE}RUN --mount=type=bind,tagret=/x true\n", 2, "unexpected key 'tagret'"),
    "platform": ("FROM --platform=a/b/c/d busybox\n", 1, "a/b/c/d"),
    "mode": (f"{BASE}COPY --chmod=zzz x /y\n", 2, "invalid chmod parameter: 'zzz'"),
    "checksum": (f"{BASE}ADD --checksum=sha256:00 http://127.0.0.1:1/x /x\n", 2, "invalid checksum digest"),
    "port": (f"{BASE}EXPOSE 99999\n", 2, "invalid containerPort: 99999"),
    "signal": (f"{BASE}STOPSIGNAL SIGNOPE\n", 2, "invalid signal: SIGNOPE"),
    "duration": (f"{BASE}HEALTHCHECK --interval=xx CMD a\n", 2, 'invalid duration "xx"'),
    "trigger": (f"{BASE}ONBUILD FROM x\n", 2, "FROM isn't allowed as an ONBUILD trigger"),
    "reference": ("FROM a:b:c:d\n", 1, "invalid reference format"),
    "digest": ("FROM busybox@sha256:xx\n", 1, "invalid reference format"),
    "network": (f"{BASE}RUN --network=host true\n", 2, "network.host is not allowed"),
    "security": (f"{BASE}RUN --security=insecure true\n", 2, "security.insecure is not allowed"),
    # Stages
    "cycle": ("FROM busybox AS a\nCOPY --from=a /x /y\n", 2, "circular dependency detected on stage: a"),
    "cycle of mounts": (
        "FROM busybox AS a\nRUN --mount=from=a,target=/x true\n",
        2,
        "circular dependency detected on stage: a",
    ),
    "cycle of two": (
        "FROM busybox AS a\nCOPY --from=b /x /y\nFROM busybox AS b\nCOPY --from=a / /\n",
        4,
        "circular dependency detected on stage: a",
    ),
    "later stage": (
        "FROM busybox AS a\nCOPY --from=b /x /y\nFROM busybox AS b\nFROM a\n",
        2,
        'cannot copy from stage "b", it needs to be defined before current stage "a"',
    ),
    # Files
    "missing file": (f"{BASE}COPY x nope /\n", 2, '"/nope": not found'),
    "missing in stage": (
        "FROM busybox AS a\nFROM busybox\nCOPY --from=a /nope /\n",
        3,
        "lstat /nope: no such file or directory",
    ),
    "missing in a stage that did something": (
        "FROM busybox AS a\nRUN true\nFROM busybox\nCOPY --from=a /nope /\n",
        4,
        '"/nope": not found',
    ),
    "below a file": (f"{BASE}COPY x /d\nCOPY x /d/e\n", 3, "not a directory"),
    "workdir": (f"{BASE}COPY x /d\nWORKDIR /d\n", 3, "not a directory"),
    # Running
    "command": (f'{BASE}RUN ["/nope"]\n', 2, 'process "/nope" did not complete successfully: exit code: 127'),
    "no shell": ("FROM scratch\nRUN true\n", 2, 'process "/bin/sh -c true" did not complete successfully'),
    "user": (f"{BASE}USER nope\nRUN true\n", 3, "unable to find user nope"),
    "secret": (f"{BASE}RUN --mount=type=secret,id=z,required=true true\n", 2, "secret z: not found"),
    "ssh": (f"{BASE}RUN --mount=type=ssh,required=true true\n", 2, "unset ssh forward key default"),
    # Other front ends
    "front end": ("# syntax=example.com/my/frontend:1\nbuild: yes\n", 1, "example.com/my/frontend:1"),
    "front end, in the second line": ("#!/x\n# syntax=other/frontend\nFROM busybox\n", 2, "other/frontend"),
}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_that_cannot_be_built(home: Home, name: str) -> None:
    dockerfile, line, message = DOCKERFILES[name]
    error = home.fails(dockerfile, FILES)
    assert message in error.message
    assert (error.location.start if error.location else 0) == line
    if line:
        marked = [row for row in error.render().splitlines() if ">>>" in row]
        assert marked
        assert marked[0].split(" | ")[0].strip() == str(line)


def test_docker_s_own_front_end_is_built_in(home: Home) -> None:
    for name in ("docker/dockerfile", "docker/dockerfile:1", "docker.io/docker/dockerfile:1.7-labs"):
        home.build(f"# syntax={name}\n{BASE}")
    home.build(BASE, build_args={"BUILDKIT_SYNTAX": "dockerfile.v0"})


def test_a_failing_command_shows_its_code_its_line_and_its_last_lines(home: Home) -> None:
    error = home.fails(f"{BASE}RUN for i in $(seq 50); do echo line $i; done; \\\n    echo bad >&2; exit 3\n")
    assert isinstance(error, RunError)
    assert error.exit_code == 3
    assert error.message.endswith("exit code: 3")
    assert error.logs[-2:] == ("line 50", "bad")
    assert len(error.logs) < 50
    assert error.location is not None
    assert (error.location.start, error.location.end) == (2, 3)
    assert ">>> RUN for i in" in error.render()


OPTIONS: dict[str, tuple[dict[str, Any], type[BuildError], str]] = {
    "target": ({"target": "nope"}, DockerfileError, 'target stage "nope" could not be found'),
    "exporter": ({"outputs": "type=ocii,dest=/tmp/x"}, UsageError, "type=oci?"),
    "attribute": ({"outputs": "type=oci,dest=/tmp/x,compresion=gzip"}, UsageError, '"compression"?'),
    "attribute of local": ({"outputs": "type=local,dest=/tmp/x,mod=delete"}, UsageError, '"mode"?'),
    "value": ({"outputs": "type=oci,dest=/tmp/x,compression=lzma"}, UsageError, "uncompressed, gzip, zstd"),
    "level": ({"outputs": "type=oci,dest=/tmp/x,compression-level=xx"}, UsageError, "a number from"),
    "no dest": ({"outputs": "type=oci"}, UsageError, "dest is required for the oci exporter"),
    "stdout": ({"outputs": "-"}, UsageError, "cannot write an archive to standard output"),
    "name": ({"tags": "a b"}, UsageError, '"a b" is not an image name'),
    "platform": ({"platforms": "linux/arm64/v8/x"}, UsageError, "linux/arm64/v8/x"),
    "network": ({"network": "bogus"}, UsageError, "bogus"),
    "size": ({"shm_size": "lots"}, UsageError, "'lots' is not a size"),
    "host": ({"add_hosts": {"a": "999.1.1.1"}}, UsageError, "999.1.1.1"),
    "secret": ({"secrets": "id=a,src=/nope"}, UsageError, "The secret a cannot be read from /nope"),
    "agent": ({"ssh": "default"}, UsageError, "SSH_AUTH_SOCK is not set"),
    "context": ({"build_contexts": {"x": "/nope/none"}}, ContextError, "/nope/none does not exist"),
    "builder": ({"builder": "nope"}, BuildError, "nope"),
    "epoch": ({"build_args": {"SOURCE_DATE_EPOCH": "tomorrow"}}, DockerfileError, "SOURCE_DATE_EPOCH: tomorrow"),
    "epoch, far": ({"build_args": {"SOURCE_DATE_EPOCH": "9" * 20}}, DockerfileError, "SOURCE_DATE_EPOCH: 9999"),
    "epoch of an output": (
        {"outputs": "type=oci,dest=/tmp/x,source-date-epoch=999999999999999"},
        UsageError,
        "source-date-epoch",
    ),
    "iidfile of local": (
        {"outputs": "type=local,dest=out", "iidfile": "id"},
        UsageError,
        "local and tar exporters are incompatible with image ID file",
    ),
    "iidfile of tar": (
        {"outputs": "type=tar,dest=out.tar", "iidfile": "id"},
        UsageError,
        "local and tar exporters are incompatible with image ID file",
    ),
    "iidfile": ({"tags": "x", "iidfile": "/nope/id"}, BuildError, "--iidfile /nope/id cannot be written"),
    "metadata": ({"tags": "x", "metadata_file": "/nope/m"}, BuildError, "--metadata-file /nope/m cannot be written"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_cannot_be(home: Home, name: str) -> None:
    options, kind, message = OPTIONS[name]
    error = home.fails(BASE, **options)
    assert isinstance(error, kind)
    assert message in f"{error.message} {error.hint}"


UNSUPPORTED = [
    ("--cache-from=type=gha", "type=gha"),
    ("--cache-to=type=s3,bucket=b", "type=s3"),
    ("--cache-to=type=azblob,name=n", "type=azblob"),
    ("--cache-to=type=registry,ref=x/y,compression=estargz", "estargz"),
]


@pytest.mark.parametrize(("flag", "named"), UNSUPPORTED)
def test_a_flag_that_the_embedded_builder_does_not_do_is_said_to_be_one(home: Home, flag: str, named: str) -> None:
    options = parse_options([flag, "-"], dockerfile=BASE + "RUN echo ran > /ran\n")
    with pytest.raises(UnsupportedError) as caught:
        run(options)
    error = presentable(caught.value)
    assert named in error.message
    assert "--builder" in f"{error.message} {error.hint}"
    assert not [record for _, record in home.builder.store.cache.items() if "RUN" in record.description]


def test_attestations_may_be_declined(home: Home) -> None:
    flags = ["--provenance=false", "--sbom=false", "--attest=type=sbom,disabled=true", "-"]
    run(parse_options(flags, dockerfile=BASE))


def test_a_context_that_is_not_there(home: Home, tmp_path: Path) -> None:
    assert "/does/not/exist does not exist" in home.fails(BASE, "/does/not/exist").message
    assert "failed to read dockerfile" in home.fails(None, {}).message  # type: ignore[arg-type]
    assert "x/y' of the context is below a file" in home.fails(BASE + "COPY . /\n", {"x": "", "x/y": ""}).message
    for path in ("../x", "/x", "a\0b", "a/../../b"):
        assert "is not a path inside the context" in home.fails(BASE + "COPY . /\n", {path: "1"}).message
    file = tmp_path / "Dockerfile.other"
    assert "does not exist" in home.fails(None, {}, file=file).message.replace("no such file", "does not exist")  # type: ignore[arg-type]


def test_what_cannot_be_read_of_a_context(home: Home, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    os.mkfifo(context / "pipe")
    (context / "x").write_text("1")
    home.build(BASE + "COPY x /\n", str(context))
    result = home.build(BASE + "COPY . /all/\n", str(context), outputs=f"type=local,dest={tmp_path}/out")
    assert result.files is not None
    assert (tmp_path / "out/all/x").read_text() == "1"


def test_a_dest_that_cannot_be_written(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dir").mkdir()
    for kind in ("oci", "tar", "docker"):
        assert "cannot be written" in home.fails(BASE, outputs=f"type={kind},dest={tmp_path}/file/x").message
        assert "cannot be written" in home.fails(BASE, outputs=f"type={kind},dest=/proc/x").message
        error = home.fails(BASE, outputs=f"type={kind},dest={tmp_path}/dir")
        assert isinstance(error, UsageError)
        assert "is a directory" in error.message
    for attrs in ("type=local", "type=oci,tar=false"):
        assert "cannot be made" in home.fails(BASE, outputs=f"{attrs},dest={tmp_path}/file/x").message
        error = home.fails(BASE, outputs=f"{attrs},dest={tmp_path}/file")
        assert isinstance(error, UsageError)
        assert "is a file" in error.message


def test_sessions_name_what_is_missing_before_anything_is_built(home: Home) -> None:
    options = parse_options(["--secret=id=a,src=/nope", "/nope/context"], dockerfile=BASE)
    with pytest.raises(ContextError, match="/nope/context does not exist"):
        open_session(options, "embedded")
