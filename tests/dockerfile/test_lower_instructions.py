"""What single instructions become, at their edges."""

from __future__ import annotations

import pytest

from pybuild_magic.dockerfile.lower_copy import destination
from pybuild_magic.dockerfile.lower_options import parse_options
from pybuild_magic.dockerfile.ports import parse_ports
from pybuild_magic.dockerfile.rules import Rule
from pybuild_magic.dockerfile.state import parse_owner
from pybuild_magic.errors import DockerfileError, UsageError
from pybuild_magic.golang.path import clean_path, duration, join_path, quoted_number
from pybuild_magic.llb.ops import Chown, ExecOp, FileOp, MountType

from .lowered import Images, image, one, ops


def ignore(rule: Rule, word: str) -> None:
    """Let a port be as it is."""


@pytest.mark.parametrize(
    ("directory", "text", "expected"),
    [
        ("/w", "a", "/w/a"),
        ("/w", ".", "/w/"),
        ("/w", "", "/w/"),
        ("/w", "a/", "/w/a/"),
        ("/w", "a/.", "/w/a/."),
        ("/w", "../..", "/"),
        ("/", ".", "/"),
        ("/", "/.", "/."),
        ("/w", "//a//b", "/a/b"),
        ("/w", "/a/./", "/a/"),
    ],
)
def test_a_destination_keeps_the_end_that_says_directory(directory, text, expected):
    assert destination(directory, text) == expected


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("1", Chown(1)),
        ("1:2", Chown(1, 2)),
        ("root", Chown(0)),
        ("daemon:staff", Chown("daemon", "staff")),
        (":3", Chown(0, 3)),
        ("a:", Chown("a", 0)),
        ("4294967295", Chown("4294967295")),
    ],
)
def test_an_owner_is_numbers_or_names(text, owner):
    assert parse_owner(text) == owner


def test_names_of_owners_are_looked_up_in_what_is_copied_to():
    target = one("FROM busybox\nCOPY --chown=u:g a b /x/\n")
    (op,) = ops(target, FileOp)
    assert [action.action.owner.input for action in op.actions] == [0, 0]
    assert [(action.input, action.output) for action in op.actions] == [(0, -1), (2, 0)]


@pytest.mark.parametrize(
    ("words", "ports"),
    [
        (["80"], ["80/tcp"]),
        (["80-82/UDP"], ["80/udp", "81/udp", "82/udp"]),
        (["1.2.3.4:1:2/sctp", "[::1]:5:6"], ["2/sctp", "6/tcp"]),
        (["::1:5:6"], ["6/tcp"]),
        (["0", "65535"], ["0/tcp", "65535/tcp"]),
    ],
)
def test_ports(words, ports):
    assert parse_ports(words, ignore) == ports


@pytest.mark.parametrize("word", ["", "a", "65536", "2-1", "1/x", "/tcp", "x:1:2", "70000:80", "1-3:1-2", "-1"])
def test_what_is_no_port_is_refused(word):
    with pytest.raises(DockerfileError, match="invalid"):
        parse_ports([word], ignore)


def test_an_arg_hides_behind_an_env_and_is_no_part_of_the_image():
    target = one("FROM busybox\nARG A=1\nENV A=2\nARG A=3\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN x\n")
    (run,) = ops(target, ExecOp)
    assert run.meta.env[1:] == ("A=3",)
    assert target.config.config.env[1:] == ("A=2",)
    assert target.config.history[-1].created_by == "RUN |2 A=3 BUILDKIT_SBOM_SCAN_STAGE=true /bin/sh -c x # buildkit"


def test_a_build_arg_overrules_a_default_that_cannot_be_expanded():
    assert one("FROM busybox\nARG A=${x\nRUN $A\n", **{"build-arg:A": "b"}).edge
    with pytest.raises(DockerfileError):
        one("FROM busybox\nARG A=${x\n")


def test_without_a_path_the_image_gets_the_default_one():
    config = one("FROM odd\n", Images({"odd": image(env=["A=b"])})).config.config
    assert config.env[1].startswith("PATH=/usr/local/sbin:")


def test_what_the_base_image_says_holds_for_run():
    base = image(User="9:9", WorkingDir="/base", Shell=["/bin/bash", "-c"], Labels={"a": "b"})
    target = one("FROM odd\nRUN x\nWORKDIR y\nLABEL c=d\n", Images({"odd": base}))
    (run,) = ops(target, ExecOp)
    assert (run.meta.user, run.meta.cwd, run.meta.args) == ("9:9", "/base", ("/bin/bash", "-c", "x"))
    (workdir,) = ops(target, FileOp)
    assert (workdir.actions[0].action.path, workdir.actions[0].action.owner) == ("/base/y", Chown(9, 9))
    assert target.config.config.labels == {"a": "b", "c": "d"}
    assert target.base.config.labels == {"a": "b"}


def test_stages_on_one_base_do_not_see_each_others_labels():
    target = one(
        "FROM busybox AS base\nLABEL a=1\nFROM base AS other\nLABEL b=2\nRUN x\nFROM base\nCOPY --from=other / /\n"
    )
    assert target.config.config.labels == {"a": "1"}


def test_a_secret_shows_in_names_as_stars():
    target = one('FROM busybox\nRUN --mount=type=secret,id=s,env=TOKEN login "$TOKEN" $OTHER\n')
    assert target.edge.node.name == '[stage-0 2/2] RUN --mount=type=secret,id=s,env=TOKEN login "****" $OTHER'


def test_mounts_stand_in_the_order_in_which_they_are_made():
    target = one(
        "FROM busybox\nWORKDIR /w\nRUN --mount=type=tmpfs,target=/z --mount=type=secret,id=a"
        " --mount=type=cache,target=b --mount=target=/w/b/c,source=x,rw true\n",
        **{"shm-size": "1024"},
    )
    (run,) = ops(target, ExecOp)
    assert [(mount.dest, mount.mount_type.value) for mount in run.mounts] == [
        ("/", "bind"),
        ("/dev/shm", "tmpfs"),
        ("/w/b", "cache"),
        ("/w/b/c", "bind"),
        ("/z", "tmpfs"),
        ("/run/secrets/a", "secret"),
    ]
    assert run.mounts[1] == type(run.mounts[1])("/dev/shm", mount_type=MountType.TMPFS, tmpfs_size=1024)


def test_an_ssh_agent_is_told_to_the_process():
    (run,) = ops(one("FROM busybox\nRUN --mount=type=ssh --mount=type=ssh,id=b true\n"), ExecOp)
    assert run.meta.env[-1] == "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0"
    assert [(mount.dest, mount.ssh.id) for mount in run.mounts[1:]] == [
        ("/run/buildkit/ssh_agent.0", ""),
        ("/run/buildkit/ssh_agent.1", "b"),
    ]


def test_secrets_and_agents_are_noted_for_the_outline():
    target = one("FROM busybox\nRUN --mount=type=secret,id=s,required --mount=type=ssh true\n")
    assert [(need.name, need.required) for need in target.outline.secrets] == [("s", True)]
    assert [need.location.start for need in target.outline.ssh] == [2]


def test_the_epoch_dates_history_and_directories():
    target = one("FROM busybox\nWORKDIR /a\nENV A=b\n", **{"build-arg:SOURCE_DATE_EPOCH": "86400"})
    assert [entry.created for entry in target.config.history[1:]] == ["1970-01-02T00:00:00Z"] * 2
    (op,) = ops(target, FileOp)
    assert op.actions[0].action.timestamp == 86_400_000_000_000
    with pytest.raises(DockerfileError, match="invalid SOURCE_DATE_EPOCH: soon"):
        one("FROM busybox\n", **{"build-arg:SOURCE_DATE_EPOCH": "soon"})


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"image-resolve-mode": "x"}, "invalid image-resolve-mode: x"),
        ({"force-network-mode": "x"}, "invalid netmode x"),
        ({"add-hosts": "a"}, "invalid key-value pair a"),
        ({"add-hosts": "a=b"}, "failed to parse IP b"),
        ({"ulimit": "nofiles=1"}, "invalid ulimit type: nofiles"),
        ({"ulimit": "nofile=2:1"}, "soft limit must be less than or equal to hard limit"),
        ({"multi-platform": "0", "platform": "linux/amd64,linux/arm64"}, "conflicting config"),
        ({"shm-size": "1m"}, "shm size"),
        ({"platform": "linux/a/b/c"}, "not a platform"),
    ],
)
def test_options_that_make_no_sense_are_refused(attrs, message):
    with pytest.raises(UsageError, match=message):
        parse_options(attrs)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (20_000_000, "20ms"), (1_500_000_000, "1.5s"),
     (90_000_000_000, "1m30s"), (7_200_000_000_000, "2h0m0s"), (-1_000_000_000, "-1s")],
)  # fmt: skip
def test_durations_print_as_go_prints_them(nanoseconds, text):
    assert duration(nanoseconds) == text


def test_paths_and_numbers_are_as_go_has_them():
    assert [clean_path(p) for p in ("", "//a/../b/", "a/..", "/..")] == [".", "/b", ".", "/"]
    assert [join_path("/", "/a"), join_path("", ""), join_path("a", "", "../b")] == ["/a", "", "b"]
    assert [quoted_number(n) for n in (0, 3, 10, 39, 34, 65, 0xD800)] == [
        r"'\x00'", r"'\x03'", r"'\n'", r"'\''", "'\"'", "'A'", "'\ufffd'",
    ]  # fmt: skip
